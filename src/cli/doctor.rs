//! `harbor-pilot doctor`: the node checked from end to end, each finding with a code and a remedy.
//!
//! Run as root it sees who holds a port and what the running agent's environment is; as somebody else it says less.
//! Everything is asked at once; the report is there within some 20 seconds. Nothing on the node is changed.
//!
//! `--json` prints one object. Fields and codes may be added, never changed:
//!
//! | field | what |
//! |---|---|
//! | `version` | of this program |
//! | `errors`, `warnings` | how many findings of each severity |
//! | `complete` | every check that applies to this node was made |
//! | `checks[]` | `name` (configuration, agent, files, environment, dns, connections, clock, access, pull), `state` (ok, findings, not_applicable, not_made), `said`, `notes[]` |
//! | `findings[]` | `code`, `severity` (error, warning), `check`, `subject`, `what`, `instead` |
//!
//! The exit status is 1 if there are findings, 2 if there are none but something could not be checked, else 0.

mod render;

use super::start;
use super::{FAILED, Invocation, files, json, status};
use crate::app::{self, Error};
use crate::config::{Config, Loader};
use crate::doctor::agent::{AgentFacts, ConfigFacts, Listener};
use crate::doctor::port::who_listens;
use crate::doctor::{CHECKS, Subject, examine};
use crate::node::answers;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Builder;

/// Of the agent's own environment what decides about its configuration.
const OF_AGENT: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
];

/// Runs the command. The report goes to `stdout`. `agent_environment`: the running agent's; `None`: what the kernel says of its
/// process.
pub fn run(
    args: &Invocation,
    agent_environment: Option<BTreeMap<String, String>>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let Some(runtime) = start::runtime(&mut Builder::new_current_thread(), stderr)? else {
        return Ok(FAILED);
    };
    let progress = start::progress("checked {msg} ({pos} of {len})", !args.json);
    progress.set_length(CHECKS.len() as u64);
    let done = |names: &[&str]| {
        progress.inc(names.len() as u64);
        progress.set_message(names.join(", "));
    };
    let report = runtime.block_on(async {
        let subject = subject(args, agent_environment).await;
        examine(&subject, &done).await
    });
    // A child that hangs in the kernel must not hang this.
    runtime.shutdown_background();
    progress.finish_and_clear();
    if args.json {
        stdout.write_all(json::pretty(&render::json(&report)).as_bytes())?;
    } else {
        let color = start::is_colored(&args.loader.environment);
        stdout.write_all(render::render(&report, color).as_bytes())?;
    }
    Ok(report.exit_status())
}

/// Gathers what the examination is about: the configuration as the running agent reads it, and the agent.
async fn subject(
    args: &Invocation,
    agent_environment: Option<BTreeMap<String, String>>,
) -> Subject {
    let (first, _) = load(&args.loader);
    let listen = listeners(&first.server.listen).await;
    // proxy = "env" and credentials mean those of the daemon, not of this shell.
    let mut loader = args.loader.clone();
    if let Some(environment) = agent_environment.or_else(|| of_process(&listen)) {
        let kept = args.loader.environment.iter();
        let kept = kept.filter(|(name, _)| !OF_AGENT.contains(&name.as_str()));
        let theirs = environment
            .iter()
            .filter(|(name, _)| OF_AGENT.contains(&name.as_str()));
        loader.environment = kept
            .chain(theirs)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
    }
    let (config, facts) = load(&loader);
    let alive = listen.iter().any(|listener| listener.answers);
    let asked = match config.server.admin {
        Some(admin) => Some(
            status::fetch(admin)
                .await
                .map_err(|error| error.to_string()),
        ),
        None => None,
    };
    let said = asked.as_ref().and_then(|asked| asked.as_ref().ok());
    Subject {
        tiers: files::tiers(&config, alive, said),
        agent: AgentFacts {
            listen,
            admin: config.server.admin,
            status: asked,
        },
        config: Arc::new(config),
        files: facts,
        machine: args.machine.clone(),
        environment: args.loader.environment.clone(),
        // The standard library's random keys are all the randomness that is needed.
        nonce: RandomState::new().hash_one(std::process::id()),
    }
}

/// The files' configuration; where they are bad the last accepted one, then the built-in one.
fn load(loader: &Loader) -> (Config, ConfigFacts) {
    let shown = loader.config_file.display();
    let file = match loader.explicit || loader.config_file.exists() {
        true => shown.to_string(),
        false => format!("the built-in configuration (there is no {shown})"),
    };
    let (config, problems, last_accepted, warnings) = match app::load(loader) {
        Ok((loaded, None)) => (loaded.config, Vec::new(), false, loaded.warnings),
        Ok((loaded, Some(problems))) => (loaded.config, problems, true, loaded.warnings),
        Err(Error::Config(problems)) => (Config::built_in(), problems, false, Vec::new()),
        // Nothing else comes of a load.
        Err(_) => (Config::built_in(), Vec::new(), false, Vec::new()),
    };
    let facts = ConfigFacts {
        file,
        problems,
        last_accepted,
        warnings,
        unprivileged: !rustix::process::geteuid().is_root(),
    };
    (config, facts)
}

async fn listeners(listen: &[SocketAddr]) -> Vec<Listener> {
    let ask = |address: &SocketAddr| {
        let address = *address;
        async move {
            let held = tokio::task::spawn_blocking(move || who_listens(address));
            let (held, answers) = tokio::join!(held, answers(address));
            let held = held.unwrap_or_default();
            Listener {
                address,
                // What answers is there, whatever the kernel's list said a moment before.
                taken: held.is_some() || answers,
                holder: held.and_then(|held| held.holder),
                answers,
            }
        }
    };
    join_all(listen.iter().map(ask)).await
}

/// The environment with which the agent's process was started: root may read it.
fn of_process(listen: &[Listener]) -> Option<BTreeMap<String, String>> {
    let ours = listen.iter().find(|listener| listener.answers)?;
    let pid = ours.holder.as_ref()?.pid;
    let text = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pairs = text.split(|byte| *byte == 0).filter_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    Some(pairs.collect())
}

#[cfg(test)]
mod tests;
