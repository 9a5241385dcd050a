//! Puts the agent first among the endpoints of the registries that the text lists.

use super::changes::Changes;
use super::read::{self, has_rewrite, refuse_special};
use super::tree::{Kind, Node};
use super::{Refused, flow, place};
use crate::config::Existing;
use crate::node::desired::{DesiredHost, Role};
use crate::node::endpoint::{EndpointUrl, Reader};
use crate::node::marks::ASIDE;
use crate::node::registries_yaml::{add, remove};

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
    /// What was set aside, byte for byte, for the ledger: [`remove()`] puts it back by itself.
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
    let mut changes = Changes::of(&base, root.as_ref())?;
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
            _ if list.is_absent() && matches!(entry.kind, Kind::Mapping { flow: true, .. }) => {
                let now = flow::filled(self.base, entry, list_key, agent);
                self.record(name, entry, now);
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
            self.notes
                .push(format!("{text} in mirrors.{name} is this agent: adopted"));
            return Ok(true);
        }
        if wanted.existing == Existing::Refuse {
            return Err(Refused::Existing(format!("{text} in mirrors.{name}")));
        }
        let url = EndpointUrl::root_by_k3s(text);
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
                let above = place::above(self.base, start);
                self.splices.push((above..above, line));
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
}

fn same(text: &str, agent: &str) -> bool {
    let read = |text| EndpointUrl::parse(text, Reader::K3s);
    read(text).is_some() && read(text) == read(agent)
}
