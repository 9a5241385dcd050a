//! The composition root: builds everything in the floors' order, binds, runs, and ends it in order. The one place
//! that knows all parts; tests run the same function with port 0 and read what was bound.

mod certificates;
mod error;
mod gateway;
mod listen;
mod monitor;
mod reload;
mod settled;
mod start;
mod state;
mod stop;
mod sweep;
mod watchdog;

pub use crate::admin::Explain;
pub use error::Error;
pub use start::{Bound, Start};
pub use state::load;

use crate::admin::{Explainer, FileDiffs, View};
use crate::admission::{Admission, Peers};
use crate::budget::Budget;
use crate::config::{Config, Loaded, Problem};
use crate::discovery::Discovery;
use crate::exchange::Exchanger;
use crate::health::{Health, HttpProber};
use crate::lifecycle::{DataPlane, Drain, Notifier, Signal, Signals, Tasks, Threads};
use crate::metrics::Metrics;
use crate::node;
use crate::projects::{ProjectDiscovery, SharedListing};
use crate::relay::{Context, Relay};
use crate::router::Dispatcher;
use crate::server;
use crate::topology::Sources;
use crate::traces::Traces;
use crate::upstream::Client;
use listen::Listeners;
use reload::Reloader;
use settled::settled;
use state::{keep_accepted, prepare_state};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use stop::Why;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Known sizes are written down this often.
const KEEP_SIZES: Duration = Duration::from_secs(60);

/// Harbors that are said to miss a project and not yet told of; further ones are said by the next pull.
const MISSING: usize = 16;

/// Runs until a signal ends it. Blocks; makes the data plane with its threads, and the control plane on this one,
/// so that a busy data plane makes no probe late.
///
/// # Errors
/// [`Error`]: what kept it from starting; [`Error::Task`]: a task that failed.
pub fn run(start: Start, loaded: Loaded, rejected: Option<Vec<Problem>>) -> Result<(), Error> {
    let data = DataPlane::for_this_machine().map_err(Error::Process)?;
    let control = control_runtime()?;
    let ended = control.block_on(async {
        let signals = Signals::from_process().map_err(Error::Process)?;
        let running = build(start, loaded, rejected, data.threads()).await?;
        running.until_stopped(signals).await
    });
    // What still runs is cut: its time was the drain's.
    drop(data);
    control.shutdown_background();
    ended
}

fn control_runtime() -> Result<Runtime, Error> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(2);
    builder.build().map_err(Error::Process)
}

/// The daemon while it runs.
#[derive(Debug)]
pub struct Running {
    /// The addresses that its listeners got.
    pub bound: Bound,
    /// What its listeners hand requests to.
    pub entry: Dispatcher,
    config: Arc<Config>,
    reloader: Reloader,
    tasks: Tasks,
    drain: Drain,
    traces: Option<Traces>,
    notifier: Notifier,
    /// Second handles, where systemd would keep them for the next process.
    listeners: Vec<OwnedFd>,
    sizes: PathBuf,
}

