//! Puts the agent first among the endpoints of the registries that the text lists. Everything else in it stays, the
//! endpoints of configured tiers as well: what k3s generates has one table more than without us (design F9), and only the
//! live file sets tiers aside.

use super::changes::Changes;
use super::read::{self, has_others, has_rewrite, refuse_special};
use super::tree::{Kind, Node};
use super::{Refused, flow, place};
use crate::config::Existing;
use crate::node::desired::DesiredHost;
use crate::node::endpoint::{EndpointUrl, Reader};
use crate::node::registries_yaml::{add, remove};

/// What is wanted.
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

/// A text with the agent in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// What should stand in the file.
    pub text: String,
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
        let texts = items.iter().filter_map(Node::text);
        if wanted.scope == Scope::Listed && !has_others(name, texts) {
            // k3s writes no file for it, and would for the agent (design F9).
            return Ok(());
        }
        let agent = desired.agent_url.as_str();
        let first = items.first().and_then(Node::text).unwrap_or_default();
        if same(first, agent) {
            // By the user's own hand.
            return Ok(());
        }
        if wanted.existing == Existing::Refuse && !items.is_empty() {
            return Err(Refused::Existing(format!("{first} in mirrors.{name}")));
        }
        if desired.closed {
            let items = items.iter().filter_map(Node::text);
            self.notes.extend(items.map(|item| format!(
                "{item} in mirrors.{name} stays behind the agent, though the registry may not be asked directly: see that it is no way round"
            )));
        }
        self.expect(name, &[agent]);
        let Some((list_key, list)) = list else {
            return self.without_list(key, entry, agent);
        };
        match (&list.kind, items.first()) {
            (Kind::Sequence { flow: false, .. }, Some(first)) => {
                let (start, indent) = place::of_item(self.base, first)?;
                let line = self.item(indent, agent);
                let above = place::above(self.base, start);
                self.splices.push((above..above, line));
            }
            (Kind::Sequence { .. }, _) => {
                let at = list.span.start + 1;
                let put = flow::item(agent, self.base.get(at..).unwrap_or_default());
                self.record(name, at..at, put);
            }
            _ if list.is_absent() && matches!(entry.kind, Kind::Mapping { flow: true, .. }) => {
                let (at, put) = flow::value(self.base, list_key, agent);
                self.record(name, at..at, put);
            }
            _ if list.is_absent() => {
                let indent = place::indent(self.base, list_key)? + 2;
                let line = self.item(indent, agent);
                self.below(list_key, &line)?;
            }
            _ => self.record(name, list.span.clone(), flow::list(agent)),
        }
        Ok(())
    }

    /// An entry that has no `endpoint` yet.
    fn without_list(&mut self, key: &Node, entry: &Node, agent: &str) -> Result<(), Refused> {
        let name = key.text().unwrap_or_default();
        let list = format!("endpoint: {}", flow::list(agent));
        match &entry.kind {
            Kind::Mapping { pairs, flow: true } => {
                let separator = if pairs.is_empty() { "" } else { ", " };
                let at = entry.span.start + 1;
                self.record(name, at..at, format!("{list}{separator}"));
            }
            Kind::Mapping { pairs, flow: false } => {
                let Some((first, _)) = pairs.first() else {
                    return Ok(());
                };
                let indent = place::indent(self.base, first)?;
                let lines = self.list(indent, &[agent]);
                let start = place::line_start(self.base, first.span.start);
                self.splices.push((start..start, lines));
            }
            _ if entry.is_absent() => {
                let indent = place::indent(self.base, key)? + 2;
                let lines = self.list(indent, &[agent]);
                self.below(key, &lines)?;
            }
            _ => self.record(name, entry.span.clone(), format!("{{{list}}}")),
        }
        Ok(())
    }
}

fn same(text: &str, agent: &str) -> bool {
    let read = |text| EndpointUrl::parse(text, Reader::K3s);
    read(text).is_some() && read(text) == read(agent)
}
