//! The commands about the node's files: `plan`, `apply`, `restore` and `handover` (README.md).
//!
//! They do what the daemon does, with the daemon's own functions, under the same lock; where the agent runs, its
//! admin endpoint says which tiers are healthy. `--json` prints one object. Fields may be added, never changed:
//!
//! | field | what |
//! |---|---|
//! | `changed` | files were changed (`plan`: would be) |
//! | `managed` | `[node] manage` is true and there is a tier |
//! | `released` | `restore` was run, and no `apply` since |
//! | `runtime`, `running`, `certs_d`, `registries_yaml`, `containerd_version` | what was found |
//! | `restart_pending` | null, or why the runtime's next start would bring something else |
//! | `files[]` | `path`, `kind` (hosts, registries, ca), `action` (create, change, remove), `result` (planned, written, failed, waits), `why`, `diff` (of `plan`) |
//! | `left[]` | `path`, `why`, `waits`: what cannot be done (now) |
//! | `notes[]`, `findings[]` | what a person should know; findings have `what`, `instead`, `degraded` |
//! | `unprivileged_port` | null, or why every user of the node may bind the agent's port |
//! | `agent_answers` | the agent's own port answers, so that it stands in the files |
//!
//! `plan --for` prints `path`, `text` and `notes`, for containerd `changed` as well.
//! `restore` and `handover` know nothing but the ledger and print `changed`, `files` and `left` only.

pub mod apply;
pub mod containerd;
pub mod give_way;
pub mod handover;
pub mod plan;
mod report;
pub mod restore;

use super::status;
use crate::admin::{State, Status};
use crate::config::Config;
use crate::doctor::port::who_listens;
use crate::node::detect::Machine;
use crate::node::files::{Pass, Tiers};
use crate::node::ledger::Store;
use crate::node::{answers, desired};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The daemon holds the lock for the time of a few writes.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The configuration and what the running agent says.
struct Node {
    config: Config,
    agent: Option<String>,
    agent_alive: bool,
    tiers: Tiers,
    store: Store,
}

// === impl Node ===

impl Node {
    /// Asks the agent, where one runs.
    ///
    /// # Errors
    /// [`io::Error`]: no runtime could be made.
    fn ask(config: Config) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let agent = desired::agent_url(&config.server);
        let (agent_alive, tiers) = runtime.block_on(async {
            let address = agent.as_deref().and_then(address);
            let alive = match address {
                Some(address) => {
                    answers(address).await && is_the_agents(address, &config.state_directory)
                }
                None => false,
            };
            let status = match config.server.admin.filter(|_| alive) {
                Some(admin) => status::fetch(admin).await.ok(),
                None => None,
            };
            (alive, tiers(&config, alive, status.as_ref()))
        });
        Ok(Self {
            store: Store::new(&config.state_directory),
            config,
            agent,
            agent_alive,
            tiers,
        })
    }

    fn is_managed(&self) -> bool {
        self.config.node.manage && !self.config.tiers.is_empty()
    }

    fn pass<'a>(&'a self, machine: &'a Machine) -> Pass<'a> {
        Pass {
            machine,
            store: &self.store,
            config: &self.config,
            agent: self.agent.as_deref(),
            agent_alive: self.agent_alive,
            tiers: &self.tiers,
            detected: None,
        }
    }
}

/// Whether whoever answers there may be the agent: a header can be sent by everybody, and of a port that every user may
/// bind (design S7) the kernel says whose it is. An agent without root's name owns its state directory.
fn is_the_agents(address: SocketAddr, state_directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let owner = std::fs::metadata(state_directory).map(|found| found.uid());
    who_listens(address)
        .is_none_or(|held| [0, own].contains(&held.uid) || owner.is_ok_and(|uid| uid == held.uid))
}

fn address(agent: &str) -> Option<SocketAddr> {
    agent.strip_prefix("http://")?.parse().ok()
}

/// Which tiers may stand in a file. A running agent that says nothing about them has said it in the ledger; of one
/// that does not run nothing is known, and a dead tier in a file is worse than none.
pub(super) fn tiers(config: &Config, alive: bool, status: Option<&Status>) -> Tiers {
    let in_file = config.tiers.iter().filter(|tier| tier.in_file);
    let in_file: BTreeSet<Arc<str>> = in_file.map(|tier| tier.name.clone()).collect();
    let Some(status) = status else {
        return Tiers {
            whole: BTreeSet::new(),
            unknown: if alive { in_file } else { BTreeSet::new() },
        };
    };
    let is_whole = |name: &Arc<str>| {
        let tier = status.tiers.iter().find(|tier| tier.name == **name);
        tier.is_some_and(|tier| {
            let mut endpoints = tier.endpoints.iter();
            let healthy = endpoints.all(|endpoint| endpoint.state == State::Healthy);
            tier.ready && healthy && !tier.endpoints.is_empty()
        })
    };
    Tiers {
        whole: in_file.into_iter().filter(is_whole).collect(),
        unknown: BTreeSet::new(),
    }
}

/// Why nothing is written.
fn not_managed(config: &Config) -> &'static str {
    if config.node.manage {
        "there is no [[tier]] in the configuration: no file is changed"
    } else {
        "[node] manage is not true: no file is changed; see docs/node-files.md"
    }
}

#[cfg(test)]
mod tests;
