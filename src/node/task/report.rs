//! What passes came to, as status, events and metrics. Each trouble is said once, when it comes.

use super::Cause;
use super::memory::Memory;
use super::status::{FilesState, NodeFilesStatus, Trouble, TroubleKind};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::node::detect::{Detected, Found};
use crate::node::files::{Done, Outcome, Passed};
use crate::node::ledger;
use crate::printable::chain;
use crate::telemetry::{EventName, Journal, StateChange};
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
    said: Vec<StateChange>,
    runtime: &'static str,
}

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
            reason.push_str(&format!(
                ", and {} still lead to the agent: correct the configuration, or take its part out with harbor-pilot restore",
                named(left.iter())
            ));
        } else if past.is_some() {
            state = FilesState::Degraded;
            reason.push_str(", and no hosts.toml names the agent: no pull comes through it");
            let message =
                format!("{reason}; write manage = true under [node], or hosts.toml by hand");
            said.push(change(EventName::NodeDegraded, &reason, message));
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
        memory: &mut Memory,
        passed: Result<Passed, ledger::Error>,
    ) {
        let mut status = NodeFilesStatus::default();
        match passed {
            Ok(passed) => {
                self.runtime = passed.detected.runtime.word();
                self.count(&passed);
                self.say_written(cause, &passed);
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
            *shown = Arc::new(status);
            changed
        });
    }

    fn count(&self, passed: &Passed) {
        for done in &passed.done {
            let result = match done.outcome {
                Outcome::Written => "written",
                Outcome::Failed(_) => "failed",
                Outcome::Unchanged | Outcome::Superseded | Outcome::Waits => continue,
            };
            self.metrics.hosts_write(self.runtime, result);
        }
    }

    fn say_written(&self, cause: Cause, passed: &Passed) {
        let is_written = |done: &&Done| matches!(done.outcome, Outcome::Written);
        let mut written = passed.done.iter().filter(is_written).map(|done| &done.path);
        let shown = named(written.clone());
        let (reason, because) = match written.any(|path| passed.plan.drifted.contains(path)) {
            true => ("drift", "they had been changed by others"),
            false => cause.words(),
        };
        if !shown.is_empty() {
            let message = format!("wrote {shown}: {because}");
            let change = change(EventName::HostsRewritten, reason, message);
            self.journal.event(change);
        }
    }

    fn say_conflicts(&self, memory: &mut Memory) {
        for path in memory.new_conflicts.drain(..) {
            self.metrics.hosts_conflict();
            let who = memory.fights.given_up.get(&path);
            let who = who.map_or("", |(_, who)| who);
            let message = format!(
                "{} has been rewritten by others more than 3 times in 10 minutes; it is left alone for 10 minutes: {who}",
                path.display()
            );
            let change = change(EventName::HostsConflict, "rewritten by others", message);
            self.journal.event(change);
        }
    }

    /// Says what is news of it.
    fn say(&mut self, mut all: Vec<StateChange>, troubles: &[Trouble]) {
        all.extend(troubles.iter().filter_map(of_trouble));
        for news in all.iter().filter(|said| !self.said.contains(said)) {
            self.journal.event(news.clone());
        }
        self.said = all;
    }
}

fn change(event: EventName, reason: &str, message: String) -> StateChange {
    StateChange {
        event,
        tier: None,
        endpoint: None,
        reason: reason.to_owned(),
        message,
    }
}

fn named<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> String {
    let shown: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    match shown.split_at_checked(NAMED) {
        Some((some, rest)) if !rest.is_empty() => {
            format!("{} and {} more", some.join(", "), rest.len())
        }
        _ => shown.join(", "),
    }
}

/// The port, and why pulls go past the agent.
fn of_node(passed: &Passed) -> Vec<StateChange> {
    let port = passed.unprivileged.filter(|port| !port.allowed);
    let port = port.map(|port| {
        let reason = format!("net.ipv4.ip_unprivileged_port_start is {}", port.first);
        let message = format!("{port}; {}", port.instead());
        change(EventName::PortUnprivileged, &reason, message)
    });
    let findings = passed.detected.findings.iter();
    let findings = findings.filter(|one| one.degraded).map(|finding| {
        let message = format!("{}; {}", finding.what, finding.instead.replace('\n', " "));
        change(EventName::NodeDegraded, &finding.what, message)
    });
    port.into_iter().chain(findings).collect()
}

fn of_trouble(trouble: &Trouble) -> Option<StateChange> {
    let event = match trouble.kind {
        TroubleKind::NotWritable => EventName::FilesNotWritable,
        TroubleKind::Left | TroubleKind::Failed => EventName::HostsWriteFailed,
        TroubleKind::SecondAgent => EventName::SecondAgent,
        // Said when it came.
        TroubleKind::Conflict => return None,
    };
    let (path, why) = (trouble.path.display(), &trouble.why);
    let message = format!("{path} is left as it is: {why}");
    Some(change(event, why, message))
}

fn of_ledger(error: &ledger::Error) -> Trouble {
    let kind = match error {
        ledger::Error::Write(error) => TroubleKind::from_error(error),
        _ => TroubleKind::Failed,
    };
    Trouble::new(Path::new("ledger.json"), kind, chain(error))
}

fn troubles(passed: &Passed, memory: &Memory) -> Vec<Trouble> {
    let second = memory.second_to.iter().map(|certs_d| {
        let why = "another harbor-pilot keeps the files below it, so that this one writes none; stop one of the two";
        Trouble::new(certs_d, TroubleKind::SecondAgent, why.to_owned())
    });
    let left = passed.plan.left.iter().filter(|left| !left.waits);
    let left = left.map(|left| Trouble::new(&left.path, TroubleKind::Left, left.why.clone()));
    let failing: Vec<Trouble> = memory.failing.troubles().collect();
    let forbidden = memory.forbidden.iter().filter(|trouble| {
        let is_within = |one: &Trouble| one.path.parent() == Some(&trouble.path);
        !failing.iter().any(is_within)
    });
    let forbidden: Vec<Trouble> = forbidden.cloned().collect();
    let conflicts = memory.fights.given_up.iter().map(|(path, (_, who))| {
        let why = format!("others keep rewriting it: {who}");
        Trouble::new(path, TroubleKind::Conflict, why)
    });
    let before = second.chain(left).chain(failing).chain(forbidden);
    before.chain(conflicts).collect()
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
    let mut findings = passed.detected.findings.iter();
    if let Some(finding) = findings.find(|finding| finding.degraded) {
        return (FilesState::Degraded, finding.what.clone());
    }
    let said = |path: &Path, why: &str| format!("{}: {why}", path.display());
    if let Some(trouble) = troubles.first() {
        return (FilesState::Degraded, said(&trouble.path, &trouble.why));
    }
    match passed.plan.left.iter().find(|left| left.waits) {
        Some(left) => (FilesState::Waiting, said(&left.path, &left.why)),
        None => (FilesState::Current, String::new()),
    }
}

impl Cause {
    /// For `REASON`, and for people.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Started => ("started", "the agent has started"),
            Self::Configuration => ("configuration", "the configuration has changed"),
            Self::TierChanged => ("tier", "the tiers that may stand in them have changed"),
            Self::PortChanged { answers: true } => ("port", "the agent's port answers"),
            Self::PortChanged { answers: false } => ("port", "the agent's port does not answer"),
            Self::SomethingChanged => ("changed", "something around them has changed"),
            Self::Retry => ("retry", "it could not be done before"),
            Self::Routine => ("routine", "they were not as they should be"),
        }
    }
}
