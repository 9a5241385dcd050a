//! The way back: by the ledger, and by the marks in the files where it does not know them or cannot be read. Needs no
//! configuration and no daemon (design F5).

use super::execute::{Done, carry_out_all, execute};
use super::pass::sweep;
use super::search::besides;
use super::{Disk, Places, Plan, Step, look, starts};
use crate::node::ledger::{self, Entry, Kind, Ledger, Store};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a restore or a handover came to.
#[derive(Debug)]
pub struct Released {
    /// What was to be done.
    pub plan: Plan,
    /// What was done.
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
/// Where somebody else keeps the lock; then no file was touched.
pub fn release(store: &Store, places: &Places, wait: Duration) -> Result<Released, ledger::Error> {
    let (_lock, loaded) = match store.lock(wait) {
        Err(locked @ ledger::Error::Locked(_)) => return Err(locked),
        Err(error) => (None, Err(error)),
        Ok(lock) => (Some(lock), store.load()),
    };
    let (mut ledger, mut without_ledger) = match loaded {
        Ok(ledger) => (ledger, None),
        Err(error) => (Ledger::default(), Some(error)),
    };
    for certs_d in &places.certs_d {
        starts::take_in(&mut ledger, certs_d);
    }
    let marked = places.marked(&mut ledger);
    let marked = besides(ledger.files.keys(), marked);
    let paths: BTreeSet<PathBuf> = ledger.files.keys().chain(marked.keys()).cloned().collect();
    sweep(paths.iter());
    ledger.released = true;
    let disk = look(&paths, store, &ledger);
    let mut plan = restore(&ledger, &disk);
    for (path, kind) in &marked {
        if !ledger.files.contains_key(path) {
            plan_marked(&mut plan, &disk, path, *kind);
        }
    }
    plan.sort();
    let recorded = match &without_ledger {
        None => execute(store, &mut ledger, &plan).map_err(|error| without_ledger = Some(error)),
        Some(_) => Err(()),
    };
    let done = recorded.unwrap_or_else(|()| carry_out_all(&ledger, &plan));
    Ok(Released {
        plan,
        done,
        marked: places.marked(&mut ledger).into_keys().collect(),
        without_ledger,
    })
}

/// A file that the ledger does not know. Where nothing but ours was in it, its directory goes as well: an empty one
/// would hide `_default`.
fn plan_marked(plan: &mut Plan, disk: &Disk, path: &Path, kind: Kind) {
    let both = match kind {
        Kind::Ca => disk.current(path).map(|current| (current, None)),
        Kind::Hosts | Kind::Registries => disk.current_and_base(path, kind, None),
    };
    match both {
        Ok((current, base)) => plan.steps.push(Step {
            path: path.to_owned(),
            kind,
            old: current,
            new: base.clone(),
            makes_directory: base.is_none() && kind == Kind::Hosts,
            base,
            reasons: vec!["our marks are in it".to_owned()],
        }),
        Err(why) => plan.leave(path, why),
    }
}

/// What must be done so that nothing of ours is left. Pure.
#[must_use]
pub fn restore(ledger: &Ledger, disk: &Disk) -> Plan {
    let mut plan = Plan::default();
    for (path, entry) in &ledger.files {
        plan_one(&mut plan, disk, path, entry, "our part is taken out");
    }
    plan.sort();
    plan
}

/// One file back to its base.
pub(super) fn plan_one(plan: &mut Plan, disk: &Disk, path: &Path, entry: &Entry, why: &str) {
    match disk.current_and_base(path, entry.kind, Some(entry)) {
        // Somebody else's certificate by now.
        Ok((current, base)) if entry.kind == Kind::Ca && current.is_some() && base == current => {}
        // Also where they are the same: the ledger forgets the file.
        Ok((current, base)) => plan.steps.push(Step {
            path: path.to_owned(),
            kind: entry.kind,
            old: current,
            new: base.clone(),
            base,
            makes_directory: false,
            reasons: vec![why.to_owned()],
        }),
        Err(why) => plan.leave(path, why),
    }
}
