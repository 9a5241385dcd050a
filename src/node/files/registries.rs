//! registries.yaml: stable content, without regard to health (design F2).

use super::look::standing;
use super::{Disk, Input, Plan, Step, edit, text_of};
use crate::node::desired::{self, Situation};
use crate::node::ledger::Kind;
use std::collections::BTreeSet;
use std::path::Path;

/// Adds to a plan what the file needs.
pub(super) fn plan(plan: &mut Plan, input: &Input<'_>, disk: &Disk, path: &Path) {
    let entry = input.ledger.files.get(path);
    let (current, base) = match disk.current_and_base(path, Kind::Registries, entry) {
        Ok(both) => both,
        Err(why) => return plan.leave(path, why),
    };
    // Put in once the agent has answered, it stays until it stops for good: a restart changes nothing here.
    let is_in = current != base;
    let none = BTreeSet::new();
    let situation = Situation {
        agent: input.agent.unwrap_or_default(),
        agent_alive: (input.agent_alive || is_in) && !input.is_out && input.agent.is_some(),
        whole_tiers: &none,
    };
    let mut new = base.clone();
    if situation.agent_alive {
        let stable = desired::desired(input.config, &situation);
        let text = text_of(&base);
        match edit::put_into_registries(text.as_deref(), &stable, input.config, input.detected) {
            Ok((text, notes)) => {
                let noted = notes.into_iter().map(|note| (path.to_owned(), note));
                plan.notes.extend(noted);
                // It may hold passwords: a new one is nobody else's.
                let like = current.as_ref().or(base.as_ref());
                new = match text {
                    Some(text) => Some(standing(text.into_bytes(), like, like.is_none())),
                    None => base.clone(),
                };
            }
            Err(why) => plan.leave(path, why),
        }
    }
    if new != current {
        plan.steps.push(Step {
            path: path.to_owned(),
            kind: Kind::Registries,
            old: current,
            new,
            base,
            makes_directory: false,
            reasons: vec!["so that the runtime's next start generates the same".to_owned()],
        });
    }
}
