//! What is known of one source's addresses, and when to ask again. Pure: time and answers are passed in.

#[cfg(test)]
mod tests;

use super::resolver::Answer;
use crate::config::Dns;
use crate::lifecycle::deadline;
use crate::topology::{EndpointSet, Source, SourceId};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After the first failure; doubles while it goes on.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A request that has no address is not told what was found out longer ago than this: it asks again.
const BELIEVED: Duration = Duration::from_millis(250);

/// An upstream's set is not served when it was last asked about longer ago than this.
const DORMANT_AFTER: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) host: String,
    port: u16,
    /// Asked about only when a request wants it.
    lazy: bool,
    /// The host is an address.
    literal: bool,
    /// Sorted. The last good ones.
    addresses: Vec<SocketAddr>,
    /// From the last run; used if the first lookup fails.
    remembered: Vec<IpAddr>,
    error: Option<Arc<str>>,
    failures: u32,
    running: bool,
    /// When it is to be asked about again (when a request wants it, if lazy).
    next: Instant,
    wanted: bool,
    /// When it would have been asked about, before a request could not wait for that.
    put_forward: Option<Instant>,
    /// The end of the last lookup, good or bad.
    asked: Option<Instant>,
}

/// What a lookup changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The same addresses, whatever their order.
    Same,
    Learned,
    Changed {
        added: Vec<SocketAddr>,
        removed: Vec<SocketAddr>,
    },
    /// The first failure after a success or the start; `kept` addresses stay.
    WentStale {
        kept: usize,
    },
    StillStale,
}

impl Known {
    /// Nothing but the name, and what the last run left. An address in the place of a name is known at once.
    pub(super) fn new(source: &Source, remembered: Vec<IpAddr>, now: Instant) -> Self {
        let dialled = source.dialled();
        let literal: Option<IpAddr> = dialled.host.parse().ok();
        let addresses = literal.map(|ip| SocketAddr::new(ip, dialled.port));
        Self {
            host: dialled.host.clone(),
            port: dialled.port,
            lazy: matches!(source.id, SourceId::Upstream(_)),
            literal: literal.is_some(),
            addresses: addresses.into_iter().collect(),
            remembered,
            error: None,
            failures: 0,
            running: false,
            next: now,
            wanted: false,
            put_forward: None,
            asked: None,
        }
    }

    /// Whether this still is what `source` dials.
    pub(super) fn fits(&self, source: &Source) -> bool {
        let dialled = source.dialled();
        self.host == dialled.host && self.port == dialled.port
    }

    /// A request wants it.
    pub(super) fn touch(&mut self, now: Instant) {
        self.wanted |= now >= self.next;
    }

    /// A request has no address of it: it is asked about now, or when the last answer is no longer believed. False: nothing is
    /// to be learned.
    pub(super) fn ask_now(&mut self, now: Instant) -> bool {
        if self.literal {
            return false;
        }
        let at = self.asked.map_or(now, |asked| deadline(asked, BELIEVED));
        if !self.running && at < self.next {
            self.put_forward.get_or_insert(self.next);
            self.next = at;
        }
        self.wanted = true;
        true
    }

    /// The servers changed: what they say may differ.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// Whether a lookup is to be started now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.literal && !self.running && now >= self.next && (self.wanted || !self.lazy)
    }

    /// When this has something to do by itself: look up, or stop being served.
    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        if self.literal || self.running {
            return None;
        }
        if self.lazy && !self.wanted {
            return self
                .asked
                .map(|asked| deadline(asked, DORMANT_AFTER))
                .filter(|at| *at > now);
        }
        Some(self.next)
    }

    /// Until when touching changes nothing.
    pub(super) fn quiet_until(&self) -> Instant {
        match self.literal {
            true => deadline(self.next, Duration::MAX),
            false => self.next,
        }
    }

    /// A lookup was started that takes `limit` at most.
    pub(super) fn started(&mut self, now: Instant, limit: Duration) {
        self.running = true;
        self.wanted = false;
        self.next = deadline(now, limit);
    }

    /// A lookup gave addresses.
    pub(super) fn answered(&mut self, answer: &Answer, limits: &Dns, now: Instant) -> Change {
        let ttl = answer.ttl.min(limits.max_ttl).max(limits.min_ttl);
        self.finished(now, ttl);
        self.put_forward = None;
        self.error = None;
        self.failures = 0;
        let port = self.port;
        let found = answer.addresses.iter();
        let mut addresses: Vec<_> = found.map(|ip| SocketAddr::new(*ip, port)).collect();
        if let Some(family) = answer.unanswered {
            // Nothing new was heard of these (H1: one family failing does not fail the other).
            let kept = self.addresses.iter().filter(|a| family.has(a.ip()));
            addresses.extend(kept.copied());
        }
        addresses.sort_unstable();
        addresses.dedup();
        let old = std::mem::replace(&mut self.addresses, addresses);
        if old == self.addresses {
            return Change::Same;
        }
        if old.is_empty() {
            return Change::Learned;
        }
        let only_in = |one: &[SocketAddr], other: &[SocketAddr]| {
            let missing = one.iter().filter(|address| !other.contains(address));
            missing.copied().collect()
        };
        Change::Changed {
            added: only_in(&self.addresses, &old),
            removed: only_in(&old, &self.addresses),
        }
    }

    /// A lookup gave none: the last good ones stay (H1), or those of the last run.
    pub(super) fn failed(&mut self, reason: &str, now: Instant) -> Change {
        match self.put_forward.take().filter(|due| *due > now) {
            // Requests make it be asked more often, not more rarely by itself.
            Some(due) => {
                self.finished(now, Duration::ZERO);
                self.next = due;
            }
            None => {
                let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
                self.finished(now, wait.min(LAST_RETRY));
                self.failures = self.failures.saturating_add(1);
            }
        }
        self.error = Some(reason.into());
        if self.addresses.is_empty() {
            let remembered = self.remembered.iter();
            let port = self.port;
            self.addresses = remembered.map(|ip| SocketAddr::new(*ip, port)).collect();
            self.addresses.sort_unstable();
            self.addresses.dedup();
        }
        match self.failures {
            1 => Change::WentStale {
                kept: self.addresses.len(),
            },
            _ => Change::StillStale,
        }
    }

    fn finished(&mut self, now: Instant, next: Duration) {
        self.running = false;
        self.asked = Some(now);
        self.next = deadline(now, next);
    }

    /// What the others may see.
    pub(super) fn published(&self, now: Instant) -> EndpointSet {
        let dormant = self.lazy
            && !self.literal
            && self
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= DORMANT_AFTER);
        EndpointSet {
            of: (self.host.clone(), self.port),
            addresses: match dormant {
                true => Vec::new(),
                false => self.addresses.clone(),
            },
            stale: self.error.is_some(),
            error: self.error.clone(),
        }
    }

    /// What the next run may start with; empty for what needs no DNS.
    pub(super) fn to_remember(&self) -> Vec<IpAddr> {
        if self.literal || self.lazy {
            Vec::new()
        } else if self.addresses.is_empty() {
            self.remembered.clone()
        } else {
            self.addresses.iter().map(SocketAddr::ip).collect()
        }
    }
}
