//! Which of several registries an image is taken from, as their answers come in. Pure.
//!
//! With a strict order whoever is placed better decides first: one that says neither yes nor no blocks those behind it, because
//! an outage of one registry must not let another's image of the same name in. Without an order the best-placed one of those
//! that answer within the grace after the first is taken.

#[cfg(test)]
mod tests;

use crate::lifecycle::deadline;
use std::time::Duration;
use tokio::time::Instant;

/// What one registry says of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The image is there.
    Has,
    /// The image is definitely not there.
    HasNot,
    /// Neither can be told: an outage, or an answer that may hide one.
    Unknown,
}

/// How a choice ends. Registries are named by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The image is taken from this one.
    Found(usize),
    /// Nobody has it, and everybody said so.
    Nowhere,
    /// This one has not answered definitely, and without its word nothing is taken.
    Blocked(usize),
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// No answer can change it any more.
    Decided(Decision),
    /// More answers are needed; `Some`: until then at most.
    Wait(Option<Instant>),
}

/// One choice under way.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// By place; `None`: still asked.
    answers: Vec<Option<Answer>>,
    is_strict: bool,
    grace: Duration,
    /// When the first good answer came.
    first_good: Option<Instant>,
}

// === impl Choice ===

impl Choice {
    /// Among so many registries, in order of preference.
    pub(crate) fn new(count: usize, is_strict: bool, grace: Duration) -> Self {
        Self {
            answers: vec![None; count],
            is_strict,
            grace,
            first_good: None,
        }
    }

    /// Records the answer of the registry at `place`.
    pub(crate) fn answered(&mut self, place: usize, answer: Answer, now: Instant) {
        if let Some(slot) = self.answers.get_mut(place) {
            *slot = Some(answer);
        }
        if answer == Answer::Has {
            self.first_good.get_or_insert(now);
        }
    }

    /// What follows from the answers so far.
    pub(crate) fn step(&self, now: Instant) -> Step {
        if self.is_strict {
            self.strict()
        } else {
            self.quickest(now)
        }
    }

    /// Without more answers this one's word is missing.
    pub(crate) fn blocked(&self) -> Decision {
        let mut answers = self.answers.iter();
        let missing = answers.position(|one| matches!(one, None | Some(Answer::Unknown)));
        Decision::Blocked(missing.unwrap_or_default())
    }

    /// Everybody who said that the image is there.
    pub(crate) fn holders(&self) -> Vec<usize> {
        let answers = self.answers.iter().enumerate();
        let holders = answers.filter(|(_, answer)| **answer == Some(Answer::Has));
        holders.map(|(place, _)| place).collect()
    }

    fn strict(&self) -> Step {
        for (place, answer) in self.answers.iter().enumerate() {
            match answer {
                None => return Step::Wait(None),
                Some(Answer::HasNot) => {}
                Some(Answer::Has) => return Step::Decided(Decision::Found(place)),
                Some(Answer::Unknown) => return Step::Decided(Decision::Blocked(place)),
            }
        }
        Step::Decided(Decision::Nowhere)
    }

    fn quickest(&self, now: Instant) -> Step {
        let place_of = |due: Option<Answer>| self.answers.iter().position(|one| *one == due);
        let best = place_of(Some(Answer::Has));
        let open = place_of(None);
        match (best, self.first_good) {
            (Some(best), Some(first)) => {
                let until = deadline(first, self.grace);
                let may_improve = open.is_some_and(|open| open < best);
                if may_improve && now < until {
                    Step::Wait(Some(until))
                } else {
                    Step::Decided(Decision::Found(best))
                }
            }
            _ if open.is_some() => Step::Wait(None),
            _ => Step::Decided(match place_of(Some(Answer::Unknown)) {
                Some(place) => Decision::Blocked(place),
                None => Decision::Nowhere,
            }),
        }
    }
}
