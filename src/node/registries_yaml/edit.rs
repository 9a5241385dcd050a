//! Puts the agent first among the endpoints of the registries that the text lists.

use super::read::{self, has_rewrite, refuse_special};
use super::tree::{Kind, Node};
use super::{Refused, flow, place, unusual};
use crate::config::Existing;
use crate::node::desired::{DesiredHost, Role};
use crate::node::endpoint::{EndpointUrl, Reader};
use crate::node::marks::{self, ASIDE, OURS};
use crate::node::registries_yaml::{add, remove};
use yaml_serde::{Mapping, Value};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// For every registry and image name.
    pub desired: &'a [DesiredHost],
    /// What happens to endpoints that are configured tiers.
    pub existing: Existing,
    /// Which registries get an entry.
    pub scope: Scope,
    /// k3s runs with `--disable-default-registry-endpoint`.
    pub default_endpoint_disabled: bool,
}

/// Which registries get an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that have one: k3s would generate their files anew at its start (design F2).
    Listed,
    /// All: k3s before September 2024 deletes every other file at its start.
    All,
}

/// A text with the agent in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// What should stand in the file.
    pub text: String,
    /// What was set aside, byte for byte, for the ledger: [`remove`] puts it back by itself.
    pub adopted: Vec<String>,
    /// What a reader of the plan should know, a sentence each.
    pub notes: Vec<String>,
}

/// Puts the agent into a text.
///
/// # Errors
/// Says why the text is not touched.
pub fn edit(text: &str, wanted: &Edit<'_>) -> Result<Edited, Refused> {
    let base = remove(text)?;
    let root = read::checked(&base)?;
    let mut changes = Changes {
        base: &base,
        end: marks::line_end(&base),
        splices: Vec::new(),
        records: Vec::new(),
        expected: read::value(&base)?,
        adopted: Vec::new(),
        notes: Vec::new(),
    };
    let mirrors = root.as_ref().and_then(|root| root.get("mirrors"));
    if let Some(mirrors) = mirrors.filter(|mirrors| mirrors.is_marked) {
        refuse_special(mirrors, "mirrors")?;
    }
    let pairs = mirrors.map(Node::pairs).unwrap_or_default();
    for (key, entry) in pairs {
        let name = key.text().unwrap_or_default();
        let registry = name.parse().ok().filter(|_| name != "*");
        let desired = wanted
            .desired
            .iter()
            .find(|host| Some(&host.registry) == registry.as_ref());
        if let Some(desired) = desired {
            changes.entry(key, entry, desired, wanted)?;
            changes.warn_of_default(name, root.as_ref(), desired, wanted);
        }
    }
    if wanted.scope == Scope::All {
        add::missing(&mut changes, root.as_ref(), wanted)?;
    }
    changes.finish()
}

/// What is changed, and what the text must mean afterwards.
pub(super) struct Changes<'t> {
    pub(super) base: &'t str,
    /// How lines end.
    pub(super) end: &'static str,
    /// Bytes and what comes in their place, in any order; those of one place in the order of being put.
    splices: Vec<(std::ops::Range<usize>, String)>,
    records: Vec<flow::Record>,
    expected: Value,
    adopted: Vec<String>,
    pub(super) notes: Vec<String>,
}

// === impl Changes ===

