//! The way back, from the ledger alone: no configuration, no detection, no daemon (design F5).

use super::{Disk, Plan, Step};
use crate::node::ledger::{Entry, Kind, Ledger};
use std::path::Path;

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
