//! Reports for programs as text. Whoever shows them on a terminal sees escapes, as in the reports for people.

use crate::printable::json;
use serde::Serialize;

/// A document over several lines.
pub(super) fn pretty(value: &impl Serialize) -> String {
    // Maps, texts and numbers: this cannot fail.
    json(serde_json::to_string_pretty(value).unwrap_or_default()) + "\n"
}

/// A document on one line.
pub(super) fn line(value: &impl Serialize) -> String {
    json(serde_json::to_string(value).unwrap_or_default()) + "\n"
}
