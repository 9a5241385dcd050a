//! The daemon's mirror task: the files follow tiers, configuration and the agent's own health, and what others
//! change in them is noticed (design F1, F7).
//!
//! Inputs are `watch` channels (configuration, snapshot, the own port) and looks at the files, each of which means only
//! "look again". Everything that blocks happens in one pass on the blocking pool at a time; what a
//! pass must remember goes into it and comes back.

mod claim;
mod failing;
mod fights;
mod memory;
mod port;
mod report;
mod status;
mod steady;
mod watch;
mod writable;

pub use port::answers;
pub use status::{FilesState, NodeFilesStatus, Trouble, TroubleKind};

use super::detect::{Detected, Machine};
use super::ledger::Store;
use super::privileged::first_unprivileged_port;
use super::{desired, files, shown};
use crate::config::{Config, Server};
use crate::lifecycle::Tasks;
use crate::metrics::Metrics;
use crate::telemetry::Journal;
use crate::topology::Snapshot;
use memory::Memory;
use report::Reporter;
use status::NodeFilesStatus as Status;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use steady::Steady;
use tokio::sync::watch as channel;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Without a mark everything is looked at this often.
const LOOK: Duration = Duration::from_secs(30);
/// A command holds the lock for much less.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Started,
    Configuration,
    TierChanged,
    PortChanged { answers: bool },
    SomethingChanged,
    Retry,
    Routine,
}

struct Mirror {
    config: channel::Receiver<Arc<Config>>,
    snapshot: channel::Receiver<Arc<Snapshot>>,
    alive: channel::Receiver<Option<bool>>,
    machine: Arc<Machine>,
    store: Store,
    listen: SocketAddr,
    reporter: Reporter,
    memory: Memory,
    steady: Steady,
    tiers: files::Tiers,
    detected: Option<Detected>,
}

/// Where the task works.
#[derive(Debug)]
pub struct Place {
    /// The machine whose files are kept.
    pub machine: Arc<Machine>,
    /// Where the agent really listens for containerd.
    pub listen: SocketAddr,
    /// The agent's own directory.
    pub state_dir: PathBuf,
}

/// Starts the task that keeps the node's files; the receiver shows their status.
#[must_use]
pub fn start(
    place: Place,
    config: channel::Receiver<Arc<Config>>,
    snapshot: channel::Receiver<Arc<Snapshot>>,
    journal: Journal,
    metrics: Arc<Metrics>,
    tasks: &Tasks,
) -> channel::Receiver<Arc<Status>> {
    let (machine, listen) = (place.machine, place.listen);
    let (status_in, status) = channel::channel(Arc::default());
    let (alive_in, alive) = channel::channel(None);
    let (managed, node) = (config.clone(), machine.clone());
    tasks.spawn("own port", async move {
        let is_wanted = || is_managed(&managed.borrow());
        port::watch(listen, alive_in, is_wanted, || {
            first_unprivileged_port(&node)
        })
        .await;
    });
    let mirror = Mirror {
        config,
        snapshot,
        alive,
        machine,
        store: Store::new(&place.state_dir),
        listen,
        reporter: Reporter::new(status_in, journal, metrics),
        memory: Memory::default(),
        steady: Steady::default(),
        tiers: files::Tiers::default(),
        detected: None,
    };
    tasks.spawn("node files", mirror.run());
    status
}

/// Whether files are kept at all: without a tier the agent would add nothing (design F0).
fn is_managed(config: &Config) -> bool {
    config.node.manage && !config.tiers.is_empty()
}

// === impl Mirror ===

