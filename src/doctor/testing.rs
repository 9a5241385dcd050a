//! Facts for the tests of this module.

use super::sources::{EndpointFacts, SourceFacts};
use crate::config::{BaseUrl, Probe, ProbeKind, Tls};
use crate::topology::{EndpointId, Source, SourceId, SourceKind};
use crate::upstream::Shown;
use std::sync::Arc;
use std::time::Duration;

fn source(id: SourceId, kind: SourceKind, url: &str) -> SourceFacts {
    let (scheme, host) = url.split_once("://").unwrap();
    let https = scheme == "https";
    SourceFacts {
        source: Arc::new(Source {
            id,
            kind,
            url: BaseUrl {
                https,
                host: host.to_owned(),
                port: if https { 443 } else { 80 },
                prefix: String::new(),
            },
            tls: Tls::default(),
            credential: None,
            proxy: None,
            probe: Probe {
                kind: ProbeKind::None,
                interval: Duration::from_secs(60),
                timeout: Duration::from_secs(3),
            },
        }),
        dns: Ok(Vec::new()),
        system: None,
        endpoints: Vec::new(),
    }
}

/// A Harbor.
pub(super) fn tier(name: &str, url: &str) -> SourceFacts {
    source(SourceId::Tier(name.into()), SourceKind::Harbor, url)
}

/// A registry.
pub(super) fn upstream(registry: &str, url: &str) -> SourceFacts {
    let id = SourceId::Upstream(registry.parse().unwrap());
    source(id, SourceKind::Upstream, url)
}

/// An address that was reached.
pub(super) fn endpoint(of: &SourceFacts, address: &str) -> EndpointFacts {
    EndpointFacts {
        id: EndpointId {
            source: of.source.id.clone(),
            address: address.parse().unwrap(),
        },
        shown: Ok(Shown {
            certificate: None,
            status: Some(401),
            date: None,
            moved: None,
        }),
        probe: None,
        access: Vec::new(),
    }
}
