//! `harbor-pilot healthd --harbor URL`: the health responder of a Harbor host.

use super::{USAGE, eprint};
use crate::healthd::{self, Settings, Written};
use crate::lifecycle::{self, Notifier, Signals};
use crate::printable::chain;
use crate::telemetry::{self, Destination};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The options of the command.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Options {
    /// Harbor's URL, such as https://127.0.0.1:8443
    #[arg(long, value_name = "URL")]
    harbor: String,
    /// Where to answer
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:1337")]
    listen: SocketAddr,
    /// CA of Harbor's certificate, or the certificate itself
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Do not check Harbor's certificate
    #[arg(long)]
    insecure: bool,
    /// Components that must be healthy, such as core,database,redis,registry, which pulls need; all: every one that Harbor lists
    #[arg(long, value_name = "LIST", default_value = "all")]
    require: String,
    /// How long an answer of Harbor stands: it is asked at most once in this time
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    cache: String,
    /// How long Harbor may take to answer
    #[arg(long, value_name = "DURATION", default_value = "1.5s")]
    timeout: String,
    /// Where to answer /metrics [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

/// Runs until stopped: 0 after a clean stop, 64 where an option cannot be used, else 1.
pub(super) fn run(
    options: Options,
    log: Option<&str>,
    environment: &BTreeMap<String, String>,
) -> u8 {
    let notifier = Notifier::from_env();
    let written = Written {
        harbor: options.harbor,
        listen: options.listen,
        ca: options.ca,
        insecure: options.insecure,
        require: options.require,
        cache: options.cache,
        timeout: options.timeout,
        metrics: options.metrics,
    };
    let settings = match Settings::new(&written) {
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
    if written.insecure {
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
                let signals = Signals::of_process().map_err(healthd::Error::Process)?;
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
