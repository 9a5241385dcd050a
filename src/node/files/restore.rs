//! The way back, from the ledger alone: no configuration, no detection, no daemon (design F5).

use super::{Disk, Plan, Step, text_of};
use crate::node::hosts_toml;
use crate::node::ledger::{Entry, Kind, Ledger};
use crate::node::write::Standing;
use std::path::Path;

/// What must be done so that nothing of ours is left. Pure.
#[must_use]
pub fn restore(ledger: &Ledger, disk: &Disk) -> Plan {
    let mut plan = Plan::default();
    for (path, entry) in &ledger.files {
        plan_one(&mut plan, disk, path, entry, "our part is taken out");
    }
    if let Some(agent) = &ledger.agent {
        for step in plan
            .steps
            .iter_mut()
            .filter(|step| step.kind == Kind::Hosts)
        {
            take_out_generated(step, agent);
        }
    }
    plan.sort();
    plan
}

/// k3s generated the base while registries.yaml named the agent: its bytes would lead containerd to a closed port until
/// the next start of k3s, which makes the file anew anyway.
fn take_out_generated(step: &mut Step, agent: &str) {
    let Some(text) = text_of(&step.base).filter(|text| hosts_toml::is_generated(text)) else {
        return;
    };
    let without = hosts_toml::without_endpoint(&text, agent);
    if without != text {
        let rest = |base: &Standing| Standing {
            bytes: without.clone().into_bytes(),
            ..base.clone()
        };
        step.base = step.base.as_ref().map(rest);
        step.new.clone_from(&step.base);
        step.reasons.push("and what k3s had made of it".to_owned());
    }
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
