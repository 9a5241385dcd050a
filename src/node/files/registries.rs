//! registries.yaml: stable content, without regard to health (design F2).

use super::look::standing;
use super::{Disk, Input, Plan, text_of};
use crate::node::desired::{self, DesiredHost, Situation};
use crate::node::ledger::Kind;
use crate::node::registries_yaml::{self, Edit, Edited, Scope};
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
        match put_in(text_of(&base), &stable, input) {
            Ok(None) => {}
            Ok(Some(edited)) => {
                let notes = edited.notes.into_iter();
                plan.notes.extend(notes.map(|note| (path.to_owned(), note)));
                // It may hold passwords: a new one is nobody else's.
                let like = current.as_ref().or(base.as_ref());
                new = Some(standing(edited.text.into_bytes(), like, like.is_none()));
            }
            Err(why) => plan.leave(path, why),
        }
    }
    let why = "so that the runtime's next start generates the same";
    plan.change(
        path,
        Kind::Registries,
        (current, new, base),
        vec![why.to_owned()],
    );
}

/// A text with our part in it; `None` where there is no file and none is needed.
fn put_in(
    base: Option<String>,
    desired: &[DesiredHost],
    input: &Input<'_>,
) -> Result<Option<Edited>, String> {
    let detected = input.detected;
    let all = detected.without_certs_d || detected.cleans_certs_d;
    if base.is_none() && !all {
        return Ok(None);
    }
    let wanted = Edit {
        desired,
        existing: input.config.node.existing,
        scope: if all { Scope::All } else { Scope::Listed },
        default_endpoint_disabled: detected.disable_default_endpoint,
    };
    let edited = registries_yaml::edit(&base.unwrap_or_default(), &wanted);
    edited.map(Some).map_err(|refused| refused.to_string())
}
