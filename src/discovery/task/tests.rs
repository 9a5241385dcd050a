//! Tests of discovery/task.

mod again;

use super::*;
use crate::discovery::Discovery;
use crate::lifecycle::Tasks;
use crate::topology::testing::{self, tier, upstream};
use crate::topology::{EndpointSet, Source};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

/// What the scripted resolver says of a host now.
#[derive(Clone)]
enum Says {
    Addresses(Vec<&'static str>, u64),
    Fails,
    Hangs,
    Falls,
}

/// By host: what is said of it, and how often it was asked for.
type Lines = HashMap<String, (Option<Says>, u32)>;

/// A resolver that follows a script and counts.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Lines>>);

impl Script {
    fn says(&self, host: &str, says: Says) {
        self.0.lock().unwrap().entry(host.to_owned()).or_default().0 = Some(says);
    }

    fn asked(&self, host: &str) -> u32 {
        self.0.lock().unwrap().get(host).map_or(0, |entry| entry.1)
    }
}

impl Resolve for Script {
    async fn resolve(&self, host: &str) -> Result<Answer, String> {
        let says = {
            let mut script = self.0.lock().unwrap();
            let entry = script.entry(host.to_owned()).or_default();
            entry.1 += 1;
            entry.0.clone()
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        match says {
            Some(Says::Addresses(addresses, ttl)) => Ok(Answer {
                addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
                ttl: Duration::from_secs(ttl),
                unanswered: None,
            }),
            Some(Says::Falls) => panic!("over the edge"),
            Some(Says::Hangs) => std::future::pending().await,
            Some(Says::Fails) | None => Err("SERVFAIL".to_owned()),
        }
    }
}

fn source(id: SourceId, host: &str) -> Arc<Source> {
    Arc::new(testing::source(id, &format!("https://{host}")))
}

fn sources(tiers: &[(&str, &str)]) -> Arc<Sources> {
    let tiers = tiers.iter().map(|(name, host)| source(tier(name), host));
    Arc::new(Sources {
        generation: 1,
        tiers: tiers.collect(),
        upstreams: [(
            "docker.io".parse().unwrap(),
            source(upstream(), "registry.example"),
        )]
        .into(),
    })
}

struct Running {
    script: Script,
    discovery: Discovery,
    sources: watch::Sender<Arc<Sources>>,
    sets: watch::Receiver<Arc<EndpointSets>>,
    _dns: watch::Sender<config::Dns>,
}

impl Running {
    fn start(script: &Script, directory: &Path, first: Arc<Sources>) -> Self {
        let (send_sources, sources) = watch::channel(first);
        let (send_dns, dns) = watch::channel(config::Dns {
            nameservers: Vec::new(),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
        });
        let discovery = Discovery::start_with(
            script.clone(),
            sources,
            dns,
            directory.to_owned(),
            Journal::discarding(),
            Arc::default(),
            &Tasks::default(),
        );
        Self {
            script: script.clone(),
            sets: discovery.endpoint_sets(),
            discovery,
            sources: send_sources,
            _dns: send_dns,
        }
    }

    async fn until(
        &mut self,
        id: &SourceId,
        fits: impl Fn(&EndpointSet) -> bool,
    ) -> Arc<EndpointSet> {
        let found = |sets: &Arc<EndpointSets>| sets.get(id).is_some_and(|set| fits(set));
        let sets = self.sets.wait_for(found).await.unwrap();
        sets.get(id).unwrap().clone()
    }

