//! Manifests: read whole, proved, then answered with complete headers (design P8, P10).

use super::answer::{Answered, ResponseBody, served_by, with_request_id};
use super::body::blame;
use super::engine::{PullRequest, RelayParts, Rules, not_found};
use super::head;
use super::memory::Manifest;
use super::record::RequestRecord;
use super::rules::{Asked, Authority, Cause, Scope, Verdict, judge};
use super::search::{Ended, NotFound, Rejection, Search, Wanted};
use super::timing::Timing;
use crate::config::{HarborPolicy, Timeouts};
use crate::exchange::{Answer, Ask};
use crate::oci::{
    ACCEPT_MANIFESTS, Descriptor, Digest, ErrorCode, ManifestKind, Reference, inspect_manifest,
    media_type_of,
};
use crate::route::{Leg, Route};
use crate::telemetry::RequestOutcome;
use crate::topology::{EndpointId, Failure, Outcome, Source, SourceKind};
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Response, StatusCode};
use std::sync::Arc;
use tokio::time::Instant;

/// A manifest by tag or digest.
pub(crate) struct ManifestWanted {
    parts: Arc<RelayParts>,
    reference: Reference,
    accept: String,
    head_is_enough: bool,
    policy: HarborPolicy,
    request_id: Arc<str>,
    limit: u64,
}

/// What a source has for us.
#[derive(Debug)]
pub(crate) enum Told {
    /// All of it, proved.
    Whole {
        body: Bytes,
        digest: Digest,
        media_type: String,
        descriptors: Vec<Descriptor>,
    },
    /// Upstream's HEAD: complete, as containerd needs it.
    Head {
        digest: Digest,
        media_type: String,
        length: u64,
    },
}

// === impl ManifestWanted ===

impl ManifestWanted {
    fn leave(scope: Scope, outcome: Outcome, cause: Cause, detail: &str) -> Rejection {
        Rejection::Leave {
            scope,
            outcome,
            cause,
            detail: detail.to_owned(),
        }
    }

    /// Upstream's HEAD is believed as far as it is complete (containerd-k3s-facts 3.2).
    fn told_by_head(headers: &HeaderMap) -> Option<Told> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let digest = text("docker-content-digest")?.parse().ok()?;
        let length = text("content-length")?
            .parse()
            .ok()
            .filter(|length| *length > 0)?;
        let media_type = text("content-type")?.split(';').next()?.trim().to_owned();
        let is_manifest = media_type.contains("manifest") || media_type.contains("image.index");
        is_manifest.then_some(Told::Head {
            digest,
            media_type,
            length,
        })
    }

    async fn prove(&self, endpoint: &EndpointId, answer: Answer) -> Result<Told, Rejection> {
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(ToOwned::to_owned)
        };
        let (claimed, content_type) = (header("docker-content-digest"), header("content-type"));
        let body = answer.body.read_to(self.limit).await.map_err(|error| {
            let cause = Cause::Failed(error.failure);
            Self::leave(
                Scope::Address,
                Outcome::Hard(error.failure),
                cause,
                &error.detail,
            )
        })?;
        let hard = Outcome::Hard(Failure::Content);
        let ManifestKind::Manifest {
            descriptors,
            media_type: stated,
        } = inspect_manifest(&body)
        else {
            let detail = "the body is no manifest";
            return Err(Self::leave(Scope::Tier, hard, Cause::WrongContent, detail));
        };
        let digest = match &self.reference {
            Reference::Digest(due) if due.matches(&body) => due.clone(),
            Reference::Digest(due) => {
                let detail = "the manifest does not fit its digest";
                blame(&self.parts, endpoint, due, detail);
                return Err(Self::leave(Scope::Tier, hard, Cause::WrongDigest, detail));
            }
            Reference::Tag(_) => {
                // Harbor sends the header empty on its proxy path (harbor-facts 3.2); only a filled one says something.
                let claimed: Option<Digest> = claimed.and_then(|claimed| claimed.parse().ok());
                if let Some(claimed) = claimed.filter(|claimed| !claimed.matches(&body)) {
                    let detail = "the manifest does not fit the digest in its header";
                    blame(&self.parts, endpoint, &claimed, detail);
                    return Err(Self::leave(Scope::Tier, hard, Cause::WrongDigest, detail));
                }
                Digest::sha256(&body)
            }
        };
        // Header and body mostly agree; only where they do not is it worth reading the body once more.
        let agreed = stated.filter(|stated| content_type.as_ref() == Some(stated));
        let media_type = agreed.or_else(|| media_type_of(&body, content_type.as_deref()));
        let Some(media_type) = media_type else {
            let detail = "the manifest has no media type";
            return Err(Self::leave(Scope::Tier, hard, Cause::WrongContent, detail));
        };
        Ok(Told::Whole {
            body,
            digest,
            media_type,
            descriptors,
        })
    }
}

