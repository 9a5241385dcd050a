//! Tests of health/task.

use super::*;
use crate::health::Health;
use crate::health::testing::{refused, report, sets, sources};
use crate::lifecycle::Tasks;
use crate::topology::testing::{endpoint, tier, upstream};
use crate::topology::{EndpointStatus, Outcome, Source, SourceId};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Mutex;

/// What all endpoints answer, and who was asked when.
#[derive(Clone)]
struct Script {
    verdict: Arc<Mutex<Verdict>>,
    takes: Duration,
    asked: Arc<Mutex<HashMap<EndpointId, Vec<Instant>>>>,
    cookies: Arc<Mutex<Vec<Option<String>>>>,
}

impl Script {
    fn new(takes: Duration) -> Self {
        Self {
            verdict: Arc::new(Mutex::new(Verdict::Passed)),
            takes,
            asked: Arc::default(),
            cookies: Arc::default(),
        }
    }

    fn says(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap() = verdict;
    }

    fn asked(&self, endpoint: &EndpointId) -> usize {
        self.asked.lock().unwrap().get(endpoint).map_or(0, Vec::len)
    }
}

impl Prober for Script {
    async fn probe(
        &self,
        _source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<String>,
    ) -> ProbeReport {
        {
            let mut asked = self.asked.lock().unwrap();
            let times = asked.entry(endpoint.clone()).or_default();
            times.push(Instant::now());
        }
        self.cookies.lock().unwrap().push(cookie);
        tokio::time::sleep(self.takes).await;
        let verdict = self.verdict.lock().unwrap().clone();
        assert_ne!(verdict, falls(), "over the edge");
        ProbeReport {
            verdict,
            took: self.takes,
            lowered: false,
            cookie: Some("sid=7".to_owned()),
        }
    }
}

struct Running {
    script: Script,
    health: Health,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    _sources: watch::Sender<Arc<Sources>>,
    sets: watch::Sender<Arc<EndpointSets>>,
}

fn start(script: &Script, replicas: &[u8]) -> Running {
    let (keep, sources) = watch::channel(sources(&["replica"]));
    let all = sets(&[(tier("replica"), replicas), (upstream(), &[21])]);
    let (send_sets, sets) = watch::channel(all);
    let health = Health::start(
        sources,
        sets,
        script.clone(),
        Journal::discarding(),
        Arc::default(),
        &Tasks::default(),
        42,
    );
    Running {
        script: script.clone(),
        snapshot: health.snapshot(),
        health,
        _sources: keep,
        sets: send_sets,
    }
}

impl Running {
    async fn until(&mut self, id: &SourceId, last: u8, fits: impl Fn(EndpointStatus) -> bool) {
        let id = endpoint(id, last);
        let found = |snapshot: &Arc<Snapshot>| {
            let source = snapshot.source(&id.source);
            let mut endpoints = source.iter().flat_map(|source| &source.endpoints);
            endpoints.any(|endpoint| endpoint.id == id && fits(endpoint.status))
        };
        self.snapshot.wait_for(found).await.unwrap();
    }
}

fn falls() -> Verdict {
    Verdict::Unhealthy("falls".to_owned())
}

fn unreachable() -> Verdict {
    Verdict::Failed {
        failure: Failure::ConnectTimeout,
        detail: "no answer".to_owned(),
    }
}

