//! One search for all who ask for the same at the same time. Whoever of them is awake drives it, so that nobody who asks
//! slowly or leaves hurts the others, and it costs no task; when the last one leaves it is cancelled (design P12).

use crate::lifecycle::{Panicked, contained};
use foldhash::HashMap;
use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Searches under way at most; what comes beyond is searched for by its own request.
const FLIGHTS: usize = 1024;

/// What all wait for, or what its panic said.
type Work<V> = Pin<Box<dyn Future<Output = Landed<V>> + Send>>;
type Landed<V> = Result<Arc<V>, Panicked>;

/// The searches under way, each kept alive by those who wait for it. The lock is held for single look-ups.
#[derive(Debug)]
pub(crate) struct Flights<K, V>(Arc<Mutex<List<K, V>>>);

#[derive(Debug)]
struct List<K, V> {
    under_way: HashMap<K, Flight<V>>,
    /// Numbers flights, so that one that ends takes itself off the list and not its successor.
    next: u64,
}

#[derive(Debug)]
struct Flight<V> {
    number: u64,
    work: WeakShared<Work<V>>,
}

/// Takes a flight off the list however it ends.
struct Listed<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
    number: u64,
}

// === impl Flights ===

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(List {
            under_way: HashMap::default(),
            next: 0,
        })))
    }
}

impl<K, V> Flights<K, V> {
    fn list(&self) -> MutexGuard<'_, List<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Send + Sync + 'static,
{
    /// What `work` yields, or what the same work of another yields that is under way.
    ///
    /// # Errors
    /// It panicked. It is not done again: what made it panic would do so once more for each who waits.
    pub(crate) async fn join<W>(&self, key: K, work: impl Fn() -> W) -> Landed<V>
    where
        W: Future<Output = V> + Send + 'static,
    {
        match self.board(key, &work) {
            // Cancel safe: whoever leaves gives up a place; the others are woken and go on.
            Some(flight) => flight.await,
            // There are too many. Boxed, as it is rare: it would be most of what every request's future takes.
            None => Box::pin(contained("manifest", work())).await.map(Arc::new),
        }
    }

    /// A place in the flight for that key, which is begun if there is none; `None`: there are too many.
    fn board<W>(&self, key: K, work: &impl Fn() -> W) -> Option<Shared<Work<V>>>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let mut list = self.list();
        if let Some(flight) = list.under_way.get(&key).and_then(|f| f.work.upgrade()) {
            return Some(flight);
        }
        if list.under_way.len() >= FLIGHTS {
            return None;
        }
        let number = list.next;
        list.next = list.next.wrapping_add(1);
        let listed = Listed {
            flights: Self(self.0.clone()),
            key: key.clone(),
            number,
        };
        let flight: Work<V> = Box::pin(fly(listed, work()));
        let flight = flight.shared();
        // A new one has not been polled to its end.
        let work = flight.downgrade()?;
        list.under_way.insert(key, Flight { number, work });
        Some(flight)
    }
}

fn fly<K: Eq + Hash, V>(
    listed: Listed<K, V>,
    work: impl Future<Output = V>,
) -> impl Future<Output = Landed<V>> {
    // No async fn, which would keep the work twice.
    contained("manifest", work).map(|landed| {
        // Off the list before anybody is told: who comes now wants a new answer.
        drop(listed);
        landed.map(Arc::new)
    })
}

// === impl Listed ===

impl<K: Eq + Hash, V> Drop for Listed<K, V> {
    fn drop(&mut self) {
        let mut list = self.flights.list();
        let is_listed = list.under_way.get(&self.key);
        if is_listed.is_some_and(|flight| flight.number == self.number) {
            list.under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
