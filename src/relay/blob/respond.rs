//! The answer to a request for a blob: from memory where the size says enough, else from a search.

use super::{BlobWanted, Expected, Fetched};
use crate::config::{Timeouts, Verify};
use crate::http1::ResponseHead;
use crate::oci::{ByteRange, ContentRange, Digest, ErrorCode};
use crate::relay::answer::{
    Answered, ResponseBody, SERVED_BY, head_of, header_value, refusal, served_by,
};
use crate::relay::body::{BlobBody, Errand};
use crate::relay::causes;
use crate::relay::engine::{PullRequest, RelayParts, Rules, not_found};
use crate::relay::head;
use crate::relay::memory::{CONTENT_DIGEST, Image};
use crate::relay::record::RequestRecord;
use crate::relay::rules::FinalAnswer;
use crate::relay::search::{Found, NotFound, Search};
use crate::relay::timing::Timing;
use crate::relay::window::Window;
use crate::route::Route;
use crate::telemetry::RequestOutcome;
use hyper::StatusCode;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use std::sync::Arc;
use tokio::time::Instant;

/// The clock for blobs: never hedged; the next is asked beside one who is as silent as a stalled body.
fn timing(timeouts: &Timeouts) -> Timing {
    Timing {
        connect_race: timeouts.connect_race,
        first_byte: timeouts.first_byte,
        total: timeouts.total,
        upstream_joins: None,
        hedge: None,
        overtake: Some(timeouts.stall),
    }
}

