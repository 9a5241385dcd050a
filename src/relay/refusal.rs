//! The answers where nothing is served: what the rules refuse, and what a search did not find (design P4). Only 403, 404, 405, 416
//! and 503 leave this module, 400 to lists, 429 to another machine that asks too often; never a challenge, never a redirect. 403 only where upstream denied and the client
//! shows it.

use super::causes::{self, FailedAttempt};
use super::context::Context;
use super::outcome::{AttemptLog, NotFound as Nothing};
use super::record::RequestRecord;
use super::request::PullRequest;
use super::response::{Answered, Full, head_of, header_value, marked};
use super::rules::{Cause, FinalAnswer};
use crate::oci::{ErrorCode, Reference, ResourceKind, error_body};
use crate::route::{Refusal, Route, Target};
use crate::telemetry::RequestOutcome;
use crate::topology::Snapshot;
use http::StatusCode;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use std::sync::Arc;
use tokio::time::Instant;

/// An error with the OCI error JSON. For HEAD the body stays away and its length is told, as HTTP wants it.
pub(crate) fn refusal(
    (status, code, message): (StatusCode, ErrorCode, &str),
    outcome: RequestOutcome,
    head: bool,
    mut record: RequestRecord,
) -> Answered {
    record.answers(status.as_u16(), outcome, Instant::now());
    let json = error_body(code, message);
    let length = json.len();
    head_of(status, &record)
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(CONTENT_LENGTH, length)
        .and(Full::to(head, json, record))
}

/// The answer where a panic took the request's own. Its record was complete with the panic.
pub(crate) fn broken(head: bool, request_id: &str) -> Answered {
    let json = error_body(
        ErrorCode::Unavailable,
        "a bug of harbor-pilot; its journal says more",
    );
    let answer = marked(StatusCode::SERVICE_UNAVAILABLE, header_value(request_id))
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(CONTENT_LENGTH, json.len());
    answer.and(Full::plain(if head { String::new() } else { json }))
}

/// Of an answer to HEAD containerd 2 shows the status line alone, and of several hosts' the first. The pod's secret may have failed
/// in another way than none at all.
const FORBIDDEN: &str =
    "Forbidden without a secret (containerd's log has the registry's own answer)";

pub(crate) fn not_routed(refused: &Refusal, head: bool, record: RequestRecord) -> Answered {
    let (not_found, no) = (StatusCode::NOT_FOUND, RequestOutcome::Refused);
    let (status, code, outcome) = match refused {
        Refusal::NoSource(_) => {
            let unavailable = StatusCode::SERVICE_UNAVAILABLE;
            (unavailable, ErrorCode::Unavailable, RequestOutcome::Failed)
        }
        Refusal::InvalidName => (not_found, ErrorCode::NameInvalid, no),
        Refusal::NotConfigured(_) | Refusal::Private(_) => (not_found, ErrorCode::NameUnknown, no),
        // That there is no such name would end it: of this a client goes on to the referrers' tag (OCI distribution spec,
        // "Unavailable Referrers API").
        Refusal::NotRelayed(_) => (not_found, ErrorCode::Unsupported, no),
    };
    let message = refused.to_string();
    refusal((status, code, &message), outcome, head, record)
}

/// A request that no source served, before it is answered so.
pub(crate) struct Unserved {
    pub(crate) nothing: Nothing,
    pub(crate) log: AttemptLog,
    pub(crate) route: Arc<Route>,
    pub(crate) record: RequestRecord,
}

// === impl Unserved ===

