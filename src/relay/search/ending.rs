//! How a search ends: with a good answer, an authoritative no, or everybody's reason.

use crate::lifecycle::Panicked;
use crate::relay::causes::{self, Tried};
use crate::relay::rules::{Cause, FinalAnswer, Scope};
use crate::topology::{EndpointId, Failure, InFlight, Outcome};

/// Why an answer is no good.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// Ask elsewhere.
    Leave {
        scope: Scope,
        outcome: Outcome,
        cause: Cause,
        detail: String,
    },
    /// The search ends with this.
    End {
        answer: FinalAnswer,
        outcome: Outcome,
        detail: String,
    },
}

/// How a search ended.
#[derive(Debug)]
pub(crate) struct Ended<G> {
    /// What came of it.
    pub(crate) result: Result<Found<G>, NotFound>,
    /// Everybody who did not serve.
    pub(crate) tried: Vec<Tried>,
    /// Requests sent and connects begun.
    pub(crate) attempts: u32,
    /// Of the newest snapshot that was used.
    pub(crate) generation: u64,
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Found<G> {
    pub(crate) good: G,
    pub(crate) endpoint: EndpointId,
    pub(crate) in_flight: InFlight,
    /// It came from the first candidate that was asked.
    pub(crate) first_choice: bool,
}

/// No good answer.
#[derive(Clone, Debug)]
pub(crate) enum NotFound {
    /// An authoritative source said so.
    Final {
        answer: FinalAnswer,
        by: String,
        detail: String,
    },
    /// Nobody could answer.
    Failed,
}

// === impl Ended ===

impl<G> Ended<G> {
    /// The search itself panicked.
    pub(crate) fn broken(panicked: &Panicked) -> Self {
        Self {
            result: Err(NotFound::Failed),
            tried: vec![Tried {
                endpoint: None,
                label: "harbor-pilot".to_owned(),
                cause: Cause::Failed(Failure::Internal),
                detail: panicked.to_string(),
            }],
            attempts: 0,
            generation: 0,
        }
    }
}

impl<G> Ended<G> {
    /// Whether all that failed last was upstream's answer to HEAD: GET may tell more.
    pub(crate) fn head_was_of_no_use(&self) -> bool {
        let last = self.tried.last();
        matches!(self.result, Err(NotFound::Failed))
            && last.is_some_and(|last| last.label == "upstream" && last.cause == Cause::Unusable)
    }

    /// Who did not serve and why, and whose word ended it.
    pub(crate) fn story(&self) -> String {
        let mut story = causes::story(&self.tried);
        if let Err(NotFound::Final { by, detail, .. }) = &self.result {
            let separator = if story.is_empty() { "" } else { "; " };
            story.extend([separator, by, ": ", detail]);
        }
        story
    }

    /// The second search's end, with the story of both.
    pub(crate) fn after(mut self, first: Self) -> Self {
        self.tried.splice(0..0, first.tried);
        self.attempts = self.attempts.saturating_add(first.attempts);
        self
    }
}

// === impl NotFound ===

impl NotFound {
    /// Whether what was wanted is nowhere, or not as its manifest said: upstream's word, or that of everybody where each of
    /// them could be asked.
    pub(crate) fn is_nowhere(&self, tried: &[Tried]) -> bool {
        match self {
            Self::Final { answer, .. } => *answer == FinalAnswer::NotFound,
            Self::Failed => {
                let says_no =
                    |tried: &Tried| matches!(tried.cause, Cause::NotFound | Cause::WrongLength);
                tried.iter().any(says_no) && !tried.iter().any(|tried| tried.cause.is_outage())
            }
        }
    }
}
