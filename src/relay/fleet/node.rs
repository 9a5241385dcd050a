//! One node of the fleet: the real candidates, memories and health task, and a containerd that pulls.

use super::counts::What;
use super::search::{Found, Search, Wish};
use super::site::{Line, Work};
use super::world::{Image, World};
use crate::budget::Budget;
use crate::cache::Trust;
use crate::discovery::EndpointSets;
use crate::health::{Health, ProbeReport, Prober, Verdict};
use crate::lifecycle::{self, Tasks};
use crate::oci::Digest;
use crate::relay::rules::Asked;
use crate::relay::timing::Timing;
use crate::relay::{Relay, RelayParts};
use crate::topology::{EndpointId, Failure, Outcome, OutcomeReport, Source, Sources};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// As `upstream::pool` keeps them.
const IDLE_LIMIT: Duration = Duration::from_secs(55);
const IDLE_LINES: usize = 32;

/// kubelet's back-off after a failed pull.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LAST_BACK_OFF: Duration = Duration::from_secs(300);

pub(super) struct Node {
    pub(super) world: Arc<World>,
    pub(super) parts: Arc<RelayParts>,
    idle: Mutex<HashMap<EndpointId, Vec<Line>>>,
    _open: Open,
}

/// The other ends of what its health task watches: closed, they would end it. Each node has its own, as on a machine of its
/// own: in one channel for all, every turn of a node would touch those that wait before and behind it.
struct Open {
    _sources: watch::Sender<Arc<Sources>>,
    _sets: watch::Sender<Arc<EndpointSets>>,
}

/// Asks modelled addresses how they are.
struct ModelProber {
    world: Arc<World>,
    node: u32,
}

impl Prober for ModelProber {
    async fn probe(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<String>,
    ) -> ProbeReport {
        let began = Instant::now();
        let limit = self.world.timeouts.connect.min(source.probe.timeout);
        let verdict = match self.world.site(endpoint).probe(self.node, limit).await {
            Ok(()) => Verdict::Passed,
            Err(failure) => Verdict::Failed {
                failure,
                detail: String::new(),
            },
        };
        ProbeReport {
            verdict,
            took: began.elapsed(),
            lowered: false,
            cookie,
        }
    }
}

// === impl Node ===

impl Node {
    /// Starts its health task; `seed` is its own.
    pub(super) fn start(world: &Arc<World>, index: u32, seed: u64) -> Arc<Self> {
        let prober = ModelProber {
            world: world.clone(),
            node: index,
        };
        let outside = &world.outside;
        let (send_sources, sources) = watch::channel(outside.sources.clone());
        let (send_sets, sets) = watch::channel(outside.sets.clone());
        let health = Health::start(
            sources,
            sets,
            prober,
            outside.journal.clone(),
            outside.metrics.clone(),
            // A list of its own: each start looks through the whole list for tasks that have ended.
            &Tasks::default(),
            seed,
        );
        let relay = Relay::new(RelayParts::new(
            world.config.clone(),
            outside.client.clone(),
            outside.exchanger.clone(),
            outside.discovery.clone(),
            health,
            outside.journal.clone(),
            outside.metrics.clone(),
            Budget::unlimited(),
            // Nothing is read from there.
            std::path::Path::new(""),
            seed,
        ));
        Arc::new(Self {
            world: world.clone(),
            parts: relay.parts().clone(),
            idle: Mutex::default(),
            _open: Open {
                _sources: send_sources,
                _sets: send_sets,
            },
        })
    }

    /// Pulls until it has the image, as kubelet has containerd do it.
    pub(super) async fn pull(self: Arc<Self>, image: Arc<Image>) {
        let mut back_off = FIRST_BACK_OFF;
        while self.try_pull(&image).await.is_none() {
            sleep(back_off).await;
            back_off = (back_off * 2).min(LAST_BACK_OFF);
        }
    }

    /// The index by its tag, the manifest, then everything that it names at the same time.
    async fn try_pull(self: &Arc<Self>, image: &Arc<Image>) -> Option<()> {
        self.manifest(image, None).await?;
        self.manifest(image, Some(image.manifest.clone())).await?;
        let blobs = image.blobs.iter().map(|(digest, work)| {
            let (node, image) = (self.clone(), image.clone());
            async move { node.blob(&image, digest.clone(), *work).await }
        });
        join_all(blobs).await.into_iter().collect()
    }

