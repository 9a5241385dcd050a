//! Base URLs: strict, because what is written here is what will be dialled.

use super::problem::Wrong;
use std::fmt;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `http(s)://host[:port][/prefix]`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// Its scheme: https, else http.
    pub https: bool,
    /// Lower-case DNS name or IP literal, without brackets.
    pub host: String,
    /// Always present: 443 or 80 where it was left out.
    pub port: u16,
    /// Empty, or a path that starts and does not end with `/`.
    pub prefix: String,
}

/// `host:port`, or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Lower-case DNS name or IP literal, without brackets.
    pub host: String,
    /// Of the program that listens there.
    pub port: u16,
}

// === impl BaseUrl ===

impl BaseUrl {
    /// `host` or `host:port` for the Host header; brackets around IPv6, no port where it is the default.
    #[must_use]
    pub fn authority(&self) -> String {
        let mut authority = String::with_capacity(self.host.len() + "[]:65535".len());
        let is_v6 = self.host.contains(':');
        authority.push_str(if is_v6 { "[" } else { "" });
        authority.push_str(&self.host);
        authority.push_str(if is_v6 { "]" } else { "" });
        let default = if self.https { 443 } else { 80 };
        if self.port != default {
            authority.push(':');
            // Writing to a string does not fail.
            let _ = write!(authority, "{}", self.port);
        }
        authority
    }

    /// Scheme, host and port of an absolute URL; `None`: it is none.
    #[must_use]
    pub fn origin_of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Self::parse(&format!("{scheme}://{authority}")).ok()
    }

    /// Where this one is http and sends its clients to https of the same host: what to write instead, for people.
    #[must_use]
    pub fn instead_of_http(&self, to: &Self) -> Option<String> {
        let leads_to_https = !self.https && to.https && to.host == self.host;
        leads_to_https.then(|| {
            let right = Self {
                prefix: self.prefix.clone(),
                ..to.clone()
            };
            format!("{self} leads to https: write \"{right}\" in its place")
        })
    }

    /// Parses `http(s)://host[:port][/prefix]`; lower case, without a last slash.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        // First of all, so that no other message shows a password.
        if text.contains('@') {
            return Err(Wrong::new(
                "holds a name or a password",
                "take it out of the URL and write username and password_file",
            ));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Wrong::new(
                format!("{text:?} is no URL"),
                format!("write \"https://{}\"", text.trim_start_matches('/')),
            ));
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => {
                return Err(Wrong::new(
                    format!("{scheme}:// is not spoken here"),
                    "write a URL that starts with https:// or http://",
                ));
            }
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if rest.contains(['?', '#']) {
            return Err(Wrong::new(
                format!("{text:?} has a query"),
                "write scheme, host, port and path only",
            ));
        }
        let (host, port) = split_port(authority).ok_or_else(|| {
            Wrong::new(
                format!("{authority:?} is no host with an optional port"),
                "write https://HOST or https://HOST:PORT, IPv6 addresses in brackets",
            )
        })?;
        Ok(Self {
            https,
            host,
            port: port.unwrap_or(if https { 443 } else { 80 }),
            prefix: prefix(path)?,
        })
    }

    /// Whether the host is an IP literal or the word for this machine that is certainly loopback.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

// === impl HostPort ===

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// `host:port`; the port may be left out where there is a usual one.
pub(super) fn parse_host_port(text: &str, usual: u16) -> Option<HostPort> {
    let (host, port) = split_port(text)?;
    let port = port.unwrap_or(usual);
    Some(HostPort { host, port })
}

/// A proxy's URL as it may be shown.
pub(super) fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, behind)) => format!("http://[redacted]@{behind}"),
        None => text.to_owned(),
    }
}

fn prefix(path: &str) -> Result<String, Wrong> {
    let path = path.trim_end_matches('/');
    if path == "/v2" || path.ends_with("/v2") {
        return Err(Wrong::new(
            "ends in /v2",
            "leave /v2 out: it is put behind the URL for every request",
        ));
    }
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    let walks = path
        .split('/')
        .skip(1)
        .any(|part| matches!(part, "" | "." | ".."));
    if walks || !path.bytes().all(plain) {
        return Err(Wrong::new(
            format!("{path:?} is no plain path"),
            "write a path of letters, digits, - _ . ~ and single slashes",
        ));
    }
    Ok(path.to_owned())
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the host in lower case and without brackets.
fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(inside) = authority.strip_prefix('[') {
        let (host, behind) = inside.split_once(']')?;
        let address: Ipv6Addr = host.parse().ok()?;
        let port = match behind {
            "" => None,
            _ => Some(behind.strip_prefix(':')?),
        };
        (address.to_string(), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        (dns_name(host)?, port)
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some((host, port))
}

fn dns_name(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // 0x7f.1 and 2130706433 are addresses to some resolvers; a last label of digits is only ever an IPv4
    // literal (RFC 3696, 2).
    let last = host.rsplit('.').next()?;
    let numeric = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric {
        return host.parse::<Ipv4Addr>().ok().map(|ip| ip.to_string());
    }
    (host.len() <= 253 && host.split('.').all(label)).then(|| host.to_owned())
}
