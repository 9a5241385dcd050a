//! A URL that a source named: a token realm or the target of a redirect. Pure; what it may lead to is decided
//! where it is used, whether its addresses may be dialled by `upstream` (design S1).

use crate::config::BaseUrl;
use percent_encoding::AsciiSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// Control characters.
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
            return Self::after_scheme(base.https, rest);
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
        let origin = BaseUrl {
            prefix: String::new(),
            ..base.clone()
        };
        Ok(Self { origin, target })
    }

    /// The same by https: what `base` names by http at its own host, as servers behind a TLS proxy do, is asked as `base` is.
    ///
    /// # Errors
    /// It is another host without TLS.
    pub fn over_tls_of(self, base: &BaseUrl) -> Result<Self, String> {
        if self.origin.https {
            return Ok(self);
        }
        if !base.https || self.origin.host != base.host {
            return Err(format!("{self} would go from https to http"));
        }
        let origin = BaseUrl {
            prefix: String::new(),
            ..base.clone()
        };
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
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(InvalidUrl::Scheme),
        };
        Self::after_scheme(https, rest)
    }

    fn after_scheme(https: bool, rest: &str) -> Result<Self, InvalidUrl> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidUrl::Userinfo);
        }
        let (host, port) = split_port(authority).ok_or(InvalidUrl::Authority)?;
        let port = match port {
            None => None,
            Some(port) => Some(decimal_port(port).ok_or(InvalidUrl::Authority)?),
        };
        let origin = BaseUrl {
            https,
            host: host_of(host).ok_or(InvalidUrl::Authority)?,
            port: port.unwrap_or(if https { 443 } else { 80 }),
            prefix: String::new(),
        };
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

/// Host (brackets kept) and the port's digits.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')?.checked_add(1)?;
        let (host, rest) = authority.split_at_checked(end)?;
        return match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((host, port)) => Some((host, Some(port))),
    }
}

fn decimal_port(port: &str) -> Option<u16> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0)
}

/// The host in lower case and without brackets. A name whose last label is a number would be an IPv4 address in a
/// form that only some libraries read (`127.1`, `0x7f.1`): only the one plain form is taken.
fn host_of(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(IpAddr::V6(address).to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let edges = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && edges && label.bytes().all(inside)
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return None;
    }
    let last = name.rsplit('.').next()?;
    let numeric = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
    if numeric {
        return name.parse::<Ipv4Addr>().ok().map(|ip| ip.to_string());
    }
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
