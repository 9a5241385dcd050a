//! Text of others made safe to show: on a terminal, in a line of the log, in an error message. No escape sequence, no
//! line break and no control of the direction of writing gets through. And what all texts have in common. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character shows as itself and changes nothing around it. Controls of C0 and C1, line and paragraph
/// separators, controls of the direction of writing, characters without a width and whatever Unicode does not assign do
/// not.
#[must_use]
pub(crate) fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        // The standard library's table is the one of `Debug`.
        other => other.escape_debug().len() == 1,
    }
}

/// The text on one line, with `\n` or `\u{202e}` in the place of each character that is not printable.
#[must_use]
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    // Most texts are ASCII: without a branch per byte the compiler looks at many at once.
    let plain = |all: bool, byte: u8| all & (b' '..=b'~').contains(&byte);
    if text.bytes().fold(true, plain) || text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        if is_printable(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// The same JSON document without any character that is not printable. JSON itself escapes those below U+0020 alone; the
/// others stand in its strings only.
#[must_use]
pub(crate) fn json(document: String) -> String {
    let is_shown = |c| c == '\n' || is_printable(c);
    if document.chars().all(is_shown) {
        return document;
    }
    let mut out = String::with_capacity(document.len().saturating_add(16));
    for character in document.chars() {
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

/// The text on one line, with a blank in the place of each character that is not printable: where a sentence of others
/// stands in one of ours.
pub(crate) fn blanked(text: &str) -> impl Iterator<Item = char> {
    let blank = |c| if is_printable(c) { c } else { ' ' };
    text.chars().map(blank)
}

/// An enum of which programs know each variant by a word: the variant, and beside it its word.
macro_rules! words {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Each of them, in the order of the list.
            #[allow(dead_code, reason = "most are walked through by tests alone")]
            $vis const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for programs, logs and metrics.
            #[must_use]
            $vis fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}
pub(crate) use words;

/// `1 attempt`, `2 attempts`: the number with the noun that fits it.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// An error with everything behind it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_terminal_is_not_printable() {
        let ranges = [
            '\0'..='\u{1f}',
            '\u{7f}'..='\u{a0}',
            '\u{ad}'..='\u{ad}',
            '\u{61c}'..='\u{61c}',
            '\u{180e}'..='\u{180e}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{206f}',
            '\u{feff}'..='\u{feff}',
            '\u{fff9}'..='\u{fffb}',
            '\u{e0001}'..='\u{e007f}',
            '\u{10ffff}'..='\u{10ffff}',
        ];
        for character in ranges.into_iter().flatten() {
            assert!(!is_printable(character), "{character:?}");
        }
    }

    #[test]
    fn what_people_write_is() {
        let text = r##" !"#$%&'()*+,-./09:;<=>?@AZ[\]^_`az{|}~ äßçéñ…–“”€ 日本語 привет ελληνικά עברית عربي 🦀"##;
        assert!(matches!(printable(text), Cow::Borrowed(shown) if shown == text));
    }

    #[test]
    fn json_is_the_same_document() {
        let hostile = "\u{1b}[2J\n\u{7f}\u{9b}31m\u{202e}\u{2028}\u{e0041} ä\"\\";
        let value = serde_json::json!({ "key\u{2066}": [hostile, 1, null] });
        for text in [value.to_string(), format!("{value:#}")] {
            let text = json(text);
            assert!(
                text.chars().all(|c| c == '\n' || is_printable(c)),
                "{text:?}"
            );
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap(),
                value
            );
        }
        let text = serde_json::json!("\u{9b}\u{e0041}ä").to_string();
        assert_eq!(json(text), "\"\\u009b\\udb40\\udc41ä\"");
    }

    #[test]
    fn the_rest_is_escaped() {
        let table = [
            ("", ""),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{1b}[2J\u{9b}31m\u{7f}", r"\u{1b}[2J\u{9b}31m\u{7f}"),
            ("ok \u{202e}dab\u{2066}", r"ok \u{202e}dab\u{2066}"),
            ("ä\u{200b}", r"ä\u{200b}"),
        ];
        for (text, shown) in table {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(blanked("a\n\u{202e}b").collect::<String>(), "a  b");
    }
}