fn is_ejected(status: EndpointStatus) -> bool {
    matches!(status, EndpointStatus::Ejected { .. })
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// H2's budget for a healthy address: 0.02 per second. The node is in use.
#[tokio::test(start_paused = true)]
async fn healthy_addresses_are_probed_within_the_budget() {
    let script = Script::new(Duration::from_millis(30));
    let running = start(&script, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for _ in 0..60 {
        pass(60).await;
        let success = report(&endpoint(&upstream(), 21), Outcome::Success);
        running.health.report(success);
    }
    for last in 1..=8 {
        let asked = script.asked(&endpoint(&tier("replica"), last));
        assert!((45..=72).contains(&asked), "{asked} in an hour");
    }
    assert_eq!(script.asked(&endpoint(&upstream(), 21)), 0, "never");
    let cookies = script.cookies.lock().unwrap();
    let without = cookies.iter().filter(|cookie| cookie.is_none()).count();
    assert_eq!(without, 8, "the first of each address");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_pulls_probes_less() {
    let script = Script::new(Duration::from_millis(30));
    let running = start(&script, &[1]);
    pass(900).await;
    let before = script.asked(&endpoint(&tier("replica"), 1));
    pass(3600).await;
    let asked = script.asked(&endpoint(&tier("replica"), 1)) - before;
    assert!((8..=18).contains(&asked), "{asked} in an hour");
    drop(running);
}

/// H2's budget for an ejection: 15 in its first ten minutes.
#[tokio::test(start_paused = true)]
async fn an_ejection_is_probed_within_the_budget() {
    let script = Script::new(Duration::from_millis(30));
    let mut running = start(&script, &[1, 2]);
    pass(20).await;
    script.says(unreachable());
    let dead = endpoint(&tier("replica"), 1);
    let before = script.asked(&dead);
    running.health.report(refused(&dead));
    running.until(&tier("replica"), 1, is_ejected).await;
    pass(600).await;
    let asked = script.asked(&dead) - before;
    assert!((8..=15).contains(&asked), "{asked} in ten minutes");
    // It comes back: found within a minute, and in use again without a single pull.
    script.says(Verdict::Passed);
    let back = Instant::now();
    let healthy = |status| status == EndpointStatus::Healthy;
    running.until(&tier("replica"), 1, healthy).await;
    assert!(
        back.elapsed() < Duration::from_secs(400),
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_says_nothing_and_ends_nothing() {
    let script = Script::new(Duration::from_millis(30));
    let mut running = start(&script, &[1]);
    script.says(falls());
    pass(600).await;
    let asked = script.asked(&endpoint(&tier("replica"), 1));
    assert!(asked >= 3, "{asked} times in ten minutes");
    let healthy = |status| status == EndpointStatus::Healthy;
    running.until(&tier("replica"), 1, healthy).await;
    script.says(unreachable());
    running.until(&tier("replica"), 1, is_ejected).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_is_found_by_two_probes() {
    let script = Script::new(Duration::from_millis(30));
    script.says(unreachable());
    let mut running = start(&script, &[1]);
    let begin = Instant::now();
    running.until(&tier("replica"), 1, is_ejected).await;
    assert!(begin.elapsed() <= Duration::from_secs(16));
    assert_eq!(script.asked(&endpoint(&tier("replica"), 1)), 2);
    let replica = running.snapshot.borrow().source(&tier("replica")).cloned();
    assert!(!replica.unwrap().ready);
}

#[tokio::test(start_paused = true)]
async fn four_at_once_and_none_for_ever() {
    let script = Script::new(Duration::from_secs(3600));
    let mut running = start(&script, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    pass(120).await;
    // A prober that never ends is ended: everybody was asked, and found wanting.
    for last in 1..=10 {
        let asked = running.script.asked(&endpoint(&tier("replica"), last));
        assert!(asked >= 2, "{asked}");
        running.until(&tier("replica"), last, is_ejected).await;
    }
    let asked = script.asked.lock().unwrap();
    let mut all: Vec<Instant> = asked.values().flatten().copied().collect();
    all.sort();
    let spans = all.windows(5);
    let limit = Duration::from_secs(4);
    assert!(spans.clone().count() > 0);
    for span in spans {
        assert!(span[4] - span[0] >= limit, "five within {limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_published_without_time_passing() {
    let script = Script::new(Duration::from_millis(30));
    let mut running = start(&script, &[1, 2]);
    running
        .until(&tier("replica"), 2, |status| {
            status == EndpointStatus::Healthy
        })
        .await;
    let now = Instant::now();
    running
        .health
        .report(refused(&endpoint(&tier("replica"), 2)));
    running.until(&tier("replica"), 2, is_ejected).await;
    assert_eq!(now.elapsed(), Duration::ZERO);
    // What nobody can see is not published.
    running.snapshot.borrow_and_update();
    let first = endpoint(&tier("replica"), 1);
    for _ in 0..500 {
        running.health.report(report(&first, Outcome::Success));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!running.snapshot.has_changed().unwrap());
    let more = sets(&[(tier("replica"), &[1, 2, 3])]);
    running.sets.send_replace(more);
    running
        .until(&tier("replica"), 3, |status| {
            status == EndpointStatus::Healthy
        })
        .await;
    assert_eq!(
        running
            .snapshot
            .borrow()
            .source(&upstream())
            .unwrap()
            .endpoints
            .len(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_what_it_cannot_take_and_nobody_waits() {
    let script = Script::new(Duration::from_millis(30));
    let mut running = start(&script, &[1]);
    let first = endpoint(&tier("replica"), 1);
    // The task does not run before this test waits.
    for _ in 0..OUTCOMES + 5 {
        running.health.report(report(&first, Outcome::Success));
    }
    tokio::task::yield_now().await;
    let refused = Outcome::Hard(Failure::Refused);
    running.health.report(report(&first, refused));
    running.until(&tier("replica"), 1, is_ejected).await;
}

#[tokio::test(start_paused = true)]
async fn one_success_in_sixteen_is_wanted_of_healthy_ones() {
    let script = Script::new(Duration::from_millis(30));
    let mut running = start(&script, &[1]);
    let has_latency = |snapshot: &Arc<Snapshot>| {
        let replica = snapshot.source(&tier("replica"));
        replica.is_some_and(|r| r.endpoints.iter().any(|e| e.latency.is_some()))
    };
    let wanted = |health: &Health, snapshot: &Snapshot| {
        let healthy = &snapshot.source(&tier("replica")).unwrap().endpoints[0];
        let count = Cell::new(0);
        for _ in 0..160 {
            health.report_success(Some(healthy), || {
                count.set(count.get() + 1);
                report(&healthy.id, Outcome::Success)
            });
        }
        count.get()
    };
    running.until(&tier("replica"), 1, |_| true).await;
    let snapshot = running.snapshot.borrow().clone();
    assert_eq!(wanted(&running.health, &snapshot), 160, "no latency yet");
    // The first probe brings one.
    let snapshot = running
        .snapshot
        .wait_for(has_latency)
        .await
        .unwrap()
        .clone();
    assert_eq!(wanted(&running.health, &snapshot), 10);
}
