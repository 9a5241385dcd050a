//! What the task remembers from one pass to the next: how it left the files, and who has changed them since.

use super::Cause;
use super::claim::Claim;
use super::failing::Failing;
use super::fights::{Fights, Verdict};
use super::status::Trouble;
use super::writable;
use crate::node::detect::Detected;
use crate::node::files::{Outcome, Passed, Plan, Step};
use crate::node::hosts_toml;
use crate::node::ledger::{self, Kind, fingerprint};
use crate::node::write::Standing;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// What is remembered. Goes into a pass and comes back.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How a pass left each file.
    left: BTreeMap<PathBuf, Option<String>>,
    pub(super) fights: Fights,
    pub(super) failing: Failing,
    claim: Claim,
    /// The directory that another agent keeps: nothing is written while it does.
    pub(super) second_to: Option<PathBuf>,
    /// Directories of our files that forbid writing.
    pub(super) forbidden: Vec<Trouble>,
    /// When the last pass began, even one that came to nothing.
    pub(super) looked: Option<Instant>,
    /// Files that were given up by the last pass: news.
    pub(super) new_conflicts: Vec<PathBuf>,
    /// Files that others had changed and the last pass repaired.
    pub(super) drifted: Vec<PathBuf>,
}

/// The places whose change matters, what tells of a runtime's flags and starts included; and the one file of the state
/// directory that `apply` and `restore` write.
pub(super) fn places(
    detected: &Detected,
    paths: &BTreeSet<PathBuf>,
    state: &Path,
) -> BTreeSet<PathBuf> {
    let mut files: BTreeSet<PathBuf> = paths | &detected.looked_at;
    if let Some(certs_d) = &detected.certs_d {
        files.insert(certs_d.with_file_name("config.toml"));
        files.insert(certs_d.clone());
    }
    let directories = files.iter().filter_map(|path| path.parent());
    let directories: BTreeSet<PathBuf> = directories.map(Path::to_owned).collect();
    files.extend(directories);
    files.insert(state.join(ledger::NAME));
    files
}

// === impl Memory ===

impl Memory {
    /// Takes out of the plan what others keep rewriting.
    pub(super) fn admit(
        &mut self,
        detected: &Detected,
        plan: &mut Plan,
        cause: Cause,
        now: Instant,
    ) {
        self.new_conflicts.clear();
        self.drifted.clear();
        if cause == Cause::Configuration {
            self.fights.forget();
            self.failing.forget();
        }
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
        let is_start = plan.is_start;
        plan.steps.retain(|step| self.takes(step, is_start, now));
    }

    fn takes(&mut self, step: &Step, is_start: bool, now: Instant) -> bool {
        let is_given_up = self.fights.given_up().contains_key(&step.path);
        if is_given_up || self.failing.waits(step, now) {
            return false;
        }
        let left = self.left.get(&step.path);
        if left.is_none_or(|left| *left == fingerprint(step.old.as_ref())) {
            return true;
        }
        self.drifted.push(step.path.clone());
        if step.kind != Kind::Registries && (is_start || is_generated(step)) {
            return true;
        }
        let who = who(step.old.as_ref());
        let verdict = self.fights.rewritten(&step.path, who, now);
        if verdict == Verdict::GiveUp {
            self.new_conflicts.push(step.path.clone());
        }
        verdict == Verdict::Repair
    }

    /// Remembers how the pass left the files.
    pub(super) fn settle(&mut self, passed: &Passed, now: Instant) {
        self.failing.settle(&passed.plan.steps, &passed.done, now);
        for (step, done) in passed.plan.steps.iter().zip(&passed.done) {
            match done.outcome {
                Outcome::Written | Outcome::Unchanged if step.restores() => {
                    self.left.remove(&step.path);
                }
                Outcome::Written | Outcome::Unchanged => {
                    let now = fingerprint(step.new.as_ref());
                    self.left.insert(step.path.clone(), now);
                }
                // Not written by others again until it changes again.
                Outcome::Waits | Outcome::Failed(_) => {
                    let as_it_is = fingerprint(step.old.as_ref());
                    self.left.insert(step.path.clone(), as_it_is);
                }
                Outcome::Overtaken => {}
            }
        }
        // What stands as it should, the user's edits included, is how it was left.
        for (path, standing) in &passed.standing {
            self.left
                .insert(path.clone(), fingerprint(standing.as_ref()));
        }
        if passed.released {
            self.left.clear();
            self.let_go();
        }
    }