impl Mirror {
    async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.reset();
        let mut next_look = Instant::now();
        let mut cause = Some(Cause::Started);
        loop {
            if let Some(cause) = cause.take() {
                self.look(cause).await;
            }
            let wakes = [self.steady.wakes(), self.memory.wakes()];
            let wake = wakes.into_iter().flatten().min();
            cause = tokio::select! {
                // Cancel safe: a change is seen or stays.
                changed = self.snapshot.changed() => match changed {
                    Ok(()) => self.tiers_changed().then_some(Cause::TierChanged),
                    Err(_) => return,
                },
                // Cancel safe: a change is seen or stays.
                changed = self.config.changed() => match changed {
                    Ok(()) => Some(Cause::Configuration),
                    Err(_) => return,
                },
                // Cancel safe: a change is seen or stays.
                changed = self.alive.changed() => match changed {
                    Ok(()) => Some(Cause::PortChanged { answers: *self.alive.borrow() == Some(true) }),
                    Err(_) => return,
                },
                // Cancel safe: it only waits.
                () = sleep_until(next_look) => {
                    let changed = self.files_changed().await;
                    next_look = Instant::now() + self.memory.watch.pause();
                    changed.then_some(Cause::SomethingChanged)
                }
                // Cancel safe: it only waits.
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    Some(if self.tiers_changed() { Cause::TierChanged } else { Cause::Retry })
                }
                // Cancel safe: a tick is taken or stays.
                _ = looks.tick() => Some(Cause::Routine),
            };
        }
    }

    /// Whether something around the files has changed and come to rest.
    async fn files_changed(&mut self) -> bool {
        let mut watch = std::mem::take(&mut self.memory.watch);
        let look = tokio::task::spawn_blocking(move || (watch.has_changed(Instant::now()), watch));
        let Ok((changed, watch)) = look.await else {
            return true;
        };
        self.memory.watch = watch;
        changed
    }

    /// Takes the newest snapshot in; says whether the files care.
    fn tiers_changed(&mut self) -> bool {
        let seen = {
            let config = self.config.borrow();
            steady::seen(&config, &self.snapshot.borrow_and_update())
        };
        let tiers = files::Tiers {
            whole: self.steady.step(&seen, Instant::now()),
            unknown: seen.unknown,
        };
        let changed = tiers != self.tiers;
        self.tiers = tiers;
        changed
    }

    async fn look(&mut self, cause: Cause) {
        let config = self.config.borrow_and_update().clone();
        if !is_managed(&config) {
            self.detected = None;
            self.memory = Memory::default();
            let (store, machine) = (self.store.clone(), self.machine.clone());
            let agent = agent_at(&config, self.listen).filter(|_| !config.tiers.is_empty());
            let of = config.clone();
            let look = tokio::task::spawn_blocking(move || {
                let past = agent.and_then(|agent| shown::bypassing(&machine, &of, &agent));
                (writable::left_behind(&store), past)
            });
            let (left, past) = look.await.unwrap_or_default();
            return self.reporter.not_managed(&config, left, past);
        }
        self.tiers_changed();
        // Until the first answer nothing is written: a restart changes no file.
        let Some(alive) = *self.alive.borrow_and_update() else {
            return;
        };
        // A tier's change must be in the file at once; what runs here does not change with it, unless that is changing as well.
        let quick = matches!(cause, Cause::TierChanged | Cause::PortChanged { .. })
            && !self.memory.watch.is_restless();
        let known = self.detected.take().filter(|_| quick);
        let (machine, store) = (self.machine.clone(), self.store.clone());
        let (agent, tiers) = (agent_at(&config, self.listen), self.tiers.clone());
        let mut memory = std::mem::take(&mut self.memory);
        memory.begin(cause, Instant::now());
        let pass = move || {
            let pass = files::Pass {
                machine: &machine,
                store: &store,
                config: &config,
                agent: agent.as_deref(),
                agent_alive: alive,
                tiers: &tiers,
                detected: known.as_ref(),
            };
            let passed = files::run(&pass, LOCK_WAIT, false, &mut memory);
            memory.settle(passed.as_ref(), Instant::now());
            (memory, passed)
        };
        let Ok((memory, passed)) = tokio::task::spawn_blocking(pass).await else {
            // A panic, which is logged with its place: what was remembered is lost, nothing else.
            return;
        };
        self.memory = memory;
        self.detected = passed.as_ref().ok().map(|passed| passed.detected.clone());
        self.reporter.passed(cause, &mut self.memory, passed);
    }
}

/// As containerd is told: the port that was really bound.
fn agent_at(config: &Config, listen: SocketAddr) -> Option<String> {
    let server = Server {
        listen: vec![listen],
        ..config.server.clone()
    };
    desired::agent_url(&server)
}

#[cfg(test)]
mod tests;