/// Builds everything on the current (control) runtime and starts it; connections are served on `data`, and accepted on
/// its first thread.
///
/// # Errors
/// [`Error::Bind`]: a listener; [`Error::GatewayTls`]: the gateway's certificate; [`Error::Process`]: a thread.
pub async fn build(
    start: Start,
    loaded: Loaded,
    rejected: Option<Vec<Problem>>,
    data: &Threads,
) -> Result<Running, Error> {
    let Start {
        loader,
        journal,
        notifier,
        inherited,
        seed,
        clients,
        explain,
    } = start;
    let config = Arc::new(loaded.config.clone());
    let listeners = Listeners::claim(inherited, config.server.all_listen())?;
    let started = Instant::now();
    prepare_state(&config.state_directory);
    let metrics = Arc::new(Metrics::default());
    let budget = Budget::new(config.limits.memory);
    journal.count_in(&budget);
    let tasks = Tasks::default();
    let peers = Peers::new(clients);
    let (drain, draining) = Drain::new();

    let sources = Arc::new(Sources::from_config(&config, 1));
    let first_sources = sources.clone();
    let client = Client::new(config.timeouts);
    // Probes have connections of their own: one opened here is driven by this runtime and must not carry pulls.
    let probing = Client::new(config.timeouts);
    client.update(&sources);
    probing.update(&sources);
    let (sources_in, sources) = watch::channel(sources);
    let (dns_in, dns) = watch::channel(config.dns.clone());
    let state = config.state_directory.clone();
    let discovery = Discovery::start(
        sources.clone(),
        dns,
        state,
        journal.clone(),
        metrics.clone(),
        &tasks,
    );
    let traces = Traces::start(&config, &discovery, &journal, &tasks, seed);
    let health = Health::start(
        sources,
        discovery.endpoint_sets(),
        HttpProber::new(probing.clone()),
        journal.clone(),
        metrics.clone(),
        &tasks,
        seed,
    );
    let (missing_in, missing) = mpsc::channel(MISSING);
    let (written_in, written) = watch::channel(config.clone());
    let asking = Arc::new(discovery.clone());
    let shared = written.clone();
    let (listings_in, listings) = SharedListing::channel();
    let configured = written.clone();
    let projects = ProjectDiscovery::start(
        written,
        health.snapshot(),
        missing,
        probing.clone(),
        Exchanger::new(probing.clone(), asking, metrics.clone(), &budget),
        listings_in,
        &config.state_directory,
        journal.clone(),
        metrics.clone(),
        &tasks,
        seed,
    );
    let found = projects.projects().borrow().paths();
    let effective = Arc::new(config.with_projects(&found));
    let exchanger = Exchanger::new(
        client.clone(),
        Arc::new(discovery.clone()),
        metrics.clone(),
        &budget,
    )
    .telling(missing_in);
    let sizes = config.state_directory.join("sizes");
    let relay = Relay::new(Context::new(
        effective.clone(),
        client.clone(),
        exchanger,
        discovery.clone(),
        health.clone(),
        journal.clone(),
        metrics.clone(),
        budget.clone(),
        &sizes,
        seed,
    ));
    let state = &config.state_directory;
    let followed = (shared, listings);
    let entry = Dispatcher::start(relay.clone(), state, followed, discovery, &tasks, seed);
    let swept = sweep::run(relay.clone(), metrics.clone(), budget.clone());
    tasks.spawn("sweep", swept);

    let (key_in, key) = watch::channel(config.server.require_header.clone());
    let (token_in, token) = watch::channel(config.server.admin_token.clone());
    let settings = server::Settings {
        admission: Admission::new(
            config.limits.connections,
            config.timeouts.client,
            peers.clone(),
        ),
        idle: config.timeouts.client_idle,
        key,
        threads: data.clone(),
        metrics: metrics.clone(),
        gateway: None,
    };
    let mut bound = Bound::default();
    settled(health.snapshot(), &first_sources, settled::AT_START).await;
    // Bound and served on the data runtime: its sockets are driven there.
    let accepting = data.runtimes().next().cloned();
    let accepting = accepting.unwrap_or_else(Handle::current);
    let opening = accepting.spawn(listeners.open());
    let opened = opening
        .await
        .map_err(|error| Error::Process(error.into()))?;
    let (mut listeners, mut gateway) = (Vec::new(), Vec::new());
    for (listener, address) in opened? {
        listeners.extend(listen::keep(&listener, &notifier));
        if bound.listen.len() == config.server.listen.len() {
            bound.gateway.push(address);
            gateway.push(listener);
            continue;
        }
        bound.listen.push(address);
        let of = (&entry, settings.clone(), &draining);
        listen::serve(listener, of, (&tasks, &accepting));
    }
    let state = reload::state_of(&loader, 1, rejected.as_deref());
    let (state_in, config_state) = watch::channel(Arc::new(state));
    let (config_in, in_force) = watch::channel(effective);
    let node_files = match bound.listen.first() {
        Some(listen) => node::start(
            node::Place {
                machine: Arc::new(node::detect::Machine::this()),
                listen: *listen,
                state_dir: config.state_directory.clone(),
            },
            in_force,
            health.snapshot(),
            journal.clone(),
            metrics.clone(),
            &tasks,
        ),
        None => watch::channel(Arc::new(node::NodeFilesStatus::unheard())).1,
    };
    let view = View {
        snapshot: health.snapshot(),
        config: config_state,
        clients: vec![client.clone(), probing.clone()],
        node_files,
        listening: watch::channel(true).1,
        drain: draining,
        projects: projects.projects(),
        robots: projects.robots(),
        metrics: metrics.clone(),
        journal: journal.clone(),
        traces: traces.clone(),
        reputation: relay.reputation(),
        lookups: entry.lookups(),
        budget,
        token,
        configured,
        files: FileDiffs::new(&config.state_directory),
        explain: explain.map(Explainer::new),
        started,
    };
    let of = (&entry, &tasks, &accepting);
    let gateway = gateway::start(&config, gateway, of, (settings, view.clone()))?;
    monitor::open(&config.server, view, peers, &tasks, &mut bound).await?;
    bound.keep_undialled(&[&client, &probing]);
    let reloader = Reloader {
        loader,
        generation: 1,
        files: reload::fingerprint(&config.watched_files),
        sources: sources_in,
        dns: dns_in,
        key: key_in,
        token: token_in,
        gateway,
        state: state_in,
        in_force: config_in,
        written: written_in,
        projects: projects.clone(),
        clients: vec![client, probing],
        snapshot: health.snapshot(),
        relay: relay.clone(),
        journal,
        metrics: metrics.clone(),
        config: config.clone(),
        started: config.clone(),
    };
    metrics.config_reloaded(rejected.is_none());
    match &rejected {
        Some(problems) => {
            reloader.say_rejected(problems, "the last accepted configuration is used")
        }
        None => keep_accepted(&config.state_directory, &loaded),
    }
    watchdog::start(&tasks, &notifier, data.clone(), bound.listen.clone());
    Ok(Running {
        bound,
        config,
        entry,
        reloader,
        tasks,
        drain,
        traces,
        notifier,
        listeners,
        sizes,
    })
}

