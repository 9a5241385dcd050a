//! What is asked of a source for a manifest, and which of its answers are good.

use super::ahead::ManifestFetch;
use super::proof::{Misfit, prove};
use crate::budget::Kind;
use crate::exchange::{SourceRequest, SourceResponse};
use crate::http1::Fields;
use crate::oci::Digest;
use crate::relay::coding::read_whole;
use crate::relay::fetched::Told;
use crate::relay::head;
use crate::relay::memory::CONTENT_DIGEST;
use crate::relay::outcome::Rejection;
use crate::relay::quota;
use crate::relay::reputation::Subject;
use crate::relay::response::header_value;
use crate::relay::rules::{Asked, Authority, Cause, Scope, Unfit, judge};
use crate::relay::search::{Again, FetchSpec};
use crate::route::{Route, Target};
use crate::topology::{EndpointId, Failure, Outcome, Source, SourceId, SourceKind};
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use std::time::Duration;
use tokio::time::Instant;

// === impl ManifestFetch ===

impl ManifestFetch {
    /// A Harbor attaches a tag after HEAD by tag and GET by digest alone (harbor-facts 13.1), and Docker Hub counts GETs and not
    /// HEADs (design P6). What other mirrors do is not known: their HEAD cannot be proved.
    fn asks_by_head(&self, kind: SourceKind) -> bool {
        let is_tag = self.key.of.image.reference.digest().is_none();
        match kind {
            SourceKind::Upstream => self.key.head,
            SourceKind::Harbor => self.key.head && is_tag,
            SourceKind::Path | SourceKind::Mirror => false,
        }
    }

    /// A Content-Encoding that nobody asked for, and that cannot be undone.
    fn coded(why: &str) -> Rejection {
        let detail = format!("its Content-Encoding cannot be undone: {why}");
        Rejection::leave(Scope::Tier, Outcome::Neutral, Cause::Unusable, detail)
    }

    /// A HEAD is believed as far as it is complete (containerd-k3s-facts 3.2). With a coding it tells the length of something
    /// else, and clients know a tag's content by SHA-256.
    fn told_by_head(&self, fields: &Fields) -> Option<Told> {
        let coding = fields.text(&CONTENT_ENCODING).unwrap_or("identity");
        let digest: Digest = fields.text(&CONTENT_DIGEST)?.parse().ok()?;
        if !coding.trim().eq_ignore_ascii_case("identity") || !digest.is_sha256() {
            return None;
        }
        let possible = 1..=self.parts.limits.manifest_bytes;
        let length = fields.content_length();
        let length = length.filter(|length| possible.contains(length))?;
        let media_type = fields.text(&CONTENT_TYPE)?.split(';').next()?;
        let media_type = media_type.trim().to_owned();
        let is_manifest = media_type.contains("manifest") || media_type.contains("image.index");
        is_manifest.then(|| Told {
            digest,
            media_type,
            length,
            body: None,
            descriptors: Vec::new(),
        })
    }

    /// How long the words of a tier's "no" are waited for.
    fn words(&self) -> Duration {
        match self.key.is_lookup {
            true => self.parts.timeouts.first_byte,
            false => head::WORDS,
        }
    }

    /// A tag that is not there: with what the same address said of it to GET, for the log.
    fn with_words(&self, endpoint: &EndpointId, mut no: Rejection, to_head: bool) -> Rejection {
        if let Unfit::Leave { cause, .. } = no.means
            && cause == Cause::NotFound
            && self.key.head
            && self.key.of.image.reference.digest().is_none()
            && !self.key.is_lookup
        {
            let (said, now) = (&self.parts.memories.no_tag, Instant::now());
            let key = (endpoint.clone(), self.key.of.image.clone());
            match said.get(&key, now) {
                Some(said) if to_head => no.detail = said.to_string(),
                _ => said.put(key, no.detail.as_str().into(), self.key.of.trust, now),
            }
        }
        no
    }

