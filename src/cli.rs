//! The commands: the grammar of arguments, and the way from each to its report and exit status (README.md and
//! docs/troubleshooting.md). Reports go to stdout, diagnostics to stderr; a command fails where it cannot write them, and else ends
//! with its exit status.

pub mod check;
pub mod completions;
pub mod doctor;
pub mod explain;
pub mod files;
mod healthd;
pub mod init;
mod json;
mod run;
mod start;
pub mod status;
pub mod warm;

use crate::config::{Config, Loader};
use crate::lifecycle::Notifier;
use crate::node::clients::Client;
use crate::node::detect::Machine;
use clap::{CommandFactory as _, Parser, Subcommand};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// The agent is not reachable, or the command could not do its work.
pub(crate) const FAILED: u8 = 2;
/// Bad usage or a bad configuration (sysexits' EX_USAGE).
pub(crate) const USAGE: u8 = 64;

/// Guides containerd's image pulls to a healthy Harbor, and to the real registry where there is none.
#[derive(Debug, Parser)]
#[command(name = "harbor-pilot", version, about, max_term_width = 100)]
pub struct Arguments {
    /// Configuration file [default: /etc/harbor-pilot/config.toml]
    #[arg(long, global = true, env = "HARBOR_PILOT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of drop-ins [default: config.d beside a file in /etc/harbor-pilot]
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// What is logged, in tracing's syntax: info, harbor_pilot=debug
    #[arg(long, global = true, env = "HARBOR_PILOT_LOG", value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run,
    /// Check the configuration and show what is in force, with where each value came from
    Check {
        /// Show the defaults as well
        #[arg(long)]
        all: bool,
        /// Print JSON, which has the defaults
        #[arg(long)]
        json: bool,
    },
    /// Print a commented starter configuration, or write it to a file
    Init(init::InitArgs),
    /// Show tiers, endpoints, last changes and traffic of the running agent
    Status {
        /// Show again every two seconds
        #[arg(long)]
        watch: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how an image would be routed now, candidate by candidate, and why
    Explain {
        /// Image reference, such as nginx:1.27 or ghcr.io/org/app@sha256:…
        image: String,
        /// Ask each candidate for the manifest
        #[arg(long)]
        probe: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print shell completions
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Check the node end to end and say how to fix what is wrong
    Doctor(Output),
    /// Show the changes that would be made to hosts.toml and registries.yaml, as a unified diff
    Plan {
        /// Print the drop-in of another client instead, or containerd's config.toml as it should be
        #[arg(long = "for", value_name = "CLIENT", value_parser = ["containerd", "crio", "podman", "docker"])]
        client: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the changes that plan shows
    Apply(Output),
    /// Take the agent's own lines out of the node's files again
    Restore(Output),
    /// Fetch images whole and throw them away, so that the caches in front of the registries have them
    Warm(warm::Options),
    /// Answer health checks beside a Harbor: 200 while its components are healthy, else 503
    Healthd(crate::healthd::Options),
    /// For the unit: take the agent out of the node's files when it stops for good
    Handover(Output),
}

/// What the commands about a node are told.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Reads the configuration file, its drop-ins and the environment.
    pub loader: Loader,
    /// For programs instead of people.
    pub json: bool,
    /// The machine that is meant.
    pub machine: Arc<Machine>,
}

/// How a report is printed.
#[derive(Debug, clap::Args)]
struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the process' command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows where each goes.
            let _ = error.print();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match dispatch(arguments, environment) {
        Ok(status) => status.into(),
        // The reader has gone (`| head`): nothing is wrong.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&format!("harbor-pilot: cannot write the report: {error}"));
            FAILED.into()
        }
    }
}

fn dispatch(arguments: Arguments, environment: BTreeMap<String, String>) -> io::Result<u8> {
    let Arguments {
        config,
        config_dir,
        log,
        command,
    } = arguments;
    let mut loader = Loader::packaged(environment);
    loader.config_dir = config_dir;
    if let Some(file) = config {
        loader.config_file = file;
        loader.explicit = true;
    }
    loader.outside_the_unit = !matches!(command, Command::Run);
    let (stdout, stderr) = (&mut io::stdout(), &mut io::stderr());
    let with = |loader, json| Invocation {
        loader,
        json,
        machine: Arc::new(Machine::this()),
    };
    match command {
        Command::Run => Ok(run::run(loader, log)),
        Command::Check { all, json } => check::run(&with(loader, json), all, stdout, stderr),
        Command::Init(args) => init::run(&args, stdout, stderr),
        Command::Status { watch, json } => Ok(status_of(&loader, watch, json, stdout, stderr)),
        Command::Explain { image, probe, json } => {
            explain::run(&with(loader, json), &image, probe, stdout, stderr)
        }
        Command::Completions { shell } => {
            completions::completions(shell, &mut Arguments::command(), stdout)?;
            Ok(0)
        }
        Command::Doctor(Output { json }) => doctor::run(&with(loader, json), None, stdout, stderr),
        Command::Plan { client, json } => {
            let invocation = with(loader, json);
            let client = match client.as_deref() {
                Some("containerd") => {
                    return files::containerd::run(&invocation, stdout, stderr);
                }
                Some("crio") => Some(Client::Crio),
                Some("docker") => Some(Client::Docker),
                Some(_) => Some(Client::Podman),
                None => None,
            };
            files::plan::run(&invocation, client, stdout, stderr)
        }
        Command::Apply(Output { json }) => files::apply::run(&with(loader, json), stdout, stderr),
        Command::Restore(Output { json }) => {
            files::restore::run(&with(loader, json), stdout, stderr)
        }
        Command::Warm(options) => warm::run(&options, &loader, stdout, stderr),
        Command::Healthd(options) => {
            Ok(healthd::run(&options, log.as_deref(), &loader.environment))
        }
        Command::Handover(Output { json }) => {
            let result = loader.environment.get("SERVICE_RESULT");
            let stopping = files::handover::Stopping::from_systemd(result);
            stopping.release_listeners(&Notifier::from_env(), stderr)?;
            files::handover::run(&with(loader, json), &stopping, stdout, stderr)
        }
    }
}

/// Where the agent is comes from the files; where those are bad, from the configuration that it accepted last.
fn status_of(
    loader: &Loader,
    watch: bool,
    json: bool,
    stdout: &mut dyn io::Write,
    stderr: &mut dyn io::Write,
) -> u8 {
    let admin = match crate::app::load(loader) {
        Ok((loaded, _)) => loaded.config.server.admin,
        Err(_) => Config::built_in().server.admin,
    };
    let color = start::is_colored(&loader.environment);
    status::run(
        status::Arguments {
            admin,
            watch,
            json,
            color,
        },
        stdout,
        stderr,
    )
}

#[allow(clippy::print_stderr, reason = "the command line's own diagnostics")]
pub(crate) fn eprint(message: &str) {
    eprintln!("{message}");
}

#[cfg(test)]
mod tests;
