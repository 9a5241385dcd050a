//! What has to go: pure.

use crate::cache::Trust;
use crate::config;
use std::path::PathBuf;
use std::time::SystemTime;

/// What untrusted clients' pulls left takes at most this part of the room: one in four.
const UNTRUSTED_PART: u64 = 4;

/// So much room is made beyond what is needed, one in eight, so that not every write has to look again.
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Of everybody's pulls, directories included.
    pub(super) all: u64,
    /// Of them, of untrusted clients' pulls.
    pub(super) untrusted: u64,
}

// === impl Taken ===

impl Taken {
    pub(super) fn add(&mut self, trust: Trust, bytes: u64) {
        self.all = self.all.saturating_add(bytes);
        if trust == Trust::Untrusted {
            self.untrusted = self.untrusted.saturating_add(bytes);
        }
    }

    fn without(&mut self, stored: &Stored) {
        self.all = self.all.saturating_sub(stored.bytes);
        if stored.trust == Trust::Untrusted {
            self.untrusted = self.untrusted.saturating_sub(stored.bytes);
        }
    }

    /// Whether it is no more than it may be.
    pub(super) fn fits(self, max_bytes: u64) -> bool {
        self.all <= max_bytes && self.untrusted <= max_bytes / UNTRUSTED_PART
    }
}

/// The files to delete and what stays. `fixed`: what the directories above all take. Whatever is too old goes; then the oldest
/// of untrusted clients' pulls until those fit their part; then theirs, and last the oldest of trusted clients', until all fits.
pub(super) fn evicted(
    all: Vec<Stored>,
    fixed: u64,
    limits: config::Stale,
    now: SystemTime,
) -> (Vec<PathBuf>, Taken) {
    let is_too_old = |stored: &Stored| {
        let age = now.duration_since(stored.at);
        age.is_ok_and(|age| age > limits.max_age)
    };
    let (old, mut young): (Vec<_>, Vec<_>) = all.into_iter().partition(is_too_old);
    let mut gone: Vec<PathBuf> = old.into_iter().map(|stored| stored.file).collect();
    let mut left = Taken {
        all: fixed,
        untrusted: 0,
    };
    for stored in &young {
        left.add(stored.trust, stored.bytes);
    }
    let most = most(limits.max_bytes, left.all);
    let most_untrusted = self::most(limits.max_bytes / UNTRUSTED_PART, left.untrusted);
    young.sort_by(|a, b| {
        let is_trusted = |stored: &Stored| stored.trust == Trust::Trusted;
        (is_trusted(a), a.at, &a.file).cmp(&(is_trusted(b), b.at, &b.file))
    });
    for stored in young {
        let is_untrusted = stored.trust == Trust::Untrusted;
        if left.all > most || (is_untrusted && left.untrusted > most_untrusted) {
            left.without(&stored);
            gone.push(stored.file);
        }
    }
    (gone, left)
}

/// What may stay under a limit: where it is exceeded, less than that.
fn most(limit: u64, taken: u64) -> u64 {
    if taken > limit {
        limit.saturating_sub(limit / SPARE_PART)
    } else {
        limit
    }
}
