//! Text in HTML: what others said is escaped, for HTML and for a terminal.

use crate::printable::printable;
use std::fmt::{self, Write};

/// A text with HTML's special characters escaped, for element content and quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

/// The same over several lines: line ends stay.
pub(super) struct Lines<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in printable(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.lines() {
            writeln!(f, "{}", Escaped(line))?;
        }
        Ok(())
    }
}
