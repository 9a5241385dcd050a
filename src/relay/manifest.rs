//! Manifests: read whole, proved, then answered with complete headers (design P8, P10).

mod ahead;
mod fetch;
mod proof;
mod spec;

use super::causes;
use super::fetched::{FetchKey, Served};
use super::memory::{CONTENT_DIGEST, Image, Manifest};
use super::outcome::AttemptLog;
use super::record::RequestRecord;
use super::stale::StaleManifest;
use crate::oci::{ErrorCode, ManifestKinds, Reference};
use crate::relay::context::{Context, Rules};
use crate::relay::refusal::not_served;
use crate::relay::request::PullRequest;
use crate::relay::response::{Answered, Full, SERVED_BY, head_of, header_value, served_by};
use crate::route::Route;
use crate::telemetry::{EventName, RequestOutcome, StateChange, human_duration};
use ahead::ManifestFetch;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue};
use std::sync::Arc;
use tokio::time::Instant;

/// The kinds of manifest that the client takes; sources are asked for these, in words of our own.
fn kinds_of(request: &PullRequest) -> ManifestKinds {
    let accept = request
        .accept
        .as_ref()
        .and_then(|accept| accept.to_str().ok());
    accept.map_or(ManifestKinds::ALL, ManifestKinds::of_accept)
}

/// Answers a request for a manifest.
pub(crate) async fn answer(
    (parts, rules, route, reference): (&Arc<Context>, &Arc<Rules>, Arc<Route>, Reference),
    request: &PullRequest,
    mut record: RequestRecord,
) -> Answered {
    let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
    let kinds = kinds_of(request);
    let key = Arc::new(FetchKey {
        image: Image::new(registry, repository, reference, kinds),
        kinds,
        head: request.head,
        confirms_denial: request.head && request.shows_denials,
        trust: request.trust,
    });
    let fetch = ManifestFetch {
        parts: parts.clone(),
        rules: rules.clone(),
        route,
        key: key.clone(),
        request_id: record.request_id(),
    };
    let kept = parts.memories.manifests.get(&key.image, Instant::now());
    if let Some(kept) = kept {
        let outcome = if kept.direct {
            RequestOutcome::Direct
        } else {
            RequestOutcome::Served
        };
        record.served_by_encoded(&kept.endpoint, kept.encoded.address.clone());
        fetch.has_size(&kept);
        return respond(Content::from(&*kept), request, outcome, record);
    }
    let fetched = if fetch.is_by_tag_of_a_harbor() {
        // Boxed, so that containerd's own requests stay small.
        Box::pin(fetch.search_by_head()).await
    } else {
        fetch.search().await
    };
    record.searched(&fetched.log);
    match &fetched.result {
        Ok(Served::Whole(manifest, outcome)) => {
            let address = manifest.encoded.address.clone();
            record.served_by_encoded(&manifest.endpoint, address);
            respond(Content::from(&**manifest), request, *outcome, record)
        }
        Ok(Served::Head(head, endpoint, outcome)) => {
            fetch.fetch_ahead(&head.digest, endpoint);
            record.served_by(endpoint);
            record.answers(200, *outcome, Instant::now());
            head_of(StatusCode::OK, &record)
                .with(CONTENT_TYPE, header_value(&head.media_type))
                .with(CONTENT_LENGTH, head.length)
                .with(CONTENT_DIGEST, header_value(head.digest.as_str()))
                .with(SERVED_BY, served_by(endpoint))
                .and(Full::empty(record))
        }
        Ok(Served::Stale(manifest)) => {
            say_stale(parts, &key, manifest, &fetched.log);
            respond(
                Content::from(manifest),
                request,
                RequestOutcome::Stale,
                record,
            )
        }
        Err(nothing) => {
            let what = (&*key.image.to_string(), ErrorCode::ManifestUnknown);
            not_served(
                (nothing, &fetched.log),
                what,
                (parts, &fetch.route),
                request,
                record,
            )
        }
    }
}

/// Counts an answer from disk, and says it once per image and minute.
fn say_stale(parts: &Context, key: &FetchKey, manifest: &StaleManifest, log: &AttemptLog) {
    parts.sinks.metrics.stale_served();
    if parts.stale.is_news(&key.image, Instant::now()) {
        let image = &key.image;
        let reason = causes::message("no source could serve it", &log.tried);
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

/// What is written to the client, wherever it came from.
struct Content<'a> {
    body: &'a Bytes,
    content_type: HeaderValue,
    content_digest: HeaderValue,
    /// The header that says where it comes from.
    origin: (HeaderName, HeaderValue),
}

/// How old an answer from disk is, in seconds.
const STALE: HeaderName = HeaderName::from_static("x-harbor-pilot-stale");

impl<'a> From<&'a Manifest> for Content<'a> {
    fn from(manifest: &'a Manifest) -> Self {
        let encoded = &manifest.encoded;
        Self {
            body: &manifest.body,
            content_type: encoded.content_type.clone(),
            content_digest: encoded.content_digest.clone(),
            origin: (SERVED_BY, encoded.served_by.clone()),
        }
    }
}

impl<'a> From<&'a StaleManifest> for Content<'a> {
    fn from(manifest: &'a StaleManifest) -> Self {
        Self {
            body: &manifest.body,
            content_type: header_value(&manifest.media_type),
            content_digest: header_value(manifest.digest.as_str()),
            origin: (STALE, manifest.age.as_secs().into()),
        }
    }
}

/// The complete answer. A range is honoured: containerd 2.1.0 to 2.1.4 in parallel mode misreads a 200 to it
/// (containerd-k3s-facts 3.3).
fn respond(
    content: Content<'_>,
    request: &PullRequest,
    outcome: RequestOutcome,
    mut record: RequestRecord,
) -> Answered {
    let (name, value) = content.origin;
    let mut head = head_of(StatusCode::OK, &record)
        .with(CONTENT_TYPE, content.content_type)
        .with(CONTENT_DIGEST, content.content_digest)
        .with(name, value);
    let total = content.body.len() as u64;
    let part = request.range().and_then(|range| range.within(total));
    let mut body = content.body.clone();
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
        head.and(Full::empty(record))
    } else {
        head.and(Full::recorded(body, record))
    }
}
