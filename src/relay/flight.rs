//! One search for all who ask for the same at the same time. Whoever of them is awake drives it, so that nobody who asks
//! slowly or leaves hurts the others, and it costs no task; when the last one leaves it is cancelled (design P12).

use super::outcome::Ended;
use crate::lifecycle::contained;
use foldhash::HashMap;
use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// Searches under way at most; what comes beyond is searched for by its own request.
const FLIGHTS: usize = 1024;

type Work<T> = Pin<Box<dyn Future<Output = Arc<Ended<T>>> + Send>>;

/// The searches under way, each kept alive by those who wait for it. The lock is held for single look-ups.
#[derive(Debug)]
pub(crate) struct Flights<K, T>(Mutex<HashMap<K, WeakShared<Work<T>>>>);

// === impl Flights ===

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Send + Sync + 'static> Flights<K, T> {
    /// What `work` yields, or what the same work of another yields that is under way. After a panic it is not done again: what
    /// made it panic would do so once more for each who waits.
    pub(crate) async fn join<W>(&self, key: K, work: impl Fn() -> W) -> Arc<Ended<T>>
    where
        W: Future<Output = Arc<Ended<T>>> + Send + 'static,
    {
        match self.begin_or_join(key, &work) {
            // Cancel safe: whoever leaves is one less who waits; the others are woken and go on.
            Some(flight) => flight.await,
            // There are too many. Boxed, as it is rare: it would be most of what every request's future takes.
            None => Box::pin(contain(work())).await,
        }
    }

    /// The search for that key that is under way, begun if there is none; `None`: there are too many.
    fn begin_or_join<W>(&self, key: K, work: &impl Fn() -> W) -> Option<Shared<Work<T>>>
    where
        W: Future<Output = Arc<Ended<T>>> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is over or left by everybody goes: who comes now wants a new answer.
        flights.retain(|_, flight| is_under_way(flight));
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return Some(flight);
        }
        if flights.len() >= FLIGHTS {
            return None;
        }
        let flight: Work<T> = Box::pin(contain(work()));
        let flight = flight.shared();
        // A new one has not been polled to its end.
        flights.insert(key, flight.downgrade()?);
        Some(flight)
    }
}

fn is_under_way<T>(flight: &WeakShared<Work<T>>) -> bool {
    let flight = flight.upgrade();
    flight.is_some_and(|flight| flight.peek().is_none())
}

fn contain<T>(work: impl Future<Output = Arc<Ended<T>>>) -> impl Future<Output = Arc<Ended<T>>> {
    // No async fn, which would keep the work twice.
    contained("manifest", work)
        .map(|ended| ended.unwrap_or_else(|why| Arc::new(Ended::broken(&why))))
}

#[cfg(test)]
mod tests;
