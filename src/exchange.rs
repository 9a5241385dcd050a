//! One request at one endpoint, to its final answer: credentials, token exchange, redirects inside (with
//! credentials stripped across origins), one more try where a kept-alive connection had died.

mod run;
mod shown;
mod unauthorized;
mod words;

use crate::auth::{Hop, Lookup, Reach, Tokens};
use crate::budget::Budget;
use crate::cache::Trust;
use crate::http1::Fields;
use crate::metrics::Metrics;
use crate::oci::{ACCEPT_MANIFESTS, ResourceKind};
use crate::printable::chain;
use crate::route::Target;
use crate::telemetry::{RequestId, Span};
use crate::topology::{EndpointId, Failure, Source, SourceId};
use crate::upstream::{self, Body, Cause, Client, Connection};
use http::header::HeaderValue;
use http::{Method, StatusCode};
use run::Run;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What is asked of a source.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// GET or HEAD.
    pub method: Method,
    /// Below the source's prefix: `/v2/proxy-docker-io/library/nginx/manifests/1.27`, with a query where the
    /// source wants one (`?ns=docker.io`).
    pub target: String,
    /// For the token's scope: `proxy-docker-io/library/nginx`.
    pub scope_repository: Arc<str>,
    /// Under what a token is kept: the tier's project, or the whole repository for upstreams.
    pub token_scope: Arc<str>,
    /// Whether the source's credential may be used (design P5).
    pub with_credential: bool,
    /// `Accept`
    pub accept: HeaderValue,
    /// `Range`
    pub range: Option<String>,
    /// `X-Request-Id`
    pub request_id: RequestId,
    /// The attempt that it is made for, where that is traced: `traceparent` for a tier.
    pub span: Option<Span>,
    /// Who wants it: what its tokens may displace.
    pub trust: Trust,
}

/// The final answer of one endpoint. `B`: its body, where the network is a modelled one.
#[derive(Debug)]
pub struct SourceResponse<B = Body> {
    /// Never a redirect with a Location, never a first 401.
    pub status: StatusCode,
    /// Of the final response.
    pub fields: Fields,
    /// Of the final response.
    pub body: B,
    /// It answers a HEAD: there is no body.
    pub head: bool,
    /// With status 401: it came in spite of a fresh token or the credential, with a Basic or empty challenge, or the token endpoint
    /// said no; where it came from the target of a redirect, no anonymous token helps there. The text says which.
    pub denied: Option<String>,
    /// It came from where a redirect led, not from the source itself: its "no" is about a signed URL or about storage,
    /// and says nothing of what the source has or allows.
    pub elsewhere: bool,
    /// From the last request to the endpoint itself to the head of the final response: redirects count, challenges and
    /// token fetches do not.
    pub took: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Error {
    /// The connection or the protocol step that failed.
    pub at: Place,
    /// For health and metrics.
    pub failure: Failure,
    /// Its token endpoint wants to be left alone for so long (429).
    pub retry_after: Option<Duration>,
    /// What was being done, or all that is known.
    pub doing: String,
    /// What happened there, where it is known.
    pub source: Option<Cause>,
}

/// Which part of an exchange broke: it decides whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The endpoint itself, in its answer or before it.
    Endpoint,
    /// Its token endpoint: 5xx, timeout, 400, nonsense.
    Token,
    /// A redirect's target, or its token endpoint, could not be reached or was forbidden: the endpoint is healthy.
    Redirect,
}

impl SourceRequest {
    /// For a resource at a target, as the agent's own commands ask for it.
    #[must_use]
    pub(crate) fn new(
        method: Method,
        target: &Target,
        kind: &ResourceKind,
        request_id: &str,
    ) -> Self {
        let query = target.query.iter().map(|query| format!("?{query}"));
        let query: String = query.collect();
        let accept = match kind {
            ResourceKind::Manifest(_) => ACCEPT_MANIFESTS,
            _ => "*/*",
        };
        Self {
            method,
            target: format!("/v2/{}{}{query}", target.path, kind.suffix()),
            scope_repository: target.path.clone(),
            token_scope: target.token_scope.clone(),
            with_credential: target.with_credential,
            accept: HeaderValue::from_static(accept),
            range: None,
            request_id: request_id.into(),
            span: None,
            trust: Trust::Trusted,
        }
    }
}

// === impl Error ===

impl Error {
    fn new(at: Place, failure: Failure, doing: String, source: Option<Cause>) -> Self {
        Self {
            at,
            failure,
            retry_after: None,
            doing,
            source,
        }
    }

    /// The whole of it for people.
    #[must_use]
    pub fn detail(&self) -> String {
        chain(self)
    }
}

impl From<upstream::Error> for Error {
    /// One of the endpoint itself.
    fn from(error: upstream::Error) -> Self {
        let source = Some(error.source);
        Self::new(Place::Endpoint, error.failure, error.doing, source)
    }
}

/// Makes exchanges. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exchanger {
    reach: Reach,
    tokens: Tokens,
    /// Told of Harbors that say that they have not got a project.
    missing: Option<mpsc::Sender<SourceId>>,
}

impl Exchanger {
    /// Over this client's connections. `lookup` finds the hosts that sources name in challenges and redirects.
    #[must_use]
    pub fn new(
        client: Client,
        lookup: Arc<dyn Lookup>,
        metrics: Arc<Metrics>,
        budget: &Budget,
    ) -> Self {
        let reach = Reach::new(client, lookup);
        Self {
            tokens: Tokens::new(Arc::new(reach.clone()), metrics, budget),
            reach,
            missing: None,
        }
    }

    /// The same, which tells of each source that says that it has not got a project. Full: it is not told.
    #[must_use]
    pub fn telling(self, missing: mpsc::Sender<SourceId>) -> Self {
        Self {
            missing: Some(missing),
            ..self
        }
    }

    /// Drops the tokens that have ended.
    pub fn sweep(&self, now: Instant) {
        self.tokens.sweep(now);
    }

    /// Sends `ask` over `connection`. The caller bounds the time; dropping the future cancels all but token
    /// fetches, which others may be waiting for and which have ten seconds of their own.
    ///
    /// # Errors
    /// [`Error`]: `at` says which part broke.
    pub async fn exchange(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        connection: Connection,
        ask: &SourceRequest,
    ) -> Result<SourceResponse, Error> {
        Run::new(self, source, endpoint, ask)
            .finish(connection)
            .await
    }

    /// The same over an idle connection, or over a new one.
    ///
    /// # Errors
    /// [`Error`]: as [`Self::exchange`], and no connection.
    pub async fn ask(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        ask: &SourceRequest,
    ) -> Result<SourceResponse, Error> {
        let connection = self.reach.connect(source, endpoint, &Hop::Endpoint).await?;
        self.exchange(source, endpoint, connection, ask).await
    }
}

#[cfg(test)]
mod tests;
