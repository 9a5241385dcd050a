//! The one task that owns what DNS said: starts lookups when they are due, takes their answers over, publishes.

#[cfg(test)]
mod tests;

use super::known::{Change, Known};
use super::memory::{Memory, Remembered};
use super::named::{NamedHosts, Reply};
use super::resolver::{Answer, Resolve};
use super::{EndpointSets, QuietUntil};
use crate::config;
use crate::lifecycle::contained;
use crate::metrics::Metrics;
use crate::printable::counted;
use crate::telemetry::{EventName, Journal, StateChange};
use crate::topology::{SourceId, Sources};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// A lookup is given up after this, whatever the resolver does: 1 s × 2 tries, and room for search domains.
const LIMIT: Duration = Duration::from_secs(5);

/// Requests that wait for one source's answer; further ones do not wait.
const WAITING: usize = 512;

/// What the handle asks.
#[derive(Debug)]
pub(super) enum Request {
    /// A request wants an upstream.
    Touch(SourceId),
    /// A request has no address of a source: it waits for the next answer.
    Again(SourceId, oneshot::Sender<()>),
    /// Somebody wants a host's addresses.
    Lookup(String, Reply),
}

/// What the task follows.
pub(super) struct Inputs {
    pub(super) sources: watch::Receiver<Arc<Sources>>,
    pub(super) dns: watch::Receiver<config::Dns>,
    pub(super) inbox: mpsc::Receiver<Request>,
}

/// Where the task tells.
pub(super) struct Outputs {
    pub(super) sets: watch::Sender<Arc<EndpointSets>>,
    pub(super) quiet: watch::Sender<Arc<QuietUntil>>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) struct Task<R> {
    resolver: Arc<R>,
    inputs: Inputs,
    outputs: Outputs,
    file: PathBuf,
    memory: Memory,
    known: BTreeMap<SourceId, Known>,
    named: NamedHosts,
    /// Requests that wait for a source's answer.
    waiting: BTreeMap<SourceId, Vec<oneshot::Sender<()>>>,
    /// Sources that have been answered for, before that is published.
    answered: Vec<SourceId>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    saving: bool,
    unsaved: bool,
}

enum Done {
    Source(SourceId, String, Result<Answer, String>),
    Host(String, Result<Answer, String>),
    Saved(io::Result<()>),
}

/// What woke the task.
enum Wake {
    Sources,
    Dns,
    Request(Request),
    Done(Done),
    Time,
    Closed,
}

impl<R: Resolve> Task<R> {
    pub(super) fn new(resolver: R, inputs: Inputs, outputs: Outputs, file: PathBuf) -> Self {
        Self {
            resolver: Arc::new(resolver),
            inputs,
            outputs,
            file,
            memory: Memory::default(),
            known: BTreeMap::new(),
            named: NamedHosts::default(),
            waiting: BTreeMap::new(),
            answered: Vec::new(),
            jobs: FuturesUnordered::new(),
            saving: false,
            unsaved: false,
        }
    }

    /// Runs until everybody who could ask or tell is gone.
    pub(super) async fn run(mut self) {
        self.memory = Memory::load(&self.file).await;
        self.take_sources();
        loop {
            let now = Instant::now();
            self.start_what_is_due(now);
            self.publish(now);
            for source in std::mem::take(&mut self.answered) {
                // Dropped: each reads what is published.
                self.waiting.remove(&source);
            }
            match self.wait(now).await {
                Wake::Sources => self.take_sources(),
                Wake::Dns => {
                    for known in self.known.values_mut() {
                        known.ask_again(Instant::now());
                    }
                }
                Wake::Request(Request::Touch(source)) => {
                    if let Some(known) = self.known.get_mut(&source) {
                        known.touch(Instant::now());
                    }
                }
                Wake::Request(Request::Again(source, reply)) => {
                    let known = self.known.get_mut(&source);
                    if known.is_some_and(|known| known.ask_now(Instant::now())) {
                        let waiting = self.waiting.entry(source).or_default();
                        waiting.retain(|one| !one.is_closed());
                        if waiting.len() < WAITING {
                            waiting.push(reply);
                        }
                    }
                }
                Wake::Request(Request::Lookup(host, reply)) => {
                    self.named.ask(host, reply, Instant::now());
                }
                Wake::Done(Done::Source(source, host, result)) => {
                    self.source_done(&source, &host, result);
                }
                Wake::Done(Done::Host(host, result)) => {
                    let limits = self.inputs.dns.borrow().clone();
                    self.named.finished(&host, result, &limits, Instant::now());
                }
                Wake::Done(Done::Saved(result)) => self.saved(result),
                Wake::Time => {}
                Wake::Closed => return,
            }
        }
    }

