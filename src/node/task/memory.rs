//! What the task remembers from one pass to the next: how it left the files, and who has changed them since.

use super::Cause;
use super::claim::Claim;
use super::failing::Failing;
use super::fights::Fights;
use super::status::Trouble;
use super::watch::Watch;
use super::writable;
use crate::node::detect::Detected;
use crate::node::files::{Hooks, Passed, Plan, Step};
use crate::node::hosts_toml;
use crate::node::ledger::{self, Kind};
use crate::node::write::Standing;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// What is remembered. Goes into a pass and comes back.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What is looked at for changes.
    pub(super) watch: Watch,
    pub(super) fights: Fights,
    pub(super) failing: Failing,
    claim: Claim,
    /// The directory that another agent keeps: nothing is written while it does.
    pub(super) second_to: Option<PathBuf>,
    /// Directories of our files that forbid writing.
    pub(super) forbidden: Vec<Trouble>,
    /// When the last pass began, whatever it did.
    looked: Option<Instant>,
    /// Files that were given up by the last pass: news.
    pub(super) new_conflicts: Vec<PathBuf>,
}

impl Memory {
    /// A pass begins. A new configuration resets all counts.
    pub(super) fn begin(&mut self, cause: Cause, now: Instant) {
        self.looked = Some(now);
        self.new_conflicts.clear();
        if cause == Cause::Configuration {
            self.fights = Fights::default();
            self.failing = Failing::default();
        }
    }

    fn takes(&mut self, step: &Step, is_drift: bool, now: Instant) -> bool {
        let is_given_up = self.fights.given_up.contains_key(&step.path);
        if is_given_up || self.failing.waits(step, now) {
            return false;
        }
        let repairs = !is_drift || (self.fights).repairs(&step.path, who(step.old.as_ref()), now);
        if !repairs {
            self.new_conflicts.push(step.path.clone());
        }
        repairs
    }

    /// Remembers what the pass came to.
    pub(super) fn settle(&mut self, passed: Result<&Passed, &ledger::Error>, now: Instant) {
        let Ok(passed) = passed else {
            return self.failing.fail(Path::new(""), Vec::new(), now);
        };
        self.failing.settle(&passed.plan.steps, &passed.done, now);
        self.forbidden = writable::forbidden(&passed.managed);
        // The files are not ours to write: another agent may.
        if passed.released {
            *self = Self {
                watch: std::mem::take(&mut self.watch),
                looked: self.looked,
                ..Self::default()
            };
        }
    }

    /// When a file that was given up or could not be written is tried again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let wakes = [self.fights.wakes(), self.failing.wakes()];
        // What was due by then has had its pass.
        let wakes = wakes.into_iter().flatten();
        wakes.filter(|wake| Some(*wake) > self.looked).min()
    }
}

impl Hooks for Memory {
    fn before_reading(&mut self, places: BTreeSet<PathBuf>) {
        self.watch.follow(places);
    }

    /// Takes out of the plan what others keep rewriting.
    fn choose(&mut self, detected: &Detected, plan: &mut Plan) {
        let now = self.looked.unwrap_or_else(Instant::now);
        let certs_d = detected.certs_d.as_ref();
        self.second_to = certs_d
            .filter(|certs_d| !self.claim.is_ours(certs_d))
            .cloned();
        if self.second_to.is_some() {
            plan.steps.clear();
            plan.directories.clear();
        }
        for trouble in &self.forbidden {
            // What waits there is tried at once where that can be written again.
            if writable::why(&trouble.path).is_none() {
                self.failing.remove(&trouble.path);
            }
        }
        self.failing.keep(plan);
        self.fights.keep(|path| plan.step(path).is_some(), now);
        let Plan {
            steps,
            is_start,
            drifted,
            ..
        } = plan;
        steps.retain(|step| {
            let is_drift = drifted.contains(&step.path)
                && (step.kind == Kind::Registries || !(*is_start || is_generated(step)));
            self.takes(step, is_drift, now)
        });
    }
}

/// Whether the runtime wrote what stands there, at whatever time.
fn is_generated(step: &Step) -> bool {
    let file = step.old.as_ref();
    file.is_some_and(|file| hosts_toml::is_generated(&file.text()))
}

