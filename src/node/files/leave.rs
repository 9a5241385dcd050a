//! The way back: everything of ours taken out for good (`restore`), or the agent alone when it has stopped for good
//! (`handover`, design F3). By the ledger, and by the marks in the files where it does not know them or cannot be used.
//! Needs no configuration, no secret, no network and no daemon: what keeps an agent from starting must not keep it in the
//! files (design F5).

use super::execute::{Done, carry_out_all, execute};
use super::search::besides;
use super::{Disk, Places, Plan, Step, look, starts, text_of};
use crate::node::hosts_toml;
use crate::node::ledger::{self, Kind, Ledger, Lock, Store};
use crate::node::write::{self, Standing};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a restore or a handover came to.
#[derive(Debug)]
pub struct Released {
    /// What was to be done.
    pub plan: Plan,
    /// What became of each step, in the plan's order.
    pub done: Vec<Done>,
    /// Files that carry our marks, or after a handover the agent, all the same.
    pub marked: Vec<PathBuf>,
    /// The ledger could not be used: what it kept of the files is not back, and it does not say that the node is
    /// released.
    pub without_ledger: Option<ledger::Error>,
}

/// Takes everything of ours out, by the ledger and wherever in `places` our marks are found, and marks the node released
/// (design F0). A ledger that cannot be read or written keeps no mark from being taken out. Blocks.
///
/// # Errors
/// [`ledger::Error::Locked`]: somebody else keeps the lock for longer than `wait`. No file was touched.
pub fn release(store: &Store, places: &Places, wait: Duration) -> Result<Released, ledger::Error> {
    let mut leaving = Leaving::new(store, places, wait);
    if let Some(locked @ ledger::Error::Locked(_)) = leaving.without_ledger {
        return Err(locked);
    }
    for certs_d in &places.certs_d {
        starts::take_in(&mut leaving.ledger, certs_d);
    }
    leaving.ledger.released = true;
    Ok(leaving.carry_out(|path, kind, disk| {
        let why = match disk.ledger.files.get(path) {
            Some(_) => "our part is taken out",
            None => "our marks are in it",
        };
        taken_out(path, kind, disk, why).map(Some)
    }))
}

/// Takes the agent out of every file that the ledger names, and of those in `places` that carry our marks. What may stand
/// there without it stays: tiers, the registry, and nobody where the agent was the last resort. A ledger that cannot be
/// read, written, or locked within `wait` keeps the agent in no file. Blocks.
#[must_use]
pub fn hand_over(store: &Store, places: &Places, wait: Duration) -> Released {
    Leaving::new(store, places, wait).carry_out(handed_over)
}

/// One file as it would be without us. Pure.
/// The error says why that cannot be said.
pub(super) fn taken_out(path: &Path, kind: Kind, disk: &Disk, why: &str) -> Result<Step, String> {
    let (old, base) = match (kind, disk.ledger.files.get(path)) {
        // Beside a file with our marks.
        (Kind::Ca, None) => (disk.current(path)?, None),
        _ => disk.current_and_base(path, kind)?,
    };
    // Also where both are the same: the ledger forgets the file.
    Ok(Step {
        path: path.to_owned(),
        kind,
        old,
        new: base.clone(),
        base,
        reasons: vec![why.to_owned()],
    })
}

/// One file without the agent. Pure.
fn handed_over(path: &Path, kind: Kind, disk: &Disk) -> Result<Option<Step>, String> {
    let why = "the agent has stopped for good";
    if kind == Kind::Ca {
        // A tier that stays may need it.
        return Ok(None);
    }
    // What is ours in a registries.yaml is the agent.
    let mut step = taken_out(path, kind, disk, why)?;
    if let (Kind::Hosts, Some(file), Some(text)) = (kind, &step.old, text_of(&step.old)) {
        let text = hosts_toml::hand_over(&text, disk.ledger.agent.as_deref());
        let text = text.map_err(|refused| refused.to_string())?;
        step.new = Some(Standing {
            bytes: text.into_bytes(),
            ..file.clone()
        });
    }
    Ok(Some(step).filter(|step| step.old != step.new))
}

/// The ledger and the places of one command.
struct Leaving<'a> {
    store: &'a Store,
    places: &'a Places,
    _lock: Option<Lock>,
    ledger: Ledger,
    without_ledger: Option<ledger::Error>,
}

// === impl Leaving ===

impl<'a> Leaving<'a> {
    fn new(store: &'a Store, places: &'a Places, wait: Duration) -> Self {
        let (lock, mut without_ledger) = match store.lock(wait) {
            Ok(lock) => (Some(lock), None),
            Err(error) => (None, Some(error)),
        };
        let ledger = store.load().unwrap_or_else(|error| {
            without_ledger.get_or_insert(error);
            Ledger::default()
        });
        Self {
            store,
            places,
            _lock: lock,
            ledger,
            without_ledger,
        }
    }

    fn carry_out(
        mut self,
        step: impl Fn(&Path, Kind, &Disk) -> Result<Option<Step>, String>,
    ) -> Released {
        let plan = self.plan(&step);
        let recorded = match &self.without_ledger {
            None => execute(self.store, &mut self.ledger, &plan)
                .map_err(|error| self.without_ledger = Some(error)),
            Some(_) => Err(()),
        };
        let done = recorded.unwrap_or_else(|()| carry_out_all(&self.ledger, &plan));
        let rest = self.plan(&step);
        let steps = rest.steps.into_iter().filter(|step| step.old != step.new);
        let marked = steps.map(|step| step.path);
        Released {
            marked: marked
                .chain(rest.left.into_iter().map(|left| left.path))
                .collect(),
            plan,
            done,
            without_ledger: self.without_ledger,
        }
    }

    /// Of every file that the ledger knows, and of those that carry our marks.
    fn plan(&mut self, step: impl Fn(&Path, Kind, &Disk) -> Result<Option<Step>, String>) -> Plan {
        let marked = self.places.marked(&mut self.ledger);
        let mut kinds = besides(self.ledger.files.keys(), marked);
        // A directory that held nothing but a file of ours goes with it: an empty one would hide `_default`.
        let hosts = kinds.iter().filter(|(_, kind)| **kind == Kind::Hosts);
        let directories = hosts.filter_map(|(path, _)| Some(path.parent()?.to_owned()));
        self.ledger.directories.extend(directories);
        let known = self.ledger.files.iter();
        kinds.extend(known.map(|(path, entry)| (path.clone(), entry.kind)));
        kinds.keys().for_each(|path| write::sweep(path));
        let disk = look(&kinds.keys().cloned().collect(), &self.ledger);
        let mut plan = Plan::default();
        for (path, kind) in kinds {
            match step(&path, kind, &disk) {
                Ok(step) => plan.steps.extend(step),
                Err(why) => plan.leave(&path, why),
            }
        }
        plan.sort();
        plan
    }
}
