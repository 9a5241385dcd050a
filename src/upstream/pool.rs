//! Idle connections on their shelves: last in, first out, so that a burst's surplus grows old and goes.
//!
//! Bookkeeping alone; it is told the time and never touches a socket.

use super::guard::Rule;
use crate::topology::{EndpointId, SourceId};
use foldhash::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// Below the 60 s (or 65 s, 75 s) after which the usual servers close an idle connection themselves.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(55);

/// Idle connections per endpoint: half of what one address may have in flight (64).
const PER_KEY: usize = 32;

/// Idle connections in all.
const IN_ALL: usize = 256;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// To an endpoint of a source.
    Endpoint(EndpointId),
    /// To a host that a source named; never shared between sources, whose TLS settings may differ, nor between those of its
    /// addresses that may not all lead there.
    Named {
        source: SourceId,
        rule: Rule,
        /// The source's own host at this address.
        address: Option<IpAddr>,
        https: bool,
        host: String,
        port: u16,
    },
}

/// What lies on a shelf.
pub(super) trait Idle {
    /// Whether the other side has not closed it.
    fn is_open(&mut self) -> bool;

    /// Where it leads.
    fn key(&self) -> &Key;
}

/// The shelves.
#[derive(Debug)]
pub(super) struct Shelves<T> {
    idle: HashMap<Key, VecDeque<(Instant, T)>>,
    total: usize,
}

// === impl Key ===

impl Key {
    /// Whose connection it is.
    pub(super) fn source(&self) -> &SourceId {
        match self {
            Self::Endpoint(endpoint) => &endpoint.source,
            Self::Named { source, .. } => source,
        }
    }

    /// What was dialled, where it is known.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint.address),
            Self::Named { .. } => None,
        }
    }
}

// === impl Shelves ===

impl<T> Default for Shelves<T> {
    fn default() -> Self {
        Self {
            idle: HashMap::default(),
            total: 0,
        }
    }
}

impl<T: Idle> Shelves<T> {
    /// Puts a connection down. A full shelf gives up its oldest; where all shelves together are full the new one
    /// is let go.
    pub(super) fn put(&mut self, connection: T, now: Instant) {
        if self.total >= IN_ALL {
            self.sweep(now);
            if self.total >= IN_ALL {
                return;
            }
        }
        let shelf = match self.idle.get_mut(connection.key()) {
            Some(shelf) => shelf,
            None => self.idle.entry(connection.key().clone()).or_default(),
        };
        if shelf.len() >= PER_KEY && shelf.pop_front().is_some() {
            self.total = self.total.saturating_sub(1);
        }
        shelf.push_back((now, connection));
        self.total = self.total.saturating_add(1);
    }

    /// Takes the youngest that is still good, of those that are at hand if there are any; those found dead on the way are
    /// let go.
    pub(super) fn take(
        &mut self,
        key: &Key,
        now: Instant,
        mut at_hand: impl FnMut(&mut T) -> bool,
    ) -> Option<T> {
        let shelf = self.idle.get_mut(key)?;
        let mut places = shelf.iter_mut().rev();
        if let Some(from_back) = places.position(|(_, connection)| at_hand(connection))
            && from_back > 0
            && let Some(youngest) =
                shelf.remove(shelf.len().saturating_sub(1).saturating_sub(from_back))
        {
            shelf.push_back(youngest);
        }
        let mut found = None;
        while let Some((since, mut connection)) = shelf.pop_back() {
            self.total = self.total.saturating_sub(1);
            if is_good(since, &mut connection, now) {
                found = Some(connection);
                break;
            }
        }
        if shelf.is_empty() {
            self.idle.remove(key);
        }
        found
    }

    /// Lets go of all that are closed or too old.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.idle.retain(|_, shelf| {
            shelf.retain_mut(|(since, connection)| is_good(*since, connection, now));
            shelf.shrink_to_fit();
            !shelf.is_empty()
        });
        self.total = self.idle.values().map(VecDeque::len).sum();
    }

    /// Lets go of all that belong to a source.
    pub(super) fn forget(&mut self, source: &SourceId) {
        self.idle.retain(|key, _| key.source() != source);
        self.total = self.idle.values().map(VecDeque::len).sum();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.total
    }
}

fn is_good<T: Idle>(since: Instant, connection: &mut T, now: Instant) -> bool {
    now.saturating_duration_since(since) < IDLE_LIMIT && connection.is_open()
}

#[cfg(test)]
mod tests;
