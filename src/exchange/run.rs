//! One exchange: send, and as long as the answer says so, fetch a token or follow a redirect, and
//! send again.

use super::shown::Shown;
use super::unauthorized::{Next, Presented, after_unauthorized, refusal, says_project_not_found};
use super::words::{challenges_of, words};
use super::{Error, Exchanger, Place, SourceRequest, SourceResponse};
use crate::auth::{
    Challenge, Hop, Position, TokenError, TokenFailure, TokenPlan, TokenRequest,
    basic_authorization, follow, instead_of_http, location,
};
use crate::telemetry::What;
use crate::topology::{EndpointId, Failure, Source, SourceId, SourceKind};
use crate::upstream::{self, Body, Cause, Connection, Request, Response, USER_AGENT};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderName, RANGE};
use http::{Method, StatusCode};
use std::future::Future;
use std::sync::Arc;
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// W3C Trace Context, for tiers alone.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// One exchange under way.
pub(super) struct Run<'a> {
    exchanger: &'a Exchanger,
    source: &'a Arc<Source>,
    endpoint: &'a EndpointId,
    ask: &'a SourceRequest,
    /// To the source's own host.
    home: Shown,
    /// To the host that the newest redirect led to.
    elsewhere: Option<Box<Shown>>,
    redirects: u32,
    /// A signed URL had run out and the source was asked for another.
    asked_again: bool,
    /// Nothing has been sent yet.
    is_first: bool,
    /// What is asked by HEAD was asked by GET, to learn why it is refused.
    by_get: bool,
    /// When the source itself was last asked.
    asked_at: Instant,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        exchanger: &'a Exchanger,
        source: &'a Arc<Source>,
        endpoint: &'a EndpointId,
        ask: &'a SourceRequest,
    ) -> Self {
        let asked_at = Instant::now();
        if let Some(span) = &ask.span {
            span.asks(&ask.method);
        }
        Self {
            exchanger,
            source,
            endpoint,
            ask,
            home: Shown::new(exchanger, source, endpoint, ask, None, asked_at),
            elsewhere: None,
            redirects: 0,
            asked_again: false,
            asked_at,
            is_first: true,
            by_get: false,
        }
    }

    /// To the final answer.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and this one is moved about for every request"
    )]
    pub(super) fn finish(
        mut self,
        mut connection: Connection,
    ) -> impl Future<Output = Result<SourceResponse, Error>> + Send + use<'a> {
        async move {
            let mut at = Position::home(self.source, &self.ask.target);
            loop {
                let mut response = self.send(&at, connection).await?;
                let status = response.status;
                let next = if let Some(location) = location(status, &response.fields) {
                    self.follow(&at, location)?
                } else if status == StatusCode::UNAUTHORIZED {
                    // Boxed, as all that is rare: an exchange is moved about, and this is most of its size.
                    if let Some(why) = Box::pin(self.authorize(&at.hop, &mut response)).await? {
                        return Ok(self.answer(&at, response, Some(why)));
                    }
                    at.clone()
                } else if status == StatusCode::FORBIDDEN && at.is_presigned() && !self.asked_again
                {
                    self.asked_again = true;
                    Position::home(self.source, &self.ask.target)
                } else {
                    return Ok(self.answer(&at, response, None));
                };
                Box::pin(response.body.drain_small()).await;
                at = next;
                connection = Box::pin(self.connect(&at.hop)).await?;
            }
        }
    }

    /// The next position of a redirect.
    fn follow(&mut self, at: &Position<'_>, location: &[u8]) -> Result<Position<'static>, Error> {
        let next = follow(self.source, at, location, &mut self.redirects);
        let next = next.map_err(|why| self.unfollowed(&at.hop, Failure::Refused, why))?;
        if let Hop::Named(host) = &next.hop
            && self.shown(&next.hop).key.host.as_ref() != Some(host)
        {
            let (exchanger, source, endpoint) = (self.exchanger, self.source, self.endpoint);
            let (ask, now) = (self.ask, Instant::now());
            let shown = Shown::new(exchanger, source, endpoint, ask, Some(host), now);
            self.elsewhere = Some(Box::new(shown));
        }
        Ok(next)
    }

    /// What whoever is asked is shown.
    fn shown(&self, hop: &Hop) -> &Shown {
        match (hop, &self.elsewhere) {
            (Hop::Named(_), Some(elsewhere)) => elsewhere,
            _ => &self.home,
        }
    }

    fn shown_mut(&mut self, hop: &Hop) -> &mut Shown {
        match (hop, &mut self.elsewhere) {
            (Hop::Named(_), Some(elsewhere)) => elsewhere,
            _ => &mut self.home,
        }
    }

    /// Finds out what to bring along after a 401. `Some`: nothing helps, and why.
    async fn authorize(
        &mut self,
        hop: &Hop,
        response: &mut Response,
    ) -> Result<Option<String>, Error> {
        let challenges = challenges_of(&response.fields);
        let tells_why = self.ask.method != Method::HEAD || self.by_get;
        if self.shown(hop).presented == Presented::Fresh
            && self.kind(hop) == SourceKind::Harbor
            && challenges.is_empty()
            && !tells_why
        {
            // Only the body says whether the project is missing or the database.
            self.by_get = true;
            return Ok(None);
        }
        let refused = self.refused(hop, &challenges, &mut response.body).await;
        // Before the token: that fetch may use the same connection.
        response.body.drain_small().await;
        if let Some(refused) = refused {
            return refused.map(Some);
        }
        let credential = self.source.credential.as_ref();
        let credential = credential.filter(|_| self.ask.with_credential && *hop == Hop::Endpoint);
        let shown = self.shown(hop);
        let next = after_unauthorized(shown.presented, &challenges, credential.is_some());
        if shown.presented == Presented::Cached
            && let Some(refused) = &shown.authorization
        {
            self.exchanger.tokens.forget(&shown.key, refused);
        }
        let (presented, authorization) = match (next, credential) {
            (Next::Token(challenge), _) => {
                let wanted = TokenRequest {
                    repository: &self.ask.scope_repository,
                    with_credential: self.ask.with_credential,
                    trust: self.ask.trust,
                };
                let plan = TokenPlan::new(self.source, self.endpoint, hop, challenge, wanted);
                let no_plan = |why| self.tokenless(hop, TokenFailure::new(Failure::Token, why));
                let plan = plan.map_err(no_plan)?;
                let waited = self.ask.span.as_ref().map(|span| span.begin(What::Token));
                let obtained = self.exchanger.tokens.obtain(&shown.key, plan).await;
                if let (Some(waited), Err(_)) = (waited, &obtained) {
                    waited.ended(Some("token"));
                }
                let token = match obtained {
                    Ok(token) => token,
                    Err(TokenError::Denied(why)) => return Ok(Some(self.with_advice(hop, why))),
                    Err(TokenError::Failed(failure)) => return Err(self.tokenless(hop, failure)),
                };
                (Presented::Fresh, Some(token))
            }
            (Next::Bare, _) => (Presented::Nothing, None),
            (Next::Password, Some(credential)) => {
                let password = basic_authorization(credential);
                (Presented::Password, Some(password))
            }
            (Next::Password, None) => return Ok(Some("no credential".to_owned())),
            (Next::Denied(why), _) => {
                let why = match hop {
                    Hop::Endpoint => format!("{}: {why}", self.endpoint),
                    Hop::Named(_) => format!(
                        "the target of a redirect of {} asks for credentials, which stay here",
                        self.endpoint
                    ),
                };
                return Ok(Some(self.with_advice(hop, why)));
            }
        };
        let shown = self.shown_mut(hop);
        (shown.presented, shown.authorization) = (presented, authorization);
        Ok(None)
    }

    /// What whoever is asked says that refuses a fresh token, or one that it refused in the same way a moment ago. `None`: another
    /// token may help.
    async fn refused(
        &self,
        hop: &Hop,
        challenges: &[Challenge],
        body: &mut Body,
    ) -> Option<Result<String, Error>> {
        let shown = self.shown(hop);
        let (tokens, authorization) = (&self.exchanger.tokens, shown.authorization.as_ref()?);
        let without_challenge = challenges.is_empty();
        let refusal = match shown.presented {
            Presented::Cached => {
                let refusal = tokens.refusal(&shown.key, authorization, Instant::now());
                refusal.filter(|refusal| refusal.without_challenge == without_challenge)?
            }
            Presented::Fresh => {
                let words = words(body).await;
                let refusal = refusal(self.kind(hop), without_challenge, &words);
                if let Some(missing) = &self.exchanger.missing
                    && says_project_not_found(&words)
                {
                    // Full: others have told.
                    let _ = missing.try_send(self.source.id.clone());
                }
                let now = Instant::now();
                tokens.remember_refusal(&shown.key, authorization, refusal.clone(), now);
                refusal
            }
            Presented::Nothing | Presented::Password => return None,
        };
        let why = match hop {
            Hop::Endpoint => format!("{}: {}", self.endpoint, refusal.why),
            Hop::Named(_) => {
                let why = format!(
                    "the target of a redirect of {}: {}",
                    self.endpoint, refusal.why
                );
                self.with_advice(hop, why)
            }
        };
        Some(match refusal.is_failure {
            true => {
                let failure = Failure::ServerError;
                Err(Error::new(Place::Endpoint, failure, why, None))
            }
            false => Ok(why),
        })
    }

    /// Whose manners are to be expected. Who is at the end of a redirect nobody has said.
    fn kind(&self, hop: &Hop) -> SourceKind {
        match hop {
            Hop::Endpoint => self.source.kind,
            Hop::Named(_) => SourceKind::Path,
        }
    }

    /// No token came: whose fault that is depends on whose it would be.
    fn tokenless(&self, hop: &Hop, error: TokenFailure) -> Error {
        let (failure, retry_after) = (error.failure, error.retry_after);
        let tokenless = match hop {
            Hop::Endpoint => {
                let source = error.source.map(|source| Box::new(source) as Cause);
                Error::new(Place::Token, failure, error.doing, source)
            }
            Hop::Named(_) => self.unfollowed(hop, failure, error),
        };
        Error {
            retry_after,
            ..tokenless
        }
    }

    fn unfollowed(&self, hop: &Hop, failure: Failure, why: impl Into<Cause>) -> Error {
        let doing = format!("a redirect of {} is not followed", self.endpoint);
        let (doing, why) = (self.with_advice(hop, doing), Some(why.into()));
        Error::new(Place::Redirect, failure, doing, why)
    }

    fn with_advice(&self, hop: &Hop, why: String) -> String {
        match instead_of_http(self.source, hop) {
            Some(advice) => format!("{why}; {advice}"),
            None => why,
        }
    }

    async fn connect(&self, hop: &Hop) -> Result<Connection, Error> {
        let reach = &self.exchanger.reach;
        let connection = reach.connect(self.source, self.endpoint, hop).await;
        connection.map_err(|error| self.broken(hop, error))
    }

    async fn send(&mut self, at: &Position<'_>, connection: Connection) -> Result<Response, Error> {
        if at.hop == Hop::Endpoint && !std::mem::replace(&mut self.is_first, false) {
            self.asked_at = Instant::now();
        }
        let request = || self.request(at);
        let reach = &self.exchanger.reach;
        let response = reach
            .send(self.source, self.endpoint, &at.hop, connection, request)
            .await;
        let response = response.map_err(|error| self.broken(&at.hop, error))?;
        let shown = self.shown(&at.hop);
        if let (Presented::Password, Some(password)) = (shown.presented, &shown.authorization)
            && response.status != StatusCode::UNAUTHORIZED
        {
            let tokens = &self.exchanger.tokens;
            tokens.remember_basic(&shown.key, self.source, password.clone(), self.ask.trust);
        }
        Ok(response)
    }

    /// The request as it goes out: nothing of the client's but what `SourceRequest` has.
    fn request(&self, at: &Position<'_>) -> Result<Request, upstream::Error> {
        let ask = self.ask;
        let host = match &at.hop {
            Hop::Endpoint => self.source.url.authority(),
            Hop::Named(origin) => origin.authority(),
        };
        let method = if self.by_get {
            &Method::GET
        } else {
            &ask.method
        };
        let mut request = Request::new(method, &at.target, &host)?
            .with(&http::header::USER_AGENT, USER_AGENT)?
            .with(&ACCEPT_ENCODING, "identity")?
            .with(&ACCEPT, &ask.accept)?
            .with(&REQUEST_ID, &*ask.request_id)?;
        if let Some(range) = &ask.range {
            request.add(&RANGE, range.as_bytes())?;
        }
        if let (Some(span), Hop::Endpoint, SourceId::Tier(_)) =
            (&ask.span, &at.hop, &self.source.id)
        {
            request.add(&TRACEPARENT, span.traceparent().as_bytes())?;
            if let Some(state) = span.tracestate() {
                request.add(&TRACESTATE, state.as_bytes())?;
            }
        }
        if let Some(authorization) = &self.shown(&at.hop).authorization {
            request.add(&AUTHORIZATION, authorization.as_bytes())?;
        }
        Ok(request)
    }

    fn answer(
        &self,
        at: &Position<'_>,
        response: Response,
        denied: Option<String>,
    ) -> SourceResponse {
        if let Some(span) = &self.ask.span {
            span.answered(response.status.as_u16());
        }
        SourceResponse {
            status: response.status,
            fields: response.fields,
            body: response.body,
            head: self.ask.method == Method::HEAD && !self.by_get,
            denied,
            elsewhere: at.hop != Hop::Endpoint,
            took: self.asked_at.elapsed(),
        }
    }

    fn broken(&self, hop: &Hop, error: upstream::Error) -> Error {
        match hop {
            Hop::Endpoint => error.into(),
            Hop::Named(origin) => {
                let doing = format!("redirected by {} to {origin}", self.endpoint);
                let (doing, failure) = (self.with_advice(hop, doing), error.failure);
                Error::new(Place::Redirect, failure, doing, Some(error.into()))
            }
        }
    }
}