impl Wanted for ManifestWanted {
    type Good = Told;

    fn ask(&self, leg: &Leg, source: &Source) -> Ask {
        // A tier's HEAD cannot be proved, and costs it as much; Docker Hub counts GETs and not HEADs (design P6).
        let head = self.head_is_enough && source.kind == SourceKind::Upstream;
        let method = if head { Method::HEAD } else { Method::GET };
        let suffix = format!("/manifests/{}", self.reference);
        head::ask(
            leg,
            &suffix,
            method,
            self.accept.clone(),
            None,
            &self.request_id,
        )
    }

    async fn examine(
        &self,
        leg: &Leg,
        endpoint: &EndpointId,
        answer: Answer,
    ) -> Result<Told, Rejection> {
        let authority = if leg.authoritative {
            Authority::Final
        } else {
            Authority::Tier
        };
        let seen = head::of(&answer, Instant::now());
        match judge(Asked::Document, authority, self.policy, &seen) {
            Verdict::Use(_) if self.head_is_enough && leg.authoritative => {
                match Self::told_by_head(&answer.headers) {
                    Some(told) => Ok(told),
                    None if seen.length == Some(0) => self.prove(endpoint, answer).await,
                    None => Err(Self::leave(
                        Scope::Address,
                        Outcome::Success,
                        Cause::Unusable,
                        "the answer to HEAD is incomplete",
                    )),
                }
            }
            Verdict::Use(_) => self.prove(endpoint, answer).await,
            verdict => Err(head::rejection(verdict, answer).await),
        }
    }

    fn digest(&self) -> Option<&Digest> {
        self.reference.digest()
    }
}

/// The clock for manifests: upstream joins a slow tier. Hedging between tiers has its place in the machine.
pub(super) fn timing(timeouts: &Timeouts) -> Timing {
    Timing {
        connect_race: timeouts.connect_race,
        first_byte: timeouts.first_byte,
        total: timeouts.total,
        upstream_joins: Some(timeouts.upstream_joins),
        hedge: None,
        abandon_overdue: false,
    }
}

/// The client's Accept where it names manifests, else everything known: Harbor answers 400 without (harbor-facts 3.2).
fn accept_of(request: &PullRequest) -> String {
    match &request.accept {
        Some(accept) if accept.contains("manifest") || accept.contains("image.index") => {
            accept.clone()
        }
        _ => ACCEPT_MANIFESTS.to_owned(),
    }
}

