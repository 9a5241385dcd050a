//! The answers where nothing is served: what the rules refuse, and what a search did not find.

use crate::oci::ErrorCode;
use crate::relay::answer::{Answered, refusal};
use crate::relay::causes::{self, Tried};
use crate::relay::engine::{PullRequest, RelayParts};
use crate::relay::record::RequestRecord;
use crate::relay::rules::{Cause, FinalAnswer};
use crate::relay::search::NotFound;
use crate::route::{Leg, Refusal, Route};
use crate::telemetry::RequestOutcome;
use crate::topology::Snapshot;
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue};

/// Of an answer to HEAD containerd 2 shows the status line alone, and of several hosts' the first. The pod's secret may have failed
/// in another way than none at all.
const FORBIDDEN: &str =
    "Forbidden without a secret (containerd's log has the registry's own answer)";

pub(super) fn refused_by_rules(refused: &Refusal, head: bool, record: RequestRecord) -> Answered {
    let message = refused.to_string();
    let (status, code, outcome) = match refused {
        Refusal::NoSource(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            RequestOutcome::Failed,
        ),
        Refusal::InvalidName => (
            StatusCode::NOT_FOUND,
            ErrorCode::NameInvalid,
            RequestOutcome::Refused,
        ),
        Refusal::NotConfigured(_) | Refusal::Private(_) => (
            StatusCode::NOT_FOUND,
            ErrorCode::NameUnknown,
            RequestOutcome::Refused,
        ),
        // That there is no such name would end it: of this a client goes on to the referrers' tag (OCI distribution spec,
        // "Unavailable Referrers API").
        Refusal::NotRelayed(_) => (
            StatusCode::NOT_FOUND,
            ErrorCode::Unsupported,
            RequestOutcome::Refused,
        ),
    };
    refusal(status, code, &message, outcome, head, record)
}

/// What a search did not find, and why.
pub(crate) struct Missing<'a> {
    /// For people: `docker.io/library/app:1`.
    pub(crate) what: &'a str,
    /// The code for what does not exist.
    pub(crate) unknown: ErrorCode,
    /// Everybody who did not serve.
    pub(crate) tried: &'a [Tried],
    pub(crate) nothing: &'a NotFound,
}

// === impl Missing ===

impl Missing<'_> {
    /// The answer to containerd.
    pub(crate) fn answer(
        &self,
        parts: &RelayParts,
        route: &Route,
        request: &PullRequest,
        record: RequestRecord,
    ) -> Answered {
        let (what, unknown) = (self.what, self.unknown);
        let (not_found, failed) = (RequestOutcome::NotFound, RequestOutcome::Failed);
        let (status, code, message, outcome) = match self.nothing {
            NotFound::Final { answer, by, detail } => match answer {
                FinalAnswer::NotFound => (404, unknown, format!("not found at {by}"), not_found),
                FinalAnswer::Denied | FinalAnswer::Withheld => {
                    let (status, code) = if request.shows_denials {
                        (403, ErrorCode::Denied)
                    } else {
                        (404, unknown)
                    };
                    let message = format!(
                        "denied by {by} to this agent; containerd may ask with its own secret"
                    );
                    (status, code, message, RequestOutcome::Refused)
                }
                FinalAnswer::Unconfirmed => {
                    let prefix =
                        format!("{what}: denied by {by} a while ago, which is not well now");
                    let message = causes::message(&prefix, self.tried);
                    return refuse(404, unknown, &message, failed, request, record);
                }
                FinalAnswer::Policy => {
                    let message = format!("denied by policy at {by}: {detail}");
                    (404, unknown, message, RequestOutcome::Refused)
                }
                FinalAnswer::RangeNotSatisfiable => {
                    let message = "the range begins behind the end".to_owned();
                    (416, ErrorCode::Unsupported, message, RequestOutcome::Served)
                }
                FinalAnswer::NotTaken(status) => {
                    let message = format!("{by} does not take the request: {detail}");
                    let code = ErrorCode::Unsupported;
                    (*status, code, message, RequestOutcome::Refused)
                }
                FinalAnswer::NoMemory => (503, ErrorCode::Unavailable, detail.clone(), failed),
            },
            NotFound::Failed if is_at_no_tier(route, &parts.snapshots.borrow(), self.tried) => {
                let prefix = format!(
                    "{what}: no healthy tier has it, and the registry may not be asked directly"
                );
                let message = causes::message(&prefix, self.tried);
                return refuse(404, unknown, &message, not_found, request, record);
            }
            NotFound::Failed => {
                let prefix = format!("no source could serve {what}");
                let message = causes::message(&prefix, self.tried);
                return refuse(
                    503,
                    ErrorCode::Unavailable,
                    &message,
                    failed,
                    request,
                    record,
                );
            }
        };
        let message = format!("{what}: {message}");
        refuse(status, code, &message, outcome, request, record)
    }
}

fn refuse(
    status: u16,
    code: ErrorCode,
    message: &str,
    outcome: RequestOutcome,
    request: &PullRequest,
    record: RequestRecord,
) -> Answered {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = refusal(status, code, message, outcome, request.head, record);
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

/// Whether every tier that is in use says that it has not got it, where nobody else may be asked: a Harbor's 404 means less than
/// it says, and nobody's means more here (design P3).
fn is_at_no_tier(route: &Route, snapshot: &Snapshot, tried: &[Tried]) -> bool {
    let of = |leg: &Leg| {
        let label = leg.source.label().to_owned();
        tried.iter().filter(move |tried| tried.label == label)
    };
    let says_no = |leg: &Leg| {
        of(leg).any(|tried| tried.cause == Cause::NotFound)
            && of(leg).all(|tried| tried.cause == Cause::NotFound || tried.cause.is_outage())
    };
    let is_ready = |leg: &Leg| {
        let state = snapshot.source(&leg.source);
        state.is_some_and(|state| state.ready)
    };
    let mut legs = route.legs.iter();
    !route.legs.iter().any(|leg| leg.authoritative)
        && route.legs.iter().any(says_no)
        && legs.all(|leg| says_no(leg) || !is_ready(leg))
}
