//! How a search ends: with a good answer, an authoritative no, or everybody's reason.

use crate::lifecycle::Panicked;
use crate::relay::causes::{self, Tried};
use crate::relay::rules::{Cause, FinalAnswer, Scope};
use crate::topology::{EndpointId, Failure, InFlight, Outcome};
use std::convert::Infallible;

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

/// How a search ended, or several that were made for one thing.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    /// What was found.
    pub(crate) result: Result<T, NotFound>,
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

impl<T> Ended<T> {
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

    /// Whether all that failed last was upstream's answer to HEAD: GET may tell more.
    pub(crate) fn head_was_of_no_use(&self) -> bool {
        let last = self.tried.last();
        matches!(self.result, Err(NotFound::Failed))
            && last.is_some_and(|last| last.label == "upstream" && last.cause == Cause::Unusable)
    }

    /// Whether what was wanted is nowhere, or not as its manifest said: upstream's word, or that of everybody where each of
    /// them could be asked.
    pub(crate) fn is_nowhere(&self) -> bool {
        match &self.result {
            Ok(_) => false,
            Err(NotFound::Final { answer, .. }) => *answer == FinalAnswer::NotFound,
            Err(NotFound::Failed) => {
                let says_no =
                    |tried: &Tried| matches!(tried.cause, Cause::NotFound | Cause::WrongLength);
                self.tried.iter().any(says_no) && !self.is_outage()
            }
        }
    }

    /// Whether somebody could not be asked.
    pub(crate) fn is_outage(&self) -> bool {
        self.tried.iter().any(|tried| tried.cause.is_outage())
    }

    /// What was found, or the end of a search that found nothing.
    pub(crate) fn found(self) -> Result<T, Ended<Infallible>> {
        let Self {
            result,
            tried,
            attempts,
            generation,
        } = self;
        result.map_err(|nothing| Ended {
            result: Err(nothing),
            tried,
            attempts,
            generation,
        })
    }

    /// What is made of the result; the rest stays.
    pub(crate) fn map<U>(
        self,
        with: impl FnOnce(Result<T, NotFound>) -> Result<U, NotFound>,
    ) -> Ended<U> {
        Ended {
            result: with(self.result),
            tried: self.tried,
            attempts: self.attempts,
            generation: self.generation,
        }
    }

    /// What came of this and of what was asked after it.
    pub(crate) fn then(&self, result: Result<T, NotFound>, tried: &[Tried], attempts: u32) -> Self {
        Self {
            result,
            tried: [&self.tried, tried].concat(),
            attempts: self.attempts.saturating_add(attempts),
            generation: self.generation,
        }
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
