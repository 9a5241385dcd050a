//! A URL that a source named: a token realm or the target of a redirect. Pure; what it may lead to is decided
//! where it is used, whether its addresses may be dialled by `upstream` (design S1).

use crate::config::BaseUrl;
use percent_encoding::AsciiSet;
use std::fmt;

/// Presigned URLs reach 2 to 4 KiB.
const MAX_URL: usize = 8 * 1024;

/// An absolute http or https URL without userinfo and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedUrl {
    /// Scheme, host and port; the prefix is empty.
    pub origin: BaseUrl,
    /// Path and query as they came: `/blob?sig=…`. The query may be a secret.
    pub target: String,
}

/// Why a text is no such URL. Says nothing of the text, which may hold a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Over 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// A control character, such as a line break.
    #[error("it holds a character that has no place in a URL")]
    Character,
    /// Another scheme than http and https.
    #[error("its scheme is neither https nor http")]
    Scheme,
    /// `user:password@`
    #[error("it holds a user name or password")]
    Userinfo,
    /// Not a DNS name, IPv4 or bracketed IPv6 address, or a port out of range.
    #[error("its host or port is malformed")]
    Authority,
}

/// A URL without TLS, where who named it is asked by https.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} would go from https to http")]
pub struct Downgrade(NamedUrl);

// === impl NamedUrl ===

impl NamedUrl {
    /// Parses an absolute URL; a fragment is dropped, and what ought to be percent-encoded is encoded.
    ///
    /// # Errors
    /// [`InvalidUrl`]: see its variants.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        Self::absolute(&encoded(text.as_bytes())?)
    }

    /// Resolves a redirect's `Location` against what was asked of `base`: `at`, path and query (RFC 3986, 5.2). What ought to be
    /// percent-encoded is encoded.
    ///
    /// # Errors
    /// [`InvalidUrl`]: see its variants.
    pub fn resolve(base: &BaseUrl, at: &str, location: &[u8]) -> Result<Self, InvalidUrl> {
        let text = encoded(location)?;
        if let Some(rest) = text.strip_prefix("//") {
            let scheme = if base.https { "https" } else { "http" };
            return Self::absolute(&format!("{scheme}://{rest}"));
        }
        let end = text.find([':', '/', '?']).unwrap_or(text.len());
        if text.get(end..).is_some_and(|rest| rest.starts_with(':')) {
            return Self::absolute(&text);
        }
        let asked = at.split_once('?').map_or(at, |(path, _)| path);
        let (path, query) = match text.find('?') {
            Some(at) => text.split_at(at),
            None => (text.as_str(), ""),
        };
        let target = match path {
            "" if query.is_empty() => at.to_owned(),
            "" => [asked, query].concat(),
            _ if path.starts_with('/') => [&without_dots(path), query].concat(),
            _ => {
                let folder = asked.rfind('/').and_then(|last| asked.get(..=last));
                let path = [folder.unwrap_or("/"), path].concat();
                [&without_dots(&path), query].concat()
            }
        };
        let origin = origin(base);
        Ok(Self { origin, target })
    }

    /// The same by https: what `base` names by http at its own host, as servers behind a TLS proxy do, is asked as `base` is.
    ///
    /// # Errors
    /// [`Downgrade`]: it is another host without TLS.
    pub fn over_tls_of(self, base: &BaseUrl) -> Result<Self, Downgrade> {
        if self.origin.https {
            return Ok(self);
        }
        if !base.https || self.origin.host != base.host {
            return Err(Downgrade(self));
        }
        let origin = origin(base);
        Ok(Self { origin, ..self })
    }

    /// Whether it has the scheme, host and port of `base`.
    #[must_use]
    pub fn has_origin_of(&self, base: &BaseUrl) -> bool {
        (self.origin.https, &self.origin.host, self.origin.port)
            == (base.https, &base.host, base.port)
    }

    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    fn absolute(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
        if !["https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(InvalidUrl::Scheme);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidUrl::Userinfo);
        }
        let origin = BaseUrl::origin_of(text).ok_or(InvalidUrl::Authority)?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{target}");
        Ok(Self { origin, target })
    }
}

impl fmt::Display for NamedUrl {
    /// Without the query, which is never logged (design S1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path())
    }
}

impl fmt::Debug for NamedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text without its fragment, and with whatever has no place in a URL percent-encoded byte by byte, as Go's client sends it:
/// blanks, `"<>\^`, the grave accent and what is not ASCII. `|` `{` and `}` occur in real Locations and harm nobody.
fn encoded(text: &[u8]) -> Result<String, InvalidUrl> {
    let text = text.trim_ascii();
    let text = text.split(|byte| *byte == b'#').next().unwrap_or_default();
    if text.iter().any(u8::is_ascii_control) {
        return Err(InvalidUrl::Character);
    }
    let encoded = percent_encoding::percent_encode(text, UNENCODED).to_string();
    match encoded.len() > MAX_URL {
        true => Err(InvalidUrl::TooLong),
        false => Ok(encoded),
    }
}

/// What is encoded beside everything that is not ASCII.
const UNENCODED: &AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`');

/// An absolute path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            // It was a folder's name.
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// Scheme, host and port alone.
fn origin(url: &BaseUrl) -> BaseUrl {
    BaseUrl {
        prefix: String::new(),
        ..url.clone()
    }
}

#[cfg(test)]
mod tests;
