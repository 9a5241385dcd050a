//! When the daemon cannot have its port because another program holds it: the agent leaves the node's files, since
//! containerd would ask that program (design F0). systemd starts the daemon again and in the end gives up; neither is
//! waited for.

use super::{LOCK_WAIT, Node};
use crate::config::Config;
use crate::node::detect::Machine;
use crate::node::files::{self, Everything, Passed};
use crate::node::ledger;
use std::io;

/// Why the agent could not be taken out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port could not be asked.
    #[error("starting the runtime")]
    Runtime(#[source] io::Error),
    /// The files could not be had.
    #[error("taking the agent out of the node's files; do it with: harbor-pilot handover")]
    Files(#[source] ledger::Error),
}

/// Takes the agent out of the files unless an agent answers on the port. What the daemon knew last of tiers holds.
/// `None`: it is not for us to change anything. Blocks, for two seconds where the port is silent.
///
/// # Errors
/// [`Error`]: the port could not be asked, or the lock or the ledger could not be had. No file was touched.
pub fn run(config: &Config, machine: &Machine) -> Result<Option<Passed>, Error> {
    let node = Node::ask(config.clone()).map_err(Error::Runtime)?;
    if !node.is_managed() || node.agent_alive {
        return Ok(None);
    }
    let names = config.tiers.iter().map(|tier| tier.name.clone());
    let tiers = files::Tiers {
        unknown: names.collect(),
        ..files::Tiers::default()
    };
    let pass = files::Pass {
        tiers: &tiers,
        ..node.pass(machine)
    };
    files::run(&pass, LOCK_WAIT, false, &mut Everything)
        .map(Some)
        .map_err(Error::Files)
}
