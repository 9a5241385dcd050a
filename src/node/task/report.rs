//! What passes came to, as status, events and metrics. Each trouble is said once, when it comes.

use super::Cause;
use super::memory::Memory;
use super::status::{FilesState, NodeFilesStatus, Trouble, TroubleKind};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::node::detect::{Detected, Finding, Found};
use crate::node::files::{Outcome, Passed, chain};
use crate::node::ledger;
use crate::node::privileged::Unprivileged;
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
    /// What was said already.
    said: Vec<Trouble>,
    said_of_port: Option<Unprivileged>,
    /// Why pulls go past the agent, as it was said.
    said_of_runtime: Vec<Finding>,
    runtime: &'static str,
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
            said_of_port: None,
            said_of_runtime: Vec::new(),
            runtime: Found::None.word(),
        }
    }

    /// Nothing is done, by configuration.
    pub(super) fn not_managed(&mut self, config: &Config, left: Vec<PathBuf>) {
        self.said.clear();
        self.said_of_port = None;
        self.said_of_runtime.clear();
        let reason = if config.node.manage {
            "there is no tier"
        } else {
            "[node] manage is not true"
        };
        let reason = match left.as_slice() {
            [] => reason.to_owned(),
            some => {
                let some: Vec<&Path> = some.iter().map(PathBuf::as_path).collect();
                format!(
                    "{reason}, and {} still lead to the agent: correct the configuration, or take its part out with harbor-pilot restore",
                    named(&some)
                )
            }
        };
        self.publish(NodeFilesStatus {
            state: FilesState::NotManaged,
            reason,
            files: left,
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
                self.say_port(passed.unprivileged.filter(|port| !port.allowed));
                self.say_runtime(&passed.detected);
                status.troubles = troubles(&passed, memory);
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
            }
        }
        self.say_troubles(&status.troubles);
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
            let who = memory.given_up.get(&path).map_or("", String::as_str);
            let message = format!(
                "{} has been rewritten by others more than 3 times in 10 minutes; it is left alone for 10 minutes: {who}",
                path.display()
            );
            self.event(EventName::HostsConflict, "rewritten by others", message);
        }
    }

    fn say_port(&mut self, port: Option<Unprivileged>) {
        if let Some(port) = port.filter(|port| self.said_of_port != Some(*port)) {
            self.event(
                EventName::PortUnprivileged,
                &format!("net.ipv4.ip_unprivileged_port_start is {}", port.first),
                format!("{port}; {}", port.instead()),
            );
        }
        self.said_of_port = port;
    }

    fn say_runtime(&mut self, detected: &Detected) {
        let findings = detected.findings.iter();
        let degraded: Vec<Finding> = findings.filter(|one| one.degraded).cloned().collect();
        for finding in degraded
            .iter()
            .filter(|one| !self.said_of_runtime.contains(one))
        {
            self.event(
                EventName::NodeDegraded,
                &finding.what,
                format!("{}; {}", finding.what, finding.instead.replace('\n', " ")),
            );
        }
        self.said_of_runtime = degraded;
    }

    fn say_troubles(&mut self, troubles: &[Trouble]) {
        for trouble in troubles {
            if self.said.contains(trouble) {
                continue;
            }
            let event = match trouble.kind {
                TroubleKind::NotWritable => EventName::FilesNotWritable,
                TroubleKind::Left | TroubleKind::Failed => EventName::HostsWriteFailed,
                TroubleKind::SecondAgent => EventName::SecondAgent,
                // Said when it came.
                TroubleKind::Conflict => continue,
            };
            let message = format!(
                "{} is left as it is: {}",
                trouble.path.display(),
                trouble.why
            );
            self.event(event, &trouble.why, message);
        }
        self.said = troubles.to_vec();
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
    let conflicts = memory.given_up.iter().map(|(path, who)| Trouble {
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
