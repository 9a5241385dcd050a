//! The one task that owns which projects the tiers have: asks each tier with `[tier.discovery]` once per interval, publishes
//! what comes out, keeps it on disk.

#[cfg(test)]
mod tests;

use super::ask::AskHarbor;
use super::kept::{FILE, Kept, KeptListing};
use super::listing::Listing;
use super::mapping::map_all;
use super::others::Others;
use super::spread::endpoints_of;
use super::{Projects, TierState};
use crate::config::{Config, Tier};
use crate::lifecycle::{Random, contained, deadline};
use crate::metrics::Metrics;
use crate::printable::chain;
use crate::telemetry::{EventName, Journal, StateChange};
use crate::topology::{Snapshot, SourceId};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// A tier whose projects are known from disk is asked within this, so that a fleet that restarts does not ask at once.
const FIRST_WITHIN: Duration = Duration::from_secs(30);
/// The first wait after a failure, doubled by each further one up to the interval.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// A project that Harbor says it has not got is asked for no sooner than this after the last discovery, doubled each time.
const AFTER_MISSING: Duration = Duration::from_secs(60);

/// What the task follows.
pub(super) struct Inputs {
    /// As it is written, without what was found.
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    /// A SIGHUP asks all tiers again.
    pub(super) refreshes: mpsc::Receiver<()>,
    /// A Harbor says that it has not got a project.
    pub(super) missing: mpsc::Receiver<SourceId>,
}

/// Where the task tells.
pub(super) struct Outputs {
    pub(super) projects: watch::Sender<Arc<Projects>>,
    pub(super) others: Others,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
}

/// The task that discovers projects.
pub(super) struct Task<A> {
    asker: Arc<A>,
    inputs: Inputs,
    outputs: Outputs,
    file: PathBuf,
    kept: Kept,
    clocks: BTreeMap<Arc<str>, Clock>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    random: Random,
}

/// When a tier is asked, and how it went.
#[derive(Debug)]
struct Clock {
    due: Instant,
    asking: bool,
    /// Nobody could be asked: it is due as soon as the tier has an address.
    lacks_address: bool,
    asked: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// Discoveries in a row that a missing project brought about.
    missing: u32,
    error: Option<String>,
}

struct Done {
    tier: Arc<str>,
    url: String,
    result: Result<Listing, String>,
    /// What another agent heard of it, where nothing has been heard here.
    heard: Option<KeptListing>,
}

impl<A: AskHarbor> Task<A> {
    pub(super) fn new(
        asker: A,
        inputs: Inputs,
        outputs: Outputs,
        state_directory: &std::path::Path,
        seed: u64,
    ) -> Self {
        let file = state_directory.join(FILE);
        Self {
            asker: Arc::new(asker),
            inputs,
            outputs,
            kept: Kept::load(&file),
            file,
            clocks: BTreeMap::new(),
            jobs: FuturesUnordered::new(),
            random: Random::from_seed(seed),
        }
    }

