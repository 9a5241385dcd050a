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
    /// Until when, and who writes it.
    pub(super) given_up: BTreeMap<PathBuf, (Instant, String)>,
}

impl Fights {
    /// `who` has rewritten the file: whether ours is put back, else it is left alone for a while.
    pub(super) fn repairs(&mut self, path: &Path, who: String, now: Instant) -> bool {
        let rewrites = self.rewrites.entry(path.to_owned()).or_default();
        rewrites.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        rewrites.push_back(now);
        if rewrites.len() <= REPAIRED {
            return true;
        }
        self.rewrites.remove(path);
        self.given_up.insert(path.to_owned(), (now + WINDOW, who));
        false
    }

    /// Tries again what has been left alone long enough, and forgets what is no longer `wanted`: that stands as it should,
    /// whoever has seen to it.
    pub(super) fn keep(&mut self, wanted: impl Fn(&Path) -> bool, now: Instant) {
        self.given_up
            .retain(|path, (until, _)| *until > now && wanted(path));
    }

    /// When a file is tried again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.given_up.values().map(|(until, _)| *until).min()
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
        let rewritten = |fights: &mut Fights, path, second| {
            fights.repairs(path, "Ansible".to_owned(), after(second))
        };
        let is_given_up = |fights: &mut Fights, path: &Path, second| {
            fights.keep(|_| true, after(second));
            fights.given_up.contains_key(path)
        };
        for second in [0, 100, 200] {
            assert!(rewritten(&mut fights, a, second));
        }
        // The first one is forgotten by now.
        assert!(rewritten(&mut fights, a, 601));
        assert!(rewritten(&mut fights, b, 602));
        assert!(!is_given_up(&mut fights, a, 602));
        assert!(!rewritten(&mut fights, a, 650));
        assert!(is_given_up(&mut fights, a, 651) && !is_given_up(&mut fights, b, 651));
        assert_eq!(fights.wakes(), Some(after(1250)));
        assert!(!is_given_up(&mut fights, a, 1250));
        assert!(rewritten(&mut fights, a, 1251));
        for second in [1252, 1253, 1254] {
            rewritten(&mut fights, a, second);
        }
        let mut unwanted = fights.clone();
        assert!(is_given_up(&mut unwanted, a, 1255));
        unwanted.keep(|path| path != a, after(1255));
        assert!(!is_given_up(&mut unwanted, a, 1255));
    }
}
