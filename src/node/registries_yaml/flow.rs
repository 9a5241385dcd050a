//! Lists in brackets: changed in place, item by item, with the old text recorded above `mirrors`.

use super::tree::{Kind, Node};
use super::{RECORD, Refused, read, tree, unusual};
use crate::node::marks;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a node of one entry of `mirrors` was, and what it became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The entry's key.
    pub(super) mirror: String,
    /// The text of `endpoint`, or of the whole entry where it had none.
    pub(super) was: String,
    /// The text since.
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

    /// Puts the old text back; where the user has changed the list since, takes ours out of it and puts the
    /// adopted ones behind.
    ///
    /// # Errors
    /// Says that the place is not found any more.
    pub(super) fn undo(&self, text: &mut String) -> Result<(), Refused> {
        let lost = || {
            Refused::Unusual(format!(
                "mirrors.{} has changed so much that the old list cannot be put back; it was {}",
                self.mirror, self.was
            ))
        };
        let root = tree::parse(text)?.ok_or_else(lost)?;
        let entry = root
            .get("mirrors")
            .and_then(|mirrors| mirrors.get(&self.mirror));
        // The user has taken the entry out, and ours with it.
        let Some(entry) = entry else { return Ok(()) };
        let list = entry.get("endpoint");
        for node in [list, Some(entry)].into_iter().flatten() {
            if text.get(node.span.clone()) == Some(self.now.as_str()) {
                text.replace_range(node.span.clone(), &self.was);
                return Ok(());
            }
        }
        let Some(list) = list else { return Ok(()) };
        let (was, now) = (endpoints(&self.was)?, endpoints(&self.now)?);
        let ours: Vec<&String> = now.iter().filter(|url| !was.contains(url)).collect();
        let back: Vec<&String> = was.iter().filter(|url| !now.contains(url)).collect();
        let Kind::Sequence { items, flow: true } = &list.kind else {
            return Err(lost());
        };
        let is_ours = |item: &Node| ours.iter().any(|own| item.text() == Some(own.as_str()));
        let mut spans = Vec::new();
        for (at, _) in items.iter().enumerate().filter(|(_, item)| is_ours(item)) {
            spans.extend(cut(text, items, at)?);
        }
        let end = list.span.end.saturating_sub(1);
        let left = items.len() > spans.len();
        let trailing = text
            .get(..end)
            .unwrap_or_default()
            .trim_end()
            .ends_with(',');
        let separator = if left && !trailing { ", " } else { "" };
        let back: Vec<String> = back.iter().map(|url| quoted(url)).collect();
        if !back.is_empty() {
            text.insert_str(end, &format!("{separator}{}", back.join(", ")));
        }
        for span in spans.into_iter().rev() {
            text.replace_range(span, "");
        }
        Ok(())
    }
}

/// The text of a bracketed list with `agent` first and without the items that `out` names.
pub(super) fn edited(
    text: &str,
    list: &Node,
    items: &[Node],
    agent: &str,
    out: &[usize],
) -> Result<String, Refused> {
    let mut now = text.get(list.span.clone()).unwrap_or_default().to_owned();
    for at in out.iter().rev() {
        if let Some(span) = cut(text, items, *at)? {
            now.replace_range(span.start - list.span.start..span.end - list.span.start, "");
        }
    }
    let behind = now.get(1..).unwrap_or_default();
    let separator = match out.len() < items.len() {
        true if behind.starts_with(['\r', '\n']) => ",",
        true => ", ",
        false => "",
    };
    now.insert_str(1, &format!("{}{separator}", quoted(agent)));
    // The last item is gone, and its comma with it.
    let list = now.strip_suffix(']').unwrap_or(&now).trim_end_matches(' ');
    if let Some(list) = list
        .strip_suffix(',')
        .filter(|_| out.contains(&(items.len() - 1)))
    {
        now = format!("{list}]");
    }
    Ok(now)
}

/// The text of a bracketed entry whose `endpoint` has no value, with one.
pub(super) fn filled(text: &str, entry: &Node, key: &Node, agent: &str) -> String {
    let mut now = text.get(entry.span.clone()).unwrap_or_default().to_owned();
    let end = key.span.end - entry.span.start;
    let behind = now.get(end..).unwrap_or_default();
    let space = behind.len() - behind.trim_start().len();
    let (at, colon) = match behind.trim_start().starts_with(':') {
        true => (end + space + 1, ""),
        false => (end, ":"),
    };
    now.insert_str(at, &format!("{colon} [{}]", quoted(agent)));
    now
}

/// The bytes of an item with the comma behind it and one space.
fn cut(text: &str, items: &[Node], at: usize) -> Result<Option<Range<usize>>, Refused> {
    let Some(item) = items.get(at) else {
        return Ok(None);
    };
    if item.text().is_none() {
        return Err(unusual(
            item.line,
            "the list holds something that is no text",
        ));
    }
    let behind = text.get(item.span.end..).unwrap_or_default();
    let rest = behind.trim_start_matches([' ', '\t']);
    let mut end = item.span.end;
    if let Some(after) = rest.strip_prefix(',') {
        end += behind.len() - rest.len() + 1 + usize::from(after.starts_with(' '));
    } else if at + 1 < items.len() {
        return Err(unusual(
            item.line,
            "a comma stands far behind its item: write it directly behind",
        ));
    }
    Ok(Some(item.span.start..end))
}

/// A double-quoted scalar; JSON's strings are YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// The endpoints in a recorded text: of a list, or of a whole entry.
fn endpoints(text: &str) -> Result<Vec<String>, Refused> {
    let Some(node) = tree::parse(text)? else {
        return Ok(Vec::new());
    };
    Ok(read::texts(node.get("endpoint").unwrap_or(&node)))
}
