//! The course of one exchange: send, and as long as the answer says so, fetch a token or follow a redirect, and
//! send again.

use super::redirect::{self, Position};
use super::unauthorized::{Next, Presented, after_unauthorized, refusal};
use super::{Answer, Ask, Error, Exchanger, Place};
use crate::auth::{
    Challenge, Hop, TokenError, TokenKey, TokenPlan, USER_AGENT, Wanted, basic_authorization,
    parse_challenges,
};
use crate::http1::Fields;
use crate::topology::{EndpointId, Failure, Source, SourceKind};
use crate::upstream::{self, Body, Connection, Request, Response};
use http_body_util::BodyExt as _;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderName, HeaderValue, RANGE, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Redirects followed in one exchange.
const MAX_REDIRECTS: u32 = 5;

/// One exchange under way.
pub(super) struct Run<'a> {
    exchanger: &'a Exchanger,
    source: &'a Arc<Source>,
    endpoint: &'a EndpointId,
    ask: &'a Ask,
    key: TokenKey,
    presented: Presented,
    authorization: Option<HeaderValue>,
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
        ask: &'a Ask,
    ) -> Self {
        // Only Harbor's tokens open a whole project.
        let realm_of = match source.kind {
            SourceKind::Harbor => &ask.token_scope,
            _ => &ask.scope_repository,
        };
        let key = TokenKey {
            source: source.id.clone(),
            address: (source.kind != SourceKind::Upstream).then_some(endpoint.address),
            realm_of: realm_of.clone(),
            with_credential: ask.with_credential && source.credential.is_some(),
        };
        let tokens = &exchanger.tokens;
        let asked_at = Instant::now();
        let authorization = tokens.present(&key, source, endpoint, ask.trust, asked_at);
        let presented = match authorization {
            Some(_) => Presented::Cached,
            None => Presented::Nothing,
        };
        Self {
            exchanger,
            source,
            endpoint,
            ask,
            key,
            presented,
            authorization,
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
    ) -> impl Future<Output = Result<Answer, Error>> + Send + use<'a> {
        async move {
            let mut at = Position::home(self.source, &self.ask.target);
            loop {
                let mut response = self.send(&at, connection).await?;
                let status = response.status;
                let next = if let Some(location) = redirect::location(status, &response.fields) {
                    self.follow(&at, location)?
                } else if status == StatusCode::UNAUTHORIZED {
                    if at.hop != Hop::Endpoint {
                        let why =
                            "the target of its redirect asks for credentials, which stay here";
                        return Ok(self.answer(&at, response, Some(why.to_owned())));
                    }
                    // Boxed, as all that is rare: an exchange is moved about, and this is most of its size.
                    if let Some(why) = Box::pin(self.authorize(&mut response)).await? {
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
        self.redirects = self.redirects.saturating_add(1);
        let next = if self.redirects > MAX_REDIRECTS {
            Err(format!("more than {MAX_REDIRECTS} in a row"))
        } else {
            redirect::follow(self.source, at, location)
        };
        next.map_err(|why| Error {
            at: Place::Redirect,
            failure: Failure::Refused,
            detail: format!("a redirect of {} is not followed: {why}", self.endpoint),
        })
    }

    /// Finds out what to bring along after a 401. `Some`: nothing helps, and why.
    async fn authorize(&mut self, response: &mut Response) -> Result<Option<String>, Error> {
        let challenges = challenges_of(&response.fields);
        let tells_why = self.ask.method != Method::HEAD || self.by_get;
        if self.presented == Presented::Fresh
            && self.source.kind == SourceKind::Harbor
            && challenges.is_empty()
            && !tells_why
        {
            // Only the body says whether the project is missing or the database.
            self.by_get = true;
            return Ok(None);
        }
        let refused = self.refused(&challenges, &mut response.body).await;
        // Before the token: that fetch may use the same connection.
        response.body.drain_small().await;
        if let Some(refused) = refused {
            return refused.map(Some);
        }
        let credential = self.source.credential.as_ref();
        let credential = credential.filter(|_| self.ask.with_credential);
        let next = after_unauthorized(self.presented, &challenges, credential.is_some());
        if self.presented == Presented::Cached
            && let Some(refused) = &self.authorization
        {
            self.exchanger.tokens.forget(&self.key, refused);
        }
        match (next, credential) {
            (Next::Token(challenge), _) => {
                let wanted = Wanted {
                    repository: &self.ask.scope_repository,
                    with_credential: self.ask.with_credential,
                    trust: self.ask.trust,
                };
                let plan = TokenPlan::of(self.source, self.endpoint, challenge, wanted);
                let plan = plan.map_err(|detail| Error {
                    at: Place::Token,
                    failure: Failure::Token,
                    detail,
                })?;
                let token = match self.exchanger.tokens.obtain(&self.key, plan).await {
                    Ok(token) => token,
                    Err(TokenError::Denied(why)) => return Ok(Some(why)),
                    Err(TokenError::Failed { failure, detail }) => {
                        return Err(Error {
                            at: Place::Token,
                            failure,
                            detail,
                        });
                    }
                };
                self.presented = Presented::Fresh;
                self.authorization = Some(token);
            }
            (Next::Bare, _) => {
                self.presented = Presented::Nothing;
                self.authorization = None;
            }
            (Next::Password, Some(credential)) => {
                self.presented = Presented::Password;
                self.authorization = Some(basic_authorization(credential));
            }
            (Next::Password, None) => return Ok(Some("no credential".to_owned())),
            (Next::Denied(why), _) => return Ok(Some(format!("{}: {why}", self.endpoint))),
        }
        Ok(None)
    }

    /// What a source says that refuses a fresh token, or one that it refused in the same way a moment ago. `None`: another token
    /// may help.
    async fn refused(
        &self,
        challenges: &[Challenge],
        body: &mut Body,
    ) -> Option<Result<String, Error>> {
        let (tokens, shown) = (&self.exchanger.tokens, self.authorization.as_ref()?);
        let without_challenge = challenges.is_empty();
        let refusal = match self.presented {
            Presented::Cached => {
                let refusal = tokens.refusal(&self.key, shown, Instant::now());
                refusal.filter(|refusal| refusal.without_challenge == without_challenge)?
            }
            Presented::Fresh => {
                let words = words(body).await;
                let refusal = refusal(self.source.kind, without_challenge, &words);
                tokens.remember_refusal(&self.key, shown, refusal.clone(), Instant::now());
                refusal
            }
            Presented::Nothing | Presented::Password => return None,
        };
        let why = format!("{}: {}", self.endpoint, refusal.why);
        Some(match refusal.is_failure {
            true => Err(Error {
                at: Place::Endpoint,
                failure: Failure::ServerError,
                detail: why,
            }),
            false => Ok(why),
        })
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
        let hop = (self.source, self.endpoint, &at.hop);
        let reach = &self.exchanger.reach;
        let response = reach.send(hop, connection, || self.request(at)).await;
        let response = response.map_err(|error| self.broken(&at.hop, error))?;
        if let (Hop::Endpoint, Presented::Password, Some(password)) =
            (&at.hop, self.presented, &self.authorization)
            && response.status != StatusCode::UNAUTHORIZED
        {
            let tokens = &self.exchanger.tokens;
            tokens.remember_basic(&self.key, self.source, password.clone(), self.ask.trust);
        }
        Ok(response)
    }

    /// The request as it goes out: nothing of the client's but what `Ask` has.
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
            .with(&hyper::header::USER_AGENT, USER_AGENT)?
            .with(&ACCEPT_ENCODING, "identity")?
            .with(&ACCEPT, &ask.accept)?
            .with(&REQUEST_ID, &*ask.request_id)?;
        if let Some(range) = &ask.range {
            request.add(&RANGE, range.as_bytes())?;
        }
        if let (Hop::Endpoint, Some(authorization)) = (&at.hop, &self.authorization) {
            request.add(&AUTHORIZATION, authorization.as_bytes())?;
        }
        Ok(request)
    }

    fn answer(&self, at: &Position<'_>, response: Response, denied: Option<String>) -> Answer {
        Answer {
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
        let (at, detail) = match hop {
            Hop::Endpoint => (Place::Endpoint, error.detail),
            Hop::Named(origin) => (
                Place::Redirect,
                format!(
                    "redirected by {} to {origin}: {}",
                    self.endpoint, error.detail
                ),
            ),
        };
        Error {
            at,
            failure: error.failure,
            detail,
        }
    }
}

/// What a refusal says, as far as it is short and comes soon.
async fn words(body: &mut Body) -> Vec<u8> {
    const LONGEST: usize = 16 * 1024;
    const SOON: Duration = Duration::from_millis(500);
    let mut words = Vec::new();
    let reading = async {
        while words.len() < LONGEST
            && let Some(Ok(frame)) = body.frame().await
        {
            words.extend_from_slice(frame.data_ref().map_or(b"", |data| data));
        }
    };
    // What has come until then is all that is known.
    timeout(SOON, reading).await.ok();
    words
}

/// The challenges of all headers, in order.
fn challenges_of(fields: &Fields) -> Vec<Challenge> {
    let values = fields.all(&WWW_AUTHENTICATE);
    let texts = values.filter_map(|value| std::str::from_utf8(value).ok());
    texts.take(8).flat_map(parse_challenges).collect()
}
