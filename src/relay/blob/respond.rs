//! The answer to a request for a blob: from memory where the size says enough, else from a search.

use super::body::BlobBody;
use super::ranged::Ranged;
use super::size::SizeSearch;
use super::source::BlobSource;
use super::{BlobSpec, Expected, Fetched, PullBody};
use crate::config::Verify;
use crate::http1::{Response, ResponseHead};
use crate::oci::{ByteRange, ContentRange, Digest, ErrorCode, RangeSpec};
use crate::relay::blob::multipart::{Framing, Multipart};
use crate::relay::blob::ranged::Span;
use crate::relay::context::{Context, Rules};
use crate::relay::head;
use crate::relay::memory::{CONTENT_DIGEST, Image};
use crate::relay::outcome::{Found, NotFound};
use crate::relay::record::RequestRecord;
use crate::relay::refusal::not_served;
use crate::relay::refusal::refusal;
use crate::relay::request::PullRequest;
use crate::relay::response::{Answered, Full, SERVED_BY, head_of, header_value, served_by};
use crate::relay::rules::FinalAnswer;
use crate::relay::search::Search;
use crate::relay::timing::Timing;
use crate::relay::transfer::Window;
use crate::route::Route;
use crate::telemetry::RequestOutcome;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use std::sync::Arc;
use tokio::time::Instant;

/// Answers a request for a blob.
pub(crate) async fn answer(
    (parts, rules, route, digest): (&Arc<Context>, &Rules, Arc<Route>, Digest),
    request: &PullRequest,
    mut record: RequestRecord,
) -> Response<PullBody> {
    let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
    let content = Image::content(registry, repository, digest.clone());
    let known = parts.sizes.get(&content);
    if let (true, Some(size)) = (request.head, known) {
        return sized(size, &digest, RequestOutcome::Served, record).map(PullBody::Full);
    }
    let what = format!("{}/{}@{digest}", route.registry_label, route.repository);
    let spec = BlobSpec {
        parts: parts.clone(),
        digest,
        trust: request.trust,
        range: None,
        expected: Expected::of(content, known),
        head: true,
        policy: rules.config.failover.harbor_policy,
        request_id: record.request_id(),
    };
    let timing = Timing::for_blob(&parts.timeouts);
    // Where several ranges begin, and how many bytes they are, depends on the size.
    let is_of_several = request.ranges.is_some() && request.range().is_none();
    let mut size = known;
    if request.head || (is_of_several && size.is_none()) {
        let search = SizeSearch {
            parts: parts.clone(),
            route: route.clone(),
            spec: spec.clone(),
            timing,
            generation: rules.generation,
        };
        let told = Box::pin(search.run(&what, request, record)).await;
        let (told, its_record) = match told {
            Ok(told) => told,
            Err(answer) => return answer.map(PullBody::Full),
        };
        record = its_record;
        if request.head {
            let mut answer = sized(told.bytes, &spec.digest, told.outcome, record);
            answer.head.set(SERVED_BY, served_by(&told.endpoint));
            return answer.map(PullBody::Full);
        }
        size = Some(told.bytes);
    }
    let ranged = match Ranged::of(request.ranges.as_ref(), size) {
        Ok(ranged) => ranged,
        Err(size) => return range_not_satisfiable(size, record).map(PullBody::Full),
    };
    let mut spec = BlobSpec {
        range: ranged.first(),
        head: false,
        ..spec
    };
    if let Ranged::Several(_) = ranged {
        // What is answered with is said in the first part's head: nobody overrules it for the others.
        spec.expected = spec.expected.of_rest(size);
    }
    let (route, denied) = parts.without_denied(route);
    if ranged.begins_it() {
        parts.pull_begins(&spec.pulled());
    }
    let search = Search::new(parts.clone(), route.clone(), Arc::new(spec.clone()), timing);
    let ended = search.run().await;
    record.searched(&ended.log);
    let is_nowhere = ended.is_nowhere();
    let found = match ended.result {
        Ok(found) => found,
        Err(nothing) => {
            if is_nowhere {
                let content = (spec.expected().blob(), spec.trust);
                parts.is_nowhere(content);
            }
            let nothing = parts.remember_denial((&route, request.trust), denied, nothing);
            let is_beyond = matches!(
                nothing,
                NotFound::Final {
                    answer: FinalAnswer::RangeNotSatisfiable,
                    ..
                }
            );
            if let (true, Some(size)) = (is_beyond, size) {
                return range_not_satisfiable(size, record).map(PullBody::Full);
            }
            let what = (&*what, ErrorCode::BlobUnknown);
            let answer = not_served(
                (&nothing, &ended.log),
                what,
                (parts, &route),
                request,
                record,
            );
            return answer.map(PullBody::Full);
        }
    };
    let outcome = head::outcome(&route, &found.endpoint, found.first_choice);
    record.served_by(&found.endpoint);
    // Before this answer makes good what is known of it.
    let was_unproven = || {
        let blob = spec.expected().blob();
        parts.reputation.knows(blob, spec.trust, Instant::now())
    };
    let verify = match rules.config.relay.verify {
        Verify::Suspect if was_unproven() => Verify::Always,
        verify => verify,
    };
    if request.ranges.is_some() {
        parts.gives_unproven(&found.endpoint, &spec.pulled());
    }
    parts.stickiness.answered(
        (&route, request.trust),
        &found.endpoint,
        std::iter::once(&spec.digest),
        Instant::now(),
    );
    let Found {
        good,
        endpoint,
        in_flight,
        first_choice,
    } = found;
    let source = match good {
        Fetched::Stream(source) => *source,
        Fetched::Size(size) => {
            return sized(size, &spec.digest, outcome, record).map(PullBody::Full);
        }
    };
    let source = Found {
        good: source,
        endpoint,
        in_flight,
        first_choice,
    };
    stream(
        (parts, &route, spec),
        (verify, timing),
        ranged,
        source,
        (outcome, record),
    )
}

