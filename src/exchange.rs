//! One request at one endpoint, to its final answer: credentials, token exchange, redirects inside (with
//! credentials stripped across origins), one more try where a kept-alive connection had died.

use crate::topology::{EndpointId, Failure, Source};
use crate::upstream::{Body, Connection};
use hyper::{HeaderMap, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// What is asked of a source.
#[derive(Clone, Debug)]
pub struct Ask {
    /// GET or HEAD.
    pub method: Method,
    /// Below the source's prefix: `/v2/proxy-docker-io/library/nginx/manifests/1.27`, with a query where the
    /// source wants one (`?ns=docker.io`).
    pub target: String,
    /// For the token's scope: `proxy-docker-io/library/nginx`.
    pub scope_repository: String,
    /// Under what a token is kept: the tier's project, or the whole repository for upstreams.
    pub token_scope: String,
    /// Whether the source's credential may be used (design P5).
    pub with_credential: bool,
    /// `Accept`
    pub accept: String,
    /// `Range`
    pub range: Option<String>,
    /// `X-Request-Id`
    pub request_id: Arc<str>,
}

/// The final answer of one endpoint.
#[derive(Debug)]
pub struct Answer {
    /// Never 3xx other than 304, never a first 401.
    pub status: StatusCode,
    /// Of the final response.
    pub headers: HeaderMap,
    /// Of the final response.
    pub body: Body,
    /// 401 after a fresh token, a Basic or empty challenge, or a token endpoint that said no: the text says which.
    pub denied: Option<String>,
    /// How the first byte's time came about.
    pub took: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// Where it broke.
    pub at: Place,
    /// For health and metrics.
    pub failure: Failure,
    /// For people.
    pub detail: String,
}

/// Which part of an exchange broke: it decides whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The endpoint itself.
    Endpoint,
    /// Its token endpoint: 5xx, timeout, 400, nonsense.
    Token,
    /// A redirect's target could not be reached or was forbidden: the endpoint is well.
    Redirect,
}

/// Makes exchanges. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchanger {}

impl Exchanger {
    /// Sends `ask` over `connection`. The caller bounds the time; dropping the future cancels all but token
    /// fetches, which others may be waiting for.
    ///
    /// # Errors
    /// Says where it broke.
    pub async fn exchange(
        &self,
        _source: &Arc<Source>,
        _endpoint: &EndpointId,
        _connection: Connection,
        _ask: &Ask,
    ) -> Result<Answer, Error> {
        Err(Error {
            at: Place::Endpoint,
            failure: Failure::Refused,
            detail: String::new(),
        })
    }
}