// === impl Running ===

impl Running {
    /// Serves until a signal says stop, or a task fails.
    ///
    /// # Errors
    /// [`Error::Task`]: a task that must not end has ended.
    pub async fn until_stopped(mut self, mut signals: Signals) -> Result<(), Error> {
        let listening: Vec<String> = self.bound.listen.iter().map(ToString::to_string).collect();
        let status = format!("serving on {}", listening.join(", "));
        tracing::info!("harbor-pilot {} {status}", env!("CARGO_PKG_VERSION"));
        self.notifier.ready(&status);
        let mut looks = tokio::time::interval(reload::LOOK_AT_FILES);
        let mut keeps = tokio::time::interval(KEEP_SIZES);
        let mut projects = self.reloader.projects.projects();
        let mut certificates = certificates::Certificates::default();
        let mut certificate_looks = tokio::time::interval(certificates::LOOK);
        let failure = loop {
            tokio::select! {
                // Cancel safe: a signal is taken or stays.
                signal = signals.next() => match signal {
                    Signal::Reload => self.reload("SIGHUP").await,
                    Signal::Stop => break None,
                    Signal::StopNow => return Ok(()),
                },
                // Cancel safe: it only waits.
                failure = self.tasks.failure() => break Some(failure),
                // Cancel safe: a tick is taken or stays.
                _ = looks.tick() => {
                    keep(self.entry.store_mappings());
                    if self.reloader.files_changed() {
                        self.reload("a file that the configuration names has changed").await;
                    }
                }
                // Cancel safe: the change stays until it is seen.
                Ok(()) = projects.changed() => {
                    projects.mark_unchanged();
                    self.reloader.take_projects();
                }
                // Cancel safe: a tick is taken or stays.
                _ = keeps.tick() => keep(self.entry.relay().store_learned(&self.sizes)),
                // Cancel safe: a tick is taken or stays.
                _ = certificate_looks.tick() => {
                    let sources = self.reloader.sources.borrow().clone();
                    for client in &self.reloader.clients {
                        certificates.look(&sources, client, &self.reloader.journal, SystemTime::now());
                    }
                }
            }
        };
        let why = failure.as_ref().map_or(Why::Asked, |_| Why::Failed);
        self.stop(why, &mut signals).await;
        failure.map_or(Ok(()), |failure| Err(Error::Task(failure)))
    }

    async fn reload(&mut self, why: &str) {
        self.notifier.reloading();
        self.config = self.reloader.reload(why).await;
        self.notifier.ready("serving");
    }
}

/// What was learned is a help: that it cannot be written costs no pull.
fn keep(stored: std::io::Result<()>) {
    if let Err(error) = stored {
        tracing::debug!("cannot keep what was learned: {error}");
    }
}

#[cfg(test)]
mod tests;