/// Answers a request for a blob.
pub(crate) async fn answer(
    parts: &Arc<RelayParts>,
    rules: &Rules,
    route: Arc<Route>,
    digest: Digest,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Answered {
    let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
    let content = Image::content(registry, repository, digest.clone());
    let size = parts.sizes.get(&content);
    if let (Some(range), Some(size)) = (request.range, size)
        && range.within(size).is_none()
    {
        return range_not_satisfiable(size, record);
    }
    if let (true, Some(size)) = (request.head, size) {
        return sized(size, &digest, record);
    }
    let what = format!("{}/{}@{digest}", route.registry_label, route.repository);
    let (route, denied) = parts.without_denied(route);
    let wanted = BlobWanted {
        parts: parts.clone(),
        digest,
        trust: request.trust,
        range: if request.head { None } else { request.range },
        expected: Expected::of(content, size),
        head: request.head,
        by_get: false,
        policy: rules.config.failover.harbor_policy,
        request_id: record.request_id(),
    };
    if !request.head && request.range.is_none_or(|range| range.first == 0) {
        parts
            .memories
            .unproven
            .begins(&wanted.pulled(), Instant::now());
    }
    let timing = timing(&parts.timeouts);
    let search = |wanted: BlobWanted| {
        let wanted = Arc::new(wanted);
        Search::new(parts.clone(), route.clone(), wanted, timing).run()
    };
    let mut ended = search(wanted.clone()).await;
    if request.head && ended.head_was_of_no_use() {
        ended = Box::pin(search(wanted.by_get())).await.after(ended);
    }
    record.searched(
        ended.attempts,
        ended.generation,
        causes::story(&ended.tried),
    );
    let found = match std::mem::replace(&mut ended.result, Err(NotFound::Failed)) {
        Ok(found) => found,
        Err(nothing) => {
            if nothing.is_nowhere(&ended.tried) {
                let unproved = &parts.memories.unproved;
                unproved.missing((wanted.expected().blob(), wanted.trust), Instant::now());
            }
            let nothing = parts.remember_denial((&route, request.trust), denied, nothing);
            if let (
                NotFound::Final {
                    answer: FinalAnswer::RangeNotSatisfiable,
                    ..
                },
                Some(size),
            ) = (&nothing, size)
            {
                return range_not_satisfiable(size, record);
            }
            return not_found(
                &what,
                ErrorCode::BlobUnknown,
                &ended,
                &nothing,
                request.head,
                record,
            );
        }
    };
    let outcome = head::outcome(&route, &found.endpoint, found.first_choice);
    record.served_by(&found.endpoint);
    if request.range.is_some() {
        let unproven = &parts.memories.unproven;
        unproven.gives_range(&found.endpoint, &wanted.pulled(), Instant::now());
    }
    parts.stickiness.answered(
        (&route, request.trust),
        &found.endpoint,
        std::iter::once(&wanted.digest),
        Instant::now(),
    );
    let errand = Errand {
        parts: parts.clone(),
        route,
        wanted,
        timing,
        first: request.range.map_or(0, |range| range.first),
        last: None,
        total: None,
        reset: request.reset.clone(),
    };
    stream(
        rules.config.relay.verify,
        request.range,
        errand,
        found,
        outcome,
        record,
    )
}

/// The response of a body that has begun.
fn stream(
    verify: Verify,
    range: Option<ByteRange>,
    mut errand: Errand,
    found: Found<Fetched>,
    outcome: RequestOutcome,
    mut record: RequestRecord,
) -> Answered {
    let incoming = match found.good {
        Fetched::Stream(incoming) => *incoming,
        Fetched::Size(size) => return sized(size, &errand.wanted.digest, record),
    };
    let part: Option<ContentRange> = match (range, incoming.total) {
        (Some(range), Some(total)) => range.within(total),
        _ => None,
    };
    errand.total = incoming.total;
    let status = match part {
        Some(part) => {
            errand.last = Some(part.last);
            StatusCode::PARTIAL_CONTENT
        }
        None => {
            errand.last = incoming.total.and_then(|total| total.checked_sub(1));
            StatusCode::OK
        }
    };
    let is_whole =
        errand.first == 0 && part.is_none_or(|part| part.total == part.last.checked_add(1));
    let digest = errand.wanted.digest.clone();
    let suspect = || {
        !incoming.has_length || {
            let unproven = &errand.parts.memories.unproven;
            unproven
                .delivered_by(&errand.wanted.pulled(), Instant::now())
                .is_some()
        }
    };
    let hash = is_whole && (verify == Verify::Always || incoming.total.is_none() || suspect());
    let window = match (hash, part, incoming.total) {
        (false, Some(part), _) => Window::measured(part.length()),
        (false, None, Some(total)) => Window::measured(total),
        _ => Window::hashed(digest.clone(), incoming.total),
    };
    if range.is_some_and(|range| range.last.is_none()) {
        record.early_close_is_normal();
    }
    record.answers(status.as_u16(), outcome, Instant::now());
    let mut head = blob_head(status, &digest, &record);
    head.set(SERVED_BY, served_by(&found.endpoint));
    if let Some(part) = part {
        head.set(CONTENT_RANGE, header_value(&part.header()));
    }
    if let Some(length) = part.map(|part| part.length()).or(incoming.total) {
        head.set(CONTENT_LENGTH, length);
    }
    let body = BlobBody::new(
        errand,
        window,
        incoming,
        found.endpoint,
        found.in_flight,
        record,
    );
    head.and(ResponseBody::Blob(Box::new(body)))
}

fn blob_head(status: StatusCode, digest: &Digest, record: &RequestRecord) -> ResponseHead {
    head_of(status, record)
        .with(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )
        .with(CONTENT_DIGEST, header_value(digest.as_str()))
        .with(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
}

/// HEAD, from a known size.
fn sized(size: u64, digest: &Digest, mut record: RequestRecord) -> Answered {
    record.answers(200, RequestOutcome::Served, Instant::now());
    blob_head(StatusCode::OK, digest, &record)
        .with(CONTENT_LENGTH, size)
        .and(ResponseBody::empty(record))
}

/// 416 with the size, as RFC 9110 section 15.5.17 wants it.
fn range_not_satisfiable(size: u64, record: RequestRecord) -> Answered {
    let message = format!("the blob has {size} bytes");
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let outcome = RequestOutcome::Served;
    let mut response = refusal(
        status,
        ErrorCode::Unsupported,
        &message,
        outcome,
        false,
        record,
    );
    let range = header_value(&format!("bytes */{size}"));
    response.head.set(CONTENT_RANGE, range);
    response
}
