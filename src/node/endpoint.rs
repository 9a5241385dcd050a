//! Endpoint URLs as containerd and k3s read them, normalized: two texts for one endpoint must be seen as one.

use std::net::IpAddr;

/// Who reads the text. They fill a missing scheme differently (containerd-k3s-facts 1.1, 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `https://` unless the text begins with `http`.
    Containerd,
    /// `http://` for a loopback host with a port other than 443, else `https://`.
    K3s,
}

/// An endpoint, normalized: two texts that mean the same are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointUrl {
    pub(crate) https: bool,
    /// Lower case, IPv6 in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As written, without a last slash; of [`parse`](Self::parse) with `/v2` alone left out: the path that containerd adds itself.
    pub(crate) path: String,
}

// === impl EndpointUrl ===

impl EndpointUrl {
    /// Reads an endpoint; `None` if it is none that anybody could dial.
    pub(crate) fn parse(text: &str, reader: Reader) -> Option<Self> {
        let mut url = Self::with_path(text, reader)?;
        if url.path == "/v2" {
            url.path.clear();
        }
        Some(url)
    }

    /// An endpoint with the path at which containerd asks: `/v2` is put behind it unless it ends so or is the API's root
    /// already (containerd-k3s-facts 1.1).
    pub(crate) fn root(text: &str, override_path: bool) -> Option<Self> {
        let mut url = Self::with_path(text, Reader::Containerd)?;
        if !override_path && !url.path.ends_with("/v2") {
            url.path.push_str("/v2");
        }
        Some(url)
    }

    /// An endpoint of a registries.yaml with the path that k3s makes of it: any but `/v2` alone is the API's root
    /// (containerd-k3s-facts 7.2).
    pub(crate) fn root_by_k3s(text: &str) -> Option<Self> {
        let mut url = Self::with_path(text, Reader::K3s)?;
        if url.host == "docker.io" {
            "registry-1.docker.io".clone_into(&mut url.host);
        }
        if url.path.is_empty() {
            url.path.push_str("/v2");
        }
        Some(url)
    }

    /// An endpoint with its path as written, but for a last slash.
    fn with_path(text: &str, reader: Reader) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = split_port(authority)?;
        let https = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return None,
            None => match reader {
                Reader::Containerd => true,
                Reader::K3s => !(is_loopback(&host) && port.is_some_and(|port| port != 443)),
            },
        };
        Some(Self {
            https,
            host,
            port: port.unwrap_or(if https { 443 } else { 80 }),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Whether both are the same server, whatever the path.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// Whether the host is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// `host`, with the port where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        if self.port == default {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Whether two texts name the same endpoint for containerd.
pub(crate) fn same_endpoint(left: &str, right: &str) -> bool {
    let read = |text| EndpointUrl::parse(text, Reader::Containerd);
    match (read(left), read(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return None;
    }
    let port = match port {
        Some(digits) => Some(digits.parse().ok()?),
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// Whether a name or a literal means this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_endpoint() {
        for (left, right, same) in [
            ("http://127.0.0.1:290", "http://127.0.0.1:290/v2", true),
            ("http://127.0.0.1:290", "http://127.0.0.1:290/v2/", true),
            ("https://H.example", "https://h.example:443/", true),
            ("h.example", "https://h.example", true),
            ("http://h.example", "https://h.example", false),
            ("https://h.example/v2/a", "https://h.example/v2/b", false),
            ("https://h.example/v2/a/", "https://h.example/v2/a", true),
            ("https://[::1]:5000", "https://[::1]:5000/v2", true),
            ("not a url", "not a url", true),
        ] {
            assert_eq!(same_endpoint(left, right), same, "{left} {right}");
        }
    }

    #[test]
    fn a_missing_scheme() {
        for (text, containerd, k3s) in [
            ("127.0.0.1:5000", true, false),
            ("localhost:443", true, true),
            ("localhost", true, true),
            ("h.example:5000", true, true),
        ] {
            let https = |reader| EndpointUrl::parse(text, reader).unwrap().https;
            assert_eq!(https(Reader::Containerd), containerd, "{text}");
            assert_eq!(https(Reader::K3s), k3s, "{text}");
        }
        for wrong in ["", "ftp://x", "http://", "http://a b", "https://h:port"] {
            assert_eq!(EndpointUrl::parse(wrong, Reader::K3s), None, "{wrong}");
        }
    }
}
