//! One manifest or blob: asked for, proved by its digest, thrown away.

use super::limit::Limit;
use crate::cache::Trust;
use crate::config::Secret;
use crate::exchange::{Exchanger, SourceRequest};
use crate::http1::Fields;
use crate::node::desired::KEY_HEADER;
use crate::oci::{ACCEPT_MANIFESTS, Digest, Reference};
use crate::printable::chain;
use crate::relay::CONTENT_DIGEST;
use crate::route::Target;
use crate::topology::{EndpointId, Source, SourceId};
use crate::upstream::{Body, Client, Request};
use bytes::Bytes;
use http::header::{ACCEPT, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Until the head of an answer: a cold image is fetched by Harbor first.
const HEAD: Duration = Duration::from_secs(60);
/// Between two pieces of a body.
const STALL: Duration = Duration::from_secs(30);
/// Of an error's body.
const WORDS_BYTES: u64 = 16 * 1024;
/// How much of that is shown, in characters.
const WORDS_SHOWN: usize = 160;

const AGENT_NAME: &str = concat!("harbor-pilot-warm/", env!("CARGO_PKG_VERSION"));
const SERVED_BY: HeaderName = HeaderName::from_static("x-harbor-pilot-served-by");

#[derive(Clone, Debug)]
pub(super) enum Through {
    /// The running agent, as containerd asks it.
    Agent {
        source: Arc<Source>,
        endpoint: EndpointId,
        client: Client,
        key: Option<Secret>,
    },
    /// One address of a source.
    Source {
        source: Arc<Source>,
        endpoint: EndpointId,
        target: Target,
        client: Client,
        exchanger: Exchanger,
    },
}

/// What is asked for.
#[derive(Clone, Debug)]
enum Resource {
    Manifest(Reference),
    Blob(Digest),
}

/// Whether the source had it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    Warm,
    Cold,
    /// It does not tell.
    Unknown,
}

/// An answer whose body follows.
struct Said {
    fields: Fields,
    body: Body,
}

// === impl Resource ===

impl Resource {
    fn suffix(&self) -> String {
        match self {
            Self::Manifest(reference) => format!("/manifests/{reference}"),
            Self::Blob(digest) => format!("/blobs/{digest}"),
        }
    }

    fn accept(&self) -> &'static str {
        match self {
            Self::Manifest(_) => ACCEPT_MANIFESTS,
            Self::Blob(_) => "*/*",
        }
    }
}

// === impl Through ===

impl Through {
    /// `core/203.0.113.7:443`
    pub(super) fn name(&self) -> String {
        match self {
            Self::Agent { .. } => "agent".to_owned(),
            Self::Source { endpoint, .. } => {
                format!("{}/{}", endpoint.source.label(), endpoint.address)
            }
        }
    }

    /// `core`
    pub(super) fn source_label(&self) -> String {
        match self {
            Self::Agent { .. } => "agent".to_owned(),
            Self::Source { endpoint, .. } => endpoint.source.label().to_owned(),
        }
    }

    /// A manifest by the reference: its body, and who served it. By tag it is asked for as containerd does, by HEAD first,
    /// so that Harbor attaches the tag (harbor-facts 13.1). `longest`: in bytes, as `[limits] manifest_bytes`.
    pub(super) async fn manifest(
        &self,
        path: &ImagePath,
        reference: &Reference,
        longest: u64,
    ) -> Result<(Bytes, String), String> {
        let told = match reference {
            Reference::Tag(_) => {
                let ask = Resource::Manifest(reference.clone());
                let head = self.ask(path, Method::HEAD, &ask).await?;
                head.fields
                    .text(&CONTENT_DIGEST)
                    .and_then(|told| told.parse::<Digest>().ok())
            }
            Reference::Digest(digest) => Some(digest.clone()),
        };
        let by = match &told {
            Some(digest) => Reference::Digest(digest.clone()),
            None => reference.clone(),
        };
        let said = self.ask(path, Method::GET, &Resource::Manifest(by)).await?;
        let served_by = self.served_by(&said.fields);
        let reading = timeout(HEAD, said.body.read_to(longest)).await;
        let body = reading
            .map_err(|_| format!("the manifest did not come within {} s", HEAD.as_secs()))?
            .map_err(|error| chain(&error))?;
        match told {
            Some(digest) if !digest.matches(&body) => {
                Err(format!("the manifest's bytes are not those of {digest}"))
            }
            _ => Ok((body, served_by)),
        }
    }

