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
use super::ledger::{self, Store};
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
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steady::Steady;
use tokio::sync::watch as channel;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use watch::Watch;

/// Without a mark everything is looked at this often.
const LOOK: Duration = Duration::from_secs(30);
/// What was overtaken is tried again after this, doubling: what met a k3s that was still removing must be there a second
/// after it. Files that cannot be written have times of their own ([`failing`]).
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// At most.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// A command holds the lock for much less.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Started,
    Configuration,
    TierChanged,
    PortChanged,
    SomethingChanged,
    Retry,
    Routine,
}

struct Mirror {
    config: channel::Receiver<Arc<Config>>,
    snapshot: channel::Receiver<Arc<Snapshot>>,
    alive: channel::Receiver<Option<bool>>,
    watch: Watch,
    machine: Arc<Machine>,
    store: Store,
    listen: SocketAddr,
    reporter: Reporter,
    memory: Memory,
    steady: Steady,
    tiers: files::Tiers,
    detected: Option<Detected>,
    failures: u32,
    retry_at: Option<Instant>,
}

/// Where the task works.
#[derive(Debug)]
pub struct Place {
    /// Whose files.
    pub machine: Arc<Machine>,
    /// Where the agent really listens for containerd.
    pub listen: SocketAddr,
    /// The agent's own directory.
    pub state_dir: PathBuf,
}

/// Starts the task.
#[must_use]
pub fn start(
    place: Place,
    config: channel::Receiver<Arc<Config>>,
    snapshot: channel::Receiver<Arc<Snapshot>>,
    journal: Journal,
    metrics: Arc<Metrics>,
    tasks: &Tasks,
) -> channel::Receiver<Arc<Status>> {
    let Place {
        machine,
        listen,
        state_dir,
    } = place;
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
        watch: Watch::default(),
        machine,
        store: Store::new(&state_dir),
        listen,
        reporter: Reporter::new(status_in, journal, metrics),
        memory: Memory::default(),
        steady: Steady::default(),
        tiers: files::Tiers::default(),
        detected: None,
        failures: 0,
        retry_at: None,
    };
    tasks.spawn("node files", mirror.run());
    status
}

/// Design F0.
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
            let wakes = [self.retry_at, self.steady.wakes(), self.memory.wakes()];
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
                    Ok(()) => Some(Cause::PortChanged),
                    Err(_) => return,
                },
                // Cancel safe: it only waits.
                () = sleep_until(next_look) => {
                    let changed = self.files_changed().await;
                    next_look = Instant::now() + self.watch.pause();
                    changed.then_some(Cause::SomethingChanged)
                }
                // Cancel safe: it only waits.
                () = until(wake) => {
                    let due = self.retry_at.is_some_and(|at| at <= Instant::now());
                    let steady = self.tiers_changed();
                    Some(if due || !steady { Cause::Retry } else { Cause::TierChanged })
                }
                // Cancel safe: a tick is taken or stays.
                _ = looks.tick() => Some(Cause::Routine),
            };
        }
    }

    /// Whether something around the files has changed and come to rest.
    async fn files_changed(&mut self) -> bool {
        let mut watch = std::mem::take(&mut self.watch);
        let look = tokio::task::spawn_blocking(move || (watch.has_changed(Instant::now()), watch));
        let Ok((changed, watch)) = look.await else {
            return true;
        };
        self.watch = watch;
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
            self.retry_at = None;
            self.memory.let_go();
            self.watch = Watch::default();
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
        let quick =
            matches!(cause, Cause::TierChanged | Cause::PortChanged) && !self.watch.is_restless();
        let known = self.detected.take().filter(|_| quick);
        let job = Job {
            machine: self.machine.clone(),
            store: self.store.clone(),
            agent: agent_at(&config, self.listen),
            config,
            alive,
            tiers: self.tiers.clone(),
            known,
            watch: std::mem::take(&mut self.watch),
            memory: std::mem::take(&mut self.memory),
            cause,
            now: Instant::now(),
        };
        let Ok((job, passed)) = tokio::task::spawn_blocking(move || job.run()).await else {
            // A panic, which is logged with its place: what was remembered is lost, nothing else.
            return self.retry_later();
        };
        self.watch = job.watch;
        self.memory = job.memory;
        let failed = match &passed {
            Ok(passed) => {
                self.detected = Some(passed.detected.clone());
                report::has_failed(passed)
            }
            Err(_) => true,
        };
        self.reporter
            .passed(cause, alive, &self.tiers.whole, &mut self.memory, passed);
        if failed {
            self.retry_later();
        } else {
            self.failures = 0;
            self.retry_at = None;
        }
    }

    fn retry_later(&mut self) {
        let wait = FIRST_RETRY * 2_u32.pow(self.failures.min(11));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + wait.min(LONGEST_RETRY));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
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

/// One pass with all that it needs, on the blocking pool.
struct Job {
    machine: Arc<Machine>,
    store: Store,
    config: Arc<Config>,
    agent: Option<String>,
    alive: bool,
    tiers: files::Tiers,
    known: Option<Detected>,
    watch: Watch,
    memory: Memory,
    cause: Cause,
    now: Instant,
}

// === impl Job ===

impl Job {
    fn run(mut self) -> (Self, Result<files::Passed, ledger::Error>) {
        let known = self.known.take();
        let pass = files::Pass {
            machine: &self.machine,
            store: &self.store,
            config: &self.config,
            agent: self.agent.as_deref(),
            agent_alive: self.alive,
            tiers: &self.tiers,
            detected: known.as_ref(),
        };
        let mut hooks = Remembering {
            watch: &mut self.watch,
            memory: &mut self.memory,
            state: self.store.directory(),
            cause: self.cause,
            now: self.now,
        };
        let passed = files::run(&pass, LOCK_WAIT, false, &mut hooks);
        self.memory.looked = Some(self.now);
        if let Ok(passed) = &passed {
            self.memory.settle(passed, Instant::now());
            self.memory.forbidden = writable::forbidden(&passed.managed);
        }
        (self, passed)
    }
}

/// Watches what is read, and gives way to those who fight.
struct Remembering<'a> {
    watch: &'a mut Watch,
    memory: &'a mut Memory,
    state: &'a Path,
    cause: Cause,
    now: Instant,
}

impl files::Hooks for Remembering<'_> {
    fn before_reading(&mut self, detected: &Detected, paths: &BTreeSet<PathBuf>) {
        let places = memory::places(detected, paths, self.state);
        self.watch.follow(places);
    }

    fn choose(&mut self, detected: &Detected, plan: &mut files::Plan) {
        self.memory.admit(detected, plan, self.cause, self.now);
    }
}

#[cfg(test)]
mod tests;
