//! The answer to a request for a blob: from memory where the size says enough, else from a search.

use super::body::BlobBody;
use super::multipart::Multipart;
use super::ranged::{Ranged, spans};
use super::source::BlobSource;
use super::{BlobFetch, Expected, PullBody};
use crate::config::Verify;
use crate::http1::{Response, ResponseHead};
use crate::oci::{Digest, ErrorCode, RangeSpec};
use crate::relay::context::Pull;
use crate::relay::memory::{CONTENT_DIGEST, Image, Pulled};
use crate::relay::outcome::{Ended, Found, NotFound};
use crate::relay::record::RequestRecord;
use crate::relay::refusal::{Unserved, refusal};
use crate::relay::request::PullRequest;
use crate::relay::response::{Answered, Full, head_of, header_value, served_by};
use crate::relay::rules::FinalAnswer;
use crate::relay::transfer::HoldBack;
use crate::telemetry::RequestOutcome;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;

/// Answers a request for a blob that a source serves.
pub(crate) async fn serve(
    pull: Pull,
    digest: Digest,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Result<Response<PullBody>, Box<Unserved>> {
    let (parts, route) = (&pull.parts, pull.route);
    let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
    let blob = Pulled {
        image: Image::content(registry, repository, digest.clone()),
        trust: pull.trust,
    };
    let mut size = parts.sizes.get(&blob.image);
    if let (true, Some(size)) = (request.head, size) {
        let sized = sized(size, &digest, RequestOutcome::Served, record);
        return Ok(sized.map(PullBody::Full));
    }
    let (route, denied) = parts.without_denied(route);
    let mut fetch = BlobFetch {
        parts: parts.clone(),
        route,
        denied,
        digest,
        range: None,
        expected: Expected::new(blob, size),
        head: true,
        policy: pull.rules.config.failover.harbor_policy,
        request_id: pull.request_id,
    };
    // Where several ranges begin, and how many bytes they are, depends on the size.
    let is_of_several = request.ranges.is_some() && request.range().is_none();
    if request.head || (is_of_several && size.is_none()) {
        let told = Box::pin(fetch.size()).await;
        record.searched(&told.log);
        let told = match (&told.result, &told.log) {
            (Ok(told), _) => told,
            (Err(nothing), log) => {
                return Err(Box::new(Unserved {
                    nothing: nothing.clone(),
                    log: log.clone(),
                    route: fetch.route,
                    record,
                }));
            }
        };
        record.served_by(&told.endpoint);
        if request.head {
            let mut answer = sized(told.bytes, &fetch.digest, told.outcome, record);
            let (name, value) = served_by(&told.endpoint);
            answer.head.set(name, value);
            return Ok(answer.map(PullBody::Full));
        }
        size = Some(told.bytes);
    }
    let ranged = match Ranged::new(request.ranges.as_ref(), size) {
        Ok(ranged) => ranged,
        Err(size) => {
            let refused = range_not_satisfiable(size, record);
            return Ok(refused.map(PullBody::Full));
        }
    };
    (fetch.range, fetch.head) = (ranged.first, false);
    if !ranged.parts.is_empty() {
        // What is answered with is said in the first part's head: nobody overrules it for the others.
        fetch.expected = fetch.expected.of_rest(size);
    }
    let blob = &fetch.expected.blob;
    if ranged.begins_it() {
        parts.pull_begins(blob);
    }
    let Ended { result, log } = fetch.fetch().await;
    record.searched(&log);
    let found = match result {
        Ok(found) => found,
        Err(NotFound::Final {
            answer: FinalAnswer::RangeNotSatisfiable,
            ..
        }) if let Some(size) = size => {
            let refused = range_not_satisfiable(size, record);
            return Ok(refused.map(PullBody::Full));
        }
        Err(nothing) => {
            let route = fetch.route;
            return Err(Box::new(Unserved {
                nothing,
                log,
                route,
                record,
            }));
        }
    };
    record.served_by(&found.endpoint);
    // Before this answer makes good what is known of it.
    let was_unproven = || (parts.reputation).knows(blob, Instant::now());
    let verify = match pull.rules.config.relay.verify {
        Verify::Suspect if was_unproven() => Verify::Always,
        verify => verify,
    };
    if request.ranges.is_some() {
        parts.gives_unproven(&found.endpoint, blob);
    }
    Ok(stream(fetch, verify, ranged, found, record))
}

/// The response of a body that has begun.
fn stream(
    fetch: BlobFetch,
    verify: Verify,
    ranged: Ranged,
    source: Found<Box<BlobSource>>,
    mut record: RequestRecord,
) -> Response<PullBody> {
    let outcome = source.outcome;
    let total = source.good.total;
    let range = ranged.first;
    let part = range
        .zip(total)
        .and_then(|(range, total)| range.within(total));
    let status = match part {
        Some(_) => StatusCode::PARTIAL_CONTENT,
        None => StatusCode::OK,
    };
    let is_whole =
        part.is_none_or(|part| part.first == 0 && part.total == part.last.checked_add(1));
    let digest = fetch.digest.clone();
    let is_told = source.good.tells_total && source.good.has_length;
    let length = part.map(|part| part.length()).or(total);
    let hold_back = match length {
        Some(length) if !is_whole || (verify != Verify::Always && is_told) => {
            HoldBack::measured(length)
        }
        _ => HoldBack::hashed(digest.clone(), total),
    };
    if let Some(RangeSpec::From { last: None, .. }) = range {
        record.early_close_is_normal();
    }
    record.answers(status.as_u16(), outcome, Instant::now());
    let (name, value) = served_by(&source.endpoint);
    let mut head = blob_head(status, &digest, &record).with(name, value);
    let boundary = [(); 2].map(|()| fetch.parts.random());
    let first = part.map_or(0, |part| part.first);
    let mut body = BlobBody::new(fetch, first, hold_back, source, record);
    if part.is_some() && !ranged.parts.is_empty() {
        body.spans = spans(&ranged.parts).skip(1).collect();
        let body = Multipart::new(body, ranged.parts, boundary);
        head.set(CONTENT_TYPE, header_value(&body.content_type()));
        head.set(CONTENT_LENGTH, body.length());
        return head.and(PullBody::Several(Box::new(body)));
    }
    if let Some(part) = part {
        head.set(CONTENT_RANGE, header_value(&part.header()));
    }
    if let Some(length) = length {
        head.set(CONTENT_LENGTH, length);
    }
    head.and(PullBody::Blob(Box::new(body)))
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
fn sized(
    size: u64,
    digest: &Digest,
    outcome: RequestOutcome,
    mut record: RequestRecord,
) -> Answered {
    record.answers(200, outcome, Instant::now());
    blob_head(StatusCode::OK, digest, &record)
        .with(CONTENT_LENGTH, size)
        .and(Full::empty(record))
}

/// 416 with the size, as RFC 9110 section 15.5.17 wants it.
fn range_not_satisfiable(size: u64, record: RequestRecord) -> Answered {
    let message = format!("the blob has {size} bytes");
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let what = (status, ErrorCode::Unsupported, &*message);
    let mut response = refusal(what, RequestOutcome::Served, false, record);
    let range = header_value(&format!("bytes */{size}"));
    response.head.set(CONTENT_RANGE, range);
    response
}
