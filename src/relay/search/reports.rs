//! What a search tells health, and how an exchange's error is read.

use crate::cache::Trust;
use crate::exchange::{self, Place};
use crate::relay::context::Context;
use crate::relay::outcome::Rejection;
use crate::relay::rules::{Authority, Cause, FinalAnswer, Scope, Unfit, left_alone};
use crate::telemetry::{EventName, StateChange};
use crate::topology::select::Candidate;
use crate::topology::{EndpointId, Failure, Outcome, OutcomeReport};
use crate::upstream::Unread;
use std::time::Duration;

/// An attempt that the agent itself broke. A tier's addresses mostly answer alike: two such attempts are enough.
pub(super) fn broken_here(detail: String) -> Rejection {
    Rejection::broken(Scope::AddressOnceThenTier, Failure::Internal, detail)
}

/// A body that was to be read whole. What is too long for one source's is too long for those of its tier.
pub(crate) fn unread(unread: Unread) -> Rejection {
    match unread {
        Unread::Broken(error) => {
            let scope = match error.failure {
                Failure::TooLarge => Scope::Tier,
                _ => Scope::Address,
            };
            Rejection::broken(scope, error.failure, error.detail())
        }
        // Nobody else's answer would be smaller.
        Unread::Refused(refused) => Rejection {
            means: Unfit::End {
                answer: FinalAnswer::NoMemory,
                outcome: Outcome::Success,
            },
            detail: refused.to_string(),
        },
    }
}

pub(super) fn rejected(error: exchange::Error, authority: Authority) -> Rejection {
    let (failure, detail) = (error.failure, error.detail());
    match error.at {
        _ if failure == Failure::Internal => broken_here(detail),
        // How many tokens are fetched is the clients' choice: no mark.
        Place::Token if failure == Failure::TooManyRequests => {
            let (scope, pause) = left_alone(authority, error.retry_after);
            Rejection::leave(scope, pause, Cause::TooManyRequests, detail)
        }
        Place::Token if failure.is_the_endpoints() => {
            Rejection::broken(Scope::Address, Failure::Token, detail)
        }
        Place::Endpoint | Place::Token => Rejection::broken(Scope::Address, failure, detail),
        // The endpoint is healthy; where it sends its clients is not, and what for is their choice.
        Place::Redirect => {
            let cause = Cause::Failed(failure);
            Rejection::leave(Scope::Tier, Outcome::Neutral, cause, detail)
        }
    }
}

/// What health is told of an answer that such a client's request met: whether a tier refuses the agent is not for strangers to
/// show, who choose what is asked for.
pub(super) fn told(outcome: Outcome, trust: Trust) -> Outcome {
    match (outcome, trust) {
        (Outcome::Denied, Trust::Untrusted) => Outcome::Neutral,
        (outcome, _) => outcome,
    }
}

/// An attempt did not serve: it is counted, and health is told.
pub(super) fn failed(
    parts: &Context,
    endpoint: &EndpointId,
    cause: Cause,
    outcome: Outcome,
    detail: String,
) {
    let metrics = &parts.sinks.metrics;
    metrics.attempt(endpoint.source.label(), cause.word());
    report(parts, endpoint, outcome, detail);
}

/// Tells health; of what the agent itself broke it tells people instead.
pub(crate) fn report(parts: &Context, endpoint: &EndpointId, outcome: Outcome, detail: String) {
    if outcome == Outcome::Hard(Failure::Internal) {
        parts.sinks.journal.event(StateChange {
            event: EventName::AttemptFailed,
            tier: Some(endpoint.source.label().to_owned()),
            endpoint: Some(endpoint.address.to_string()),
            message: format!(
                "an attempt at {endpoint} ended with {detail}; the next source is asked"
            ),
            reason: detail,
        });
        return;
    }
    if outcome.says_nothing() {
        return;
    }
    parts.health.report(OutcomeReport {
        endpoint: endpoint.clone(),
        outcome,
        first_byte: None,
        detail,
    });
}

/// Successes at healthy endpoints are news only now and then; health knows when.
pub(super) fn report_success(
    parts: &Context,
    candidate: &Candidate,
    first_byte: Option<Duration>,
    detail: String,
) {
    let snapshot = parts.snapshots.borrow();
    let source = snapshot.source(&candidate.endpoint.source);
    let state = source.and_then(|source| {
        let mut endpoints = source.endpoints.iter();
        endpoints.find(|state| state.id == candidate.endpoint)
    });
    parts.health.report_success(state, || OutcomeReport {
        endpoint: candidate.endpoint.clone(),
        outcome: Outcome::Success,
        first_byte,
        detail,
    });
}