/// The response of a body that has begun.
fn stream(
    (parts, route, spec): (&Arc<Context>, &Arc<Route>, BlobSpec),
    (verify, timing): (Verify, Timing),
    ranged: Ranged,
    source: Found<BlobSource>,
    (outcome, mut record): (RequestOutcome, RequestRecord),
) -> Response<PullBody> {
    let (total, has_length) = (source.good.total, source.good.has_length);
    let range = ranged.first();
    let part: Option<ContentRange> = match (range, total) {
        (Some(range), Some(total)) => range.within(total),
        _ => None,
    };
    let status = match part {
        Some(_) => StatusCode::PARTIAL_CONTENT,
        None => StatusCode::OK,
    };
    let is_whole =
        part.is_none_or(|part| part.first == 0 && part.total == part.last.checked_add(1));
    let digest = spec.digest.clone();
    let is_suspect = total.is_none() || !has_length;
    let hash = is_whole && (verify == Verify::Always || is_suspect);
    let window = match (hash, part, total) {
        (false, Some(part), _) => Window::measured(part.length()),
        (false, None, Some(total)) => Window::measured(total),
        _ => Window::hashed(digest.clone(), total),
    };
    if let Some(RangeSpec::From(ByteRange { last: None, .. })) = range {
        record.early_close_is_normal();
    }
    record.answers(status.as_u16(), outcome, Instant::now());
    let mut head = blob_head(status, &digest, &record);
    head.set(SERVED_BY, served_by(&source.endpoint));
    let of = (parts.clone(), route.clone(), spec);
    let mut body = BlobBody::new(of, timing, window, source, record);
    if let Some(part) = part {
        (body.first, body.last) = (part.first, Some(part.last));
    }
    if let (Ranged::Several(spans), Some(_)) = (ranged, part) {
        body.spans = spans.iter().skip(1).map(Span::range).collect();
        let framing = Framing::new(spans, [parts.random(), parts.random()]);
        head.set(CONTENT_TYPE, header_value(&framing.content_type()));
        head.set(CONTENT_LENGTH, framing.length());
        return head.and(PullBody::Several(Box::new(Multipart::new(body, framing))));
    }
    if let Some(part) = part {
        head.set(CONTENT_RANGE, header_value(&part.header()));
    }
    if let Some(length) = part.map(|part| part.length()).or(total) {
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
