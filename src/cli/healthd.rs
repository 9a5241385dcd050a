//! `harbor-pilot healthd --harbor URL`: the health responder of a Harbor host.

use super::{USAGE, eprint};
use crate::healthd::{self, Options, Settings};
use crate::lifecycle::{self, Notifier, Signals};
use crate::printable::chain;
use crate::telemetry::{self, Destination};
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
    let no_color = environment
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    let journal_stream = environment.get("JOURNAL_STREAM").map(String::as_str);
    let destination = Destination::choose(journal_stream, no_color);
    let (journal, _flushed_at_the_end) = match telemetry::init(log.unwrap_or("info"), &destination)
    {
        Ok(log) => log,
        Err(error) => {
            eprint(&format!("harbor-pilot: {}", chain(&error)));
            return USAGE;
        }
    };
    lifecycle::log_panics();
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