    /// A blob, proved: its bytes, who served it, and whether it was there already. `came` hears of each piece.
    pub(super) async fn blob(
        &self,
        path: &ImagePath,
        digest: &Digest,
        limit: &Limit,
        came: &(dyn Fn(u64) + Sync),
    ) -> Result<(u64, String, Cache), String> {
        let ask = Resource::Blob(digest.clone());
        let Said { fields, mut body } = self.ask(path, Method::GET, &ask).await?;
        let served_by = self.served_by(&fields);
        let cache = self.cache(&fields);
        let (mut hasher, mut bytes) = (digest.hasher(), 0_u64);
        loop {
            let next = timeout(STALL, body.next()).await;
            let next = next.map_err(|_| format!("nothing came for {} s", STALL.as_secs()))?;
            let Some(piece) = next else { break };
            let piece = piece.map_err(|error| chain(&error))?;
            hasher.update(&piece);
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            bytes = bytes.saturating_add(length);
            came(length);
            limit.take(piece.len()).await;
        }
        if hasher.finish() != *digest {
            return Err(format!("the bytes are not those of {digest}"));
        }
        Ok((bytes, served_by, cache))
    }

    /// An answer 200; anything else is an error in words.
    async fn ask(&self, path: &ImagePath, method: Method, ask: &Resource) -> Result<Said, String> {
        let asked = timeout(HEAD, self.send(path, method, ask)).await;
        let answered =
            asked.map_err(|_| format!("{}: no answer within {} s", self.name(), HEAD.as_secs()))?;
        let (status, fields, body) = answered.map_err(|why| format!("{}: {why}", self.name()))?;
        if status == StatusCode::OK {
            return Ok(Said { fields, body });
        }
        let words = timeout(STALL, body.read_to(WORDS_BYTES)).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_default();
        Err(format!("{}: {status}{}", self.name(), shown(&words)))
    }

    async fn send(
        &self,
        path: &ImagePath,
        method: Method,
        ask: &Resource,
    ) -> Result<(StatusCode, Fields, Body), String> {
        match self {
            Self::Agent {
                source,
                endpoint,
                client,
                key,
            } => {
                let target = format!("/v2/{}{}?ns={}", path.name, ask.suffix(), path.registry);
                let request = || {
                    let mut request = Request::new(&method, &target, &source.url.authority())?
                        .with(&USER_AGENT, AGENT_NAME)?
                        .with(&ACCEPT, ask.accept())?;
                    if let Some(key) = key {
                        let name = HeaderName::from_bytes(KEY_HEADER.as_bytes());
                        // A name of our own, which is one.
                        if let Ok(name) = name {
                            request.add(&name, key.reveal().as_bytes())?;
                        }
                    }
                    Ok(request)
                };
                let response = client.request(source, endpoint, request).await;
                let response = response.map_err(|error| chain(&error))?;
                Ok((response.status, response.fields, response.body))
            }
            Self::Source {
                source,
                endpoint,
                target,
                client,
                exchanger,
            } => {
                let query = target.query.as_ref().map(|query| format!("?{query}"));
                let request = SourceRequest {
                    method,
                    target: format!(
                        "/v2/{}{}{}",
                        target.path,
                        ask.suffix(),
                        query.unwrap_or_default()
                    ),
                    scope_repository: target.path.clone(),
                    token_scope: target.token_scope.clone(),
                    with_credential: target.with_credential,
                    accept: HeaderValue::from_static(ask.accept()),
                    range: None,
                    request_id: "warm".into(),
                    trust: Trust::Trusted,
                };
                let connection = match client.idle(endpoint) {
                    Some(kept) => kept,
                    None => {
                        let connected = client.connect(source, endpoint).await;
                        connected.map_err(|error| chain(&error))?
                    }
                };
                let answer = exchanger.exchange(source, endpoint, connection, &request);
                let answer = answer.await.map_err(|error| chain(&error))?;
                if let Some(denied) = answer.denied {
                    return Err(denied);
                }
                Ok((answer.status, answer.fields, answer.body))
            }
        }
    }

    fn served_by(&self, fields: &Fields) -> String {
        match self {
            Self::Agent { .. } => fields.text(&SERVED_BY).unwrap_or("agent").to_owned(),
            Self::Source { .. } => self.name(),
        }
    }

    /// Harbor sends a blob that it fetches first without a length (harbor-facts 0.5).
    fn cache(&self, fields: &Fields) -> Cache {
        match self {
            Self::Source { source, .. } if matches!(source.id, SourceId::Tier(_)) => {
                match fields.content_length() {
                    Some(_) => Cache::Warm,
                    None => Cache::Cold,
                }
            }
            _ => Cache::Unknown,
        }
    }
}

/// Where an image is asked for at the agent; a source's own path is its target's.
#[derive(Clone, Debug)]
pub(super) struct ImagePath {
    pub(super) registry: String,
    pub(super) name: String,
}

/// An error's own words, on one line.
fn shown(words: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(words).ok();
    let message = message.and_then(|json| {
        let message = json.pointer("/errors/0/message")?.as_str()?.to_owned();
        Some(message)
    });
    let message = message.unwrap_or_default();
    let message: String = message.chars().take(WORDS_SHOWN).collect();
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}
