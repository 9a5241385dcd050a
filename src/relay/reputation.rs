//! What is known against addresses and sources: of what, which effect it has on the order of asking, why, and until when. Whether an
//! address is ejected is health's to say; this is the rest. One table with one rule for each fault (docs/failure-table.md,
//! "Reputation"), which `topology::select` reads.
//!
//! What an untrusted client's requests taught counts for untrusted clients alone: its choice of what to ask for, and how often,
//! reorders nothing for the trusted (design S8). Two things count for all: wrong bytes of a digest, which proves that they are
//! wrong, and a registry's wish for fewer requests.

mod fault;
mod scope;
#[cfg(test)]
mod tests;

pub use fault::Reason;
pub(crate) use fault::{Fault, LONG, MEDIUM};
pub(crate) use scope::{Scope, Subject};

use super::memory::Pulled;
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::lifecycle::deadline;
use crate::topology::select::{Effect, HeldBack};
use crate::topology::{EndpointId, SourceId};
use fault::{SILENT, SLOW};
use std::time::Duration;
use tokio::time::Instant;

/// Scopes of which something is known, and rows of each.
const SCOPES: usize = 1024;
const ROWS: usize = 32;

/// So many addresses of a tier that want fewer requests speak for the tier: it is its proxied registry that limits it.
const SPEAK_FOR_A_TIER: usize = 2;

/// What is known, by the requests that it counts for and whose requests taught it.
#[derive(Debug)]
pub struct Reputation(SharedTtlMap<(Scope, Trust), Vec<ReputationRow>>);

/// One thing that is known.
#[derive(Clone, Debug)]
pub struct ReputationRow {
    /// Against whom, and what follows.
    pub held: HeldBack,
    /// For which requests.
    pub(crate) scope: Scope,
    /// The fault that put it here, as `status` shows it.
    pub reason: Reason,
    /// From then on the row has no effect.
    pub until: Instant,
    /// For whose requests.
    pub trust: Trust,
}

// === impl Reputation ===

impl Reputation {
    /// An address did that when it was asked for this.
    pub(crate) fn saw(
        &self,
        fault: &Fault,
        endpoint: &EndpointId,
        subject: &Subject,
        now: Instant,
    ) {
        let put = |held, scope, until| {
            let trust = match fault.counts_for_all(&scope) {
                true => Trust::Trusted,
                false => subject.trust,
            };
            let row = ReputationRow {
                held,
                scope,
                reason: fault.reason(),
                until,
                trust,
            };
            self.put(row, subject.trust, now);
        };
        for rule in fault.rules(endpoint, subject) {
            put(rule.held, rule.scope, deadline(now, rule.life));
        }
        if let Fault::TooManyRequests(_) = fault {
            let scope = Scope::Registry(subject.registry.clone());
            if let Some(until) = self.speak_for_all(&scope, &endpoint.source, now) {
                let all = HeldBack::source(&endpoint.source, Effect::Last);
                put(all, scope, until);
            }
        }
    }

    /// Until when a source's addresses want fewer requests for a registry, so that the source as a whole does. An upstream's quota
    /// is one of this node's address and of the whole registry, whichever of the registry's addresses counts it.
    fn speak_for_all(&self, scope: &Scope, source: &SourceId, now: Instant) -> Option<Instant> {
        let number = match source {
            SourceId::Tier(_) => SPEAK_FOR_A_TIER,
            SourceId::Upstream(_) => 1,
        };
        let rows = self.0.get(&(scope.clone(), Trust::Trusted), now)?;
        let of_one = |row: &&ReputationRow| {
            row.held.source == *source && row.held.address.is_some() && now < row.until
        };
        let mut ends: Vec<Instant> = rows.iter().filter(of_one).map(|row| row.until).collect();
        ends.sort_unstable();
        ends.into_iter().rev().nth(number.saturating_sub(1))
    }

    /// A row that is there already is not made shorter.
    fn put(&self, mut row: ReputationRow, taught_by: Trust, now: Instant) {
        let key = (row.scope.clone(), row.trust);
        self.0.change(|map| {
            let mut rows = map.get(&key, now).cloned().unwrap_or_default();
            rows.retain(|other| {
                let is_same = other.held == row.held && other.reason == row.reason;
                if is_same {
                    row.until = row.until.max(other.until);
                }
                !is_same && now < other.until
            });
            if rows.len() >= ROWS {
                rows.remove(0);
            }
            rows.push(row);
            map.put(key, rows, taught_by, now);
        });
    }

