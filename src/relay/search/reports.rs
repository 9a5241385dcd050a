//! What a search tells health, and how an exchange's error is read.

use super::Rejection;
use crate::exchange::{self, Place};
use crate::lifecycle::Panicked;
use crate::relay::candidates::Candidate;
use crate::relay::engine::RelayParts;
use crate::relay::rules::{Cause, Scope};
use crate::telemetry::{EventName, StateChange};
use crate::topology::{EndpointId, Failure, Outcome, OutcomeReport};
use std::time::Duration;

/// An attempt that the agent itself broke. A tier's addresses mostly answer alike: two such attempts are enough.
pub(super) fn internal(panicked: &Panicked) -> Rejection {
    broken_here(panicked.to_string())
}

pub(super) fn broken_here(detail: String) -> Rejection {
    Rejection::Leave {
        scope: Scope::AddressOnceThenTier,
        outcome: Outcome::Hard(Failure::Internal),
        cause: Cause::Failed(Failure::Internal),
        detail,
    }
}

pub(super) fn rejected(error: exchange::Error) -> Rejection {
    if error.failure == Failure::Internal {
        return broken_here(error.detail);
    }
    let (scope, outcome, cause) = match error.at {
        Place::Endpoint => (
            Scope::Address,
            Outcome::Hard(error.failure),
            Cause::Failed(error.failure),
        ),
        Place::Token => (
            Scope::Address,
            Outcome::Hard(Failure::Token),
            Cause::Failed(Failure::Token),
        ),
        // The endpoint is well; where it sends its clients is not.
        Place::Redirect => (
            Scope::Tier,
            Outcome::Soft(error.failure),
            Cause::Failed(error.failure),
        ),
    };
    Rejection::Leave {
        scope,
        outcome,
        cause,
        detail: error.detail,
    }
}

/// Tells health; of what the agent itself broke it tells people instead.
pub(crate) fn report(parts: &RelayParts, endpoint: &EndpointId, outcome: Outcome, detail: String) {
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
    parts.health.report(OutcomeReport {
        endpoint: endpoint.clone(),
        outcome,
        first_byte: None,
        detail,
    });
}

/// Successes at healthy endpoints are news only now and then; health knows when.
pub(super) fn report_success(
    parts: &RelayParts,
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
