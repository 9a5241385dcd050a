//! What passes came to, as status, events and metrics. Each trouble is said once, when it comes.

use super::Cause;
use super::memory::Memory;
use super::status::{FilesState, NodeFilesStatus, Trouble, TroubleKind};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::node::detect::{Detected, Found};
use crate::node::files::{Outcome, Passed, chain};
use crate::node::ledger;
use crate::telemetry::{EventName, Journal, StateChange};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Files that a message names; the others are counted.
const NAMED: usize = 5;

pub(super) struct Reporter {
    status: watch::Sender<Arc<NodeFilesStatus>>,
    journal: Journal,
    metrics: Arc<Metrics>,
    /// What was said already, and is still so.
    said: Vec<Said>,
    runtime: &'static str,
}

/// What is said once, when it comes.
#[derive(Clone, PartialEq, Eq)]
struct Said {
    event: EventName,
    reason: String,
    message: String,
}

/// Whether anything must be tried again, besides files that cannot be written ([`failing`](super::failing)).
pub(super) fn has_failed(passed: &Passed) -> bool {
    passed.done.iter().any(|done| match &done.outcome {
        Outcome::Overtaken => true,
        Outcome::Failed(error) => error.is_gone(),
        _ => false,
    })
}

// === impl Reporter ===

impl Reporter {
    pub(super) fn new(
        status: watch::Sender<Arc<NodeFilesStatus>>,
        journal: Journal,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            status,
            journal,
            metrics,
            said: Vec::new(),
            runtime: Found::None.word(),
        }
    }

    /// Nothing is done, by configuration. `past`: what runs here, if its pulls go past the agent.
    pub(super) fn not_managed(
        &mut self,
        config: &Config,
        left: Vec<PathBuf>,
        past: Option<Detected>,
    ) {
        let mut reason = match config.node.manage {
            true => "there is no tier",
            false => "[node] manage is not true",
        }
        .to_owned();
        let mut said = Vec::new();
        let mut state = FilesState::NotManaged;
        if !left.is_empty() {
            let some: Vec<&Path> = left.iter().map(PathBuf::as_path).collect();
            reason.push_str(&format!(
                ", and {} still lead to the agent: correct the configuration, or take its part out with harbor-pilot restore",
                named(&some)
            ));
        } else if past.is_some() {
            state = FilesState::Degraded;
            let so = ", and no hosts.toml names the agent: no pull comes through it";
            said.push(Said {
                event: EventName::NodeDegraded,
                reason: format!("{reason}{so}"),
                message: format!(
                    "{reason}{so}; write manage = true under [node], or hosts.toml by hand"
                ),
            });
            reason.push_str(so);
        }
        self.say(said, &[]);
        self.publish(NodeFilesStatus {
            state,
            reason,
            files: left,
            detected: past,
            ..NodeFilesStatus::default()
        });
    }

    /// A pass has ended.
    pub(super) fn passed(
        &mut self,
        cause: Cause,
        agent_answers: bool,
        tiers: &BTreeSet<Arc<str>>,
        memory: &mut Memory,
        passed: Result<Passed, ledger::Error>,
    ) {
        let whole_tiers = tiers.iter().map(ToString::to_string).collect();
        let mut status = NodeFilesStatus {
            agent_answers,
            whole_tiers,
            ..NodeFilesStatus::default()
        };
        match passed {
            Ok(passed) => {
                self.runtime = passed.detected.runtime.word();
                self.count(&passed);
                self.say_written(cause, memory, &passed);
                self.say_conflicts(memory);
                status.troubles = troubles(&passed, memory);
                self.say(of_node(&passed), &status.troubles);
                (status.state, status.reason) = state(&passed, &status.troubles);
                status.files = passed.managed;
                status.detected = Some(passed.detected);
            }
            Err(error) => {
                self.metrics.hosts_write(self.runtime, "failed");
                let old = self.status.borrow().clone();
                status.detected.clone_from(&old.detected);
                status.files.clone_from(&old.files);
                status.state = FilesState::Degraded;
                status.reason = chain(&error);
                status.troubles = vec![of_ledger(&error)];
                // Nobody has looked at the node.
                let of_node = [EventName::PortUnprivileged, EventName::NodeDegraded];
                let mut said = self.said.clone();
                said.retain(|said| of_node.contains(&said.event));
                self.say(said, &status.troubles);
            }
        }
        self.publish(status);
    }

    fn publish(&self, status: NodeFilesStatus) {
        self.status.send_if_modified(|shown| {
            let changed = **shown != status;
            if changed {
                *shown = Arc::new(status);
            }
            changed
        });
    }

    fn count(&self, passed: &Passed) {
        for done in &passed.done {
            let result = match done.outcome {
                Outcome::Written => "written",
                Outcome::Failed(_) => "failed",
                Outcome::Unchanged | Outcome::Overtaken | Outcome::Waits => continue,
            };
            self.metrics.hosts_write(self.runtime, result);
        }
    }

    fn say_written(&self, cause: Cause, memory: &Memory, passed: &Passed) {
        let written = passed
            .done
            .iter()
            .filter(|done| matches!(done.outcome, Outcome::Written));
        let written: Vec<&Path> = written.map(|done| &*done.path).collect();
        if written.is_empty() {
            return;
        }
        let drifted = written
            .iter()
            .any(|path| memory.drifted.iter().any(|drifted| drifted == path));
        let (reason, because) = if drifted {
            ("drift", "they had been changed by others")
        } else {
            cause.words()
        };
        self.event(
            EventName::HostsRewritten,
            reason,
            format!("wrote {}: {because}", named(&written)),
        );
    }

    fn say_conflicts(&self, memory: &mut Memory) {
        for path in memory.new_conflicts.drain(..) {
            self.metrics.hosts_conflict();
            let who = memory.fights.given_up().get(&path);
            let who = who.map_or("", |(_, who)| who);
            let message = format!(
                "{} has been rewritten by others more than 3 times in 10 minutes; it is left alone for 10 minutes: {who}",
                path.display()
            );
            self.event(EventName::HostsConflict, "rewritten by others", message);
        }
    }

    /// Says what is news of it.
    fn say(&mut self, mut all: Vec<Said>, troubles: &[Trouble]) {
        all.extend(troubles.iter().filter_map(of_trouble));
        for said in all.iter().filter(|said| !self.said.contains(said)) {
            self.event(said.event, &said.reason, said.message.clone());
        }
        self.said = all;
    }

    fn event(&self, event: EventName, reason: &str, message: String) {
        self.journal.event(StateChange {
            event,
            tier: None,
            endpoint: None,
            reason: reason.to_owned(),
            message,
        });
    }
}

