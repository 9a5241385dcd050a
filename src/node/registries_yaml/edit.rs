//! Puts the agent first among the endpoints of the registries that the text lists. Everything else in it stays, the
//! endpoints of configured tiers as well: what k3s generates has one table more than without us (design F9), and only the
//! live file sets tiers aside.

use super::place::{self, unusual};
use super::read::{self, Mirror, Registries};
use super::{CUT, Edited, Refused, remove};
use crate::config::Existing;
use crate::node::desired::DesiredHost;
use crate::node::endpoint::EndpointUrl;
use crate::node::marks::{self, OURS, quoted};
use std::ops::Range;
use yaml_serde::{Mapping, Value};

/// The entries and settings that registries.yaml is to have.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// For every registry and image name.
    pub desired: &'a [DesiredHost],
    /// Whether an entry with other endpoints is edited at all.
    pub existing: Existing,
    /// Which registries get an entry.
    pub scope: Scope,
    /// k3s runs with `--disable-default-registry-endpoint`.
    pub default_endpoint_disabled: bool,
}

/// Which registries get an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of whose entries k3s would generate their files anew at its start (design F2).
    Listed,
    /// All: k3s before September 2024 deletes every other file at its start.
    All,
}

/// Puts the agent into a text.
///
/// # Errors
/// [`Refused`]: the text stays as it is. [`Refused::Existing`] only with `existing = "refuse"`.
pub fn edit(text: &str, wanted: &Edit<'_>) -> Result<Edited, Refused> {
    let base = remove(text)?;
    let registries = read::read(&base)?;
    let mut changes = Changes {
        base: &base,
        end: marks::line_end(&base),
        splices: Vec::new(),
        expected: read::value(&base)?,
        notes: Vec::new(),
    };
    let mut missing = Vec::new();
    for host in wanted.desired {
        let is_its = |name: &str| name != "*" && name.parse() == Ok(host.registry.clone());
        let listed = registries.mirrors.iter();
        let (full, empty): (Vec<_>, Vec<_>) = listed
            .filter(|(name, _)| is_its(name))
            .partition(|(_, mirror)| mirror.says_something());
        if full.is_empty() && wanted.scope == Scope::All {
            missing.push((host, empty.first().map(|(name, _)| name.as_str())));
        }
        for (name, mirror) in full {
            changes.entry(name, mirror, host, wanted)?;
            changes.warn_of_default(name, host, wanted, &registries);
        }
    }
    if !missing.is_empty() {
        changes.add(&missing, wanted, &registries)?;
    }
    changes.finish()
}

/// What is changed, and what the text must mean afterwards.
struct Changes<'t> {
    base: &'t str,
    end: &'static str,
    /// Bytes and what comes in their place, in any order.
    splices: Vec<(Range<usize>, String)>,
    expected: Value,
    notes: Vec<String>,
}

// === impl Changes ===

