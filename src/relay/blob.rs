//! Blobs: what is asked of a source, what of its answer is looked at before the status line, and the answer to
//! containerd.

use super::answer::{Answered, ResponseBody, refusal, served_by, with_request_id};
use super::body::{BlobBody, Errand, blame};
use super::engine::{PullRequest, RelayParts, Rules, not_found};
use super::head;
use super::record::RequestRecord;
use super::rules::{Asked, Authority, Cause, FinalAnswer, Scope, Use, Verdict, judge};
use super::search::{Found, NotFound, Rejection, Search, Wanted};
use super::timing::Timing;
use super::window::Window;
use crate::config::{HarborPolicy, Timeouts, Verify};
use crate::exchange::{Answer, Ask};
use crate::oci::{ByteRange, ContentRange, Digest, ErrorCode};
use crate::route::{Leg, Route};
use crate::telemetry::RequestOutcome;
use crate::topology::{EndpointId, Failure, Outcome, Source, SourceKind};
use crate::upstream::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// Bodies up to this size are read and proved before the status line (design P8).
const PROVED_FIRST: u64 = 64 * 1024;

/// A blob, whole or from an offset.
#[derive(Clone)]
pub(crate) struct BlobWanted {
    parts: Arc<RelayParts>,
    digest: Digest,
    range: Option<ByteRange>,
    size: Option<u64>,
    head: bool,
    policy: HarborPolicy,
    request_id: Arc<str>,
}

/// What a source has for us.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The beginning of a body, with the rest to come; or all of it, proved.
    Stream(Incoming),
    /// HEAD: the size.
    Size(u64),
}

/// A body that has begun.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Read already.
    pub(crate) ready: VecDeque<Bytes>,
    /// To come; `None`: `ready` is all.
    pub(crate) body: Option<Body>,
    /// Bytes of it to throw away first.
    pub(crate) skip: u64,
    /// The blob's size, if known.
    pub(crate) total: Option<u64>,
    /// The source told a length: `verify = "suspect"` hashes what came without.
    pub(crate) has_length: bool,
}

// === impl BlobWanted ===

impl BlobWanted {
    /// The same blob from another offset.
    pub(crate) fn from(&self, range: ByteRange) -> Self {
        Self {
            range: Some(range),
            head: false,
            ..self.clone()
        }
    }

    pub(crate) fn digest_ref(&self) -> &Digest {
        &self.digest
    }

    /// The range to ask a source for; from the first byte to the end is the whole, which can be proved.
    fn part(&self) -> Option<ByteRange> {
        self.range.filter(|range| {
            *range
                != ByteRange {
                    first: 0,
                    last: None,
                }
        })
    }

    fn asked(&self) -> Asked {
        Asked::Blob {
            range: self.part(),
            size: self.size,
            empty: self.digest.is_of_nothing(),
        }
    }

    fn wrong(&self, endpoint: &EndpointId, detail: &str) -> Rejection {
        blame(&self.parts, endpoint, &self.digest, detail);
        Rejection::Leave {
            scope: Scope::Address,
            outcome: Outcome::Soft(Failure::Content),
            cause: Cause::WrongDigest,
            detail: detail.to_owned(),
        }
    }

    /// Reads what must be seen before the status line: all of a small body, the first bytes of another.
    async fn begin(
        &self,
        endpoint: &EndpointId,
        answer: Answer,
        due: Use,
    ) -> Result<Fetched, Rejection> {
        let has_length = answer.headers.contains_key(CONTENT_LENGTH);
        let mut body = answer.body;
        let (mut ready, mut read) = (VecDeque::new(), 0_u64);
        let small = due.total.is_none_or(|total| total <= PROVED_FIRST);
        let at_least = if small { PROVED_FIRST + 1 } else { 1 };
        let mut ended = false;
        while read < at_least {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        read += data.len() as u64;
                        ready.push_back(data);
                    }
                }
                Some(Err(error)) => return Err(broken(error.detail)),
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if ended && read == 0 && due.total != Some(0) && !self.digest.is_of_nothing() {
            return Err(Rejection::Leave {
                scope: Scope::Tier,
                outcome: Outcome::Success,
                cause: Cause::ColdCascade,
                detail: "an empty body".to_owned(),
            });
        }
        if ended && self.part().is_none() {
            if due.total.is_some_and(|total| read < total) {
                return Err(broken(format!("the body ended after {read} bytes")));
            }
            let mut hasher = self.digest.hasher();
            ready.iter().for_each(|chunk: &Bytes| hasher.update(chunk));
            if hasher.finish() != self.digest {
                return Err(self.wrong(endpoint, "the bytes do not fit the digest"));
            }
            let incoming = Incoming {
                ready,
                body: None,
                skip: 0,
                total: Some(read),
                has_length,
            };
            return Ok(Fetched::Stream(incoming));
        }
        let body = if ended { None } else { Some(body) };
        Ok(Fetched::Stream(Incoming {
            ready,
            body,
            skip: due.skip,
            total: due.total,
            has_length,
        }))
    }
}