fn named(paths: &[&Path]) -> String {
    let shown = paths
        .iter()
        .take(NAMED)
        .map(|path| path.display().to_string());
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED {
        text.push_str(&format!(" and {} more", paths.len() - NAMED));
    }
    text
}

/// The port, and why pulls go past the agent.
fn of_node(passed: &Passed) -> Vec<Said> {
    let port = passed.unprivileged.filter(|port| !port.allowed);
    let port = port.map(|port| Said {
        event: EventName::PortUnprivileged,
        reason: format!("net.ipv4.ip_unprivileged_port_start is {}", port.first),
        message: format!("{port}; {}", port.instead()),
    });
    let findings = passed.detected.findings.iter();
    let findings = findings.filter(|one| one.degraded).map(|finding| Said {
        event: EventName::NodeDegraded,
        reason: finding.what.clone(),
        message: format!("{}; {}", finding.what, finding.instead.replace('\n', " ")),
    });
    port.into_iter().chain(findings).collect()
}

fn of_trouble(trouble: &Trouble) -> Option<Said> {
    let event = match trouble.kind {
        TroubleKind::NotWritable => EventName::FilesNotWritable,
        TroubleKind::Left | TroubleKind::Failed => EventName::HostsWriteFailed,
        TroubleKind::SecondAgent => EventName::SecondAgent,
        // Said when it came.
        TroubleKind::Conflict => return None,
    };
    Some(Said {
        event,
        reason: trouble.why.clone(),
        message: format!(
            "{} is left as it is: {}",
            trouble.path.display(),
            trouble.why
        ),
    })
}

