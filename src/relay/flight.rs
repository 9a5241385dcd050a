//! One search for all who ask for the same at the same time. It runs in a task of its own, so that nobody who asks slowly
//! or leaves hurts the others; when the last one leaves it is cancelled (design P12).

use crate::lifecycle;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Searches under way at most; what comes beyond is searched for by its own request.
const FLIGHTS: usize = 1024;

type Landed<V> = Option<Arc<V>>;

/// The searches under way. Its lock is held for single look-ups.
#[derive(Debug)]
pub(crate) struct Flights<K, V>(Arc<Mutex<HashMap<K, watch::Sender<Landed<V>>>>>);

/// Takes a flight off the list however it ends.
struct Listed<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: Option<K>,
}

// === impl Flights ===

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Send + Sync + 'static,
{
    /// What `work` yields, or what the same work of another yields that is under way.
    pub(crate) async fn join<W>(&self, key: K, work: impl Fn() -> W) -> Arc<V>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let Some(mut landing) = self.board(&key, &work) else {
            return Arc::new(work().await);
        };
        // Cancel safe: whoever leaves gives up a place, and no more.
        let landed = landing.wait_for(Option::is_some).await;
        let landed = landed.ok().and_then(|landed| landed.clone());
        match landed {
            Some(landed) => landed,
            // Its task panicked, which is logged; the others must not die of it.
            None => Arc::new(work().await),
        }
    }

    /// A place in the flight for that key, which is started if there is none; `None`: there are too many.
    fn board<W>(&self, key: &K, work: &impl Fn() -> W) -> Option<watch::Receiver<Landed<V>>>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return Some(flight.subscribe());
        }
        if flights.len() >= FLIGHTS {
            return None;
        }
        let (flight, landing) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        let listed = Listed {
            flights: Self(self.0.clone()),
            key: Some(key.clone()),
        };
        lifecycle::spawn_detached("manifest", fly(listed, flight, work()));
        Some(landing)
    }
}

async fn fly<K: Eq + Hash, V>(
    mut listed: Listed<K, V>,
    flight: watch::Sender<Landed<V>>,
    work: impl Future<Output = V>,
) {
    tokio::pin!(work);
    loop {
        tokio::select! {
            // Cancel safe: `work` is polled on unless nobody waits for it.
            landed = &mut work => {
                // Off the list first: who comes now wants a new answer.
                listed.strike(|| true);
                flight.send_replace(Some(Arc::new(landed)));
                return;
            }
            // Cancel safe: it only waits.
            () = flight.closed() => {
                // Somebody may have boarded just now, under the list's lock.
                if listed.strike(|| flight.receiver_count() == 0) {
                    return;
                }
            }
        }
    }
}

// === impl Listed ===

impl<K: Eq + Hash, V> Listed<K, V> {
    /// Takes the flight off the list if `may` says so under the list's lock.
    fn strike(&mut self, may: impl FnOnce() -> bool) -> bool {
        let flights = self.flights.0.clone();
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        let may = may();
        if may && let Some(key) = self.key.take() {
            flights.remove(&key);
        }
        may
    }
}

impl<K: Eq + Hash, V> Drop for Listed<K, V> {
    fn drop(&mut self) {
        self.strike(|| true);
    }
}

#[cfg(test)]
mod tests;
