//! The agent taken out of the node's files when it has stopped for good (design F3): by the marks in the files, and by the
//! ledger where it can be used. Needs no configuration, no secret and no network: what keeps an agent from starting must
//! not keep it in the files.

use super::execute::{carry_out_all, execute};
use super::pass::sweep;
use super::search::besides;
use super::{Disk, Places, Plan, Released, Step, text_of};
use crate::node::hosts_toml;
use crate::node::ledger::{Kind, Ledger, Store};
use crate::node::write::Standing;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Takes the agent out of every file that the ledger names, and of those in `places` that carry our marks. What may stand
/// there without it stays: tiers, the registry, and nobody where the agent was the last resort. A ledger that cannot be
/// read, written, or locked within `wait` keeps the agent in no file. Blocks.
#[must_use]
pub fn hand_over(store: &Store, places: &Places, wait: Duration) -> Released {
    let (_lock, mut without_ledger) = match store.lock(wait) {
        Ok(lock) => (Some(lock), None),
        Err(error) => (None, Some(error)),
    };
    let mut ledger = store.load().unwrap_or_else(|error| {
        without_ledger = Some(error);
        Ledger::default()
    });
    let look = |ledger: &mut Ledger| {
        let marked = places.marked(ledger);
        let mut kinds = besides(ledger.files.keys(), marked);
        let known = ledger.files.iter();
        kinds.extend(known.map(|(path, entry)| (path.clone(), entry.kind)));
        let disk = super::look(&kinds.keys().cloned().collect(), store, ledger);
        (plan(&kinds, ledger, &disk), kinds)
    };
    let (mut plan, kinds) = look(&mut ledger);
    sweep(kinds.keys());
    // Files that the ledger does not know are no business of it: it may be another one than they were written with.
    let (recorded, found): (Vec<Step>, Vec<Step>) = std::mem::take(&mut plan.steps)
        .into_iter()
        .partition(|step| without_ledger.is_none() && ledger.files.contains_key(&step.path));
    let recorded = Plan {
        steps: recorded,
        ..Plan::default()
    };
    let found = Plan {
        steps: found,
        ..Plan::default()
    };
    let mut done = match recorded.is_empty() {
        true => Vec::new(),
        false => execute(store, &mut ledger, &recorded).unwrap_or_else(|error| {
            without_ledger = Some(error);
            carry_out_all(&ledger, &recorded)
        }),
    };
    done.extend(carry_out_all(&ledger, &found));
    plan.steps = [recorded.steps, found.steps].concat();
    let marked = look(&mut ledger).0.steps.into_iter().map(|step| step.path);
    Released {
        marked: marked.collect(),
        plan,
        done,
        without_ledger,
    }
}

/// What must be done so that no file names the agent. Pure.
fn plan(kinds: &BTreeMap<PathBuf, Kind>, ledger: &Ledger, disk: &Disk) -> Plan {
    let mut plan = Plan::default();
    for (path, kind) in kinds {
        match step(path, *kind, ledger, disk) {
            Ok(step) => plan.steps.extend(step.filter(|step| step.old != step.new)),
            Err(why) => plan.leave(path, why),
        }
    }
    plan
}

fn step(path: &Path, kind: Kind, ledger: &Ledger, disk: &Disk) -> Result<Option<Step>, String> {
    if kind == Kind::Ca {
        // A tier that stays may need it.
        return Ok(None);
    }
    let (old, base) = disk.current_and_base(path, kind, ledger.files.get(path))?;
    let (Some(file), Some(text)) = (&old, text_of(&old)) else {
        return Ok(None);
    };
    let new = match kind {
        Kind::Hosts => {
            let text = hosts_toml::hand_over(&text, ledger.agent.as_deref());
            let text = text.map_err(|refused| refused.to_string())?;
            Some(Standing {
                bytes: text.into_bytes(),
                ..file.clone()
            })
        }
        // What is ours in it is the agent.
        _ => base.clone(),
    };
    Ok(Some(Step {
        path: path.to_owned(),
        kind,
        old,
        new,
        base,
        makes_directory: false,
        reasons: vec!["the agent has stopped for good".to_owned()],
    }))
}