    /// The files are not ours to write: another agent may. Nothing is tried again.
    pub(super) fn let_go(&mut self) {
        self.claim.release();
        self.second_to = None;
        self.fights.forget();
        self.failing.forget();
        self.forbidden.clear();
    }

    /// When a file that was given up or could not be written is tried again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let wakes = [self.fights.wakes(), self.failing.wakes()];
        // What was due by then has had its pass.
        let wakes = wakes.into_iter().flatten();
        wakes.filter(|wake| Some(*wake) > self.looked).min()
    }
}

/// Whether the runtime wrote what stands there, at whatever time.
fn is_generated(step: &Step) -> bool {
    let file = step.old.as_ref();
    file.is_some_and(|file| hosts_toml::is_generated(&String::from_utf8_lossy(&file.bytes)))
}

/// Who wrote a file, as far as it shows.
fn who(file: Option<&Standing>) -> String {
    let Some(file) = file else {
        return "somebody removes it".to_owned();
    };
    let text = String::from_utf8_lossy(&file.bytes);
    let first: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect();
    format!("it belongs to uid {} and begins with {first:?}", file.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::files::Done;
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
            let mut node = Self {
                memory: Memory::default(),
                detected: Detected::nothing(),
                start: Instant::now(),
                is_start: false,
            };
            assert!(node.finds("theirs", 0, Cause::Started));
            node
        }

        /// Whether a file that reads so is repaired.
        fn finds(&mut self, old: &str, second: u64, cause: Cause) -> bool {
            let mut plan = plan(old);
            plan.is_start = std::mem::take(&mut self.is_start);
            let now = self.start + Duration::from_secs(second);
            self.memory.admit(&self.detected, &mut plan, cause, now);
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
                standing: Vec::new(),
                managed: Vec::new(),
            };
            self.memory.settle(&passed, now);
            !passed.done.is_empty()
        }
    }

    #[test]
    fn others_win_the_fourth_time_until_the_configuration_says_otherwise() {
        let mut node = Node::new();
        let cause = Cause::SomethingChanged;
        for second in [1, 2, 3] {
            assert!(node.finds("# Ansible", second, cause));
            assert_eq!(node.memory.drifted.len(), 1);
        }
        assert!(!node.finds("# Ansible", 4, cause));
        assert_eq!(node.memory.new_conflicts.len(), 1);
        let (_, who) = node.memory.fights.given_up().values().next().unwrap();
        assert_eq!(who, "it belongs to uid 7 and begins with \"# Ansible\"");
        assert!(!node.finds("# Ansible", 5, cause));
        assert!(node.memory.new_conflicts.is_empty());
        assert!(node.finds("# Ansible", 6, Cause::Configuration));
        assert!(node.memory.fights.given_up().is_empty());
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
        assert!(node.memory.fights.given_up().is_empty());
    }

    #[test]
    fn our_own_changes_are_no_drift() {
        let mut node = Node::new();
        for second in 1..20 {
            assert!(node.finds("ours", second, Cause::TierChanged));
            assert!(node.memory.drifted.is_empty());
        }
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
            let cause = Cause::SomethingChanged;
            node.memory
                .admit(&node.detected, &mut plan, cause, node.start);
            !plan.steps.is_empty()
        };
        // Nobody makes a file there, root included.
        assert!(!takes(Path::new("/proc/sys/fs")));
        assert!(takes(home.path()));
    }

    #[test]
    fn what_was_due_has_had_its_pass_and_files_that_are_let_go_are_not_tried() {
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
        memory.looked = Some(now);
        memory.let_go();
        assert_eq!(memory.wakes(), None);
    }
}
