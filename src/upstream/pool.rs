//! Idle connections in a pool: last in, first out, so that a burst's surplus grows old and goes.
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

/// What lies in the pool.
pub(super) trait Idle {
    /// Whether the other side has not closed it.
    fn is_open(&mut self) -> bool;

    fn key(&self) -> &Key;
}

/// The idle connections, by where they lead.
#[derive(Debug)]
pub(super) struct IdlePool<T> {
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

// === impl IdlePool ===

impl<T> Default for IdlePool<T> {
    fn default() -> Self {
        Self {
            idle: HashMap::default(),
            total: 0,
        }
    }
}

impl<T: Idle> IdlePool<T> {
    /// Puts a connection down. Of too many that lead to one place the oldest goes; where the pool is full the new one
    /// is let go.
    pub(super) fn put(&mut self, connection: T, now: Instant) {
        if self.total >= IN_ALL {
            self.sweep(now);
            if self.total >= IN_ALL {
                return;
            }
        }
        let kept = match self.idle.get_mut(connection.key()) {
            Some(kept) => kept,
            None => self.idle.entry(connection.key().clone()).or_default(),
        };
        if kept.len() >= PER_KEY && kept.pop_front().is_some() {
            self.total = self.total.saturating_sub(1);
        }
        kept.push_back((now, connection));
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
        let kept = self.idle.get_mut(key)?;
        let mut places = kept.iter_mut().rev();
        if let Some(from_back) = places.position(|(_, connection)| at_hand(connection))
            && from_back > 0
            && let Some(youngest) =
                kept.remove(kept.len().saturating_sub(1).saturating_sub(from_back))
        {
            kept.push_back(youngest);
        }
        let mut found = None;
        while let Some((since, mut connection)) = kept.pop_back() {
            self.total = self.total.saturating_sub(1);
            if is_good(since, &mut connection, now) {
                found = Some(connection);
                break;
            }
        }
        if kept.is_empty() {
            self.idle.remove(key);
        }
        found
    }

    /// Lets go of all that are closed or too old.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.idle.retain(|_, kept| {
            kept.retain_mut(|(since, connection)| is_good(*since, connection, now));
            kept.shrink_to_fit();
            !kept.is_empty()
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
