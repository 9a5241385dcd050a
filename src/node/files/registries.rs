//! registries.yaml: stable content, without regard to health (design F2).

use super::look::standing;
use super::{Planning, text_of};
use crate::node::desired::{self, Situation};
use crate::node::ledger::Kind;
use crate::node::registries_yaml::{self, Edit, Edited, Scope};
use std::collections::BTreeSet;
use std::path::Path;

impl Planning<'_> {
    /// Adds what the file needs.
    pub(super) fn registries(&mut self, path: &Path, agent: &str) {
        let (current, base) = match self.disk.current_and_base(path, Kind::Registries) {
            Ok(both) => both,
            Err(why) => return self.plan.leave(path, why),
        };
        let like = current.as_ref().or(base.as_ref());
        let mut new = base.clone();
        // Put in once the agent has answered, it stays until it stops for good: a restart changes nothing here.
        if (self.pass.agent_alive || current != base) && !self.is_out {
            match self.with_the_agent(text_of(&base), agent) {
                Ok(None) => {}
                Ok(Some(edited)) => {
                    let notes = edited.notes.into_iter();
                    let notes = notes.map(|note| (path.to_owned(), note));
                    self.plan.notes.extend(notes);
                    // It may hold passwords: a new one is nobody else's.
                    new = Some(standing(edited.text.into_bytes(), like, like.is_none()));
                }
                Err(why) => self.plan.leave(path, why),
            }
        }
        let why = "so that the runtime's next start generates the same";
        let three = (current, new, base);
        self.plan
            .change(path, Kind::Registries, three, vec![why.to_owned()]);
    }

    /// A text with our part in it; `None` where there is no file and none is needed.
    fn with_the_agent(&self, base: Option<String>, agent: &str) -> Result<Option<Edited>, String> {
        let detected = self.detected;
        let all = detected.without_certs_d || detected.cleans_certs_d;
        if base.is_none() && !all {
            return Ok(None);
        }
        let situation = Situation {
            agent,
            agent_alive: true,
            whole_tiers: &BTreeSet::new(),
        };
        let wanted = Edit {
            desired: &desired::desired(self.pass.config, &situation),
            existing: self.pass.config.node.existing,
            scope: if all { Scope::All } else { Scope::Listed },
            default_endpoint_disabled: detected.disable_default_registry_endpoint,
        };
        let edited = registries_yaml::edit(&base.unwrap_or_default(), &wanted);
        edited.map(Some).map_err(|refused| refused.to_string())
    }
}