    fn set(&self, id: &SourceId) -> Arc<EndpointSet> {
        self.sets.borrow().get(id).unwrap().clone()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn has(count: usize) -> impl Fn(&EndpointSet) -> bool {
    move |set| set.addresses.len() == count
}

#[tokio::test(start_paused = true)]
async fn refreshes_by_ttl_and_publishes_only_changes() {
    let script = Script::default();
    script.says(
        "replica.example",
        Says::Addresses(vec!["203.0.113.1", "203.0.113.2"], 60),
    );
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(
        &script,
        directory.path(),
        sources(&[("replica", "replica.example")]),
    );
    running.until(&tier("replica"), has(2)).await;
    running.sets.borrow_and_update();
    // The same set in another order is no change.
    script.says(
        "replica.example",
        Says::Addresses(vec!["203.0.113.2", "203.0.113.1"], 60),
    );
    pass(59).await;
    assert_eq!(script.asked("replica.example"), 1);
    pass(2).await;
    assert_eq!(script.asked("replica.example"), 2);
    assert!(!running.sets.has_changed().unwrap());
    script.says("replica.example", Says::Addresses(vec!["203.0.113.3"], 0));
    running.until(&tier("replica"), has(1)).await;
    // A life of zero is not a hot loop.
    let before = script.asked("replica.example");
    pass(60).await;
    assert!(script.asked("replica.example") - before <= 12);
    assert_eq!(script.asked("registry.example"), 0, "nobody wanted it");
}

#[tokio::test(start_paused = true)]
async fn failures_keep_the_set_and_recover() {
    let script = Script::default();
    script.says("replica.example", Says::Addresses(vec!["203.0.113.1"], 5));
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(
        &script,
        directory.path(),
        sources(&[("replica", "replica.example")]),
    );
    running.until(&tier("replica"), has(1)).await;
    script.says("replica.example", Says::Hangs);
    let stale = running.until(&tier("replica"), |set| set.stale).await;
    assert_eq!(stale.addresses.len(), 1);
    assert_eq!(stale.error.as_deref(), Some("no answer within 5 s"));
    script.says("replica.example", Says::Falls);
    let by_panic = |set: &EndpointSet| {
        let error = set.error.as_deref();
        error.is_some_and(|error| error.contains("over the edge"))
    };
    running.until(&tier("replica"), by_panic).await;
    script.says("replica.example", Says::Fails);
    let before = script.asked("replica.example");
    pass(600).await;
    let asked = script.asked("replica.example") - before;
    assert!((20..=26).contains(&asked), "{asked}: every 30 s in the end");
    script.says("replica.example", Says::Addresses(vec!["203.0.113.4"], 5));
    let fresh = running.until(&tier("replica"), |set| !set.stale).await;
    assert_eq!(fresh.addresses, ["203.0.113.4:443".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn the_next_boot_starts_with_the_last_good_set() {
    let script = Script::default();
    script.says(
        "replica.example",
        Says::Addresses(vec!["203.0.113.1", "2001:db8::1"], 5),
    );
    let directory = tempfile::tempdir().unwrap();
    let first = sources(&[("replica", "replica.example")]);
    let mut running = Running::start(&script, directory.path(), first.clone());
    running.until(&tier("replica"), has(2)).await;
    let file = directory.path().join("dns.json");
    while !file.exists() {
        pass(1).await;
    }
    drop(running);

    script.says("replica.example", Says::Fails);
    let mut running = Running::start(&script, directory.path(), first);
    let set = running.until(&tier("replica"), has(2)).await;
    assert!(set.stale);
    // A tier of that name that moved elsewhere has none of them.
    drop(running);
    let moved = sources(&[("replica", "moved.example")]);
    let mut running = Running::start(&script, directory.path(), moved);
    let set = running.until(&tier("replica"), |set| set.stale).await;
    assert!(set.addresses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn upstreams_are_looked_up_when_touched() {
    let script = Script::default();
    script.says(
        "registry.example",
        Says::Addresses(vec!["203.0.113.50"], 60),
    );
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(&script, directory.path(), sources(&[]));
    pass(10).await;
    assert_eq!(script.asked("registry.example"), 0);
    for _ in 0..1000 {
        running.discovery.touch(&upstream());
    }
    running.until(&upstream(), has(1)).await;
    pass(50).await;
    running.discovery.touch(&upstream());
    pass(5).await;
    assert_eq!(
        running.script.asked("registry.example"),
        1,
        "fresh: once for all"
    );
    pass(60).await;
    assert_eq!(script.asked("registry.example"), 1, "nobody wants it");
    running.discovery.touch(&upstream());
    pass(1).await;
    assert_eq!(script.asked("registry.example"), 2);
    assert_eq!(running.set(&upstream()).addresses.len(), 1);
    pass(3600).await;
    assert!(
        running.set(&upstream()).addresses.is_empty(),
        "too old to serve"
    );
    running.discovery.touch(&upstream());
    running.until(&upstream(), has(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_known() {
    let script = Script::default();
    script.says("replica.example", Says::Addresses(vec!["203.0.113.1"], 300));
    script.says("core.example", Says::Addresses(vec!["203.0.113.11"], 300));
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(
        &script,
        directory.path(),
        sources(&[("replica", "replica.example")]),
    );
    running.until(&tier("replica"), has(1)).await;
    let both = sources(&[("replica", "replica.example"), ("core", "core.example")]);
    running.sources.send_replace(both);
    running.until(&tier("core"), has(1)).await;
    assert_eq!(script.asked("replica.example"), 1);
    assert_eq!(running.set(&tier("replica")).addresses.len(), 1);
    // Moved to another host: nothing of the old one stays.
    running
        .sources
        .send_replace(sources(&[("replica", "core.example")]));
    let moved = ["203.0.113.11:443".parse().unwrap()];
    running
        .until(&tier("replica"), |set| set.addresses == moved)
        .await;
    assert!(!running.sets.borrow().contains_key(&tier("core")));
}

#[tokio::test(start_paused = true)]
async fn lookups_are_shared_and_cached() {
    let script = Script::default();
    script.says("auth.example", Says::Addresses(vec!["203.0.113.70"], 60));
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(&script, directory.path(), sources(&[]));
    let discovery = &running.discovery;
    let (one, two) = tokio::join!(
        discovery.lookup("auth.example"),
        discovery.lookup("AUTH.example")
    );
    assert_eq!(one.unwrap(), two.unwrap());
    discovery.lookup("auth.example").await.unwrap();
    assert_eq!(script.asked("auth.example"), 1);
    pass(61).await;
    discovery.lookup("auth.example").await.unwrap();
    assert_eq!(script.asked("auth.example"), 2);
    let literal = discovery.lookup("2001:db8::1").await.unwrap();
    assert_eq!(
        literal,
        ["2001:db8::1".parse::<std::net::IpAddr>().unwrap()]
    );
    let error = discovery.lookup("nowhere.example").await.unwrap_err();
    assert_eq!(error.to_string(), "looking up nowhere.example: SERVFAIL");
}

#[test]
fn events_are_for_people_and_once() {
    let addresses = vec!["203.0.113.1:443".parse().unwrap()];
    let changed = Change::Changed {
        added: addresses.clone(),
        removed: Vec::new(),
    };
    let told = event(&tier("replica"), "replica.example", &changed, "").unwrap();
    assert_eq!(told.event, EventName::DnsChanged);
    assert_eq!(told.tier.as_deref(), Some("replica"));
    assert_eq!(told.reason, "added 203.0.113.1:443");
    assert!(event(&upstream(), "registry.example", &changed, "").is_none());
    let stale = Change::WentStale { kept: 2 };
    let told = event(&tier("replica"), "replica.example", &stale, "SERVFAIL").unwrap();
    assert_eq!(told.event, EventName::DnsStale);
    assert!(told.message.ends_with("keeping 2 addresses: SERVFAIL"));
    for quiet in [Change::Same, Change::Learned, Change::StillStale] {
        assert!(event(&tier("replica"), "replica.example", &quiet, "x").is_none());
    }
}
