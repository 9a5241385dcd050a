//! Entries for registries that the text does not list yet (design F2: k3s before September 2024).

use super::changes::Changes;
use super::edit::Edit;
use super::tree::{Kind, Node};
use super::{Refused, flow, place};
use crate::node::desired::DesiredHost;
use crate::oci::RegistryName;

/// Adds what is missing, with the endpoints of the `"*"` entry behind the agent: a new entry hides them.
pub(super) fn missing(
    changes: &mut Changes<'_>,
    root: Option<&Node>,
    wanted: &Edit<'_>,
) -> Result<(), Refused> {
    let mirrors = root.and_then(|root| root.get("mirrors"));
    let pairs = mirrors.map(Node::pairs).unwrap_or_default();
    let listed: Vec<RegistryName> = pairs
        .iter()
        .filter_map(|(key, _)| key.text()?.parse().ok())
        .collect();
    let new: Vec<&DesiredHost> = wanted
        .desired
        .iter()
        .filter(|host| !listed.contains(&host.registry))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let wildcard = mirrors.and_then(|mirrors| mirrors.get("*")?.get("endpoint"));
    let copied = wildcard.map(super::read::texts).unwrap_or_default();
    let Some((indent, place)) = place_of(changes.base, root, mirrors)? else {
        changes.notes.push(
            "mirrors is written in brackets: entries for further registries are not added to it"
                .to_owned(),
        );
        return Ok(());
    };
    let mut lines = String::new();
    if matches!(place, Place::Missing(_)) {
        lines.push_str(&changes.key(indent - 2, "mirrors"));
    }
    for desired in new {
        let mut urls = vec![desired.agent_url.as_str()];
        urls.extend(copied.iter().map(String::as_str));
        urls.dedup();
        let name = desired.registry.as_str();
        lines.push_str(&changes.key(indent, &flow::quoted(name)));
        lines.push_str(&changes.list(indent + 2, &urls));
        changes.expect(name, &urls);
        changes.warn_of_default(name, root, desired, wanted);
    }
    match place {
        Place::Missing(at) | Place::Before(at) => changes.insert(at, &lines),
        Place::Below(key) => changes.below(key, &lines)?,
    }
    Ok(())
}

enum Place<'n> {
    /// `mirrors` itself is missing: before the first key, because behind the last one a line could lengthen a
    /// text.
    Missing(usize),
    /// Before the first entry.
    Before(usize),
    /// `mirrors` is empty.
    Below(&'n Node),
}

/// Where entries go, and the column of their keys.
fn place_of<'n>(
    text: &str,
    root: Option<&'n Node>,
    mirrors: Option<&Node>,
) -> Result<Option<(usize, Place<'n>)>, Refused> {
    let Some(root) = root else {
        return Ok(Some((2, Place::Missing(text.len()))));
    };
    let Kind::Mapping { pairs, flow: false } = &root.kind else {
        return Ok(None);
    };
    let Some((first, _)) = pairs.first() else {
        return Ok(None);
    };
    let column = place::indent(text, first)?;
    let (Some(mirrors), Some((key, _))) = (mirrors, root.pair("mirrors")) else {
        let at = place::line_start(text, first.span.start);
        return Ok(Some((column + 2, Place::Missing(at))));
    };
    match &mirrors.kind {
        Kind::Mapping { pairs, flow: false } => {
            let Some((first, _)) = pairs.first() else {
                return Ok(None);
            };
            let at = place::line_start(text, first.span.start);
            Ok(Some((place::indent(text, first)?, Place::Before(at))))
        }
        _ if mirrors.is_absent() => Ok(Some((column + 2, Place::Below(key)))),
        _ => Ok(None),
    }
}
