//! One manifest or blob: asked for, proved by its digest, thrown away.

use super::limit::Limit;
use crate::config::Secret;
use crate::exchange::{Exchanger, SourceRequest};
use crate::http1::Fields;
use crate::node::desired::KEY_HEADER;
use crate::oci::{ACCEPT_MANIFESTS, Digest, Reference, ResourceKind, stated_error};
use crate::printable::chain;
use crate::relay::CONTENT_DIGEST;
use crate::route::Target;
use crate::topology::{EndpointId, Source, SourceId};
use crate::upstream::{Body, Client, Request};
use bytes::Bytes;
use http::header::{ACCEPT, HeaderName, USER_AGENT};
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
const KEY: HeaderName = HeaderName::from_static(KEY_HEADER);
const SERVED_BY: HeaderName = HeaderName::from_static("x-harbor-pilot-served-by");

/// One address that an image is fetched from.
#[derive(Clone, Debug)]
pub(super) struct Through {
    pub(super) source: Arc<Source>,
    pub(super) endpoint: EndpointId,
    pub(super) by: By,
}

/// How it is asked.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// The running agent, as containerd asks it.
    Agent { client: Client, key: Option<Secret> },
    /// A source, as the agent asks it.
    Target {
        target: Target,
        exchanger: Exchanger,
    },
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

// === impl Through ===

impl Through {
    /// `core/203.0.113.7:443`
    pub(super) fn name(&self) -> String {
        match self.by {
            By::Agent { .. } => self.source_label().to_owned(),
            By::Target { .. } => format!("{}/{}", self.source_label(), self.endpoint.address),
        }
    }

    /// `core`
    pub(super) fn source_label(&self) -> &str {
        self.source.id.label()
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
                let ask = ResourceKind::Manifest(reference.clone());
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
        let said = self
            .ask(path, Method::GET, &ResourceKind::Manifest(by))
            .await?;
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
        let ask = ResourceKind::Blob(digest.clone());
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
    async fn ask(
        &self,
        path: &ImagePath,
        method: Method,
        ask: &ResourceKind,
    ) -> Result<Said, String> {
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
        ask: &ResourceKind,
    ) -> Result<(StatusCode, Fields, Body), String> {
        let (source, endpoint) = (&self.source, &self.endpoint);
        match &self.by {
            By::Agent { client, key } => {
                let target = format!("/v2/{}{}?ns={}", path.name, ask.suffix(), path.registry);
                let accept = match ask {
                    ResourceKind::Manifest(_) => ACCEPT_MANIFESTS,
                    _ => "*/*",
                };
                let request = || {
                    let mut request = Request::new(&method, &target, &source.url.authority())?
                        .with(&USER_AGENT, AGENT_NAME)?
                        .with(&ACCEPT, accept)?;
                    if let Some(key) = key {
                        request.add(&KEY, key.reveal().as_bytes())?;
                    }
                    Ok(request)
                };
                let response = client.request(source, endpoint, request).await;
                let response = response.map_err(|error| chain(&error))?;
                Ok((response.status, response.fields, response.body))
            }
            By::Target { target, exchanger } => {
                let request = SourceRequest::new(method, target, ask, "warm");
                let answer = exchanger.ask(source, endpoint, &request).await;
                let answer = answer.map_err(|error| chain(&error))?;
                match answer.denied {
                    Some(denied) => Err(denied),
                    None => Ok((answer.status, answer.fields, answer.body)),
                }
            }
        }
    }

    fn served_by(&self, fields: &Fields) -> String {
        match self.by {
            By::Agent { .. } => fields.text(&SERVED_BY).unwrap_or("agent").to_owned(),
            By::Target { .. } => self.name(),
        }
    }

    /// Harbor sends a blob that it fetches first without a length (harbor-facts 0.5).
    fn cache(&self, fields: &Fields) -> Cache {
        match (&self.by, &self.source.id, fields.content_length()) {
            (By::Agent { .. }, ..) | (_, SourceId::Upstream(_), _) => Cache::Unknown,
            (_, _, Some(_)) => Cache::Warm,
            (_, _, None) => Cache::Cold,
        }
    }
}

/// Where an image is asked for at the agent; a source's own path is its target's.
#[derive(Clone, Debug)]
pub(super) struct ImagePath {
    pub(super) registry: String,
    pub(super) name: String,
}

/// An error's own words.
fn shown(words: &[u8]) -> String {
    let message = stated_error(words).map_or_else(String::new, |error| error.message);
    let message: String = message.chars().take(WORDS_SHOWN).collect();
    match message.is_empty() {
        true => message,
        false => format!(": {message}"),
    }
}
