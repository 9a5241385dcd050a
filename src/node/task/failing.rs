//! Files that cannot be written are tried ever more rarely: whatever else happens around them, a directory whose last
//! write failed waits for its time. Pure.

use super::status::{Trouble, TroubleKind};
use crate::node::files::{Done, Outcome, Plan, Step};
use crate::printable::chain;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// After the first failure, doubling.
const FIRST: Duration = Duration::from_secs(1);
/// What was superseded, and what met a k3s that was still removing, must be there a second after it.
const FIRST_OF_OVERTAKEN: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);

/// How long what has failed waits.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    failures: u32,
    until: Instant,
}

// === impl Backoff ===

impl Backoff {
    /// After another failure: twice as long as `before`.
    fn after(before: Option<Self>, first: Duration, now: Instant) -> Self {
        let failures = before.map_or(0, |before| before.failures);
        let wait = first.saturating_mul(2_u32.saturating_pow(failures));
        Self {
            failures: failures.saturating_add(1),
            until: now + wait.min(LONGEST),
        }
    }
}

/// Directories in which a write has failed: a file and the certificate that it names wait for each other. Without a trouble
/// it was superseded, and is tried with every pass.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<PathBuf, (Backoff, Vec<Trouble>)>);

// === impl Failing ===

impl Failing {
    /// Forgets what is no longer wanted.
    pub(super) fn keep(&mut self, plan: &Plan) {
        let wanted: BTreeSet<&Path> = plan.steps.iter().map(directory).collect();
        self.0
            .retain(|directory, _| wanted.contains(directory.as_path()));
    }

    /// Whether it is too early to try the step again.
    pub(super) fn waits(&self, step: &Step, now: Instant) -> bool {
        self.0
            .get(directory(step))
            .is_some_and(|(backoff, troubles)| !troubles.is_empty() && now < backoff.until)
    }

    /// Takes in how the steps ended.
    pub(super) fn settle(&mut self, steps: &[Step], done: &[Done], now: Instant) {
        let mut failed: BTreeMap<&Path, (bool, Vec<Trouble>)> = BTreeMap::new();
        for (step, done) in steps.iter().zip(done) {
            let (is_superseded, troubles) = failed.entry(directory(step)).or_default();
            match &done.outcome {
                Outcome::Superseded => *is_superseded = true,
                Outcome::Failed(error) if error.is_gone() => *is_superseded = true,
                Outcome::Failed(error) => {
                    let kind = TroubleKind::from_error(error);
                    troubles.push(Trouble::new(&step.path, kind, chain(error)));
                }
                _ => {}
            }
        }
        for (directory, (is_superseded, troubles)) in failed {
            if is_superseded || !troubles.is_empty() {
                self.fail(directory, troubles, now);
            } else {
                self.0.remove(directory);
            }
        }
    }

    /// What is there is tried again later, the later the oftener that has failed.
    pub(super) fn fail(&mut self, directory: &Path, troubles: Vec<Trouble>, now: Instant) {
        let before = self.0.get(directory).map(|(backoff, _)| *backoff);
        let first = match troubles.is_empty() {
            true => FIRST_OF_OVERTAKEN,
            false => FIRST,
        };
        let backoff = Backoff::after(before, first, now);
        self.0.insert(directory.to_owned(), (backoff, troubles));
    }

    /// What is wrong with them.
    pub(super) fn troubles(&self) -> impl Iterator<Item = Trouble> {
        self.0.values().flat_map(|(_, troubles)| troubles.clone())
    }

    /// When one is tried again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.0.values().map(|(backoff, _)| backoff.until).min()
    }

    /// What waits in a directory need not wait any more.
    pub(super) fn remove(&mut self, directory: &Path) {
        self.0.remove(directory);
    }
}

fn directory(step: &Step) -> &Path {
    step.path.parent().unwrap_or(&step.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::ledger::Kind;
    use crate::node::write::Error;
    use std::io::ErrorKind;

    fn step() -> Step {
        Step {
            path: "/c/docker.io/hosts.toml".into(),
            kind: Kind::Hosts,
            old: None,
            new: None,
            base: None,
            reasons: Vec::new(),
        }
    }

    fn failed(kind: ErrorKind) -> Done {
        let path = step().path;
        let error = Error::System {
            doing: "cannot write",
            path: path.clone(),
            source: kind.into(),
        };
        Done {
            path,
            kind: Kind::Hosts,
            outcome: Outcome::Failed(error),
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_twenty_times_in_an_hour() {
        let start = Instant::now();
        let mut failing = Failing::default();
        let mut tries = Vec::new();
        // Something happens around it twenty times per second.
        for tick in 0..3600 * 20 {
            let now = start + Duration::from_millis(50 * tick);
            if !failing.waits(&step(), now) {
                tries.push(tick / 20);
                let done = failed(ErrorKind::Other);
                failing.settle(&[step()], &[done], now);
                assert_eq!(failing.troubles().count(), 1);
            }
        }
        assert!(tries.len() <= 20, "{tries:?}");
        assert_eq!(tries[..6], [0, 1, 3, 7, 15, 31]);
        let last = tries.last().unwrap();
        assert!(failing.wakes().unwrap() <= start + Duration::from_secs(last + 300));
    }

    #[test]
    fn what_is_written_or_no_longer_wanted_or_was_removed_meanwhile_does_not_wait() {
        let now = Instant::now();
        let mut failing = Failing::default();
        failing.settle(&[step()], &[failed(ErrorKind::NotFound)], now);
        assert!(!failing.waits(&step(), now));
        failing.settle(&[step()], &[failed(ErrorKind::Other)], now);
        assert!(failing.waits(&step(), now));
        let written = Done {
            outcome: Outcome::Written,
            ..failed(ErrorKind::Other)
        };
        failing.settle(&[step()], &[written], now);
        assert!(!failing.waits(&step(), now));
        failing.settle(&[step()], &[failed(ErrorKind::Other)], now);
        failing.keep(&Plan::default());
        assert!(!failing.waits(&step(), now) && failing.troubles().count() == 0);
    }
}