impl Changes<'_> {
    fn entry(
        &mut self,
        key: &Node,
        entry: &Node,
        desired: &DesiredHost,
        wanted: &Edit<'_>,
    ) -> Result<(), Refused> {
        let name = key.text().unwrap_or_default();
        if has_rewrite(entry) {
            self.notes.push(format!(
                "mirrors.{name} has rewrite rules, which would meet the agent too: it is left as it is, and after a start of k3s the live file is written again"
            ));
            return Ok(());
        }
        refuse_special(entry, &format!("mirrors.{name}"))?;
        let list = entry.pair("endpoint");
        let items: &[Node] = match list.map(|(_, list)| &list.kind) {
            Some(Kind::Sequence { items, .. }) => items,
            _ => &[],
        };
        let agent = desired.agent_url.as_str();
        let is_agent = |item: &Node| item.text().is_some_and(|text| same(text, agent));
        if items.first().is_some_and(is_agent) {
            self.notes
                .push(format!("mirrors.{name} begins with the agent already"));
            return Ok(());
        }
        let mut out = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if self.goes(name, item, desired, wanted)? {
                out.push(at);
            }
        }
        let Some((list_key, list)) = list else {
            self.expect(name, agent, &[], &[]);
            return self.without_list(key, entry, agent);
        };
        self.expect(name, agent, items, &out);
        match &list.kind {
            Kind::Sequence { flow: false, .. } => self.lines(items, &out, agent),
            Kind::Sequence { flow: true, .. } => {
                let now = flow::edited(self.base, list, items, agent, &out)?;
                let gone = out.iter().filter_map(|at| items.get(*at)?.text());
                self.adopted.extend(gone.map(str::to_owned));
                self.record(name, list, now);
                Ok(())
            }
            _ if list.is_absent() => {
                let indent = place::indent(self.base, list_key)? + 2;
                let line = self.item(indent, agent);
                self.below(list_key, &line)
            }
            _ => {
                self.record(name, list, format!("[{}]", flow::quoted(agent)));
                Ok(())
            }
        }
    }

    /// Whether the item is taken out.
    fn goes(
        &mut self,
        name: &str,
        item: &Node,
        desired: &DesiredHost,
        wanted: &Edit<'_>,
    ) -> Result<bool, Refused> {
        let text = item.text().unwrap_or_default();
        if same(text, &desired.agent_url) {
            return Ok(true);
        }
        if wanted.existing == Existing::Refuse {
            return Err(Refused::Existing(format!("{text} in mirrors.{name}")));
        }
        let url = EndpointUrl::parse(text, Reader::K3s);
        let role = url.as_ref().and_then(|url| desired.role_of(url));
        let adopt = wanted.existing == Existing::Adopt;
        match role {
            Some(Role::Tier(tier)) if adopt => {
                self.notes.push(format!(
                    "{text} in mirrors.{name} is the configured tier {tier}: adopted"
                ));
                Ok(true)
            }
            // An upstream at the end is what k3s would add itself (design F2).
            Some(Role::Upstream) if desired.closed && adopt => {
                self.notes.push(format!(
                    "{text} in mirrors.{name} is the registry itself: adopted"
                ));
                Ok(true)
            }
            _ => {
                if desired.closed {
                    self.notes.push(format!(
                        "{text} in mirrors.{name} stays behind the agent, though the registry may not be asked directly: see that it is no way round"
                    ));
                }
                Ok(false)
            }
        }
    }

    /// A list with a line for each item.
    fn lines(&mut self, items: &[Node], out: &[usize], agent: &str) -> Result<(), Refused> {
        for (at, item) in items.iter().enumerate() {
            let (start, indent) = place::of_item(self.base, item)?;
            if at == 0 {
                let line = self.item(indent, agent);
                self.splices.push((start..start, line));
            }
            if out.contains(&at) {
                self.splices.push((start..start, ASIDE.to_owned()));
                self.adopted.push(place::line(self.base, start).to_owned());
            }
        }
        Ok(())
    }

    /// An entry that has no `endpoint` yet.
    fn without_list(&mut self, key: &Node, entry: &Node, agent: &str) -> Result<(), Refused> {
        let name = key.text().unwrap_or_default();
        let list = format!("endpoint: [{}]", flow::quoted(agent));
        match &entry.kind {
            Kind::Mapping { pairs, flow: true } => {
                let mut now = self
                    .base
                    .get(entry.span.clone())
                    .unwrap_or_default()
                    .to_owned();
                let separator = if pairs.is_empty() { "" } else { ", " };
                now.insert_str(1, &format!("{list}{separator}"));
                self.record(name, entry, now);
                Ok(())
            }
            Kind::Mapping { pairs, flow: false } => {
                let Some((first, _)) = pairs.first() else {
                    return Ok(());
                };
                let indent = place::indent(self.base, first)?;
                let lines = self.list(indent, &[agent]);
                let start = place::line_start(self.base, first.span.start);
                self.splices.push((start..start, lines));
                Ok(())
            }
            _ if entry.is_absent() => {
                let indent = place::indent(self.base, key)? + 2;
                let lines = self.list(indent, &[agent]);
                self.below(key, &lines)
            }
            _ => {
                self.record(name, entry, format!("{{{list}}}"));
                Ok(())
            }
        }
    }

    /// `endpoint` with its items, all ours.
    pub(super) fn list(&self, indent: usize, urls: &[&str]) -> String {
        let mut lines = self.key(indent, "endpoint");
        for url in urls {
            lines.push_str(&self.item(indent + 2, url));
        }
        lines
    }

    /// A line of ours that other lines stand below.
    pub(super) fn key(&self, indent: usize, key: &str) -> String {
        format!("{:indent$}{key}:{OURS}{}", "", self.end)
    }

    fn item(&self, indent: usize, url: &str) -> String {
        format!("{:indent$}- {}{OURS}{}", "", flow::quoted(url), self.end)
    }

    /// Puts lines below a key that has no value.
    pub(super) fn below(&mut self, key: &Node, lines: &str) -> Result<(), Refused> {
        if !place::ends_its_line(self.base, key) {
            return Err(unusual(
                key.line,
                "something stands behind a key that has no value",
            ));
        }
        let line = place::line(self.base, key.span.start);
        let at = place::line_start(self.base, key.span.start) + line.len();
        self.insert(at, lines);
        Ok(())
    }

    /// Puts lines before the byte `at`, which begins a line or ends the text.
    pub(super) fn insert(&mut self, at: usize, lines: &str) {
        let before = self.base.get(..at).unwrap_or_default();
        let lines = if before.is_empty() || before.ends_with('\n') {
            lines.to_owned()
        } else {
            // The last line has no end: then the last one of ours has none.
            format!(
                "{}{}",
                self.end,
                lines.strip_suffix(self.end).unwrap_or(lines)
            )
        };
        self.splices.push((at..at, lines));
    }

    fn record(&mut self, mirror: &str, node: &Node, now: String) {
        let was = self
            .base
            .get(node.span.clone())
            .unwrap_or_default()
            .to_owned();
        self.splices.push((node.span.clone(), now.clone()));
        let mirror = mirror.to_owned();
        self.records.push(flow::Record { mirror, was, now });
    }

    /// What the entry must mean in the end: the agent, then what stays.
    pub(super) fn expect(&mut self, name: &str, agent: &str, items: &[Node], out: &[usize]) {
        let entry = child(child(&mut self.expected, "mirrors"), name);
        let list = child(entry, "endpoint");
        let old = match list {
            Value::Sequence(values) => std::mem::take(values),
            _ => Vec::new(),
        };
        debug_assert!(
            old.len() == items.len() || items.is_empty(),
            "two parsers, one list"
        );
        let stays = old
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !out.contains(at));
        let agent = Value::String(agent.to_owned());
        *list = Value::Sequence(
            [agent]
                .into_iter()
                .chain(stays.map(|(_, value)| value))
                .collect(),
        );
    }

    /// What a new entry must mean.
    pub(super) fn expect_new(&mut self, name: &str, urls: &[&str]) {
        let list = child(
            child(child(&mut self.expected, "mirrors"), name),
            "endpoint",
        );
        let urls = urls.iter().map(|url| Value::String((*url).to_owned()));
        *list = Value::Sequence(urls.collect());
    }

    /// k3s adds the registry itself behind every list, unless told otherwise (design F6).
    pub(super) fn warn_of_default(
        &mut self,
        name: &str,
        root: Option<&Node>,
        desired: &DesiredHost,
        wanted: &Edit<'_>,
    ) {
        if !desired.closed {
            return;
        }
        let configs = root.and_then(|root| root.get("configs"));
        if !wanted.default_endpoint_disabled {
            self.notes.push(format!(
                "mirrors.{name}: after its start k3s lets containerd ask the registry itself until the live file is back; only --disable-default-registry-endpoint keeps it from that"
            ));
        } else if configs.is_some_and(|configs| configs.get(name).is_some()) {
            self.notes.push(format!(
                "configs.{name} keeps k3s from honouring --disable-default-registry-endpoint for it"
            ));
        }
    }

    fn finish(mut self) -> Result<Edited, Refused> {
        self.splices.sort_by_key(|(span, _)| span.start);
        let mut text = String::with_capacity(self.base.len() + 256);
        let mut at = 0;
        for (span, new) in &self.splices {
            text.push_str(self.base.get(at..span.start).unwrap_or_default());
            text.push_str(new);
            at = span.end;
        }
        text.push_str(self.base.get(at..).unwrap_or_default());
        for record in &self.records {
            marks::append(&mut text, &record.line(self.end));
        }
        let found = read::value(&text).map_err(|error| Refused::ReadBack(error.to_string()))?;
        if found != self.expected {
            let what = "another parser sees other entries in it".to_owned();
            return Err(Refused::ReadBack(what));
        }
        Ok(Edited {
            text,
            adopted: self.adopted,
            notes: self.notes,
        })
    }
}

/// The value of a key, which is made if need be.
fn child<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_mapping() {
        *value = Value::Mapping(Mapping::new());
    }
    let key = Value::String(key.to_owned());
    match value {
        Value::Mapping(mapping) => mapping.entry(key).or_insert(Value::Null),
        other => other,
    }
}

fn same(text: &str, agent: &str) -> bool {
    let read = |text| EndpointUrl::parse(text, Reader::K3s);
    read(text).is_some() && read(text) == read(agent)
}
