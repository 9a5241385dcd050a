//! Sources for the tests of `auth` and `exchange`.

use super::named_url::NamedUrl;
use crate::config::{Credential, Secret};
use crate::topology::{EndpointId, Source, SourceKind, testing};
use std::sync::Arc;

/// A source at `url` with a credential.
pub(crate) fn source(kind: SourceKind, url: &str, credential: Option<(&str, &str)>) -> Arc<Source> {
    let id = match kind {
        SourceKind::Upstream => testing::upstream(),
        _ => testing::tier("replica"),
    };
    let credential = credential.map(|(username, password)| Credential {
        username: username.to_owned(),
        password: Secret::new(password),
    });
    Arc::new(Source {
        kind,
        url: NamedUrl::parse(url).unwrap().origin,
        credential,
        ..testing::source(id, "https://replaced")
    })
}

pub(crate) fn endpoint(source: &Arc<Source>) -> EndpointId {
    EndpointId {
        source: source.id.clone(),
        address: "192.0.2.1:443".parse().unwrap(),
    }
}