    /// What counts for a request.
    pub(crate) fn against(&self, subject: &Subject, now: Instant) -> Vec<HeldBack> {
        let rows = self.rows_of(subject.scopes(), subject.trust, now);
        rows.into_iter().map(|row| row.held).collect()
    }

    /// Whether something was seen of a blob or tag.
    pub(crate) fn knows(&self, pulled: &Pulled, now: Instant) -> bool {
        let of_image = Scope::Image(pulled.image.clone());
        !self.rows_of([of_image], pulled.trust, now).is_empty()
    }

    /// Whether an address is held back for a blob or tag.
    pub(crate) fn holds(&self, endpoint: &EndpointId, pulled: &Pulled, now: Instant) -> bool {
        let of_image = Scope::Image(pulled.image.clone());
        let rows = self.rows_of([of_image], pulled.trust, now);
        rows.iter().any(|row| row.held.concerns(endpoint))
    }

    /// Whether bytes of blobs of the same repository do not come, or too few, at another address of a tier.
    pub(crate) fn is_slow(&self, source: &SourceId, subject: &Subject, now: Instant) -> bool {
        let rows = self.rows_of([subject.of_repository()], subject.trust, now);
        let is_its = |row: &ReputationRow| row.reason == SLOW && row.held.source == *source;
        rows.iter().any(is_its)
    }

    /// The rows of these scopes that count for such a client's request.
    fn rows_of(
        &self,
        scopes: impl IntoIterator<Item = Scope>,
        trust: Trust,
        now: Instant,
    ) -> Vec<ReputationRow> {
        let mut found = Vec::new();
        if self.0.is_empty() {
            return found;
        }
        let teachers = match trust {
            Trust::Trusted => &[Trust::Trusted][..],
            Trust::Untrusted => &[Trust::Trusted, Trust::Untrusted],
        };
        self.0.read(|map| {
            for scope in scopes {
                for taught_by in teachers {
                    let rows = map.get(&(scope.clone(), *taught_by), now);
                    let rows = rows.into_iter().flatten();
                    found.extend(rows.filter(|row| now < row.until).cloned());
                }
            }
        });
        found
    }

    /// Such a client's request has shown that it is not silent any more, and so its tier.
    pub(crate) fn has_answered(&self, endpoint: &EndpointId, trust: Trust) {
        let is_its = |row: &ReputationRow| row.reason == SILENT && row.held.concerns(endpoint);
        self.lift(trust, is_its);
    }

    /// What was known of a blob or tag at an address is over: nobody else was left and it gives all the rest as well, or it answers
    /// otherwise.
    pub(crate) fn clear(&self, endpoint: &EndpointId, pulled: &Pulled) {
        self.lift(pulled.trust, |row| {
            let is_its = matches!(&row.scope, Scope::Image(of) if *of == pulled.image);
            is_its && row.held.concerns(endpoint)
        });
    }

    fn lift(&self, trust: Trust, fits: impl Fn(&ReputationRow) -> bool) {
        if self.0.is_empty() {
            return;
        }
        self.0.change(|map| {
            for ((_, taught_by), rows) in map.iter_mut() {
                if trust == Trust::Trusted || *taught_by == trust {
                    rows.retain(|row| !fits(row));
                }
            }
            map.retain(|_, rows| !rows.is_empty());
        });
    }

    /// Forgets what has ended.
    pub(crate) fn sweep(&self, now: Instant) {
        if !self.0.is_empty() {
            self.0.change(|map| {
                map.retain(|_, rows| rows.iter().any(|row| now < row.until));
            });
        }
    }

    /// All rows: those that count for most requests in front, of each kind what ends first.
    #[must_use]
    pub fn rows(&self, now: Instant) -> Vec<ReputationRow> {
        let mut all: Vec<ReputationRow> = self.0.read(|map| {
            let rows = map.iter().flat_map(|(_, rows, _)| rows);
            rows.filter(|row| now < row.until).cloned().collect()
        });
        all.sort_by_cached_key(|row| {
            let (registry, _, reference) = row.scope.names();
            (reference.is_some(), registry.is_some(), row.until)
        });
        all
    }
}

impl Default for Reputation {
    fn default() -> Self {
        // Each row has an end of its own.
        Self(SharedTtlMap::new(Bounds::entries(Duration::MAX, SCOPES)))
    }
}