impl Unserved {
    /// The answer for containerd; the record is closed with it.
    pub(crate) fn answer(self, parts: &Context, request: &PullRequest) -> Answered {
        use RequestOutcome::{Failed, NotFound, Refused, Served};
        let Self { log, route, .. } = self;
        let (what, unknown) = wanted(&route, &request.kind);
        let all_failed = |prefix: String| causes::message(&prefix, &log.failed);
        let (status, code, outcome, message) = match self.nothing {
            Nothing::Final { answer, by, detail } => match answer {
                FinalAnswer::NotFound => {
                    (404, unknown, NotFound, format!("{what}: not found at {by}"))
                }
                FinalAnswer::Denied | FinalAnswer::Withheld => {
                    let (status, code) = match request.shows_denials {
                        true => (403, ErrorCode::Denied),
                        false => (404, unknown),
                    };
                    let message = format!(
                        "{what}: denied by {by} to this agent; containerd may ask with its own secret"
                    );
                    (status, code, Refused, message)
                }
                FinalAnswer::Unconfirmed => {
                    let why = format!("{what}: denied by {by} a while ago, which fails now");
                    (404, unknown, Failed, all_failed(why))
                }
                FinalAnswer::Policy => {
                    let message = format!("{what}: denied by policy at {by}: {detail}");
                    (404, unknown, Refused, message)
                }
                FinalAnswer::RangeNotSatisfiable => {
                    let message = format!("{what}: the range begins behind the end");
                    (416, ErrorCode::Unsupported, Served, message)
                }
                FinalAnswer::NotTaken(status) => {
                    let message = format!("{what}: {by} does not take the request: {detail}");
                    (status, ErrorCode::Unsupported, Refused, message)
                }
                FinalAnswer::NoMemory => {
                    let message = format!("{what}: {detail}");
                    (503, ErrorCode::Unavailable, Failed, message)
                }
            },
            Nothing::Failed if is_at_no_tier(&route, &parts.snapshots.borrow(), &log.failed) => {
                let why = "no healthy tier has it, and the registry may not be asked directly";
                (404, unknown, NotFound, all_failed(format!("{what}: {why}")))
            }
            Nothing::Failed => {
                let message = all_failed(format!("no source could serve {what}"));
                (503, ErrorCode::Unavailable, Failed, message)
            }
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let said = (status, code, &*message);
        let mut answer = refusal(said, outcome, request.head, self.record);
        if status == StatusCode::FORBIDDEN {
            answer.head.reason = Some(FORBIDDEN);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            // Of a source that takes GET no more than HEAD nothing is left to be named (RFC 9110, 10.2.1).
            let allowed = if request.head { "GET" } else { "" };
            answer.head.set(ALLOW, HeaderValue::from_static(allowed));
        }
        answer
    }
}

/// What was wanted, for people: `docker.io/library/app:1`; and the code for what does not exist.
fn wanted(route: &Route, kind: &ResourceKind) -> (String, ErrorCode) {
    let repository = format!("{}/{}", route.registry_label, route.repository);
    let list = || format!("{} of {repository}", kind.word());
    match kind {
        ResourceKind::Manifest(Reference::Tag(tag)) => {
            (format!("{repository}:{tag}"), ErrorCode::ManifestUnknown)
        }
        ResourceKind::Manifest(Reference::Digest(digest)) => {
            (format!("{repository}@{digest}"), ErrorCode::ManifestUnknown)
        }
        ResourceKind::Blob(digest) => (format!("{repository}@{digest}"), ErrorCode::BlobUnknown),
        ResourceKind::Referrers(_) => (list(), ErrorCode::ManifestUnknown),
        ResourceKind::Tags => (list(), ErrorCode::NameUnknown),
    }
}

/// Whether every tier that is in use says that it has not got it, where nobody else may be asked: a Harbor's 404 means less than
/// it says, and nobody's means more here (design P3).
pub(crate) fn is_at_no_tier(route: &Route, snapshot: &Snapshot, failed: &[FailedAttempt]) -> bool {
    let says_no = |target: &Target| says_no(target, failed);
    let is_ready = |target: &Target| {
        let state = snapshot.source(&target.source);
        state.is_some_and(|state| state.ready)
    };
    let mut targets = route.targets.iter();
    !route.targets.iter().any(|target| target.authoritative)
        && route.targets.iter().any(says_no)
        && targets.all(|target| says_no(target) || !is_ready(target))
}

/// Whether a source says that it has it not, by one of its addresses at least.
pub(crate) fn says_no(target: &Target, failed: &[FailedAttempt]) -> bool {
    let of = || (failed.iter()).filter(|failed| failed.label == target.source.label());
    of().any(|failed| failed.cause == Cause::NotFound)
        && of().all(|failed| failed.cause == Cause::NotFound || failed.cause.is_outage())
}
