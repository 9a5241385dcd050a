//! Percent-encoding (RFC 3986, 2.1), read strictly.

use percent_encoding::percent_decode_str;

/// The text that was encoded. `None`: a `%` without two digits behind it, or no UTF-8.
#[must_use]
pub fn percent_decoded(text: &str) -> Option<String> {
    // The library leaves what is no escape as it stands.
    let is_escape = |behind: &str| {
        let digits = behind.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_escapes_of_utf8_are_decoded() {
        let table = [
            ("", Some("")),
            ("a b", Some("a b")),
            ("myreg.io%3A5000", Some("myreg.io:5000")),
            ("%c3%A4%25", Some("ä%")),
            ("%", None),
            ("%f", None),
            ("%zz", None),
            ("%+f", None),
            ("%ff", None),
        ];
        for (text, due) in table {
            assert_eq!(percent_decoded(text).as_deref(), due, "{text}");
        }
    }
}