    async fn manifest(self: &Arc<Self>, image: &Arc<Image>, digest: Option<Digest>) -> Option<()> {
        self.parts.hedging.requested(Trust::Trusted);
        let timeouts = &self.parts.timeouts;
        let wish = Wish {
            route: image.route.clone(),
            digest,
            asked: Asked::Document,
            timing: crate::relay::manifest::timing(timeouts),
        };
        let found = self.search(wish, &[]).await?;
        let blobs = image.blobs.iter().map(|(digest, _)| digest);
        let learned = blobs.chain([&image.manifest]);
        let (sticky, now) = (&self.parts.stickiness, Instant::now());
        sticky.answered(
            (&image.route, Trust::Trusted),
            &found.endpoint,
            learned,
            now,
        );
        self.park(&found.endpoint, found.line);
        Some(())
    }

    /// The body goes on from another source when its own stalls, as `relay::body` has it.
    async fn blob(self: &Arc<Self>, image: &Arc<Image>, digest: Digest, work: Work) -> Option<()> {
        let timeouts = &self.parts.timeouts;
        let wish = Wish {
            route: image.route.clone(),
            digest: Some(digest),
            asked: Asked::Blob {
                range: None,
                size: None,
                empty: false,
            },
            timing: Timing {
                upstream_joins: None,
                overtake: Some(timeouts.stall),
                ..crate::relay::manifest::timing(timeouts)
            },
        };
        let mut found = self.search(wish.clone(), &[]).await?;
        let mut broke = Vec::new();
        let mut part = 1.0;
        loop {
            let site = self.world.site(&found.endpoint);
            let whole = match work {
                Work::Layer => site.kind.layer,
                Work::Config => Duration::ZERO,
            };
            let Found {
                endpoint,
                line,
                in_flight,
            } = found;
            let Err(left) = site.transfer(whole.mul_f64(part)).await else {
                drop(in_flight);
                self.park(&endpoint, line);
                return Some(());
            };
            part = if whole.is_zero() {
                1.0
            } else {
                left.div_duration_f64(whole)
            };
            sleep(timeouts.stall).await;
            broke.push(endpoint.clone());
            // The last living source would be waited for; here all that stalls is dead.
            found = self.search(wish.clone(), &broke).await?;
            self.report(&endpoint, Outcome::Soft(Failure::Slow));
            drop(in_flight);
        }
    }

    async fn search(self: &Arc<Self>, wish: Wish, without: &[EndpointId]) -> Option<Found> {
        let (requests, began) = (&self.world.requests, Instant::now());
        requests.add(What::Request);
        let found = Search::new(self.clone(), wish).without(without).run().await;
        if found.is_none() {
            requests.add(What::Refused);
        }
        self.world.took(began);
        found
    }

    /// A kept connection.
    pub(super) fn idle(&self, endpoint: &EndpointId) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = idle.get_mut(endpoint)?;
        lines.retain(|line| line.since.elapsed() < IDLE_LIMIT);
        lines.pop()
    }

    /// Keeps a connection.
    pub(super) fn park(&self, endpoint: &EndpointId, mut line: Line) {
        line.since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = idle.entry(endpoint.clone()).or_default();
        if lines.len() < IDLE_LINES {
            lines.push(line);
        }
    }

    pub(super) fn report(&self, endpoint: &EndpointId, outcome: Outcome) {
        self.parts.health.report(OutcomeReport {
            endpoint: endpoint.clone(),
            outcome,
            first_byte: None,
            detail: String::new(),
        });
    }

    /// As `relay::search::reports` has it.
    pub(super) fn report_success(&self, endpoint: &EndpointId, took: Duration) {
        let snapshot = self.parts.snapshots.borrow().clone();
        let source = snapshot.source(&endpoint.source);
        let state = source.and_then(|source| {
            let mut endpoints = source.endpoints.iter();
            endpoints.find(|state| state.id == *endpoint)
        });
        self.parts.health.report_success(state, || OutcomeReport {
            endpoint: endpoint.clone(),
            outcome: Outcome::Success,
            first_byte: Some(took),
            detail: String::new(),
        });
    }

    /// Pulls for ever, at random moments.
    pub(super) fn keep_busy(self: Arc<Self>, mean: Duration, mut dice: super::world::Dice) {
        lifecycle::spawn_detached("a node's pods", async move {
            loop {
                sleep(mean.mul_f64(-(1.0 - dice.fraction()).ln())).await;
                let image = self.world.image(&mut dice);
                lifecycle::spawn_detached("a pull", self.clone().pull(image));
            }
        });
    }
}
