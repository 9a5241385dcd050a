//! One token fetch over the network (distribution spec, "Token Authentication"), and reading what comes back.

use super::plan::TokenPlan;
use super::reach::{Hop, Reach};
use super::redirect::{self, Position};
use super::tokens::{FetchToken, Fetching, Issued, TokenError, TokenFailure};
use crate::config::Credential;
use crate::http1::retry_after;
use crate::topology::Failure;
use crate::upstream::{Cause, Error, Request, Response, USER_AGENT, basic};
use flate2::read::MultiGzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use serde::Deserialize;
use std::borrow::Cow;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest token, in bytes. Real ones are 1 to 10 KiB, and servers take a head of 8 to 32 KiB.
const MAX_TOKEN: usize = 16 * 1024;
/// Of an answer with two tokens of that length, as Docker Hub says its token twice.
const MAX_ANSWER: u64 = 64 * 1024;
/// Of a token without `expires_in` (distribution spec; GHCR sends none).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Nothing is believed for longer.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl FetchToken for Reach {
    fn fetch(&self, plan: Arc<TokenPlan>) -> Fetching {
        let reach = self.clone();
        Box::pin(async move { fetch(&reach, &plan).await })
    }
}

async fn fetch(reach: &Reach, plan: &TokenPlan) -> Result<Issued, TokenError> {
    let mut asked = Asked {
        plan,
        at: Position {
            hop: plan.at.clone(),
            target: plan.target.as_str().into(),
        },
        credential: plan.credential.as_ref(),
    };
    let mut followed = 0;
    loop {
        let mut response = asked.send(reach).await?;
        let Some(location) = redirect::location(response.status, &response.fields) else {
            return asked.issued(response).await;
        };
        let next = redirect::follow(&plan.source, &asked.at, location, &mut followed);
        let next = next.map_err(|why| asked.failed(Failure::Token, why))?;
        response.body.drain_small().await;
        if next.hop != asked.at.hop {
            asked.credential = None;
        }
        asked.at = next;
    }
}

/// What is asked of whom, on the way to a token.
struct Asked<'a> {
    plan: &'a TokenPlan,
    at: Position<'a>,
    /// Gone as soon as a redirect leads to another origin.
    credential: Option<&'a Credential>,
}

// === impl Asked ===

impl Asked<'_> {
    async fn send(&self, reach: &Reach) -> Result<Response, TokenError> {
        let unreached = |error: Error| match error.failure {
            failure if failure.is_the_endpoints() => self.failed(Failure::Token, error),
            failure => self.failed(failure, error),
        };
        let (source, endpoint, hop) = (&self.plan.source, &self.plan.endpoint, &self.at.hop);
        let connection = reach.connect(source, endpoint, hop).await;
        let connection = connection.map_err(unreached)?;
        let request = || self.request();
        let response = reach.send(source, endpoint, hop, connection, request).await;
        response.map_err(unreached)
    }

    async fn issued(&self, response: Response) -> Result<Issued, TokenError> {
        let status = response.status;
        let wait = response.fields.text(&RETRY_AFTER);
        let wait = wait.and_then(|value| retry_after(value, SystemTime::now()));
        // Of whatever status: read to its end, it gives its connection back for the request that waits.
        let body = response.body.read_to(MAX_ANSWER).await;
        match status {
            // Some answer 201.
            _ if status.is_success() => {
                let body = body.map_err(|error| self.failed(Failure::Token, error))?;
                read_token(&body).map_err(|why| self.failed(Failure::Token, why))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(TokenError::Denied(format!(
                "{} refuses a token ({status}) {}",
                self.whom(),
                match self.credential {
                    Some(credential) => format!("to {}", credential.username),
                    None => "without a credential".to_owned(),
                }
            ))),
            StatusCode::TOO_MANY_REQUESTS => Err(TokenError::Failed(TokenFailure {
                retry_after: wait,
                ..self.failure(Failure::TooManyRequests, status.to_string())
            })),
            // The scope is what a client asked for.
            _ if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
                Err(self.failed(Failure::TokenRefused, format!("it answered {status}")))
            }
            _ => Err(self.failed(Failure::Token, format!("it answered {status}"))),
        }
    }

    fn failed(&self, failure: Failure, why: impl Into<Cause>) -> TokenError {
        self.failure(failure, why).into()
    }

    fn failure(&self, failure: Failure, why: impl Into<Cause>) -> TokenFailure {
        TokenFailure {
            source: Some(why.into().into()),
            ..TokenFailure::new(failure, format!("fetching a token from {}", self.whom()))
        }
    }

    /// Without path and query, which may say more than a log should.
    fn whom(&self) -> String {
        match &self.at.hop {
            Hop::Endpoint => self.plan.endpoint.to_string(),
            Hop::Named(origin) => format!("{origin}, named by {}", self.plan.source.id),
        }
    }

    fn request(&self) -> Result<Request, Error> {
        let host = match &self.at.hop {
            Hop::Endpoint => self.plan.source.url.authority(),
            Hop::Named(origin) => origin.authority(),
        };
        let made = || {
            let mut request = Request::new(&Method::GET, &self.at.target, &host)?
                .with(&http::header::USER_AGENT, USER_AGENT)?
                .with(&ACCEPT, "application/json")?
                .with(&ACCEPT_ENCODING, "identity")?;
            if let Some(credential) = self.credential {
                request.add(&AUTHORIZATION, basic_authorization(credential).as_bytes())?;
            }
            Ok(request)
        };
        made().map_err(|error: Error| Error::new(Failure::Token, "asking the token realm", error))
    }
}

