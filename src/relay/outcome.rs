//! How a search ends: with a good answer, an authoritative no, or everybody's reason.

use crate::lifecycle::Panicked;
use crate::relay::causes::{self, FailedAttempt};
use crate::relay::rules::{Cause, FinalAnswer, Scope, Unfit};
use crate::telemetry::{RequestOutcome, TraceParent};
use crate::topology::{EndpointId, Failure, InFlight, Outcome};

/// Why an answer is no good, with the words for people.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) means: Unfit,
    pub(crate) detail: String,
}

/// How a search ended, or several that were made for one thing.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    pub(crate) result: Result<T, NotFound>,
    pub(crate) log: AttemptLog,
}

/// What was tried on the way to a search's end.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptLog {
    pub(crate) failed: Vec<FailedAttempt>,
    /// Requests sent and connects begun.
    pub(crate) attempts: u32,
    /// Of the newest snapshot that was used.
    pub(crate) generation: u64,
    /// The traced request for which it was.
    pub(crate) asked_by: Option<TraceParent>,
}

#[derive(Debug)]
pub(crate) struct Found<G> {
    pub(crate) good: G,
    pub(crate) endpoint: EndpointId,
    pub(crate) in_flight: InFlight,
    /// How the request is called that it serves.
    pub(crate) outcome: RequestOutcome,
}

#[derive(Clone, Debug)]
pub(crate) enum NotFound {
    Final {
        answer: FinalAnswer,
        by: String,
        detail: String,
    },
    Failed,
}

// === impl Rejection ===

impl Rejection {
    pub(crate) fn leave(
        scope: Scope,
        outcome: Outcome,
        cause: Cause,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            means: Unfit::Leave {
                scope,
                outcome,
                cause,
            },
            detail: detail.into(),
        }
    }

    /// It broke: this address is left, and health is told.
    pub(crate) fn broken(scope: Scope, failure: Failure, detail: impl Into<String>) -> Self {
        let (outcome, cause) = (Outcome::Hard(failure), Cause::Failed(failure));
        Self::leave(scope, outcome, cause, detail)
    }
}

// === impl Ended ===

impl<T> Ended<T> {
    /// The search itself panicked.
    pub(crate) fn broken(panicked: &Panicked) -> Self {
        let failed = FailedAttempt {
            endpoint: None,
            label: "harbor-pilot".to_owned(),
            cause: Cause::Failed(Failure::Internal),
            detail: panicked.to_string(),
        };
        Self {
            result: Err(NotFound::Failed),
            log: AttemptLog::default().and(failed),
        }
    }

    /// Whether what was wanted is nowhere, or not as its manifest said: upstream's word, or that of everybody where each of
    /// them could be asked.
    pub(crate) fn is_nowhere(&self) -> bool {
        match &self.result {
            Ok(_) => false,
            Err(NotFound::Final { answer, .. }) => *answer == FinalAnswer::NotFound,
            Err(NotFound::Failed) => {
                let says_no =
                    |one: &FailedAttempt| matches!(one.cause, Cause::NotFound | Cause::WrongLength);
                self.log.failed.iter().any(says_no) && !self.log.is_outage()
            }
        }
    }
}

// === impl AttemptLog ===

impl AttemptLog {
    /// Whether somebody could not be asked.
    pub(crate) fn is_outage(&self) -> bool {
        self.failed.iter().any(|failed| failed.cause.is_outage())
    }

    /// What was tried after it as well.
    pub(crate) fn then(&self, later: &Self) -> Self {
        Self {
            failed: [self.failed.as_slice(), &later.failed].concat(),
            attempts: self.attempts.saturating_add(later.attempts),
            generation: self.generation.max(later.generation),
            asked_by: later.asked_by.or(self.asked_by),
        }
    }

    /// One more who did not serve.
    pub(crate) fn and(mut self, failed: FailedAttempt) -> Self {
        self.failed.push(failed);
        self
    }

    /// Who did not serve and why, and whose word ended it.
    pub(crate) fn text(&self, nothing: &NotFound) -> String {
        let mut text = causes::attempts(&self.failed);
        if let NotFound::Final { by, detail, .. } = nothing {
            let separator = if text.is_empty() { "" } else { "; " };
            text.extend([separator, by, ": ", detail]);
        }
        text
    }
}
