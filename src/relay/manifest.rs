//! Manifests: read whole, proved, then answered with complete headers (design P8, P10).

mod wanted;

pub(super) use wanted::timing;

use super::answer::{Answered, ResponseBody, served_by, with_request_id};
use super::engine::{PullRequest, RelayParts, Rules, not_found};
use super::head;
use super::memory::Manifest;
use super::record::RequestRecord;
use super::rules::Cause;
use super::search::{Ended, NotFound, Search};
use crate::oci::{ACCEPT_MANIFESTS, ErrorCode, Reference};
use crate::route::Route;
use crate::telemetry::RequestOutcome;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use hyper::{Response, StatusCode};
use std::sync::Arc;
use tokio::time::Instant;
use wanted::{ManifestWanted, Told};

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
    parts.hedging.requested();
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
        // Once per request: what is asked again is an incomplete answer of upstream.
        hedged: head_is_enough == request.head,
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
