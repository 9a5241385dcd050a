//! `harbor-pilot healthd --harbor URL`: the health responder of a Harbor host.

use super::{USAGE, eprint, start};
use crate::healthd::{self, Options, Settings};
use crate::lifecycle::{Notifier, Signals};
use crate::printable::chain;
use std::collections::BTreeMap;

/// Runs until stopped: 0 after a clean stop, 64 where an option cannot be used, else 1.
pub(super) fn run(
    options: &Options,
    log: Option<&str>,
    environment: &BTreeMap<String, String>,
) -> u8 {
    let notifier = Notifier::from_env();
    let settings = match Settings::new(options) {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in problems {
                eprint(&format!("harbor-pilot healthd: {problem}"));
            }
            return USAGE;
        }
    };
    let log = start::log(log.unwrap_or("info"), environment);
    let Some((journal, _flushed_at_the_end)) = log else {
        return USAGE;
    };
    if options.insecure {
        tracing::warn!("Harbor's certificate is not checked (--insecure)");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build();
    let served = runtime
        .map_err(healthd::Error::Process)
        .and_then(|runtime| {
            let ended = runtime.block_on(async {
                let signals = Signals::from_process().map_err(healthd::Error::Process)?;
                healthd::run(settings, journal, notifier, signals).await
            });
            // A lookup that hangs is not waited for.
            runtime.shutdown_background();
            ended
        });
    match served {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            1
        }
    }
}
