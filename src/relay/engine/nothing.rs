//! The answers where nothing is served: what the rules refuse, and what a search did not find.

use crate::oci::ErrorCode;
use crate::relay::answer::{Answered, refusal};
use crate::relay::causes;
use crate::relay::record::RequestRecord;
use crate::relay::rules::FinalAnswer;
use crate::relay::search::{Ended, NotFound};
use crate::route::Refusal;
use crate::telemetry::RequestOutcome;
use hyper::StatusCode;

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
        Refusal::NotConfigured(_) | Refusal::Private(_) | Refusal::NotRelayed(_) => (
            StatusCode::NOT_FOUND,
            ErrorCode::NameUnknown,
            RequestOutcome::Refused,
        ),
    };
    refusal(status, code, &message, outcome, head, record)
}

/// The answer where a search found nothing good.
pub(crate) fn not_found<G>(
    what: &str,
    unknown: ErrorCode,
    ended: &Ended<G>,
    not_found: &NotFound,
    head: bool,
    record: RequestRecord,
) -> Answered {
    let (status, code, message, outcome) = match not_found {
        NotFound::Final {
            answer: FinalAnswer::NotFound,
            by,
            ..
        } => (
            StatusCode::NOT_FOUND,
            unknown,
            format!("{what}: not found at {by}"),
            RequestOutcome::NotFound,
        ),
        NotFound::Final {
            answer: FinalAnswer::Denied | FinalAnswer::Withheld,
            by,
            ..
        } => (
            StatusCode::NOT_FOUND,
            unknown,
            format!("{what}: denied by {by} to this agent; containerd may ask with its own secret"),
            RequestOutcome::Refused,
        ),
        NotFound::Final {
            answer: FinalAnswer::Policy,
            by,
            detail,
        } => (
            StatusCode::NOT_FOUND,
            unknown,
            format!("{what}: denied by policy at {by}: {detail}"),
            RequestOutcome::Refused,
        ),
        NotFound::Final {
            answer: FinalAnswer::RangeNotSatisfiable,
            ..
        } => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorCode::Unsupported,
            format!("{what}: the range begins behind the end"),
            RequestOutcome::Served,
        ),
        NotFound::Final {
            answer: FinalAnswer::NoMemory,
            detail,
            ..
        } => (
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            format!("{what}: {detail}"),
            RequestOutcome::Failed,
        ),
        NotFound::Failed => (
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            causes::message(&format!("no source could serve {what}"), &ended.tried),
            RequestOutcome::Failed,
        ),
    };
    refusal(status, code, &message, outcome, head, record)
}
