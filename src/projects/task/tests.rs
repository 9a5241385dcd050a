//! When Harbors are asked: in paused time, with a scripted asker.

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
    _snapshot: watch::Sender<Arc<Snapshot>>,
}

fn snapshot(config: &Config) -> Arc<Snapshot> {
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
                endpoints: (1..=5).map(endpoint).collect(),
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
    let config = Arc::new(Config::from_toml(CONFIG).unwrap());
    let (snapshot_in, snapshot) = watch::channel(snapshot(&config));
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
        _snapshot: snapshot_in,
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

/// The text that an agent which heard the Harbor tells, and whose it is.
async fn heard() -> (String, Vec<u8>) {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let mut first = start(&asker, &home, 1);
    match first.others.recv().await {
        Some(SharedListing::Heard { account, text }) => (account, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_agent_heard_counts_where_harbor_has_said_nothing() {
    let (account, text) = heard().await;
    assert_eq!(account, "@https://core.example.com");
    let elsewhere = String::from_utf8(text.clone()).unwrap();
    let elsewhere = elsewhere.replace("core.example.com", "other.example.com");
    let found = [("quay.io".to_owned(), "q".to_owned())];
    for (answer, due) in [
        (Some(text), &found[..]),
        (Some(elsewhere.into_bytes()), &[]),
        (Some(b"{\"url\":".to_vec()), &[]),
        (None, &[]),
    ] {
        let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
        let mut stage = start(&asker, &home, 1);
        let Some(SharedListing::Wanted { account, reply }) = stage.others.recv().await else {
            panic!("asks");
        };
        assert_eq!(account, "@https://core.example.com");
        reply.send(answer).unwrap();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(stage.found(), due);
        // Harbor's own word is taken as soon as it comes.
        asker.says(&["r"]);
        sleep(minutes(2)).await;
        assert_eq!(stage.found(), [("quay.io".to_owned(), "r".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_who_answers_late_holds_discovery_up() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    let mut stage = start(&asker, &home, 1);
    let asked = stage.others.recv().await;
    asker.says(&["q"]);
    sleep(minutes(1)).await;
    assert_eq!(stage.found(), [("quay.io".to_owned(), "q".to_owned())]);
    drop(asked);
}

/// Another agent's listing may be written by whoever can write to Redis; a Harbor that answers is not silent.
#[tokio::test(start_paused = true)]
async fn what_another_agent_heard_counts_for_no_harbor_that_answers() {
    let status = |status| Error::Status {
        what: "its projects",
        status,
    };
    let forbidden = Error::Forbidden {
        what: "its projects",
        permission: "Project: list",
    };
    let source = serde_json::from_str::<u8>("<html>").unwrap_err();
    let unreadable = Error::Unreadable {
        what: "its projects",
        source,
    };
    let broken = |failure| {
        Error::Unreachable(crate::upstream::Error {
            failure,
            doing: String::new(),
            source: "".into(),
            stale_connection: false,
        })
    };
    for (error, is_silent) in [
        (Error::Unauthorized("its projects"), false),
        (forbidden, false),
        (status(StatusCode::UNPROCESSABLE_ENTITY), false),
        (status(StatusCode::TOO_MANY_REQUESTS), false),
        (status(StatusCode::FOUND), false),
        (unreadable, false),
        (Error::TooMany("its projects"), false),
        (broken(Failure::Tls), false),
        (broken(Failure::Content), false),
        (status(StatusCode::BAD_GATEWAY), true),
        (Error::Silent("its projects"), true),
        (broken(Failure::Refused), true),
        (broken(Failure::ConnectTimeout), true),
        (broken(Failure::Reset), true),
    ] {
        let what = format!("{error:?}");
        let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
        *asker.refusal.lock().unwrap() = Some(error);
        let mut stage = start(&asker, &home, 1);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(asker.times(), 1);
        assert_eq!(stage.others.try_recv().is_ok(), is_silent, "{what}");
    }
}
