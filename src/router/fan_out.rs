//! The questions to all registries, beside each other, as far as a choice wants their answers.

#[cfg(test)]
mod tests;

use super::choice::{Answer, Choice, Decision, Step};
use futures_util::StreamExt as _;
use futures_util::future::{Join, Ready, join, ready};
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::iter::Enumerate;
use std::vec::IntoIter;
use tokio::time::Instant;

/// Questions under way, and what follows from the answers so far.
pub(crate) struct FanOut<A: Future<Output = Answer>> {
    waiting: Enumerate<IntoIter<A>>,
    asked: FuturesUnordered<Join<Ready<usize>, A>>,
    at_once: usize,
    choice: Choice,
}

// === impl FanOut ===

impl<A: Future<Output = Answer>> FanOut<A> {
    /// Asks by `asks`, in order of preference and at most `at_once` at a time.
    pub(crate) fn new(asks: Vec<A>, at_once: u32, choice: Choice) -> Self {
        Self {
            waiting: asks.into_iter().enumerate(),
            asked: FuturesUnordered::new(),
            at_once: usize::try_from(at_once).unwrap_or(usize::MAX).max(1),
            choice,
        }
    }

    /// The decision, as soon as it is clear; without one at that time somebody's word is missing.
    pub(crate) async fn decide(&mut self, until: Instant) -> Decision {
        loop {
            let now = Instant::now();
            let wake = match self.choice.step(now) {
                Step::Decided(decision) => return decision,
                Step::Wait(_) if now >= until => return self.choice.blocked(),
                Step::Wait(wake) => wake.map_or(until, |wake| wake.min(until)),
            };
            tokio::select! {
                // Cancel safe: what has not answered stays in the set.
                _ = self.next(), if !self.is_over() => {}
                // Cancel safe: a sleep holds nothing.
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Hears the rest out: only then it is known who else has the image. Returns all who have it.
    pub(crate) async fn holders(mut self) -> Vec<usize> {
        while self.next().await {}
        self.choice.holders()
    }

    fn is_over(&self) -> bool {
        self.waiting.len() == 0 && self.asked.is_empty()
    }

    /// Takes the next answer in; `false`: there are no more.
    async fn next(&mut self) -> bool {
        while self.asked.len() < self.at_once
            && let Some((place, ask)) = self.waiting.next()
        {
            self.asked.push(join(ready(place), ask));
        }
        let answered = self.asked.next().await;
        if let Some((place, answer)) = answered {
            self.choice.answered(place, answer, Instant::now());
        }
        answered.is_some()
    }
}
