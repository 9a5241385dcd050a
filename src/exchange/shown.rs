//! What a host is shown, and what it made of it: the source's own host with its credential or token, and the host to which a
//! redirect led with an anonymous token of its own at most.

use super::unauthorized::Presented;
use super::{Exchanger, SourceRequest};
use crate::auth::TokenKey;
use crate::config::BaseUrl;
use crate::topology::{EndpointId, Source, SourceKind};
use http::header::HeaderValue;
use std::sync::Arc;
use tokio::time::Instant;

pub(super) struct Shown {
    /// Under what its token is kept.
    pub(super) key: TokenKey,
    pub(super) presented: Presented,
    pub(super) authorization: Option<HeaderValue>,
}

impl Shown {
    /// The source's own host.
    pub(super) fn at_home(
        exchanger: &Exchanger,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        ask: &SourceRequest,
        now: Instant,
    ) -> Self {
        // Only Harbor's tokens open a whole project.
        let realm_of = match source.kind {
            SourceKind::Harbor => &ask.token_scope,
            _ => &ask.scope_repository,
        };
        let key = TokenKey {
            source: source.id.clone(),
            address: (source.kind != SourceKind::Upstream).then_some(endpoint.address),
            host: None,
            realm_of: realm_of.clone(),
            with_credential: ask.with_credential && source.credential.is_some(),
        };
        Self::with(key, exchanger, source, endpoint, ask, now)
    }

    /// A host that a redirect led to.
    pub(super) fn elsewhere(
        host: &BaseUrl,
        exchanger: &Exchanger,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        ask: &SourceRequest,
        now: Instant,
    ) -> Self {
        let key = TokenKey {
            source: source.id.clone(),
            address: (source.kind != SourceKind::Upstream).then_some(endpoint.address),
            host: Some(host.clone()),
            realm_of: ask.scope_repository.clone(),
            with_credential: false,
        };
        Self::with(key, exchanger, source, endpoint, ask, now)
    }

    fn with(
        key: TokenKey,
        exchanger: &Exchanger,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        ask: &SourceRequest,
        now: Instant,
    ) -> Self {
        let tokens = &exchanger.tokens;
        let authorization = tokens.present(&key, source, endpoint, ask.trust, now);
        let presented = match authorization {
            Some(_) => Presented::Cached,
            None => Presented::Nothing,
        };
        Self {
            key,
            presented,
            authorization,
        }
    }

    /// Whose it is: the host of a redirect, or the source's own.
    pub(super) fn host(&self) -> Option<&BaseUrl> {
        self.key.host.as_ref()
    }
}