    /// Runs until whoever sends configurations, or asks, is gone.
    pub(super) async fn run(mut self) {
        loop {
            self.start_what_is_due();
            let waiting = self.clocks.values().filter(|clock| !clock.asking);
            let wake = waiting.map(|clock| clock.due).min();
            let lacks_address = self.clocks.values().any(|clock| clock.lacks_address);
            // All arms are cancel-safe: `changed` and `recv` say so, `next` keeps the futures in the set, and time is computed anew.
            tokio::select! {
                changed = self.inputs.config.changed() => match changed {
                    Ok(()) => self.take_config(),
                    Err(_) => return,
                },
                refresh = self.inputs.refreshes.recv() => match refresh {
                    Some(()) => {
                        for clock in self.clocks.values_mut() {
                            clock.due = Instant::now();
                        }
                    }
                    None => return,
                },
                // Looked at above.
                Ok(()) = self.inputs.snapshot.changed(), if lacks_address => {}
                Some(source) = self.inputs.missing.recv() => self.take_missing(&source),
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.take_listing(done).await,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// A new configuration: what is known of tiers that stay where they are is kept.
    pub(super) fn take_config(&mut self) {
        let config = self.inputs.config.borrow_and_update().clone();
        let now = Instant::now();
        let discovered: Vec<&Arc<Tier>> = config
            .tiers
            .iter()
            .filter(|tier| tier.discovery.is_some())
            .collect();
        self.clocks
            .retain(|name, _| discovered.iter().any(|tier| tier.name == *name));
        for tier in discovered {
            let url = tier.url.to_string();
            let stays = |kept: &KeptListing| kept.url == url;
            if !self.kept.tiers.get(&tier.name).is_some_and(stays) {
                self.kept.tiers.remove(&tier.name);
                self.clocks.remove(&tier.name);
            }
            let is_kept = self.kept.tiers.contains_key(&tier.name);
            let spread = FIRST_WITHIN.mul_f64(self.random.fraction());
            self.clocks
                .entry(tier.name.clone())
                .or_insert_with(|| Clock {
                    due: if is_kept { deadline(now, spread) } else { now },
                    asking: false,
                    lacks_address: false,
                    asked: None,
                    failures: 0,
                    missing: 0,
                    error: None,
                });
        }
        self.publish(&config);
    }

    fn take_missing(&mut self, source: &SourceId) {
        let now = Instant::now();
        let SourceId::Tier(name) = source else {
            return;
        };
        let Some(clock) = self.clocks.get_mut(name) else {
            return;
        };
        let doubled = 1_u32.checked_shl(clock.missing).unwrap_or(u32::MAX);
        let wait = AFTER_MISSING.saturating_mul(doubled);
        let soonest = clock.asked.map_or(now, |asked| deadline(asked, wait));
        if soonest < clock.due {
            clock.due = soonest.max(now);
            clock.missing = clock.missing.saturating_add(1).min(16);
        }
    }

    fn start_what_is_due(&mut self) {
        let now = Instant::now();
        let snapshot = self.inputs.snapshot.borrow_and_update().clone();
        let config = self.inputs.config.borrow().clone();
        for (name, clock) in &mut self.clocks {
            let source = SourceId::Tier(name.clone());
            let endpoints = endpoints_of(&snapshot, &source);
            let has_one_now = clock.lacks_address && !endpoints.is_empty();
            if clock.asking || clock.due > now && !has_one_now {
                continue;
            }
            clock.asking = true;
            if has_one_now {
                clock.failures = 0;
            }
            clock.lacks_address = endpoints.is_empty();
            clock.asked = Some(now);
            let (tier, asker) = (name.clone(), self.asker.clone());
            let state = snapshot.source(&source).cloned();
            let mut all = config.tiers.iter();
            let unheard = all.find(|it| it.name == *name && !self.kept.tiers.contains_key(name));
            let unheard = self.outputs.others.unheard(unheard);
            self.jobs.push(Box::pin(async move {
                let mut is_silent = false;
                let (url, result) = match state {
                    None => {
                        is_silent = true;
                        let error = "the tier's addresses are not known yet".to_owned();
                        (String::new(), Err(error))
                    }
                    Some(state) => {
                        let asked = asker.ask(&state.source, &endpoints);
                        let result = match contained("project discovery", asked).await {
                            Ok(Ok(listing)) => Ok(listing),
                            Ok(Err(error)) => {
                                is_silent = error.is_silence();
                                Err(chain(&error))
                            }
                            Err(panicked) => Err(panicked.to_string()),
                        };
                        (state.source.url.to_string(), result)
                    }
                };
                let heard = unheard.heard(is_silent).await;
                Done {
                    tier,
                    url,
                    result,
                    heard,
                }
            }));
        }
    }

    async fn take_listing(&mut self, done: Done) {
        let config = self.inputs.config.borrow().clone();
        let tier = config.tiers.iter().find(|tier| tier.name == done.tier);
        let (Some(tier), Some(clock)) = (tier, self.clocks.get_mut(&done.tier)) else {
            return;
        };
        let Some(discovery) = &tier.discovery else {
            return;
        };
        clock.asking = false;
        let now = Instant::now();
        let word = match &done.result {
            Ok(_) => "ok",
            Err(_) => "failed",
        };
        self.outputs.metrics.discovery_refresh(&tier.name, word);
        match done.result {
            // The tier has moved meanwhile.
            Ok(_) if done.url != tier.url.to_string() => clock.due = now,
            Ok(listing) => {
                let spread = 0.5 + self.random.fraction();
                clock.due = deadline(now, discovery.interval.mul_f64(spread));
                let before = self.kept.tiers.get(&tier.name);
                if before.is_some_and(|kept| kept.listing != listing) {
                    clock.missing = 0;
                }
                (clock.failures, clock.error) = (0, None);
                let kept = KeptListing {
                    url: done.url,
                    asked_at: since_1970(SystemTime::now()),
                    listing,
                };
                self.outputs.others.tell(tier, &kept);
                self.kept.tiers.insert(tier.name.clone(), kept);
                Self::store(self.kept.clone(), self.file.clone()).await;
            }
            Err(error) => {
                let doubled = 1_u32.checked_shl(clock.failures).unwrap_or(u32::MAX);
                let wait = AFTER_FAILURE.saturating_mul(doubled);
                let spread = 0.5 + self.random.fraction();
                clock.due = deadline(now, wait.min(discovery.interval).mul_f64(spread));
                clock.failures = clock.failures.saturating_add(1).min(16);
                if clock.error.as_ref() != Some(&error) {
                    let name = &tier.name;
                    tracing::warn!(
                        "discovering the projects of tier {name}: {error}. What was found before stays"
                    );
                }
                clock.error = Some(error);
                if let Some(heard) = done.heard {
                    self.kept.tiers.entry(tier.name.clone()).or_insert(heard);
                }
            }
        }
        self.publish(&config);
    }

    /// Not on this thread, which the probes share: it waits for the disk.
    async fn store(kept: Kept, file: PathBuf) {
        let path = file.clone();
        let stored = tokio::task::spawn_blocking(move || kept.store(&file)).await;
        if let Err(error) = stored.map_err(io::Error::from).and_then(|stored| stored) {
            let path = path.display();
            tracing::warn!("cannot keep the projects that were found in {path}: {error}");
        }
    }

    /// Tells what is known now, and what of it is new.
    fn publish(&self, config: &Config) {
        let listings = self.kept.listings(config);
        let mut found = map_all(config, &listings);
        let mut tiers = BTreeMap::new();
        for (name, clock) in &self.clocks {
            let kept = self.kept.tiers.get(name);
            let state = TierState {
                found: found.remove(name).unwrap_or_default(),
                asked_at: kept.map(|kept| kept.asked_at),
                is_guessed: kept.is_some_and(|kept| kept.listing.endpoints.is_none()),
                error: clock.error.clone(),
            };
            self.outputs
                .metrics
                .projects(name, state.found.projects.len());
            tiers.insert(name.clone(), state);
        }
        let next = Arc::new(Projects { tiers });
        let before = self.outputs.projects.borrow().clone();
        for (name, state) in &next.tiers {
            self.say_changes(name, before.tiers.get(name), state);
        }
        self.outputs.projects.send_if_modified(|projects| {
            let changed = *projects != next;
            *projects = next;
            changed
        });
    }

    fn say_changes(&self, tier: &Arc<str>, before: Option<&TierState>, now: &TierState) {
        // At the start and for a new tier nothing has changed: what was found before it is in force again.
        let Some(TierState { found: before, .. }) = before else {
            return;
        };
        for warning in &now.found.warnings {
            if !before.warnings.contains(warning) {
                tracing::warn!("tier {tier}: {warning}");
            }
        }
        let changes = super::changes(&before.projects, &now.found.projects);
        if changes.is_empty() {
            return;
        }
        let reason = changes.join("; ");
        self.outputs.journal.event(StateChange {
            event: EventName::ProjectsChanged,
            tier: Some(tier.to_string()),
            endpoint: None,
            message: format!("projects of tier {tier}: {reason}"),
            reason,
        });
    }
}

fn since_1970(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