fn of_ledger(error: &ledger::Error) -> Trouble {
    let forbids = matches!(error, ledger::Error::Write(error) if error.forbids());
    Trouble {
        path: PathBuf::from("ledger.json"),
        kind: if forbids {
            TroubleKind::NotWritable
        } else {
            TroubleKind::Failed
        },
        why: chain(error),
    }
}

fn troubles(passed: &Passed, memory: &Memory) -> Vec<Trouble> {
    let left = passed.plan.left.iter().filter(|left| !left.waits);
    let left = left.map(|left| Trouble {
        path: left.path.clone(),
        kind: TroubleKind::Left,
        why: left.why.clone(),
    });
    let conflicts = memory.fights.given_up().iter();
    let conflicts = conflicts.map(|(path, (_, who))| Trouble {
        path: path.clone(),
        kind: TroubleKind::Conflict,
        why: format!("others keep rewriting it: {who}"),
    });
    let second = memory.second_to.iter().map(|certs_d| Trouble {
        path: certs_d.clone(),
        kind: TroubleKind::SecondAgent,
        why: "another harbor-pilot keeps the files below it, so that this one writes none; stop one of the two".to_owned(),
    });
    let failing: Vec<Trouble> = memory.failing.troubles().collect();
    let forbidden = memory.forbidden.iter().filter(|trouble| {
        let is_within = |one: &Trouble| one.path.parent() == Some(&trouble.path);
        !failing.iter().any(is_within)
    });
    let forbidden: Vec<Trouble> = forbidden.cloned().collect();
    second
        .chain(left)
        .chain(failing)
        .chain(forbidden)
        .chain(conflicts)
        .collect()
}

fn state(passed: &Passed, troubles: &[Trouble]) -> (FilesState, String) {
    if passed.released {
        let reason = "restore was run; harbor-pilot apply takes the files up again";
        return (FilesState::Released, reason.to_owned());
    }
    if let Some(port) = passed.unprivileged.filter(|port| !port.allowed) {
        return (FilesState::Degraded, format!("{port}; {}", port.instead()));
    }
    if passed.detected.runtime == Found::None {
        let reason = "no k3s, rke2 or containerd was found on this node";
        return (FilesState::Waiting, reason.to_owned());
    }
    if let Some(finding) = passed
        .detected
        .findings
        .iter()
        .find(|finding| finding.degraded)
    {
        return (FilesState::Degraded, finding.what.clone());
    }
    if let Some(trouble) = troubles.first() {
        let reason = format!("{}: {}", trouble.path.display(), trouble.why);
        return (FilesState::Degraded, reason);
    }
    match passed.plan.left.iter().find(|left| left.waits) {
        Some(left) => (
            FilesState::Waiting,
            format!("{}: {}", left.path.display(), left.why),
        ),
        None => (FilesState::Current, String::new()),
    }
}

// === impl Cause ===

impl Cause {
    /// For `REASON`, and for people.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Started => ("started", "the agent has started"),
            Self::Configuration => ("configuration", "the configuration has changed"),
            Self::TierChanged => ("tier", "a tier may stand in them now, or may no longer"),
            Self::PortChanged => (
                "port",
                "the agent's own port answers now, or no longer does",
            ),
            Self::SomethingChanged => ("changed", "something around them has changed"),
            Self::Retry => ("retry", "it could not be done before"),
            Self::Routine => ("routine", "they were not as they should be"),
        }
    }
}
