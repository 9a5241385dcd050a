//! Sources for the tests of `auth` and `exchange`.

use super::named_url::NamedUrl;
use crate::config::{Credential, Probe, ProbeKind, Secret, Tls};
use crate::topology::{EndpointId, Source, SourceId, SourceKind};
use std::sync::Arc;
use std::time::Duration;

/// A source at `url` with a credential.
pub(crate) fn source(kind: SourceKind, url: &str, credential: Option<(&str, &str)>) -> Arc<Source> {
    let id = match kind {
        SourceKind::Upstream => SourceId::Upstream("docker.io".parse().unwrap()),
        _ => SourceId::Tier("replica".into()),
    };
    let credential = credential.map(|(username, password)| Credential {
        username: username.to_owned(),
        password: Secret::new(password),
    });
    Arc::new(Source {
        id,
        kind,
        url: NamedUrl::parse(url).unwrap().origin,
        tls: Tls::default(),
        credential,
        proxy: None,
        probe: Probe {
            kind: ProbeKind::None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    })
}

/// Its one endpoint.
pub(crate) fn endpoint(source: &Arc<Source>) -> EndpointId {
    EndpointId {
        source: source.id.clone(),
        address: "192.0.2.1:443".parse().unwrap(),
    }
}