    async fn wait(&mut self, now: Instant) -> Wake {
        let wakes = self.known.values().filter_map(|known| known.wakes(now));
        let wake = wakes.min();
        let Inputs {
            sources,
            dns,
            inbox,
        } = &mut self.inputs;
        // Whoever sends sources lives as long as the daemon; so do the handles. Either gone: nothing is left to do.
        // All arms are cancel-safe: `changed` and `recv` say so, `next` keeps the futures in the set, and time
        // is computed anew.
        tokio::select! {
            changed = sources.changed() => changed.map_or(Wake::Closed, |()| Wake::Sources),
            changed = dns.changed() => changed.map_or(Wake::Closed, |()| Wake::Dns),
            request = inbox.recv() => request.map_or(Wake::Closed, Wake::Request),
            Some(done) = self.jobs.next(), if !self.jobs.is_empty() => Wake::Done(done),
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => Wake::Time,
        }
    }

    /// New sources: what is known of those that dial the same place is kept.
    fn take_sources(&mut self) {
        let sources = self.inputs.sources.borrow_and_update().clone();
        let now = Instant::now();
        let mut old = std::mem::take(&mut self.known);
        for source in sources.all() {
            let kept = old.remove(&source.id).filter(|known| known.fits(source));
            let known = kept.unwrap_or_else(|| {
                let remembered = match &source.id {
                    SourceId::Tier(name) => self.memory.addresses(name, &source.dialled().host),
                    SourceId::Upstream(_) => Vec::new(),
                };
                Known::new(source, remembered, now)
            });
            self.known.insert(source.id.clone(), known);
        }
    }

    fn start_what_is_due(&mut self, now: Instant) {
        for (id, known) in &mut self.known {
            if known.is_due(now) {
                known.started(now, LIMIT);
                let lookup = look_up(self.resolver.clone(), known.host.clone());
                let (id, host) = (id.clone(), known.host.clone());
                self.jobs
                    .push(Box::pin(async { Done::Source(id, host, lookup.await) }));
            }
        }
        while let Some(host) = self.named.start_next() {
            let lookup = look_up(self.resolver.clone(), host.clone());
            self.jobs
                .push(Box::pin(async { Done::Host(host, lookup.await) }));
        }
        if self.unsaved && !self.saving {
            (self.unsaved, self.saving) = (false, true);
            let (memory, file) = (self.memory.clone(), self.file.clone());
            self.jobs.push(Box::pin(
                async move { Done::Saved(memory.store(&file).await) },
            ));
        }
    }

    fn source_done(&mut self, id: &SourceId, host: &str, result: Result<Answer, String>) {
        let now = Instant::now();
        self.answered.push(id.clone());
        // The source may have gone or moved while its old host was being asked for.
        let Some(known) = self.known.get_mut(id).filter(|known| known.host == host) else {
            return;
        };
        let change = match &result {
            Ok(answer) => known.answered(answer, &self.inputs.dns.borrow(), now),
            Err(reason) => known.failed(reason, now),
        };
        let word = match change {
            Change::Same => "ok",
            Change::Learned | Change::Changed { .. } => "changed",
            Change::WentStale { .. } | Change::StillStale => "failed",
        };
        self.outputs.metrics.dns_refresh(id.label(), word);
        if let (SourceId::Tier(name), Ok(_)) = (id, &result) {
            let remembered = Remembered {
                host: host.to_owned(),
                addresses: known.to_remember(),
            };
            if self.memory.tiers.get(&**name) != Some(&remembered) {
                self.memory.tiers.insert(name.to_string(), remembered);
                self.unsaved = true;
            }
        }
        let reason = result.err().unwrap_or_default();
        if let Some(event) = event(id, host, &change, &reason) {
            self.outputs.journal.event(event);
        }
    }

