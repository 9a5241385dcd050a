//! Loading the configuration again: a good one comes into force as a whole, a bad one changes nothing (design O2).

use super::gateway::GatewayTls;
use super::settled::{AT_RELOAD, settled};
use super::state::keep_accepted;
use crate::admin::ConfigState;
use crate::config::{Config, Dns, Loader, Problem, Secret, Timeouts};
use crate::metrics::Metrics;
use crate::printable::counted;
use crate::projects::ProjectDiscovery;
use crate::relay::Relay;
use crate::telemetry::{EventName, Journal, StateChange, utc_now};
use crate::topology::{Snapshot, Sources};
use crate::upstream::Client;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How often the files that the configuration names (certificates, passwords) are looked at.
pub(super) const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// Where a new configuration goes. Changes of listeners, limits and timeouts wait for a restart, and it says so.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) loader: Loader,
    pub(super) generation: u64,
    pub(super) files: Vec<Seen>,
    pub(super) sources: watch::Sender<Arc<Sources>>,
    pub(super) dns: watch::Sender<Dns>,
    pub(super) key: watch::Sender<Option<Secret>>,
    pub(super) token: watch::Sender<Option<Secret>>,
    pub(super) gateway: Option<GatewayTls>,
    pub(super) state: watch::Sender<Arc<ConfigState>>,
    /// The configuration with the projects that were found.
    pub(super) in_force: watch::Sender<Arc<Config>>,
    /// The configuration as it is written, without them.
    pub(super) written: watch::Sender<Arc<Config>>,
    pub(super) projects: ProjectDiscovery,
    pub(super) clients: Vec<Client>,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(super) relay: Relay,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: Arc<Config>,
    /// What the process was started with: some of it holds until the next start, however often is reloaded.
    pub(super) started: Arc<Config>,
}

/// A file as it was when it was read: it changed if any of this did.
pub(super) type Seen = (PathBuf, Option<(SystemTime, u64, u64)>);

/// What tells a changed file.
pub(super) fn fingerprint(files: &[PathBuf]) -> Vec<Seen> {
    use std::os::unix::fs::MetadataExt as _;
    let seen = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files
        .iter()
        .map(|path| (path.clone(), seen(path)))
        .collect()
}

/// The problems for a status line: the first three, the others counted.
pub(super) fn first_lines(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(3).map(ToString::to_string).collect();
    if problems.len() > lines.len() {
        lines.push(format!(
            "and {} more",
            problems.len().saturating_sub(lines.len())
        ));
    }
    lines.join("; ")
}

/// What is said of a configuration that has come into force; where its files were `rejected` it is the last accepted one.
pub(super) fn state_of(
    loader: &Loader,
    generation: u64,
    rejected: Option<&[Problem]>,
) -> ConfigState {
    let file = &loader.config_file;
    ConfigState {
        generation,
        file: file.exists().then(|| file.clone()),
        loaded_at: utc_now(),
        rejected: rejected.map(first_lines),
        from_last_accepted: rejected.is_some(),
    }
}

/// What of the newest configuration only the next start brings.
fn waits_for_a_restart(started: &Config, new: &Config) -> Vec<&'static str> {
    let server = |config: &Config| {
        let server = &config.server;
        let gateway = server.gateway.as_ref().map(|gateway| &gateway.listen);
        let gateway = gateway.cloned();
        (server.listen.clone(), gateway, server.admin, server.metrics)
    };
    let mut waits = Vec::new();
    if server(started) != server(new) {
        waits.push("[server] addresses");
    }
    // The drain is the newest one's: the daemon looks for it when it stops.
    let timeouts = Timeouts {
        drain: new.timeouts.drain,
        ..started.timeouts
    };
    if timeouts != new.timeouts {
        waits.push("[timeouts]");
    }
    if started.limits != new.limits {
        waits.push("[limits]");
    }
    if started.otel != new.otel {
        waits.push("[otel]");
    }
    if started.state_directory != new.state_directory {
        waits.push("[state] directory");
    }
    waits
}

// === impl Reloader ===

impl Reloader {
    /// Whether a file that the configuration names is another than the one that was read.
    pub(super) fn files_changed(&self) -> bool {
        fingerprint(&self.config.watched_files) != self.files
    }

