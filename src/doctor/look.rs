//! Gathers what the node's files say, with the daemon's own functions: what runs, what would be changed, what
//! containerd would read for each registry. Writes nothing.

use super::files::FilesFacts;
use crate::config::Config;
use crate::node::desired::{Situation, desired};
use crate::node::detect::{Machine, detect, gather};
use crate::node::files::{self, Pass, Tiers};
use crate::node::hosts_file::HostsFile;
use crate::node::ledger::Store;
use crate::node::registries_yaml;
use std::collections::BTreeSet;
use std::fs;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked<'a> {
    pub(super) machine: &'a Machine,
    pub(super) config: &'a Config,
    /// The agent's own port answers.
    pub(super) agent_alive: bool,
    pub(super) tiers: &'a Tiers,
}

/// Looks. Blocks on file I/O and on `containerd --version`.
pub(super) fn look(looked: Looked<'_>) -> FilesFacts {
    let Looked {
        machine,
        config,
        agent_alive,
        tiers,
    } = looked;
    let agent = files::agent_of(config);
    let store = Store::new(&config.state_directory);
    let pass = Pass {
        machine,
        store: &store,
        config,
        agent: agent.as_deref(),
        agent_alive,
        tiers,
        detected: None,
    };
    let mut facts = FilesFacts {
        manage: config.node.manage,
        has_tiers: !config.tiers.is_empty(),
        agent_url: agent.clone(),
        agent_alive,
        ..FilesFacts::default()
    };
    match files::preview(&pass) {
        Ok(passed) => {
            facts.unprivileged = passed.unprivileged;
            facts.detected = passed.detected;
            facts.released = passed.released;
            facts.changes = passed
                .plan
                .steps
                .iter()
                .map(|step| step.path.clone())
                .collect();
            facts.left = passed.plan.left;
        }
        Err(error) => {
            facts.ledger = Some(error.to_string());
            facts.detected = detect(&gather(machine, &config.node), &config.node, None);
        }
    }
    let none = BTreeSet::new();
    let situation = Situation {
        agent: agent.as_deref().unwrap_or_default(),
        agent_alive: true,
        whole_tiers: &none,
    };
    let wanted = desired(config, &situation);
    facts.closed = wanted
        .iter()
        .filter(|host| host.closed)
        .map(|host| host.registry.to_string())
        .collect();
    if let Some(certs_d) = facts
        .detected
        .certs_d
        .as_deref()
        .filter(|_| !facts.detected.without_certs_d)
    {
        let names = wanted.iter().map(|host| host.registry.as_str());
        facts.hosts = names.map(|name| HostsFile::find(certs_d, name)).collect();
    }
    facts.registries = facts.detected.registries_yaml.as_ref().and_then(|path| {
        let text = fs::read_to_string(path).ok()?;
        let read = registries_yaml::read(&text).map_err(|refused| refused.to_string());
        Some((path.clone(), read))
    });
    facts
}
