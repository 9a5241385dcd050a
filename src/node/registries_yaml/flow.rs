//! Entries in brackets, where no line can be ours: a piece is put in, and recorded in a comment above `mirrors`.

use super::tree::{self, Node};
use super::{RECORD, Refused};
use crate::node::marks;
use serde::{Deserialize, Serialize};

/// A piece of one entry of `mirrors`: what it was, and what it became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The entry's key.
    pub(super) mirror: String,
    /// The bytes that were replaced; 0.1.0 kept those of the whole list.
    pub(super) was: String,
    /// The bytes since, with the agent in double quotes.
    pub(super) now: String,
}

// === impl Record ===

impl Record {
    /// The record as a comment.
    pub(super) fn line(&self, end: &str) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{RECORD}{json}{end}")
    }

    /// The record of a line, if it is one.
    pub(super) fn of(line: &str) -> Option<Self> {
        let json = marks::content(line).strip_prefix(RECORD)?;
        serde_json::from_str(json).ok()
    }

    /// Puts the old bytes back, wherever in the entry the new ones stand by now.
    ///
    /// # Errors
    /// Says that they are not found any more, though the agent is.
    pub(super) fn undo(&self, text: &mut String) -> Result<(), Refused> {
        let lost = || {
            Refused::Unusual(format!(
                "mirrors.{} has changed so much that the agent cannot be taken out of its brackets again: take {} out of it",
                self.mirror, self.now
            ))
        };
        let root = tree::parse(text)?.ok_or_else(lost)?;
        let mirrors = root.get("mirrors");
        // The user has taken the entry out, and ours with it.
        let Some(entry) = mirrors.and_then(|mirrors| mirrors.get(&self.mirror)) else {
            return Ok(());
        };
        // Behind the last item there is no comma any more.
        for now in [&*self.now, self.now.trim_end_matches([',', ' '])] {
            for node in [entry.get("endpoint"), Some(entry)].into_iter().flatten() {
                let start = node.span.start;
                let found = text.get(node.span.clone()).and_then(|text| text.find(now));
                if let Some(at) = found.map(|at| start + at) {
                    text.replace_range(at..at + now.len(), &self.was);
                    return Ok(());
                }
            }
        }
        let agent = self.now.split('"').nth(1).unwrap_or_default();
        let left = text.get(entry.span.clone()).unwrap_or_default();
        if left.contains(agent) {
            Err(lost())
        } else {
            Ok(())
        }
    }
}

/// The agent as the first item of a bracketed list, before what stands behind the bracket.
pub(super) fn item(agent: &str, behind: &str) -> String {
    let separator = match behind.trim_start().starts_with(']') {
        true => "",
        false if behind.starts_with(['\r', '\n']) => ",",
        false => ", ",
    };
    format!("{}{separator}", quoted(agent))
}

/// The agent as the only item of a list.
pub(super) fn list(agent: &str) -> String {
    format!("[{}]", quoted(agent))
}

/// Where the value of a key that has none goes, in a bracketed entry, and the value.
pub(super) fn value(text: &str, key: &Node, agent: &str) -> (usize, String) {
    let end = key.span.end;
    let behind = text.get(end..).unwrap_or_default();
    let space = behind.len() - behind.trim_start().len();
    match behind.trim_start().starts_with(':') {
        true => (end + space + 1, format!(" {}", list(agent))),
        false => (end, format!(": {}", list(agent))),
    }
}

/// A double-quoted scalar; JSON's strings are YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