    /// Loads again. The configuration that is in force afterwards comes back.
    pub(super) async fn reload(&mut self, why: &str) -> Arc<Config> {
        // As they are before they are read: what changes meanwhile is seen at the next look.
        let mut files = fingerprint(&self.config.watched_files);
        match self.loader.load() {
            Ok(loaded) => {
                let config = Arc::new(loaded.config.clone());
                let before = std::mem::replace(&mut files, fingerprint(&config.watched_files));
                for file in &mut files {
                    let known = before.iter().find(|known| known.0 == file.0);
                    file.1 = known.map_or(file.1, |known| known.1);
                }
                self.take_over(&config, why).await;
                keep_accepted(&config.state_directory, &loaded);
                self.config = config;
            }
            Err(problems) => {
                self.metrics.config_reloaded(false);
                self.say_rejected(&problems, "the configuration that was in force stays");
                let rejected = Some(first_lines(&problems));
                self.state.send_modify(|state| {
                    *state = Arc::new(ConfigState {
                        rejected,
                        ..ConfigState::clone(state)
                    });
                });
            }
        }
        self.files = files;
        self.config.clone()
    }

    async fn take_over(&mut self, config: &Arc<Config>, why: &str) {
        self.generation = self.generation.saturating_add(1);
        let sources = Arc::new(Sources::from_config(config, self.generation));
        for client in &self.clients {
            client.update(&sources);
        }
        self.sources.send_replace(sources.clone());
        self.dns.send_if_modified(|dns| {
            let changed = *dns != config.dns;
            dns.clone_from(&config.dns);
            changed
        });
        self.key.send_replace(config.server.require_header.clone());
        self.token.send_replace(config.server.admin_token.clone());
        if let Some(gateway) = &mut self.gateway {
            gateway.update(&config.server);
        }
        settled(self.snapshot.clone(), &sources, AT_RELOAD).await;
        self.written.send_replace(config.clone());
        self.projects.refresh();
        self.put_in_force(config);
        self.metrics.config_reloaded(true);
        let generation = self.generation;
        self.state
            .send_replace(Arc::new(state_of(&self.loader, generation, None)));
        let waits = waits_for_a_restart(&self.started, config);
        let later = if waits.is_empty() {
            String::new()
        } else {
            format!("; a restart is needed for {}", waits.join(", "))
        };
        self.journal.event(StateChange {
            event: EventName::ConfigReloaded,
            tier: None,
            endpoint: None,
            reason: why.to_owned(),
            message: format!("configuration {generation} is in force ({why}){later}"),
        });
    }

    /// Other projects were found.
    pub(super) fn take_projects(&self) {
        self.put_in_force(&self.config);
    }

    fn put_in_force(&self, config: &Config) {
        let found = self.projects.projects().borrow().paths();
        let config = Arc::new(config.with_projects(&found));
        self.relay.update(config.clone());
        self.in_force.send_replace(config);
    }

    /// Says loudly, each problem on its own, what was refused.
    pub(super) fn say_rejected(&self, problems: &[Problem], what_now: &str) {
        for problem in problems {
            tracing::error!("configuration: {problem}");
        }
        self.journal.event(StateChange {
            event: EventName::ConfigRejected,
            tier: None,
            endpoint: None,
            reason: first_lines(problems),
            message: format!(
                "the configuration has {} and was refused; {what_now}. Fix it (harbor-pilot check) and reload",
                counted(problems.len() as u64, "problem", "problems")
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a second reload does not touch waits as before; what it takes back waits no more.
    #[test]
    fn what_waits_is_told_from_the_start_and_not_from_the_last_reload() {
        let config = |text: &str| Config::from_toml(text).unwrap();
        let started = config("");
        let table = [
            ("[limits]\nconnections = 3\n", &["[limits]"][..]),
            (
                "[limits]\nconnections = 3\n[timeouts]\nconnect = \"1s\"\n",
                &["[timeouts]", "[limits]"],
            ),
            (
                "[limits]\nconnections = 3\n[direct]\nenabled = true\n",
                &["[limits]"],
            ),
            (
                "[server]\nlisten = [\"127.0.0.1:5999\"]\n",
                &["[server] addresses"],
            ),
            ("[timeouts]\ndrain = \"5s\"\n", &[]),
            (
                "[otel]\nendpoint = \"http://127.0.0.1:4318\"\n",
                &["[otel]"],
            ),
            ("", &[]),
        ];
        for (text, waits) in table {
            assert_eq!(
                waits_for_a_restart(&started, &config(text)),
                waits,
                "{text}"
            );
        }
    }
}
