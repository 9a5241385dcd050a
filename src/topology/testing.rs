//! Sources and endpoints for the tests of this module and of those above it.

use super::{EndpointId, Source, SourceId, SourceKind};
use crate::config::{BaseUrl, Probe, ProbeKind, Tls};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) fn tier(name: &str) -> SourceId {
    SourceId::Tier(name.into())
}

pub(crate) fn upstream() -> SourceId {
    SourceId::Upstream("docker.io".parse().unwrap())
}

/// `http(s)://host[:port]`
pub(crate) fn url(text: &str) -> BaseUrl {
    let (scheme, rest) = text.split_once("://").unwrap();
    let https = scheme == "https";
    let default = if https { 443 } else { 80 };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, port.parse().unwrap()),
        _ => (rest, default),
    };
    BaseUrl {
        https,
        host: host.to_owned(),
        port,
        prefix: String::new(),
    }
}

/// A Harbor or a registry, as its name says, that is not probed.
pub(crate) fn source(id: SourceId, at: &str) -> Source {
    let kind = match id {
        SourceId::Tier(_) => SourceKind::Harbor,
        SourceId::Upstream(_) => SourceKind::Upstream,
    };
    Source {
        id,
        kind,
        url: url(at),
        tls: Tls::default(),
        credential: None,
        proxy: None,
        probe: Probe {
            kind: ProbeKind::None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    }
}

/// 203.0.113.`last`
pub(crate) fn address(last: u8) -> SocketAddr {
    ([203, 0, 113, last], 443).into()
}

pub(crate) fn endpoint(source: &SourceId, last: u8) -> EndpointId {
    EndpointId {
        source: source.clone(),
        address: address(last),
    }
}
