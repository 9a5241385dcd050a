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
    /// To the source's own host, or to the `host` that a redirect led to.
    pub(super) fn new(
        exchanger: &Exchanger,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        ask: &SourceRequest,
        host: Option<&BaseUrl>,
        now: Instant,
    ) -> Self {
        let realm_of = match (host, source.kind) {
            // Only Harbor's tokens open a whole project.
            (None, SourceKind::Harbor) => &ask.token_scope,
            _ => &ask.scope_repository,
        };
        let has_credential = ask.with_credential && source.credential.is_some();
        let key = TokenKey {
            source: source.id.clone(),
            address: (source.kind != SourceKind::Upstream).then_some(endpoint.address),
            host: host.cloned(),
            realm_of: realm_of.clone(),
            with_credential: host.is_none() && has_credential,
        };
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
}
