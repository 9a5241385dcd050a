//! The `WWW-Authenticate` header (RFC 9110 section 11.6.1), parsed strictly and bounded: it comes from whoever
//! answers, so that nothing is assumed of it. Pure; a fuzz target.

/// A header longer than this, in bytes, holds no challenge for us.
const MAX_HEADER: usize = 8 * 1024;
/// Challenges beyond this are not looked at.
const MAX_CHALLENGES: usize = 16;
/// A challenge with more parameters than this is dropped.
const MAX_PARAMETERS: usize = 16;

/// What a source asks for before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from `realm` (distribution spec, "Token Authentication").
    Bearer(BearerChallenge),
    /// A name and a password.
    Basic {
        /// Shown to people alone.
        realm: Option<String>,
    },
}

/// A Bearer challenge's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BearerChallenge {
    /// Where tokens come from: a URL.
    pub realm: Option<String>,
    /// Whom the token is for.
    pub service: Option<String>,
    /// What it would open.
    pub scope: Option<String>,
}

/// The Bearer and Basic challenges of one header's value, in order. Schemes that we do not speak are skipped.
/// From the first byte that breaks the grammar on nothing is believed: whole challenges before it count, the one it
/// stands in does not. A challenge that names a parameter twice is dropped (RFC 9110 section 11.2).
#[must_use]
pub fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    if header.len() > MAX_HEADER {
        return found;
    }
    let mut cursor = Cursor { rest: header };
    for _ in 0..MAX_CHALLENGES {
        cursor.skip_separators();
        if cursor.rest.is_empty() {
            break;
        }
        let Some(raw) = cursor.challenge() else {
            break;
        };
        found.extend(raw.understood());
    }
    found
}

/// The unread rest of a header.
struct Cursor<'a> {
    rest: &'a str,
}

/// A challenge of any scheme.
struct Raw<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    /// `auth-scheme [ 1*SP ( token68 / #auth-param ) ]`; stands at a separator or the end afterwards. `None`:
    /// the grammar is broken.
    fn challenge(&mut self) -> Option<Raw<'a>> {
        let scheme = self.token()?;
        let mut parameters = Vec::new();
        if self.at_end_of_element() {
            return Some(Raw { scheme, parameters });
        }
        if !self.rest.starts_with(' ') {
            return None;
        }
        self.skip_blanks();
        if self.at_end_of_element() {
            return Some(Raw { scheme, parameters });
        }
        if self.take_token68() {
            // Neither Bearer nor Basic challenges take this form: an unknown scheme's.
            return Some(Raw {
                scheme: "",
                parameters,
            });
        }
        loop {
            parameters.push(self.parameter()?);
            self.skip_blanks();
            if !self.at_end_of_element() {
                return None;
            }
            // The comma belongs to both lists: what follows is a parameter of this challenge only if a `=`
            // comes after its first word, else it is the next scheme.
            let mut ahead = Cursor { rest: self.rest };
            ahead.skip_separators();
            if !ahead.at_parameter() {
                return Some(Raw { scheme, parameters });
            }
            self.rest = ahead.rest;
        }
    }

    /// `token BWS "=" BWS ( token / quoted-string )`
    fn parameter(&mut self) -> Option<(&'a str, String)> {
        let name = self.token()?;
        self.skip_blanks();
        self.rest = self.rest.strip_prefix('=')?;
        self.skip_blanks();
        let value = match self.rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                self.quoted()?
            }
            None => self.token()?.to_owned(),
        };
        Some((name, value))
    }

    /// The rest of a quoted-string after its first quote.
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        loop {
            let (at, c) = chars.next()?;
            let c = match c {
                '"' => {
                    self.rest = self.rest.get(at..)?.strip_prefix('"')?;
                    return Some(value);
                }
                '\\' => chars.next()?.1,
                c => c,
            };
            if c.is_control() && c != '\t' {
                return None;
            }
            value.push(c);
        }
    }

    /// `1*tchar`
    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_token_char(c));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Takes `token68` if that is all there is up to the next comma: no `name=value` can look like it, since
    /// its `=` only stand at the end.
    fn take_token68(&mut self) -> bool {
        let end = self.rest.find(',').unwrap_or(self.rest.len());
        let (element, rest) = self.rest.split_at(end);
        let element = element.trim_end_matches([' ', '\t']);
        let body = element.trim_end_matches('=');
        let char68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let fits = !body.is_empty() && body.chars().all(char68);
        if fits {
            self.rest = rest;
        }
        fits
    }

    fn at_parameter(&self) -> bool {
        let mut ahead = Cursor { rest: self.rest };
        ahead.token().is_some() && {
            ahead.skip_blanks();
            ahead.rest.starts_with('=')
        }
    }

    fn at_end_of_element(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(',')
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Empty list elements are allowed (RFC 9110 section 5.6.1.2).
    fn skip_separators(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }
}

// === impl Raw ===

impl Raw<'_> {
    fn understood(self) -> Option<Challenge> {
        let twice = |(at, (name, _)): (usize, &(&str, String))| {
            let mut before = self.parameters.iter().take(at);
            before.any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        if self.parameters.len() > MAX_PARAMETERS || self.parameters.iter().enumerate().any(twice) {
            return None;
        }
        let value = |wanted: &str| {
            let mut named = self.parameters.iter();
            let (_, value) = named.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            (!value.is_empty()).then(|| value.clone())
        };
        if self.scheme.eq_ignore_ascii_case("bearer") {
            Some(Challenge::Bearer(BearerChallenge {
                realm: value("realm"),
                service: value("service"),
                scope: value("scope"),
            }))
        } else if self.scheme.eq_ignore_ascii_case("basic") {
            Some(Challenge::Basic {
                realm: value("realm"),
            })
        } else {
            None
        }
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests;