impl Changes<'_> {
    /// A registry that is listed.
    fn entry(
        &mut self,
        name: &str,
        mirror: &Mirror,
        desired: &DesiredHost,
        wanted: &Edit<'_>,
    ) -> Result<(), Refused> {
        if mirror.has_rewrite {
            self.notes.push(format!(
                "mirrors.{name} has rewrite rules, which would meet the agent too: it is left as it is, and after a start of k3s the live file is written again"
            ));
            return Ok(());
        }
        self.refuse_special(name)?;
        if wanted.scope == Scope::Listed && !mirror.is_written(name) {
            // k3s writes no file for it, and would for the agent (design F9).
            return Ok(());
        }
        let agent = desired.agent_url.as_str();
        let first = mirror.endpoints.first();
        let root = first.and_then(|first| EndpointUrl::root_by_k3s(first));
        if root.is_some() && root == EndpointUrl::root_by_k3s(agent) {
            // By the user's own hand.
            return Ok(());
        }
        if let Some(first) = first.filter(|_| wanted.existing == Existing::Refuse) {
            return Err(Refused::Existing(format!("{first} in mirrors.{name}")));
        }
        if desired.closed {
            self.notes.extend(mirror.endpoints.iter().map(|item| format!(
                "{item} in mirrors.{name} stays behind the agent, though the registry may not be asked directly: see that it is no way round"
            )));
        }
        self.put_first(name, agent)
    }

    /// What hangs on such a node would change with it.
    fn refuse_special(&self, name: &str) -> Result<(), Refused> {
        let mirrors = self.expected.get("mirrors");
        let entry = mirrors.and_then(|mirrors| mirrors.get(name));
        let has = |key: &str| entry.is_some_and(|entry| entry.get(key).is_some());
        let path = ["mirrors", name, "endpoint"];
        let depths = if has("endpoint") { 1..=3 } else { 1..=2 };
        for path in depths.filter_map(|depth| path.get(..depth)) {
            let at = place::value(self.base, path).unwrap_or_default();
            let written = self.base.get(at..).unwrap_or_default();
            if written.starts_with(['&', '*', '!']) || has("<<") {
                let what = format!(
                    "{} has an anchor, an alias, a tag or a merge: what hangs on it would change too",
                    path.join(".")
                );
                return Err(unusual(self.base, at, &what));
            }
        }
        Ok(())
    }

    /// The agent before the first item of a list.
    fn put_first(&mut self, name: &str, agent: &str) -> Result<(), Refused> {
        let at = place::value(self.base, &["mirrors", name, "endpoint"]).unwrap_or_default();
        let written = self.base.get(at..).unwrap_or_default();
        if let Some(behind) = written.strip_prefix('[') {
            self.put_into_brackets(at + 1, behind, agent);
        } else {
            let (start, column) = place::alone(self.base, at)?;
            let above = place::above(self.base, start);
            self.splices.push((above..above, self.item(column, agent)));
        }
        let entry = child(child(&mut self.expected, "mirrors"), name);
        if let Value::Sequence(items) = child(entry, "endpoint") {
            items.insert(0, agent.into());
        }
        Ok(())
    }

    /// The agent before the items `behind` a bracket, in a line of its own; where the first one stands in the bracket's line,
    /// the rest of that goes to the next one.
    fn put_into_brackets(&mut self, inside: usize, behind: &str, agent: &str) {
        let rest = behind.trim_start_matches([' ', '\t']);
        let agent = quoted(agent);
        let (at, put) = if rest.starts_with(['\r', '\n', '#']) {
            let line = rest
                .find('\n')
                .map_or("", |end| rest.get(end + 1..).unwrap_or_default());
            let at = inside + behind.len() - line.len();
            let column = place::indent(line);
            (at, format!("{:column$}{agent},{OURS}{}", "", self.end))
        } else {
            let at = inside + behind.len() - rest.len();
            let line = self.base.get(place::line_start(self.base, at)..at);
            let column = place::indent(line.unwrap_or_default()) + 2;
            (at, format!("{agent},{CUT}{}{:column$}", self.end, ""))
        };
        self.splices.push((at..at, put));
    }

    /// Entries for registries that the text does not list, or lists and says nothing of (design F2: k3s before September
    /// 2024). A new one has the endpoints of the `"*"` entry behind the agent, which it hides; an empty one is set aside.
    fn add(
        &mut self,
        missing: &[(&DesiredHost, Option<&str>)],
        wanted: &Edit<'_>,
        registries: &Registries,
    ) -> Result<(), Refused> {
        let is_mapping = self.expected.is_mapping();
        let has_mirrors = self.expected.get("mirrors").is_some();
        let is_listed = !registries.mirrors.is_empty();
        if (is_mapping && self.is_in_brackets(&[]))
            || (is_listed && self.is_in_brackets(&["mirrors"]))
        {
            self.notes.push(
                "mirrors is written in brackets: entries for further registries are not added to it"
                    .to_owned(),
            );
            return Ok(());
        }
        let place = match (is_mapping, has_mirrors, is_listed) {
            (false, ..) => None,
            // Before the first key: behind the last one a line could lengthen a text.
            (_, false, _) => place::value(self.base, &[]),
            (_, _, false) => place::key(self.base, &["mirrors"]),
            (_, _, true) => place::value(self.base, &["mirrors"]),
        };
        let (start, mut column) = match place {
            Some(at) => place::alone(self.base, at)?,
            None => (self.base.len(), 0),
        };
        let mut lines = String::new();
        if !is_listed {
            lines = self.key(column, "mirrors");
            column += 2;
        }
        if has_mirrors && !is_listed {
            self.set_aside(&["mirrors"])?;
        }
        for (host, listed) in missing {
            let mut urls = vec![host.agent_url.as_str()];
            let name = host.registry.as_str();
            if let Some(listed) = listed {
                self.refuse_special(listed)?;
                self.set_aside(&["mirrors", listed])?;
                if let Some(Value::Mapping(mirrors)) = self.expected.get_mut("mirrors") {
                    mirrors.remove(listed);
                }
            } else if let Some(all) = registries.mirrors.get("*") {
                urls.extend(all.endpoints.iter().map(String::as_str));
                urls.dedup();
            }
            let items = urls.iter().map(|url| self.item(column + 4, url));
            let items: String = items.collect();
            lines += &self.key(column, &quoted(name));
            lines += &self.key(column + 2, "endpoint");
            lines += &items;
            let mirrors = child(&mut self.expected, "mirrors");
            *child(child(mirrors, name), "endpoint") = urls.into();
            self.warn_of_default(name, host, wanted, registries);
        }
        if place.is_none() {
            let mut text = self.base.to_owned();
            marks::append(&mut text, &lines);
            lines = text.split_off(start);
        }
        self.splices.push((start..start, lines));
        Ok(())
    }

    /// A line of ours that other lines stand below.
    fn key(&self, column: usize, key: &str) -> String {
        format!("{:column$}{key}:{OURS}{}", "", self.end)
    }

    fn item(&self, column: usize, url: &str) -> String {
        format!("{:column$}- {}{OURS}{}", "", quoted(url), self.end)
    }

    /// What stands there becomes a comment.
    fn set_aside(&mut self, path: &[&str]) -> Result<(), Refused> {
        let key = place::key(self.base, path).unwrap_or_default();
        let (start, _) = place::alone(self.base, key)?;
        let end = place::end_of_entry(self.base, start);
        let old = self.base.get(start..end).unwrap_or_default();
        let aside = marks::lines(old).map(marks::aside);
        self.splices.push((start..end, aside.collect()));
        Ok(())
    }

    fn is_in_brackets(&self, path: &[&str]) -> bool {
        let at = place::value(self.base, path);
        at.is_some_and(|at| self.base.get(at..).unwrap_or_default().starts_with('{'))
    }

    /// k3s adds the registry itself behind every list, unless told otherwise (design F6).
    fn warn_of_default(
        &mut self,
        name: &str,
        desired: &DesiredHost,
        wanted: &Edit<'_>,
        registries: &Registries,
    ) {
        if !desired.closed {
            return;
        }
        if !wanted.default_endpoint_disabled {
            self.notes.push(format!(
                "mirrors.{name}: after its start k3s lets containerd ask the registry itself until the live file is back; only --disable-default-registry-endpoint keeps it from that"
            ));
        } else if registries.configs.iter().any(|host| host == name) {
            self.notes.push(format!(
                "configs.{name} keeps k3s from honouring --disable-default-registry-endpoint for it"
            ));
        }
    }

    fn finish(mut self) -> Result<Edited, Refused> {
        self.splices.sort_by_key(|(span, _)| (span.start, span.end));
        let mut text = String::with_capacity(self.base.len() + 256);
        let mut at = 0;
        for (span, new) in &self.splices {
            text.push_str(self.base.get(at..span.start).unwrap_or_default());
            text.push_str(new);
            at = span.end;
        }
        text.push_str(self.base.get(at..).unwrap_or_default());
        let found = read::value(&text).map_err(|error| Refused::ReadBack(error.to_string()))?;
        if found != self.expected {
            let what = "other entries are seen in it".to_owned();
            return Err(Refused::ReadBack(what));
        }
        Ok(Edited {
            text,
            notes: self.notes,
        })
    }
}

/// The value of a key, which is made if need be.
fn child<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_mapping() {
        *value = Mapping::new().into();
    }
    match value {
        Value::Mapping(mapping) => mapping.entry(key.into()).or_insert(Value::Null),
        other => other,
    }
}
