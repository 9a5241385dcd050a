//! `--probe`: asks one candidate for the manifest, as the agent would, and says what came.

use super::report::ProbeReport;
use crate::budget::Budget;
use crate::cache::Trust;
use crate::config::{Config, HarborPolicy};
use crate::discovery::Discovery;
use crate::exchange::{Exchanger, SourceRequest, SourceResponse};
use crate::oci::{ACCEPT_MANIFESTS, Digest, ManifestKind, Reference, inspect_manifest};
use crate::printable::chain;
use crate::relay::{FinalAnswer, no_of};
use crate::route::Target;
use crate::topology::{EndpointId, Source, Sources};
use crate::upstream::{Body, Client};
use http::header::HeaderValue;
use http::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// For one candidate: connect, token and answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Error documents are short; of a longer one nothing is shown.
const ERROR_BYTES: u64 = 64 * 1024;

/// How much of an error document's own words is shown, in characters.
const SHOWN: usize = 200;

#[derive(Debug)]
pub(super) struct Prober {
    client: Client,
    exchanger: Exchanger,
    manifest_bytes: u64,
    policy: HarborPolicy,
}

/// What a candidate said.
struct Said {
    status: StatusCode,
    /// The manifest's digest, or why the answer is none.
    content: Result<Digest, String>,
    /// What the agent would take it for, if it says no.
    no: Option<FinalAnswer>,
}

impl Prober {
    /// For these sources. `discovery` finds the hosts that they name in redirects and challenges.
    pub(super) fn new(config: &Config, sources: &Sources, discovery: Discovery) -> Self {
        let client = Client::new(config.timeouts);
        client.update(sources);
        Self {
            exchanger: Exchanger::new(
                client.clone(),
                Arc::new(discovery),
                Arc::default(),
                &Budget::unlimited(),
            ),
            client,
            manifest_bytes: config.limits.manifest_bytes,
            policy: config.failover.harbor_policy,
        }
    }

    /// Asks for the manifest.
    pub(super) async fn ask(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        target: &Target,
        reference: &Reference,
    ) -> ProbeReport {
        let started = Instant::now();
        let asked = timeout(LIMIT, self.exchange(source, endpoint, target, reference)).await;
        let result =
            asked.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())));
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, content, no) = match result {
            Ok(said) => (Some(said.status.as_u16()), said.content, said.no),
            Err(error) => (None, Err(error), None),
        };
        let (digest, error) = match content {
            Ok(digest) => (Some(digest.to_string()), None),
            Err(error) => (None, Some(error)),
        };
        ProbeReport {
            has_manifest: digest.is_some(),
            status,
            digest,
            ms,
            error,
            no,
        }
    }

    async fn exchange(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        target: &Target,
        reference: &Reference,
    ) -> Result<Said, String> {
        let ask = ask_of(target, reference);
        let connected = self.client.connect(source, endpoint).await;
        let connection = connected.map_err(|error| error.detail())?;
        let exchanged = self
            .exchanger
            .exchange(source, endpoint, connection, &ask)
            .await;
        let answer = exchanged.map_err(|error| error.detail())?;
        let status = answer.status;
        let no = no_of(&answer, target.authoritative, self.policy);
        let content = if status == StatusCode::OK {
            self.manifest(answer.body, reference).await
        } else {
            Err(refusal(answer).await)
        };
        Ok(Said {
            status,
            content,
            no,
        })
    }

    /// The digest of what came, if it is a manifest and the one that was asked for.
    async fn manifest(&self, body: Body, reference: &Reference) -> Result<Digest, String> {
        let read = body.read_to(self.manifest_bytes).await;
        let body = read.map_err(|error| chain(&error))?;
        match reference.digest() {
            Some(digest) if digest.matches(&body) => Ok(digest.clone()),
            Some(_) => Err("the content is not that of the digest".to_owned()),
            None if matches!(inspect_manifest(&body), ManifestKind::NotAManifest) => {
                Err("the content is no manifest".to_owned())
            }
            None => Ok(Digest::sha256(&body)),
        }
    }
}

fn ask_of(target: &Target, reference: &Reference) -> SourceRequest {
    SourceRequest {
        method: Method::GET,
        target: super::report::request_target(target, reference),
        scope_repository: target.path.clone(),
        token_scope: target.token_scope.clone(),
        with_credential: target.with_credential,
        accept: HeaderValue::from_static(ACCEPT_MANIFESTS),
        range: None,
        request_id: "explain".into(),
        trust: Trust::Trusted,
    }
}

/// Why an answer is not 200: what the exchange found out about a 401, else the first error of the document.
async fn refusal(answer: SourceResponse) -> String {
    let reason = answer.status.canonical_reason().unwrap_or("no manifest");
    if let Some(denied) = answer.denied {
        return denied;
    }
    let body = answer.body.read_to(ERROR_BYTES).await;
    let stated = body.ok().and_then(|body| first_error(&body));
    stated.unwrap_or_else(|| reason.to_owned())
}

/// `MANIFEST_UNKNOWN: manifest unknown`, from the document of the distribution spec.
fn first_error(body: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let error = document.get("errors")?.get(0)?;
    let words = ["code", "message"].map(|key| error.get(key).and_then(Value::as_str));
    let words: Vec<&str> = words
        .into_iter()
        .flatten()
        .filter(|word| !word.is_empty())
        .collect();
    let text: String = words.join(": ").chars().take(SHOWN).collect();
    (!text.is_empty()).then_some(text)
}
