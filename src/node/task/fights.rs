//! When somebody else keeps writing what we write, we give way (design F7). Pure.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Rewrites by others count this long, and a file is left alone for as long.
const WINDOW: Duration = Duration::from_secs(600);
/// So many are repaired.
const REPAIRED: usize = 3;

/// Rewrites of our files by others.
#[derive(Clone, Debug, Default)]
pub(super) struct Fights {
    rewrites: BTreeMap<PathBuf, VecDeque<Instant>>,
    given_up: BTreeMap<PathBuf, Instant>,
}

/// What to do about a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Put ours back.
    Repair,
    /// Leave it for a while: this is news.
    GiveUp,
}

// === impl Fights ===

impl Fights {
    /// Somebody has rewritten the file.
    pub(super) fn rewritten(&mut self, path: &Path, now: Instant) -> Verdict {
        let rewrites = self.rewrites.entry(path.to_owned()).or_default();
        rewrites.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        rewrites.push_back(now);
        if rewrites.len() <= REPAIRED {
            return Verdict::Repair;
        }
        self.rewrites.remove(path);
        self.given_up.insert(path.to_owned(), now + WINDOW);
        Verdict::GiveUp
    }

    /// Whether the file is left alone now.
    pub(super) fn is_given_up(&mut self, path: &Path, now: Instant) -> bool {
        self.given_up.retain(|_, until| *until > now);
        self.given_up.contains_key(path)
    }

    /// When a file is tried again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.given_up.values().min().copied()
    }

    /// The file stands as it should again.
    pub(super) fn forget_one(&mut self, path: &Path) {
        self.rewrites.remove(path);
        self.given_up.remove(path);
    }

    /// A person has said what shall be: all is forgiven.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_rewrite_within_ten_minutes_is_one_too_many() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let mut fights = Fights::default();
        for second in [0, 100, 200] {
            assert_eq!(fights.rewritten(a, after(second)), Verdict::Repair);
        }
        // The first one is forgotten by now.
        assert_eq!(fights.rewritten(a, after(601)), Verdict::Repair);
        assert_eq!(fights.rewritten(b, after(602)), Verdict::Repair);
        assert!(!fights.is_given_up(a, after(602)));
        assert_eq!(fights.rewritten(a, after(650)), Verdict::GiveUp);
        assert!(fights.is_given_up(a, after(651)) && !fights.is_given_up(b, after(651)));
        assert_eq!(fights.wakes(), Some(after(1250)));
        assert!(!fights.is_given_up(a, after(1250)));
        assert_eq!(fights.rewritten(a, after(1251)), Verdict::Repair);
        for second in [1252, 1253, 1254] {
            fights.rewritten(a, after(second));
        }
        fights.forget();
        assert!(!fights.is_given_up(a, after(1255)));
    }
}
