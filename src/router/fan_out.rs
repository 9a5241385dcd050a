//! The questions to all registries, beside each other, as far as a choice wants their answers.

#[cfg(test)]
mod tests;

use super::choice::{Answer, Choice, Decision, Step};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use tokio::time::Instant;

/// Asks by `asks`, in order of preference and at most `at_once` at a time. `decided` is told as soon as it is clear. The rest is
/// heard out nevertheless: only then it is known who else has the image. Returns all who have it.
pub(crate) async fn fan_out<A>(
    asks: impl IntoIterator<Item = A>,
    at_once: usize,
    mut choice: Choice,
    decided: impl FnOnce(Decision),
) -> Vec<usize>
where
    A: Future<Output = Answer>,
{
    let mut waiting = asks.into_iter().enumerate();
    let mut asked = FuturesUnordered::new();
    let mut decided = Some(decided);
    loop {
        while asked.len() < at_once.max(1)
            && let Some((place, ask)) = waiting.next()
        {
            asked.push(async move { (place, ask.await) });
        }
        let mut until = None;
        if decided.is_some() {
            match choice.step(Instant::now()) {
                Step::Decided(decision) => {
                    if let Some(decided) = decided.take() {
                        decided(decision);
                    }
                }
                Step::Wait(wait) => until = wait,
            }
        }
        tokio::select! {
            // Cancel safe: what has not answered stays in the set.
            answered = asked.next() => match answered {
                Some((place, answer)) => choice.answered(place, answer, Instant::now()),
                None => return choice.holders(),
            },
            // Cancel safe: a sleep holds nothing.
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
    }
}