/// `Basic …`, marked sensitive.
#[must_use]
pub fn basic_authorization(credential: &Credential) -> HeaderValue {
    authorization(&basic(credential)).unwrap_or_else(|| HeaderValue::from_static("Basic"))
}

fn authorization(value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(value).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The first non-empty of `token` and `access_token`: Harbor sends the second one empty (harbor-facts 2), others
/// only the second.
fn read_token(body: &[u8]) -> Result<Issued, &'static str> {
    const NO_DOCUMENT: &str = "its answer is no token document";
    let body = plain(body)?;
    // Some editors and frameworks of Windows put a byte order mark before a document.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
    // An array would be taken for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(NO_DOCUMENT);
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| NO_DOCUMENT)?;
    let tokens = [answer.token, answer.access_token].into_iter().flatten();
    let token = tokens.into_iter().find(|token| !token.is_empty());
    let token = token.ok_or("its answer holds no token")?;
    if token.len() > MAX_TOKEN {
        return Err("its token is longer than 16 KiB");
    }
    // RFC 6750 section 2.1: a token is token68.
    let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    let authorization = authorization(&format!("Bearer {token}")).filter(|_| visible);
    let seconds = answer.expires_in.as_ref().and_then(|value| {
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_f64().or(text)
    });
    let life = match seconds {
        Some(seconds) if seconds >= MAX_LIFE.as_secs_f64() => MAX_LIFE,
        Some(seconds) if seconds > 0.0 => Duration::from_secs_f64(seconds),
        _ => DEFAULT_LIFE,
    };
    Ok(Issued {
        authorization: authorization.ok_or("its token cannot be sent")?,
        life,
    })
}

/// The document without gzip, in which some send it though nobody asked for it. No document begins like that.
fn plain(body: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body.into());
    }
    let mut plain = Vec::new();
    let mut unpacking = MultiGzDecoder::new(body).take(MAX_ANSWER.saturating_add(1));
    let length = unpacking.read_to_end(&mut plain);
    match length {
        Ok(length) if length as u64 <= MAX_ANSWER => Ok(plain.into()),
        Ok(_) => Err("unpacked, its answer is longer than 64 KiB"),
        Err(_) => Err("its answer is gzip that cannot be unpacked"),
    }
}

#[cfg(test)]
mod tests;