fn broken(detail: String) -> Rejection {
    Rejection::Leave {
        scope: Scope::Address,
        outcome: Outcome::Hard(Failure::Reset),
        cause: Cause::Failed(Failure::Reset),
        detail,
    }
}

impl Wanted for BlobWanted {
    type Good = Fetched;

    fn ask(&self, leg: &Leg, source: &Source) -> Ask {
        // HEAD of a blob is answered 404 by Harbor for what it has not cached yet (harbor-facts 0.5).
        let head = self.head && source.kind == SourceKind::Upstream;
        head::ask(
            leg,
            &format!("/blobs/{}", self.digest),
            if head { Method::HEAD } else { Method::GET },
            "*/*".to_owned(),
            self.part().map(|range| range.header()),
            &self.request_id,
        )
    }

    async fn examine(
        &self,
        leg: &Leg,
        endpoint: &EndpointId,
        answer: Answer,
    ) -> Result<Fetched, Rejection> {
        let authority = if leg.authoritative {
            Authority::Final
        } else {
            Authority::Tier
        };
        let seen = head::of(&answer, Instant::now());
        match judge(self.asked(), authority, self.policy, &seen) {
            Verdict::Use(due) if self.head => {
                due.total.map(Fetched::Size).ok_or(Rejection::Leave {
                    scope: Scope::Tier,
                    outcome: Outcome::Success,
                    cause: Cause::WrongLength,
                    detail: "no length was told".to_owned(),
                })
            }
            Verdict::Use(due) => self.begin(endpoint, answer, due).await,
            verdict => Err(head::rejection(verdict, answer).await),
        }
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }
}

/// The clock for blobs: never hedged, an overdue attempt is left.
fn timing(timeouts: &Timeouts) -> Timing {
    Timing {
        connect_race: timeouts.connect_race,
        first_byte: timeouts.first_byte,
        total: timeouts.total,
        upstream_joins: None,
        hedge: None,
        abandon_overdue: true,
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
    let size = parts.sizes.get(&digest);
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
        range: if request.head { None } else { request.range },
        size,
        head: request.head,
        policy: rules.config.failover.harbor_policy,
        request_id: record.request_id(),
    };
    let timing = timing(&parts.timeouts);
    let search = Search::new(
        parts.clone(),
        route.clone(),
        Arc::new(wanted.clone()),
        timing,
    );
    let mut ended = search.run().await;
    record.searched(
        ended.attempts,
        ended.generation,
        super::causes::story(&ended.tried),
    );
    let found = match std::mem::replace(&mut ended.result, Err(NotFound::Failed)) {
        Ok(found) => found,
        Err(nothing) => {
            let nothing = parts.remember_denial(&route, denied, nothing);
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
    parts.stickiness.answered(
        &route,
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
        Fetched::Stream(incoming) => incoming,
        Fetched::Size(size) => return sized(size, &errand.wanted.digest, record),
    };
    let part: Option<ContentRange> = match (range, incoming.total) {
        (Some(range), Some(total)) => range.within(total),
        _ => None,
    };
    let mut response = with_request_id(&record, Response::builder());
    let status = match part {
        Some(part) => {
            response = response.header(CONTENT_RANGE, part.header());
            errand.last = Some(part.last);
            StatusCode::PARTIAL_CONTENT
        }
        None => {
            errand.last = incoming.total.and_then(|total| total.checked_sub(1));
            StatusCode::OK
        }
    };
    let is_whole = errand.first == 0
        && part.is_none_or(|part| part.total.is_some_and(|total| part.last + 1 == total));
    let digest = errand.wanted.digest.clone();
    let suspect = || {
        !incoming.has_length
            || errand
                .parts
                .memories
                .delivered
                .holds(&digest, Instant::now())
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
    response = response
        .status(status)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header("Docker-Content-Digest", digest.as_str())
        .header(ACCEPT_RANGES, "bytes")
        .header("X-Harbor-Pilot-Served-By", served_by(&found.endpoint));
    if let Some(length) = part.map(|part| part.length()).or(incoming.total) {
        response = response.header(CONTENT_LENGTH, length);
    }
    let body = BlobBody::new(
        errand,
        window,
        incoming,
        found.endpoint,
        found.in_flight,
        record,
    );
    response
        .body(ResponseBody::Blob(Box::new(body)))
        .unwrap_or_else(|_| Response::new(ResponseBody::plain("")))
}

/// HEAD, from a known size.
fn sized(size: u64, digest: &Digest, mut record: RequestRecord) -> Answered {
    record.answers(200, RequestOutcome::Served, Instant::now());
    with_request_id(&record, Response::builder())
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, size)
        .header("Docker-Content-Digest", digest.as_str())
        .header(ACCEPT_RANGES, "bytes")
        .body(ResponseBody::empty(record))
        .unwrap_or_else(|_| Response::new(ResponseBody::plain("")))
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
    if let Ok(value) = format!("bytes */{size}").parse() {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}
