//! Where a node's line begins, and whether the line is plain enough to put another one beside it.

use super::tree::Node;
use super::{Refused, unusual};
use crate::node::marks::{self, BYTE_ORDER_MARK};

/// The first byte of the line.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    // A byte order mark is no part of the line.
    match text.get(start..) {
        Some(line) if start == 0 && line.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len_utf8(),
        _ => start,
    }
}

/// The line around a byte, with its end.
pub(super) fn line(text: &str, at: usize) -> &str {
    let rest = text.get(line_start(text, at)..).unwrap_or_default();
    rest.split_inclusive('\n').next().unwrap_or_default()
}

/// The start of the comment lines directly above a line.
pub(super) fn above(text: &str, start: usize) -> usize {
    let before = text.get(..start).unwrap_or_default();
    let lines = before.split_inclusive('\n').rev();
    let comments = lines.take_while(|line| marks::is_comment(line));
    start - comments.map(str::len).sum::<usize>()
}

/// The column of a key that is the first thing in its line.
pub(super) fn indent(text: &str, key: &Node) -> Result<usize, Refused> {
    let start = line_start(text, key.span.start);
    let before = text.get(start..key.span.start).unwrap_or_default();
    if before.bytes().all(|byte| byte == b' ') {
        Ok(before.len())
    } else {
        Err(unusual(
            key.line,
            "something stands before the key: write the entry in lines of its own",
        ))
    }
}

/// The line of an item of a list, and the column of its dash.
pub(super) fn of_item(text: &str, item: &Node) -> Result<(usize, usize), Refused> {
    let start = line_start(text, item.span.start);
    let before = text.get(start..item.span.start).unwrap_or_default();
    let indent = before.len() - before.trim_start_matches(' ').len();
    let dash = before.get(indent..).and_then(|rest| rest.strip_prefix('-'));
    let plain = dash.is_some_and(|rest| rest.bytes().all(|byte| byte == b' ' || byte == b'\t'));
    let inside = text.get(item.span.clone()).unwrap_or_default();
    if plain && !inside.contains('\n') && !item.span.is_empty() {
        Ok((start, indent))
    } else {
        Err(unusual(
            item.line,
            "an endpoint does not stand in one line: write - \"URL\"",
        ))
    }
}

/// Whether nothing but the colon and a comment stands behind a key.
pub(super) fn ends_its_line(text: &str, key: &Node) -> bool {
    let line = line(text, key.span.start);
    let from = key.span.end - line_start(text, key.span.start);
    let behind = marks::content(line).get(from..).unwrap_or_default();
    let behind = behind.trim_start().strip_prefix(':');
    behind.is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'))
}