/// Answers a request for a manifest.
pub(crate) async fn answer(
    parts: &Arc<RelayParts>,
    rules: &Rules,
    route: Arc<Route>,
    reference: Reference,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Answered {
    let kept = reference.digest().and_then(|digest| {
        let key = (
            route.registry_label.clone(),
            route.repository.clone(),
            digest.clone(),
        );
        parts.memories.manifests.get(&key, Instant::now())
    });
    if let Some(kept) = kept {
        let outcome = if kept.direct {
            RequestOutcome::Direct
        } else {
            RequestOutcome::Served
        };
        return respond(&kept, request, outcome, record);
    }
    let what = format!("{}/{}:{reference}", route.registry_label, route.repository);
    let (route, denied) = parts.without_denied(route);
    let mut ended = search(
        parts,
        rules,
        &route,
        &reference,
        request,
        request.head,
        &record,
    )
    .await;
    if request.head && head_was_incomplete(&ended) {
        let tried = std::mem::take(&mut ended.tried);
        let attempts = ended.attempts;
        ended = search(parts, rules, &route, &reference, request, false, &record).await;
        ended.tried.splice(0..0, tried);
        ended.attempts += attempts;
    }
    record.searched(
        ended.attempts,
        ended.generation,
        super::causes::story(&ended.tried),
    );
    let found = match std::mem::replace(&mut ended.result, Err(NotFound::Failed)) {
        Ok(found) => found,
        Err(nothing) => {
            let nothing = parts.remember_denial(&route, denied, nothing);
            return not_found(
                &what,
                ErrorCode::ManifestUnknown,
                &ended,
                &nothing,
                request.head,
                record,
            );
        }
    };
    let outcome = head::outcome(&route, &found.endpoint, found.first_choice);
    match found.good {
        Told::Head {
            digest,
            media_type,
            length,
        } => {
            record.served_by(&found.endpoint);
            record.answers(200, outcome, Instant::now());
            with_request_id(&record, Response::builder())
                .header(CONTENT_TYPE, media_type)
                .header(CONTENT_LENGTH, length)
                .header("Docker-Content-Digest", digest.as_str())
                .header("X-Harbor-Pilot-Served-By", served_by(&found.endpoint))
                .body(ResponseBody::empty(record))
                .unwrap_or_else(|_| Response::new(ResponseBody::plain("")))
        }
        Told::Whole {
            body,
            digest,
            media_type,
            descriptors,
        } => {
            let key = (
                route.registry_label.clone(),
                route.repository.clone(),
                digest.clone(),
            );
            let manifest = Manifest {
                body,
                digest,
                media_type: media_type.into(),
                endpoint: found.endpoint,
                direct: outcome == RequestOutcome::Direct,
            };
            let now = Instant::now();
            let kept = parts.memories.manifests.get(&key, now);
            // What the same endpoint said moments ago taught all there is to learn.
            if kept.is_none_or(|kept| kept.endpoint != manifest.endpoint) {
                parts.sizes.learn(&descriptors);
                let learned = descriptors.iter().map(|descriptor| &descriptor.digest);
                let learned = learned.chain([&manifest.digest]);
                parts
                    .stickiness
                    .answered(&route, &manifest.endpoint, learned, now);
                parts.memories.manifests.put(key, manifest.clone(), now);
            }
            respond(&manifest, request, outcome, record)
        }
    }
}

/// Whether the only thing that failed was upstream's HEAD being incomplete.
fn head_was_incomplete(ended: &Ended<Told>) -> bool {
    matches!(ended.result, Err(NotFound::Failed))
        && ended
            .tried
            .last()
            .is_some_and(|tried| tried.label == "upstream" && tried.cause == Cause::Unusable)
}

async fn search(
    parts: &Arc<RelayParts>,
    rules: &Rules,
    route: &Arc<Route>,
    reference: &Reference,
    request: &PullRequest,
    head_is_enough: bool,
    record: &RequestRecord,
) -> Ended<Told> {
    let wanted = ManifestWanted {
        parts: parts.clone(),
        reference: reference.clone(),
        accept: accept_of(request),
        head_is_enough,
        policy: rules.config.failover.harbor_policy,
        request_id: record.request_id(),
        limit: parts.limits.manifest_bytes,
    };
    Search::new(
        parts.clone(),
        route.clone(),
        Arc::new(wanted),
        timing(&parts.timeouts),
    )
    .run()
    .await
}

/// The complete answer. A range is honoured: containerd 2.1.0 to 2.1.4 in parallel mode misreads a 200 to it
/// (containerd-k3s-facts 3.3).
fn respond(
    manifest: &Manifest,
    request: &PullRequest,
    outcome: RequestOutcome,
    mut record: RequestRecord,
) -> Answered {
    record.served_by(&manifest.endpoint);
    let mut response = with_request_id(&record, Response::builder())
        .header(CONTENT_TYPE, &*manifest.media_type)
        .header("Docker-Content-Digest", manifest.digest.as_str())
        .header("X-Harbor-Pilot-Served-By", served_by(&manifest.endpoint));
    let total = manifest.body.len() as u64;
    let part = request
        .range
        .filter(|_| !request.head)
        .and_then(|range| range.within(total));
    let mut body = manifest.body.clone();
    let mut status = StatusCode::OK;
    if let Some(part) = part {
        let (first, last) = (usize::try_from(part.first), usize::try_from(part.last));
        if let (Ok(first), Ok(last)) = (first, last) {
            body = body.slice(first..=last);
            response = response.header(CONTENT_RANGE, part.header());
            status = StatusCode::PARTIAL_CONTENT;
        }
    }
    record.answers(status.as_u16(), outcome, Instant::now());
    let response = response.status(status).header(CONTENT_LENGTH, body.len());
    let body = if request.head {
        ResponseBody::empty(record)
    } else {
        ResponseBody::recorded(body, record)
    };
    response
        .body(body)
        .unwrap_or_else(|_| Response::new(ResponseBody::plain("")))
}
