//! What commands begin with: the configuration, the log, a runtime, a line of progress, whether a report has colours.

use super::eprint;
use crate::config::{Loaded, Loader};
use crate::lifecycle::log_panics;
use crate::printable::chain;
use crate::telemetry::{self, Destination, Guard, Journal};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use tokio::runtime::{Builder, Runtime};

/// The configuration, with its warnings printed; where it may not be used its problems are printed.
pub(super) fn load(loader: &Loader, stderr: &mut dyn Write) -> io::Result<Option<Loaded>> {
    match loader.load() {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                writeln!(stderr, "warning: {warning}")?;
            }
            Ok(Some(loaded))
        }
        Err(problems) => {
            for problem in problems {
                writeln!(stderr, "error: {problem}")?;
            }
            Ok(None)
        }
    }
}

/// A runtime; where there is none, why is printed.
pub(super) fn runtime(how: &mut Builder, stderr: &mut dyn Write) -> io::Result<Option<Runtime>> {
    match how.enable_all().build() {
        Ok(runtime) => Ok(Some(runtime)),
        Err(error) => {
            writeln!(stderr, "error: starting the runtime: {error}")?;
            Ok(None)
        }
    }
}

/// One line that is written over, where standard error is a terminal.
pub(super) fn progress(template: &str, is_wanted: bool) -> ProgressBar {
    let target = match is_wanted {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template(template);
    ProgressBar::with_draw_target(None, target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// The log of a daemon, and of its panics; where there is none, why is printed.
pub(super) fn log(
    filter: &str,
    environment: &BTreeMap<String, String>,
) -> Option<(Journal, Guard)> {
    let journal_stream = environment.get("JOURNAL_STREAM").map(String::as_str);
    let destination = Destination::choose(journal_stream, is_colorless(environment));
    match telemetry::init(filter, &destination) {
        Ok(log) => {
            log_panics();
            Some(log)
        }
        Err(error) => {
            eprint(&format!("harbor-pilot: {}", chain(&error)));
            None
        }
    }
}

/// On a terminal, unless `NO_COLOR` is set to something.
pub(super) fn is_colored(environment: &BTreeMap<String, String>) -> bool {
    !is_colorless(environment) && io::stdout().is_terminal()
}

fn is_colorless(environment: &BTreeMap<String, String>) -> bool {
    let no_color = environment.get("NO_COLOR");
    no_color.is_some_and(|value| !value.is_empty())
}