    fn saved(&mut self, result: io::Result<()>) {
        self.saving = false;
        if let Err(error) = result {
            // Tried again with the next change: what it holds matters at the next boot only.
            tracing::warn!(path = %self.file.display(), %error, "writing the last good DNS sets");
        }
    }

    /// Publishes what changed; readers are not woken for nothing.
    fn publish(&self, now: Instant) {
        self.outputs.sets.send_if_modified(|sets| {
            let mut changed = sets.len() != self.known.len();
            let mut fresh = EndpointSets::new();
            for (id, known) in &self.known {
                let set = known.published(now);
                let same = sets.get(id).filter(|old| ***old == set).cloned();
                changed |= same.is_none();
                fresh.insert(id.clone(), same.unwrap_or_else(|| Arc::new(set)));
            }
            if changed {
                *sets = Arc::new(fresh);
            }
            changed
        });
        self.outputs.quiet.send_if_modified(|quiet| {
            let lazy = self
                .known
                .iter()
                .filter(|(id, _)| matches!(id, SourceId::Upstream(_)));
            let fresh: QuietUntil = lazy
                .map(|(id, known)| (id.clone(), known.quiet_until()))
                .collect();
            let changed = **quiet != fresh;
            if changed {
                *quiet = Arc::new(fresh);
            }
            changed
        });
    }
}

async fn look_up(resolver: Arc<impl Resolve>, host: String) -> Result<Answer, String> {
    // A panic over what a server says must not end the task that all sources need.
    let asked = contained("lookup", resolver.resolve(&host));
    let asked = asked.map(|ended| ended.unwrap_or_else(|panicked| Err(panicked.to_string())));
    match timeout(LIMIT, asked).await {
        Ok(Ok(answer)) if answer.addresses.is_empty() => {
            Err("the name has no addresses".to_owned())
        }
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// The event of a change, if it is one for people. Upstreams are names of content networks, which answer
/// something else every time: their changes are no events.
fn event(id: &SourceId, host: &str, change: &Change, error: &str) -> Option<StateChange> {
    let list = |addresses: &[SocketAddr]| {
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        texts.join(", ")
    };
    let (event, reason, message) = match change {
        Change::Changed { added, removed } if matches!(id, SourceId::Tier(_)) => {
            let reason = match (added.as_slice(), removed.as_slice()) {
                (added, []) => format!("added {}", list(added)),
                ([], removed) => format!("removed {}", list(removed)),
                (added, removed) => format!("added {}, removed {}", list(added), list(removed)),
            };
            let message = format!("{host} of {id} has other addresses: {reason}");
            (EventName::DnsChanged, reason, message)
        }
        Change::WentStale { kept: 0 } => {
            let message = format!("looking up {host} of {id} failed and no address is known");
            (EventName::DnsStale, error.to_owned(), message)
        }
        Change::WentStale { kept } => {
            let kept = counted(*kept as u64, "address", "addresses");
            let message = format!("looking up {host} of {id} failed; keeping {kept}");
            (EventName::DnsStale, error.to_owned(), message)
        }
        _ => return None,
    };
    let message = format!(
        "{message}{}{error}",
        if error.is_empty() { "" } else { ": " }
    );
    Some(StateChange {
        event,
        tier: Some(id.label().to_owned()),
        endpoint: None,
        reason,
        message,
    })
}
