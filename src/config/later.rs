//! Keys that are reserved for a later version: refused by name, so that nobody takes one for a mistake in writing, and
//! none is accepted without effect.

use super::document::{Node, Value};
use super::merge::quoted;
use super::problem::{Problem, Wrong};

/// The header of a table and a key in it; the header of the whole document is empty.
const LATER: &[(&str, &str)] = &[("", "otel")];

/// Whether the key of that table is one of them.
pub(super) fn is_later(header: &str, key: &str) -> bool {
    LATER.contains(&(header, key))
}

/// A problem for the key, or for each key below it.
pub(super) fn refuse(node: &Node, path: String, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Table(table) if !table.is_empty() => {
            for (key, below) in table {
                refuse(below, format!("{path}.{}", quoted(key)), problems);
            }
        }
        _ => {
            let wrong = Wrong::new(
                "is not in this version",
                format!(
                    "take it out: {} does not know it yet",
                    env!("CARGO_PKG_VERSION")
                ),
            );
            problems.push(Problem::new(node.origin.as_ref(), path, wrong));
        }
    }
}
