//! Reports for programs as text. Whoever shows them on a terminal sees escapes, as in the reports for people.

use crate::printable::is_printable;
use serde::Serialize;
use std::fmt::Write as _;

/// A document over several lines.
pub(super) fn pretty(value: &impl Serialize) -> String {
    // Maps, texts and numbers: this cannot fail.
    escaped(serde_json::to_string_pretty(value).unwrap_or_default()) + "\n"
}

/// A document on one line.
pub(super) fn line(value: &impl Serialize) -> String {
    escaped(serde_json::to_string(value).unwrap_or_default()) + "\n"
}

/// The same document without any character that is not printable. JSON itself escapes those below U+0020 alone; the
/// others stand in its strings only.
fn escaped(text: String) -> String {
    let is_shown = |c| c == '\n' || is_printable(c);
    if text.chars().all(is_shown) {
        return text;
    }
    let mut out = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        if is_shown(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing into a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn it_is_the_same_document() {
        let hostile = "\u{1b}[2J\n\u{7f}\u{9b}31m\u{202e}\u{2028}\u{e0041} ä\"\\";
        let value = json!({ "key\u{2066}": [hostile, 1, null] });
        for text in [pretty(&value), line(&value)] {
            assert!(
                text.chars().all(|c| c == '\n' || is_printable(c)),
                "{text:?}"
            );
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
        assert_eq!(line(&"\u{9b}\u{e0041}ä"), "\"\\u009b\\udb40\\udc41ä\"\n");
    }
}
