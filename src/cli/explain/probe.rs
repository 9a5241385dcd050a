//! `--probe`: asks one candidate for the manifest, as the agent would, and says what came.

use super::lookup::Lookups;
use super::report::ProbeReport;
use crate::config::{Config, HarborPolicy};
use crate::exchange::{Exchanger, SourceRequest, SourceResponse};
use crate::oci::{Digest, ManifestKind, Reference, ResourceKind, inspect_manifest, stated_error};
use crate::printable::chain;
use crate::relay::{FinalAnswer, no_of};
use crate::route::Target;
use crate::topology::{EndpointId, Source};
use crate::upstream::Body;
use http::{Method, StatusCode};
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
    pub(super) fn new(config: &Config, lookups: &Lookups) -> Self {
        let (_, exchanger) = lookups.requests(config);
        Self {
            exchanger,
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
        let kind = ResourceKind::Manifest(reference.clone());
        let request = SourceRequest::new(Method::GET, target, &kind, "explain");
        let answer = self.exchanger.ask(source, endpoint, &request).await;
        let answer = answer.map_err(|error| error.detail())?;
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

/// Why an answer is not 200: what the exchange found out about a 401, else the first error of the document.
async fn refusal(answer: SourceResponse) -> String {
    let reason = answer.status.canonical_reason().unwrap_or("no manifest");
    if let Some(denied) = answer.denied {
        return denied;
    }
    let body = answer.body.read_to(ERROR_BYTES).await;
    let stated = body.ok().and_then(|body| stated_error(&body));
    let stated = stated.map_or_else(String::new, |error| error.to_string());
    match stated.is_empty() {
        true => reason.to_owned(),
        false => stated.chars().take(SHOWN).collect(),
    }
}
