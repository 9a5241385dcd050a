//! Manifests: read whole, proved, then answered with complete headers (design P8, P10).

mod ahead;
mod fetch;
mod proof;
mod spec;

use super::causes;
use super::fetched::{FetchKey, Served};
use super::memory::{CONTENT_DIGEST, Image, Manifest};
use super::outcome::{AttemptLog, Ended};
use super::record::RequestRecord;
use super::stale::StaleManifest;
use crate::http1::ResponseHead;
use crate::oci::{Digest, ManifestKinds, Reference};
use crate::relay::context::{Context, Pull};
use crate::relay::refusal::Unserved;
use crate::relay::request::PullRequest;
use crate::relay::response::{Answered, Full, head_of, header_value, served_by};
use crate::telemetry::{EventName, RequestOutcome, StateChange, human_duration};
use ahead::ManifestFetch;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue};
use std::sync::Arc;
use tokio::time::Instant;

/// Whether a source has it, as far as a HEAD tells; of a digest the whole is fetched, as ever.
pub(crate) async fn look(pull: Pull, reference: Reference) -> Arc<Ended<Served>> {
    let key = FetchKey {
        head: true,
        is_lookup: true,
        ..FetchKey::new(&pull.route, reference, ManifestKinds::ALL, pull.trust)
    };
    ManifestFetch::new(pull, key).search().await
}

/// Answers a request for a manifest that a source serves.
pub(crate) async fn serve(
    pull: Pull,
    reference: Reference,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Result<Answered, Box<Unserved>> {
    let accept = request.accept.as_ref();
    let accept = accept.and_then(|accept| accept.to_str().ok());
    // Sources are asked for these, in words of our own.
    let kinds = accept.map_or(ManifestKinds::ALL, ManifestKinds::from_accept);
    let key = FetchKey {
        head: request.head,
        confirms_denial: request.head && request.shows_denials,
        ..FetchKey::new(&pull.route, reference, kinds, pull.trust)
    };
    let fetch = ManifestFetch::new(pull, key);
    let fetched = if fetch.is_by_tag_of_a_harbor() {
        // Boxed, so that containerd's own requests stay small.
        Box::pin(fetch.search_by_head()).await
    } else {
        fetch.search().await
    };
    record.searched(&fetched.log);
    Ok(match &fetched.result {
        Ok(Served::Whole(manifest, outcome)) => {
            let Manifest { endpoint, body, .. } = &**manifest;
            record.served_by(endpoint);
            let head = ok(
                &manifest.media_type,
                &manifest.digest,
                served_by(endpoint),
                &record,
            );
            respond(head, body, *outcome, request, record)
        }
        Ok(Served::Head(told, endpoint, outcome)) => {
            fetch.fetch_ahead(&told.digest, endpoint);
            record.served_by(endpoint);
            record.answers(200, *outcome, Instant::now());
            ok(&told.media_type, &told.digest, served_by(endpoint), &record)
                .with(CONTENT_LENGTH, told.length)
                .and(Full::empty(record))
        }
        Ok(Served::Stale(manifest)) => {
            say_stale(&fetch.parts, &fetch.key.of.image, manifest, &fetched.log);
            let origin = (STALE, manifest.age.as_secs().into());
            let head = ok(&manifest.media_type, &manifest.digest, origin, &record);
            respond(head, &manifest.body, RequestOutcome::Stale, request, record)
        }
        Err(nothing) => {
            return Err(Box::new(Unserved {
                nothing: nothing.clone(),
                log: fetched.log.clone(),
                route: fetch.pull.route,
                record,
            }));
        }
    })
}

/// How old an answer from disk is, in seconds.
pub(crate) const STALE: HeaderName = HeaderName::from_static("x-harbor-pilot-stale");

/// Counts an answer from disk, and says it once per image and minute.
fn say_stale(parts: &Context, image: &Image, manifest: &StaleManifest, log: &AttemptLog) {
    parts.sinks.metrics.stale_served();
    if parts.stale.is_news(image, Instant::now()) {
        let reason = causes::message("no source could serve it", &log.failed);
        let age = human_duration(manifest.age);
        parts.sinks.journal.event(StateChange {
            event: EventName::StaleServed,
            tier: None,
            endpoint: None,
            message: format!("{image} is answered from disk as it was {age} ago: {reason}"),
            reason,
        });
    }
}

/// What an answer with a manifest says of it. `origin`: the field that says where it comes from.
fn ok(
    media_type: &str,
    digest: &Digest,
    origin: (HeaderName, HeaderValue),
    record: &RequestRecord,
) -> ResponseHead {
    head_of(StatusCode::OK, record)
        .with(CONTENT_TYPE, header_value(media_type))
        .with(CONTENT_DIGEST, header_value(digest.as_str()))
        .with(origin.0, origin.1)
}

/// The complete answer. A range is honoured: containerd 2.1.0 to 2.1.4 in parallel mode misreads a 200 to it
/// (containerd-k3s-facts 3.3).
fn respond(
    mut head: ResponseHead,
    body: &Bytes,
    outcome: RequestOutcome,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Answered {
    let total = body.len() as u64;
    let part = request.range().and_then(|range| range.within(total));
    let mut body = body.clone();
    if let Some(part) = part {
        let (first, last) = (usize::try_from(part.first), usize::try_from(part.last));
        if let (Ok(first), Ok(last)) = (first, last) {
            body = body.slice(first..=last);
            head.set(CONTENT_RANGE, header_value(&part.header()));
            head.status = StatusCode::PARTIAL_CONTENT;
        }
    }
    record.answers(head.status.as_u16(), outcome, Instant::now());
    if request.head {
        // Of a body that is sent the server says it.
        head.set(CONTENT_LENGTH, body.len());
    }
    head.and(Full::to(request.head, body, record))
}
