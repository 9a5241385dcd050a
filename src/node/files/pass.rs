//! One look at the node with everything that follows from it: lock, ledger, detection, plan, execution. The daemon
//! and the commands do the same.

use super::{Done, Outcome, Plan, Planning, Step, execute, look, starts};
use crate::config::Config;
use crate::node::detect::{Detected, Machine, detect, gather};
use crate::node::ledger::{self, Entry, Kind, Ledger, Store};
use crate::node::privileged::Unprivileged;
use crate::node::write;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a pass is told.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The machine that is looked at.
    pub machine: &'a Machine,
    /// Where the ledger is.
    pub store: &'a Store,
    /// The configuration in force.
    pub config: &'a Config,
    /// Where the agent is, as containerd is told.
    pub agent: Option<&'a str>,
    /// Its own port answers with our header.
    pub agent_alive: bool,
    /// Which tiers are healthy.
    pub tiers: &'a Tiers,
    /// What runs here, if it was found out a moment ago.
    pub detected: Option<&'a Detected>,
}

/// Which of the tiers that may stand in a file are healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers {
    /// Every current address of these is.
    pub whole: BTreeSet<Arc<str>>,
    /// Nothing is known of these now: what the daemon knew last holds.
    pub unknown: BTreeSet<Arc<str>>,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Passed {
    /// The runtime, as this pass found it.
    pub detected: Detected,
    /// `restore` was run, and no `apply` since: nothing was done.
    pub released: bool,
    /// Every user may bind the agent's port: unless that is allowed, it stands in no file.
    pub(crate) unprivileged: Option<Unprivileged>,
    /// What was to be done.
    pub plan: Plan,
    /// What became of each step, in the plan's order.
    pub done: Vec<Done>,
    /// Files that carry our part now.
    pub managed: Vec<PathBuf>,
}

/// What would be done. Takes no lock and writes nothing.
/// Fails where the ledger cannot be read.
pub(crate) fn preview(pass: &Pass<'_>) -> Result<Passed, ledger::Error> {
    let mut ledger = pass.store.load()?;
    let detected = pass.detect(&ledger);
    let plan = pass.plan(&detected, &mut ledger, &mut Everything);
    Ok(pass.passed(detected, &ledger, plan, Vec::new()))
}

/// What a caller wants to know or to say while a pass runs.
pub trait Hooks {
    /// These places will be read next: a change of one is a reason to look again.
    fn before_reading(&mut self, _places: BTreeSet<PathBuf>) {}
    /// This would be done: steps may be taken out.
    fn choose(&mut self, _detected: &Detected, _plan: &mut Plan) {}
}

/// A command's: everything is done.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl Hooks for Everything {}

/// Does what is to be done, as far as `hooks` choose. With `claim` the node is ours again after a `restore`. Waits
/// for the lock at most `wait`. Blocks.
///
/// # Errors
/// [`ledger::Error`]: the lock or the ledger cannot be had. No file was touched.
pub fn run(
    pass: &Pass<'_>,
    wait: Duration,
    claim: bool,
    hooks: &mut impl Hooks,
) -> Result<Passed, ledger::Error> {
    let _lock = pass.store.lock(wait)?;
    let mut ledger = pass.store.load()?;
    let before = ledger.clone();
    if claim {
        ledger.released = false;
    }
    // What a crash left of earlier writes.
    ledger.files.keys().for_each(|path| write::sweep(path));
    let detected = pass.detect(&ledger);
    let mut plan = pass.plan(&detected, &mut ledger, hooks);
    if ledger.released {
        plan = Plan::default();
    }
    hooks.choose(&detected, &mut plan);
    let done = if plan.is_empty() {
        if ledger != before {
            pass.store.save(&ledger)?;
        }
        Vec::new()
    } else {
        execute(pass.store, &mut ledger, &plan)?
    };
    Ok(pass.passed(detected, &ledger, plan, done))
}

// === impl Pass ===

impl Pass<'_> {
    fn detect(&self, ledger: &Ledger) -> Detected {
        if let Some(known) = self.detected {
            return known.clone();
        }
        let node = &self.config.node;
        let facts = gather(self.machine, node);
        detect(&facts, node, ledger.generation.as_ref())
    }

    fn plan(&self, detected: &Detected, ledger: &mut Ledger, hooks: &mut impl Hooks) -> Plan {
        let certs_d = starts::generated(detected);
        let is_start = certs_d.is_some_and(|certs_d| starts::take_in(ledger, &certs_d));
        let seen = detected.generation.as_ref();
        if let (Some(last), Some(seen)) = (&mut ledger.generation, seen)
            && last.is(seen)
        {
            last.registries.clone_from(&seen.registries);
        }
        let Tiers { whole, unknown } = self.tiers;
        ledger.tiers.retain(|tier| unknown.contains(tier));
        ledger.tiers.extend(whole.iter().cloned());
        let agent = self.agent.map(|agent| self.machine.named_in_files(agent));
        if let Some(agent) = &agent {
            ledger.agent = Some(agent.as_str().into());
        }
        let mut planning = Planning::new(self, detected, agent.as_deref());
        let desired = planning.desired(&ledger.tiers);
        let paths = planning.paths(&desired, ledger);
        hooks.before_reading(self.places(detected, &paths));
        planning.disk = look(&paths, ledger);
        planning.plan(&desired);
        let Planning { disk, mut plan, .. } = planning;
        plan.is_start = is_start;
        for (path, entry) in &mut ledger.files {
            let Ok((current, base)) = disk.current_and_base(path, entry.kind) else {
                continue;
            };
            let is_changed = !entry.is_ours(current.as_ref());
            if is_changed && plan.step(path).is_some() {
                plan.drifted.insert(path.clone());
            } else if is_changed && !plan.left.iter().any(|left| left.path == *path) {
                // It stands as it should, edits of others included: so we leave it.
                *entry = Entry::new(entry.kind, base.as_ref(), &[&current]);
            }
        }
        plan
    }

    /// What is read, with what tells of a runtime's flags and starts, and the directories of all that; and the one file of the
    /// state directory that `apply` and `restore` write.
    fn places(&self, detected: &Detected, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut places: BTreeSet<PathBuf> = paths | &detected.looked_at;
        if let Some(certs_d) = &detected.certs_d {
            places.insert(certs_d.with_file_name("config.toml"));
            places.insert(certs_d.clone());
        }
        let directories = places.iter().filter_map(|path| path.parent());
        let directories: BTreeSet<PathBuf> = directories.map(Path::to_owned).collect();
        places.extend(directories);
        places.insert(self.store.file());
        places
    }

    pub(super) fn unprivileged(&self) -> Option<Unprivileged> {
        Unprivileged::check(self.machine, self.config, self.agent?)
    }

    fn passed(&self, detected: Detected, ledger: &Ledger, plan: Plan, done: Vec<Done>) -> Passed {
        let files = ledger.files.iter();
        let own = files.filter(|(_, entry)| entry.kind != Kind::Ca);
        Passed {
            detected,
            released: ledger.released,
            unprivileged: self.unprivileged(),
            managed: own.map(|(path, _)| path.clone()).collect(),
            plan,
            done,
        }
    }
}

// === impl Passed ===

impl Passed {
    /// How many files were changed.
    #[must_use]
    pub fn changed(&self) -> usize {
        let written = |done: &&Done| matches!(done.outcome, Outcome::Written);
        self.done.iter().filter(written).count()
    }
}

// === impl Plan ===

impl Plan {
    /// The step that is about this file.
    pub(crate) fn step(&self, path: &Path) -> Option<&Step> {
        self.steps.iter().find(|step| step.path == path)
    }
}