    async fn prove(
        &self,
        endpoint: &EndpointId,
        answer: SourceResponse,
        is_encoded: bool,
    ) -> Result<Told, Rejection> {
        let fields = answer.fields;
        let (body, budget) = (answer.body, &self.parts.budget);
        let memory = (self.parts.limits.manifest_bytes, budget, Kind::Manifests);
        let body = read_whole(body, memory, is_encoded, Self::coded).await?;
        // Harbor sends the digest empty on its proxy path (harbor-facts 3.2); only a filled one says something.
        let digest = fields.text(&CONTENT_DIGEST);
        let digest: Option<Digest> = digest.and_then(|digest| digest.parse().ok());
        let (told, content_type) = (digest.as_ref(), fields.text(&CONTENT_TYPE));
        let reference = &self.key.of.image.reference;
        let hard = Outcome::Hard(Failure::Content);
        let (outcome, cause, detail) = match prove(reference, told, content_type, body) {
            Ok(told) => return Ok(told),
            Err(_) if is_encoded => return Err(Self::coded("it fits nothing")),
            Err(Misfit::Wrong(due)) => {
                let detail = "the manifest does not fit its digest";
                self.parts.wrong_bytes(endpoint, &self.key.of, &due, detail);
                (hard, Cause::WrongDigest, detail)
            }
            Err(Misfit::NoManifest) => (hard, Cause::WrongContent, "the body is no manifest"),
            Err(Misfit::Unproved(detail)) => (Outcome::Neutral, Cause::WrongContent, detail),
        };
        Err(Rejection::leave(Scope::Tier, outcome, cause, detail))
    }
}

impl FetchSpec for ManifestFetch {
    type Good = Told;

    fn request(&self, target: &Target, source: &Source) -> SourceRequest {
        let method = match self.asks_by_head(source.kind) {
            true => Method::HEAD,
            false => Method::GET,
        };
        let resource = format!("/manifests/{}", self.key.of.image.reference);
        let accept = header_value(&self.key.kinds.accept());
        let (id, trust) = (&self.request_id, self.key.of.trust);
        head::request(target, &resource, method, accept, id, trust)
    }

    async fn examine(
        &self,
        authority: Authority,
        endpoint: &EndpointId,
        answer: SourceResponse,
    ) -> Result<Told, Rejection> {
        let mut seen = head::read(&answer);
        // Where a digest was asked for it decides, not what the source says of the body.
        seen.html &= self.key.of.image.reference.digest().is_none() || seen.status != 200;
        if let (SourceId::Upstream(registry), Some(left)) =
            (&endpoint.source, quota::remaining(&answer.fields))
        {
            let metrics = &self.parts.sinks.metrics;
            metrics.upstream_quota(registry.as_str(), left);
        }
        let policy = self.rules.config.failover.harbor_policy;
        match judge(Asked::Document, authority, policy, &seen) {
            Ok(_) if answer.head => {
                let told = self.told_by_head(&answer.fields);
                told.ok_or_else(|| {
                    let detail = "the answer to HEAD is incomplete";
                    let outcome = Outcome::Success;
                    Rejection::leave(Scope::Address, outcome, Cause::Unusable, detail)
                })
            }
            Ok(_) => self.prove(endpoint, answer, seen.encoded).await,
            // Boxed: rare, and more than half of what a search keeps per attempt.
            Err(unfit) => {
                let to_head = answer.head;
                let rejection = Box::pin(head::rejection(unfit, answer, self.words())).await;
                Err(self.with_words(endpoint, rejection, to_head))
            }
        }
    }

    fn subject(&self, _: &Route) -> Subject {
        Subject::from(&self.key.of)
    }

    fn is_hedged(&self) -> bool {
        true
    }

    fn again(&self, endpoint: &EndpointId, answer_to_head: &SourceResponse) -> Option<Again> {
        let (memories, now, image) = (&self.parts.memories, Instant::now(), &self.key.of.image);
        let said = || {
            memories
                .no_tag
                .holds(&(endpoint.clone(), image.clone()), now)
        };
        let of = || (image.registry.clone(), image.repository.clone());
        match answer_to_head.status.as_u16() {
            200 if self.told_by_head(&answer_to_head.fields).is_none() => Some(Again::Instead),
            // Some take GET alone, and a policy's reason stands in the body.
            400 | 403 | 405 | 412 | 501 => Some(Again::Instead),
            // Once a minute for each tag and address; of what the registry denied a tier mostly has nothing to say. A lookup has
            // to know.
            404 if matches!(endpoint.source, SourceId::Tier(_))
                && (self.key.is_lookup || !(said() || memories.denials.holds(&of(), now))) =>
            {
                Some(Again::ForWords(self.words()))
            }
            _ => None,
        }
    }

    fn first(&self) -> Option<&EndpointId> {
        self.first.as_ref()
    }
}
