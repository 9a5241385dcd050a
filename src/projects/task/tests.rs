//! When Harbors are asked: in paused time, with a scripted asker.

mod others;

use super::*;
use crate::budget::Budget;
use crate::projects::SharedListing;
use crate::projects::ask::Error;
use crate::projects::listing::{Endpoint, Project};
use crate::projects::spread::ADDRESSES;
use crate::telemetry::Captured;
use crate::topology::{
    EndpointId, EndpointState, EndpointStatus, Failure, Source, SourceState, Sources,
};
use http::StatusCode;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

const CONFIG: &str = r#"
[[tier]]
name = "core"
url = "https://core.example.com"
[tier.discovery]
enabled = true
interval = "30m"
"#;

/// Answers with the listing, or not at all; says when it was asked.
#[derive(Clone, Default)]
struct Scripted {
    listing: Arc<Mutex<Option<Listing>>>,
    asked: Arc<Mutex<Vec<(Instant, usize)>>>,
    /// What it says in place of nothing.
    refusal: Arc<Mutex<Option<Error>>>,
}

impl AskHarbor for Scripted {
    async fn ask(&self, _: &Arc<Source>, endpoints: &[EndpointId]) -> Result<Listing, Error> {
        self.asked
            .lock()
            .unwrap()
            .push((Instant::now(), endpoints.len()));
        let refusal = || self.refusal.lock().unwrap().take();
        let listing = self.listing.lock().unwrap().clone();
        let listing = listing.filter(|_| !endpoints.is_empty());
        listing.ok_or_else(|| refusal().unwrap_or(Error::NoAddress))
    }
}

impl Scripted {
    fn says(&self, projects: &[&str]) {
        let listing = Listing {
            projects: projects
                .iter()
                .map(|name| Project {
                    name: (*name).to_owned(),
                    registry_id: 1,
                    is_public: true,
                })
                .collect(),
            endpoints: Some(vec![Endpoint {
                id: 1,
                provider: "quay".to_owned(),
                url: "https://quay.io".to_owned(),
            }]),
            doubled: Vec::new(),
        };
        *self.listing.lock().unwrap() = Some(listing);
    }

    fn fails(&self) {
        *self.listing.lock().unwrap() = None;
    }

    fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Stage {
    asker: Scripted,
    config: watch::Sender<Arc<Config>>,
    refreshes: mpsc::Sender<()>,
    missing: mpsc::Sender<SourceId>,
    projects: watch::Receiver<Arc<Projects>>,
    others: mpsc::Receiver<SharedListing>,
    journal: Captured,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

/// The tier has so many addresses.
fn snapshot(config: &Config, addresses: u8) -> Arc<Snapshot> {
    let states = Sources::from_config(config, 1)
        .tiers
        .into_iter()
        .map(|source| {
            let endpoint = |last: u8| EndpointState {
                id: EndpointId {
                    source: source.id.clone(),
                    address: ([192, 0, 2, last], 443).into(),
                },
                status: EndpointStatus::Healthy,
                lowered: false,
                since: Instant::now(),
                next_try: None,
                readmitted: None,
                gauges: Arc::default(),
                reason: None,
                latency: None,
            };
            Arc::new(SourceState {
                endpoints: (1..=addresses).map(endpoint).collect(),
                source: source.clone(),
                ready: true,
                dns_stale: false,
                dns_error: None,
                refused: None,
            })
        });
    Arc::new(Snapshot {
        generation: 1,
        sources: states.collect(),
    })
}

fn start(asker: &Scripted, home: &TempDir, seed: u64) -> Stage {
    start_with(asker, home, seed, 5)
}

fn start_with(asker: &Scripted, home: &TempDir, seed: u64, addresses: u8) -> Stage {
    let config = Arc::new(Config::from_toml(CONFIG).unwrap());
    let (snapshot_in, snapshot) = watch::channel(snapshot(&config, addresses));
    let (config_in, config) = watch::channel(config);
    let (refreshes, refreshed) = mpsc::channel(1);
    let (missing_in, missing) = mpsc::channel(16);
    let (publish, projects) = watch::channel(Arc::default());
    let (journal, captured) = Journal::capturing();
    journal.count_in(&Budget::new(64 << 20));
    let inputs = Inputs {
        config,
        snapshot,
        refreshes: refreshed,
        missing,
    };
    let (others_in, others) = mpsc::channel(4);
    let outputs = Outputs {
        projects: publish,
        others: Others(others_in),
        journal,
        metrics: Arc::default(),
    };
    let mut task = Task::new(asker.clone(), inputs, outputs, home.path(), seed);
    task.take_config();
    crate::lifecycle::spawn_detached("project discovery", task.run());
    Stage {
        asker: asker.clone(),
        config: config_in,
        refreshes,
        missing: missing_in,
        projects,
        others,
        journal: captured,
        snapshot: snapshot_in,
    }
}

impl Stage {
    fn found(&self) -> Vec<(String, String)> {
        let projects = self.projects.borrow().paths();
        let of_core = projects.get("core").cloned().unwrap_or_default();
        of_core
            .into_iter()
            .map(|(registry, path)| (registry.to_string(), path))
            .collect()
    }

    /// DNS has answered.
    fn addresses(&self, count: u8) {
        let config = self.config.borrow().clone();
        self.snapshot.send_replace(snapshot(&config, count));
    }

    fn changes(&self) -> usize {
        let events = self.journal.events();
        let is_one = |change: &&StateChange| change.event == EventName::ProjectsChanged;
        events.iter().filter(is_one).count()
    }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[tokio::test(start_paused = true)]
async fn a_tier_is_asked_once_per_interval_whatever_its_addresses() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let stage = start(&asker, &home, 1);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.found(), [("quay.io".to_owned(), "q".to_owned())]);
    assert_eq!(asker.times(), 1);
    sleep(minutes(60 * 24)).await;
    let asked = asker.asked.lock().unwrap().clone();
    // 48 intervals a day.
    assert!((40..=60).contains(&asked.len()), "{}", asked.len());
    let waits = asked.windows(2).map(|two| two[1].0 - two[0].0);
    let waits: Vec<Duration> = waits.collect();
    assert!(
        waits
            .iter()
            .all(|wait| (minutes(15)..=minutes(45)).contains(wait)),
        "{waits:?}"
    );
    assert!(waits.iter().min() != waits.iter().max(), "spread");
    assert!(asked.iter().all(|(_, addresses)| *addresses == ADDRESSES));
    assert_eq!(stage.changes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_restarts_does_not_ask_at_once() {
    let home = TempDir::new().unwrap();
    let asker = Scripted::default();
    asker.says(&["q"]);
    let stage = start(&asker, &home, 1);
    sleep(Duration::from_millis(10)).await;
    drop(stage);
    let mut firsts = Vec::new();
    for seed in 0..20 {
        let asker = Scripted::default();
        asker.says(&["q"]);
        let stage = start(&asker, &home, seed * 7919);
        let began = Instant::now();
        assert_eq!(stage.found().len(), 1, "known from disk, at once");
        sleep(FIRST_WITHIN + Duration::from_secs(1)).await;
        assert_eq!(asker.times(), 1);
        firsts.push(asker.asked.lock().unwrap()[0].0 - began);
        assert_eq!(stage.changes(), 0);
    }
    let soon = firsts
        .iter()
        .filter(|wait| **wait < Duration::from_secs(10))
        .count();
    assert!((2..=14).contains(&soon), "{firsts:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_keep_what_was_found() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let stage = start(&asker, &home, 3);
    sleep(Duration::from_millis(10)).await;
    asker.fails();
    stage.refreshes.send(()).await.unwrap();
    sleep(minutes(10)).await;
    // 5, 10, 20, … s.
    let tries = asker.times();
    assert!((6..=10).contains(&tries), "{tries}");
    assert_eq!(stage.found().len(), 1);
    let error = stage.projects.borrow().tiers["core"].error.clone();
    assert_eq!(error.unwrap(), Error::NoAddress.to_string());
    asker.says(&["q"]);
    sleep(minutes(30)).await;
    assert_eq!(stage.projects.borrow().tiers["core"].error, None);
    assert_eq!(stage.changes(), 1, "the first one");
}

#[tokio::test(start_paused = true)]
async fn a_missing_project_is_asked_for_with_back_off() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let stage = start(&asker, &home, 4);
    let began = Instant::now();
    // A burst of pulls of something that Harbor has not got, for ten minutes.
    while began.elapsed() < minutes(10) {
        let tier = SourceId::Tier("core".into());
        let _ = stage.missing.try_send(tier);
        sleep(Duration::from_secs(1)).await;
    }
    let asked = asker.asked.lock().unwrap().clone();
    let at: Vec<u64> = asked
        .iter()
        .map(|(at, _)| (*at - began).as_secs())
        .collect();
    assert!(at[1] >= 60, "{at:?}");
    assert!((3..=5).contains(&at.len()), "{at:?}");
    // What is found to be another one is asked for early again.
    asker.says(&["other"]);
    stage.refreshes.send(()).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.found(), [("quay.io".to_owned(), "other".to_owned())]);
    assert_eq!(stage.changes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_no_longer_asked_is_forgotten() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let stage = start(&asker, &home, 5);
    sleep(Duration::from_millis(10)).await;
    let off = CONFIG.replace("enabled = true", "enabled = false");
    let off = off.replace("url =", "project = \"p-{registry}\"\nurl =");
    stage
        .config
        .send_replace(Arc::new(Config::from_toml(&off).unwrap()));
    sleep(Duration::from_millis(10)).await;
    assert!(stage.found().is_empty());
    let asked = stage.asker.times();
    sleep(minutes(120)).await;
    assert_eq!(stage.asker.times(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_tier_is_asked_as_soon_as_it_has_an_address() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let stage = start_with(&asker, &home, 1, 0);
    // DNS takes longer and longer between two tries of discovery, and says nothing at first.
    sleep(minutes(20)).await;
    for _ in 0..3 {
        stage.addresses(0);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stage.found(), []);
    let (tries, since) = (asker.times(), Instant::now());
    stage.addresses(1);
    let mut projects = stage.projects.clone();
    let is_found = |projects: &Arc<Projects>| !projects.paths()["core"].is_empty();
    projects.wait_for(is_found).await.unwrap();
    assert_eq!(since.elapsed(), Duration::ZERO);
    // Nothing is left of what was tried in vain: a failure that follows is the first one.
    asker.fails();
    stage.refreshes.send(()).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert!(asker.times() >= tries + 3);
    // Changes of the addresses are no reason to ask any more.
    asker.says(&["q"]);
    sleep(minutes(1)).await;
    let asked = asker.times();
    for count in [0, 2, 0, 3] {
        stage.addresses(count);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(asker.times(), asked);
}
