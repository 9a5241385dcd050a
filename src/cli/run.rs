//! `harbor-pilot run`: sets up the log, loads the configuration, runs the daemon.

use super::{USAGE, explain, files, start};
use crate::admission::Lookup;
use crate::app::{self, Error, Start};
use crate::config::{Config, Loader};
use crate::lifecycle::{Inherited, Notifier};
use crate::node::detect::Machine;
use crate::printable::chain;
use std::hash::{BuildHasher as _, RandomState};
use std::io::ErrorKind;

/// Runs until stopped; 0 after a clean stop, 64 for a bad configuration without an accepted one, else 1.
pub(super) fn run(loader: Loader, log: Option<String>) -> u8 {
    // Before anything that can fail (design O3).
    let notifier = Notifier::from_env();
    let inherited = Inherited::from_process(&notifier);
    let loaded = app::load(&loader);
    let filter = log.unwrap_or_else(|| match &loaded {
        Ok((loaded, _)) => loaded.config.log.filter.clone(),
        Err(_) => Config::built_in().log.filter,
    });
    let Some((journal, _flushed_at_the_end)) = start::log(&filter, &loader.environment) else {
        return USAGE;
    };
    let (loaded, rejected) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            if let Error::Config(problems) = &error {
                for problem in problems {
                    tracing::error!("configuration: {problem}");
                }
            }
            tracing::error!("{error}; see what is wrong with: harbor-pilot check");
            return USAGE;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    // The standard library's per-process random keys are all the randomness that is needed here.
    let seed = RandomState::new().hash_one(std::process::id());
    let start = Start {
        loader,
        journal,
        notifier,
        inherited,
        seed,
        clients: Lookup::Kernel,
        explain: Some(explain::FOR_PAGE),
    };
    let config = loaded.config.clone();
    match app::run(start, loaded, rejected) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            if is_taken(&error, &config) {
                give_way(&config);
            }
            1
        }
    }
}

/// Another program holds the port at which containerd looks for the agent.
fn is_taken(error: &Error, config: &Config) -> bool {
    matches!(error, Error::Bind { address, source, .. }
        if source.kind() == ErrorKind::AddrInUse && config.server.listen.contains(address))
}

fn give_way(config: &Config) {
    match files::give_way::run(config, &Machine::this()) {
        Ok(Some(passed)) => {
            let changed = passed.changed();
            tracing::warn!(
                "the agent is out of the node's files until it has its port ({changed} changed)"
            );
        }
        Ok(None) => {}
        Err(error) => tracing::error!("{}", chain(&error)),
    }
}
