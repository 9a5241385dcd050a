//! What has to go: pure.

use crate::cache::Trust;
use crate::config;
use std::path::PathBuf;
use std::time::SystemTime;

/// What untrusted clients' pulls left takes at most this part of the room: one in four.
const UNTRUSTED_PART: u64 = 4;

/// Where something has to go, so much more room is made, one in eight, so that not every write has to look again.
const SPARE_PART: u64 = 8;

/// A file of a kept manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) trust: Trust,
    /// When a source last gave it.
    pub(super) at: SystemTime,
    /// What it takes of the disk.
    pub(super) bytes: u64,
    pub(super) file: PathBuf,
}

/// How many bytes may be written before it is looked again what has to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Free {
    /// Bytes for manifests of everybody's pulls.
    pub(super) all: u64,
    /// Of them, of untrusted clients' pulls.
    pub(super) untrusted: u64,
}

// === impl Free ===

impl Free {
    /// After so many were written; `None`: there may be too much.
    pub(super) fn after(self, trust: Trust, written: u64) -> Option<Self> {
        let untrusted = match trust {
            Trust::Trusted => self.untrusted,
            Trust::Untrusted => self.untrusted.checked_sub(written)?,
        };
        let all = self.all.checked_sub(written)?;
        Some(Self { all, untrusted })
    }
}

/// The files to delete, and what may be written then. `fixed`: what the directories above all take. Whatever is too old goes; then the oldest of untrusted
/// clients' pulls until those fit their part; then theirs, and last the oldest of trusted clients', until all fits.
pub(super) fn evicted(
    all: Vec<Stored>,
    fixed: u64,
    limits: config::Stale,
    now: SystemTime,
) -> (Vec<PathBuf>, Free) {
    let is_too_old = |stored: &Stored| {
        let age = now.duration_since(stored.at);
        age.is_ok_and(|age| age > limits.max_age)
    };
    let is_trusted = |stored: &Stored| stored.trust == Trust::Trusted;
    let order = |stored: &Stored| (is_trusted(stored), stored.at, stored.file.clone());
    let (old, mut young): (Vec<_>, Vec<_>) = all.into_iter().partition(is_too_old);
    young.sort_by_cached_key(order);
    let (mut taken, mut of_untrusted) = (fixed, 0_u64);
    for stored in &young {
        taken = taken.saturating_add(stored.bytes);
        if !is_trusted(stored) {
            of_untrusted = of_untrusted.saturating_add(stored.bytes);
        }
    }
    let (most, most_of_untrusted) = (limits.max_bytes, limits.max_bytes / UNTRUSTED_PART);
    let room = |most: u64| most.saturating_sub(most / SPARE_PART);
    let is_too_much = taken > most || of_untrusted > most_of_untrusted;
    // Untrusted clients' come first, each from its oldest on.
    young.retain(|stored| {
        let is_over_its_part = !is_trusted(stored) && of_untrusted > room(most_of_untrusted);
        let goes = is_too_much && (taken > room(most) || is_over_its_part);
        if goes {
            taken = taken.saturating_sub(stored.bytes);
            if !is_trusted(stored) {
                of_untrusted = of_untrusted.saturating_sub(stored.bytes);
            }
        }
        goes
    });
    let free = Free {
        all: most.saturating_sub(taken),
        untrusted: most_of_untrusted.saturating_sub(of_untrusted),
    };
    let gone = old.into_iter().chain(young);
    (gone.map(|stored| stored.file).collect(), free)
}