/// Who wrote a file, as far as it shows.
fn who(file: Option<&Standing>) -> String {
    let Some(file) = file else {
        return "somebody removes it".to_owned();
    };
    let text = file.text();
    let first = text.lines().next().unwrap_or_default();
    let first: String = first.chars().take(80).collect();
    format!("it belongs to uid {} and begins with {first:?}", file.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::files::{Done, Outcome};
    use crate::node::task::TroubleKind;
    use crate::node::write::Error;
    use std::time::Duration;

    fn standing(text: &str) -> Standing {
        Standing {
            bytes: text.as_bytes().to_vec(),
            mode: 0o644,
            uid: 7,
            gid: 7,
        }
    }

    fn plan(old: &str) -> Plan {
        Plan {
            steps: vec![Step {
                path: "/c/docker.io/hosts.toml".into(),
                kind: Kind::Hosts,
                old: Some(standing(old)),
                new: Some(standing("ours")),
                base: Some(standing("theirs")),
                reasons: Vec::new(),
            }],
            ..Plan::default()
        }
    }

    struct Node {
        memory: Memory,
        detected: Detected,
        start: Instant,
        is_start: bool,
    }

    impl Node {
        fn new() -> Self {
            Self {
                memory: Memory::default(),
                detected: Detected::default(),
                start: Instant::now(),
                is_start: false,
            }
        }

        /// Whether a file that reads so, and was left otherwise, is repaired.
        fn finds(&mut self, old: &str, second: u64, cause: Cause) -> bool {
            let mut plan = plan(old);
            plan.drifted
                .extend(plan.steps.iter().map(|step| step.path.clone()));
            plan.is_start = std::mem::take(&mut self.is_start);
            let now = self.start + Duration::from_secs(second);
            self.memory.begin(cause, now);
            self.memory.choose(&self.detected, &mut plan);
            let steps = plan.steps.iter();
            let done = steps.map(|step| Done {
                path: step.path.clone(),
                kind: step.kind,
                outcome: Outcome::Written,
            });
            let passed = Passed {
                detected: self.detected.clone(),
                released: false,
                unprivileged: None,
                done: done.collect(),
                plan,
                managed: Vec::new(),
            };
            self.memory.settle(Ok(&passed), now);
            !passed.done.is_empty()
        }
    }

    #[test]
    fn others_win_the_fourth_time_until_the_configuration_says_otherwise() {
        let mut node = Node::new();
        let cause = Cause::SomethingChanged;
        for second in [1, 2, 3] {
            assert!(node.finds("# Ansible", second, cause));
        }
        assert!(!node.finds("# Ansible", 4, cause));
        assert_eq!(node.memory.new_conflicts.len(), 1);
        let (_, who) = node.memory.fights.given_up.values().next().unwrap();
        assert_eq!(who, "it belongs to uid 7 and begins with \"# Ansible\"");
        assert!(!node.finds("# Ansible", 5, cause));
        assert!(node.memory.new_conflicts.is_empty());
        assert!(node.finds("# Ansible", 6, Cause::Configuration));
        assert!(node.memory.fights.given_up.is_empty());
    }

    #[test]
    fn the_runtimes_own_start_is_no_fight() {
        let mut node = Node::new();
        for second in 1..20 {
            assert!(node.finds(
                "# File generated by k3s. DO NOT EDIT.\n",
                second,
                Cause::SomethingChanged
            ));
        }
        for start in 1..20 {
            node.is_start = true;
            assert!(node.finds("something else", 20 + start, Cause::SomethingChanged));
        }
        assert!(node.memory.fights.given_up.is_empty());
    }

    #[test]
    fn a_file_that_waits_in_a_directory_is_tried_at_once_when_that_can_be_written_again() {
        let home = tempfile::tempdir().unwrap();
        let mut node = Node::new();
        let mut waiting = plan("theirs");
        waiting.steps[0].path = home.path().join("hosts.toml");
        let done = [Done {
            path: waiting.steps[0].path.clone(),
            kind: Kind::Hosts,
            outcome: Outcome::Failed(Error::NotWritable {
                path: waiting.steps[0].path.clone(),
                source: rustix::io::Errno::ROFS.into(),
            }),
        }];
        node.memory
            .failing
            .settle(&waiting.steps, &done, node.start);
        let mut takes = |forbidden: &Path| {
            node.memory.forbidden = vec![Trouble {
                path: forbidden.to_owned(),
                kind: TroubleKind::NotWritable,
                why: String::new(),
            }];
            let mut plan = Plan {
                steps: waiting.steps.clone(),
                ..Plan::default()
            };
            node.memory.begin(Cause::SomethingChanged, node.start);
            node.memory.choose(&node.detected, &mut plan);
            !plan.steps.is_empty()
        };
        // Nobody makes a file there, root included.
        assert!(!takes(Path::new("/proc/sys/fs")));
        assert!(takes(home.path()));
    }

    #[test]
    fn what_was_due_has_had_its_pass() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let steps = plan("theirs").steps;
        let done = [Done {
            path: steps[0].path.clone(),
            kind: steps[0].kind,
            outcome: Outcome::Failed(Error::NotWritable {
                path: steps[0].path.clone(),
                source: rustix::io::Errno::ROFS.into(),
            }),
        }];
        memory.failing.settle(&steps, &done, now);
        let due = memory.wakes();
        assert!(due.is_some());
        memory.looked = due;
        assert_eq!(memory.wakes(), None);
    }
}
