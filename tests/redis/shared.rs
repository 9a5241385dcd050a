//! What is shared, with whom, and what of it is believed.

use crate::cluster::{Cluster, PATIENCE};
use crate::lab::{Lab, counter, errors, pull, status, target, until_connected, until_failed};
use crate::node::Node;
use crate::support::{FakeRegistry, Fault, On, Reply};
use harbor_pilot::telemetry::EventName;
use std::time::{Duration, Instant};

/// How often docker.io's project was asked for a manifest: every search asks it first.
fn searches(lab: &Lab) -> usize {
    let requests = lab.hub.requests();
    let manifests = requests
        .iter()
        .filter(|one| one.path.contains("/manifests/"));
    manifests
        .filter(|one| one.header("authorization").is_some())
        .count()
}

/// What one agent tells is there a moment later.
fn until_written(redis: &Cluster, key: &str) {
    redis.until(|it| it.at_master(&["exists", key]).trim() == "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_asks_nobody_for_what_the_first_has_found() {
    let (lab, redis) = (Lab::new(2).await, Cluster::start());
    let first = lab.agent(&redis.config()).await;
    let second = lab.agent(&redis.config()).await;
    let gateway = lab.agent(&redis.config()).await;
    assert_eq!(&*pull(&first, "1").await.0.tier, "cat");
    let digest = lab.images[0].top.digest.to_string();
    until_written(&redis, "hp:1:place:trusted:org/app:1");
    until_written(&redis, &format!("hp:1:place:trusted:org/app:{digest}"));
    let life: u64 = redis
        .at_master(&["ttl", "hp:1:place:trusted:org/app:1"])
        .trim()
        .parse()
        .unwrap();
    assert!((2_591_000..=2_592_000).contains(&life), "{life}");

    let asked = searches(&lab);
    let (record, _) = pull(&second, "1").await;
    assert_eq!(record.registry, Some("ghcr.io".parse().unwrap()));
    let result = "router_lookups_total{result=\"shared\"}";
    assert_eq!(counter(&second, result).await, 1);
    // A client's next requests may meet another gateway.
    let manifest = gateway.get(&target(&format!("manifests/{digest}"))).await;
    assert_eq!(manifest.body, lab.images[0].top.body);
    let layer = lab.images[0].layer();
    let third = lab.agent(&redis.config()).await;
    let got = third.get(&target(&format!("blobs/{}", layer.digest))).await;
    assert_eq!(
        (got.status, &got.body),
        (200, &layer.body),
        "{}",
        got.text()
    );
    assert_eq!(searches(&lab), asked, "nobody looked for it again");
    for node in [&first, &second, &gateway, &third] {
        assert_eq!(errors(node).await, 0, "{:#?}", node.journal);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_before_the_start_is_known_when_redis_is_gone() {
    let (lab, mut redis) = (Lab::new(3).await, Cluster::start());
    let first = lab.agent(&redis.config()).await;
    for tag in ["1", "2", "3"] {
        pull(&first, tag).await;
        until_written(&redis, &format!("hp:1:place:trusted:org/app:{tag}"));
    }
    let late = lab.agent(&redis.config()).await;
    // Each tag, and its digest.
    crate::lab::until(&late, |status| status["images"] == 6).await;
    redis.sentinel.kill();
    redis.master.kill();
    until_failed(&late, "").await;
    let asked = searches(&lab);
    for tag in ["1", "2", "3"] {
        pull(&late, tag).await;
    }
    assert_eq!(searches(&lab), asked);
}

/// Pulls until that tier serves; `None`: until it is nowhere.
async fn until_at(node: &Node, tier: Option<&str>) {
    let since = Instant::now();
    loop {
        let got = node.get(&target("manifests/1")).await;
        let served_by = got.header("x-harbor-pilot-served-by");
        let served_by = served_by.and_then(|by| by.split('/').next());
        if served_by == tier && (tier.is_some() || got.status == 404) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{got:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_moves_is_moved_for_all() {
    let (lab, redis) = (Lab::new(1).await, Cluster::start());
    let key = "hp:1:place:trusted:org/app:1";
    let first = lab.agent(&redis.config()).await;
    pull(&first, "1").await;
    until_written(&redis, key);
    // What comes from others is doubted when it is used, as what an earlier run kept is.
    let second = lab.agent(&redis.config()).await;
    let third = lab.agent(&redis.config()).await;
    for node in [&second, &third] {
        crate::lab::until(node, |status| status["images"] == 2).await;
    }
    // It goes from ghcr.io to docker.io.
    let gone = |at: &FakeRegistry| {
        let words = "resource not found: repo org/app, tag 1 not found";
        let gone = Reply::error(404, "NOT_FOUND", words);
        at.set_fault_on(On::Manifests, Fault::Reply(gone));
    };
    gone(&lab.ghcr);
    lab.hub
        .change_content(|content| content.add("proxy-docker-io/org/app", "1", &lab.images[0]));
    until_at(&second, Some("hub")).await;
    let said = second.event(EventName::MappingChanged).await;
    assert_eq!(
        said.reason,
        "org/app:1: docker.io has it, and ghcr.io had it before"
    );
    redis.until(|it| it.at_master(&["get", key]).trim() == "docker.io");
    // The next one is told so, and asks nobody else.
    until_at(&third, Some("hub")).await;
    assert_eq!(counter(&third, "router_fanout_seconds_count").await, 0);
    let said = third.event(EventName::MappingChanged).await;
    assert_eq!(
        said.reason,
        "org/app:1: docker.io has it, as another agent found, and ghcr.io had it before"
    );
    // It is nowhere: nobody is led there any more.
    gone(&lab.hub);
    let fourth = lab.agent(&redis.config()).await;
    until_at(&fourth, None).await;
    redis.until(|it| it.at_master(&["exists", key]).trim() == "0");
}

/// The first to write stays: nobody moves an image for others without a definite "no".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_wrote_is_not_overwritten() {
    let (lab, redis) = (Lab::new(1).await, Cluster::start());
    let node = lab.setup(&redis.config()).start().await;
    let key = "hp:1:place:trusted:org/app:1";
    // Found before Redis answers.
    pull(&node, "1").await;
    redis.at_master(&["set", key, "docker.io"]);
    until_connected(&node).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    pull(&node, "1").await;
    assert_eq!(redis.at_master(&["get", key]).trim(), "docker.io");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_teaches_counts_for_no_trusted_client_elsewhere() {
    let (lab, redis) = (Lab::new(2).await, Cluster::start());
    let first = lab.agent(&redis.config()).await;
    let second = lab.agent(&redis.config()).await;
    let got = first.ask_as_stranger(&target("manifests/1"), &[]).await;
    assert_eq!(got.status, 200);
    until_written(&redis, "hp:1:place:untrusted:org/app:1");
    assert_eq!(
        redis
            .at_master(&["exists", "hp:1:place:trusted:org/app:1"])
            .trim(),
        "0"
    );
    let asked = searches(&lab);
    pull(&second, "1").await;
    assert!(
        searches(&lab) > asked,
        "the second agent looked for it itself"
    );
    // The other way round it counts.
    pull(&first, "2").await;
    until_written(&redis, "hp:1:place:trusted:org/app:2");
    let asked = searches(&lab);
    let got = second.ask_as_stranger(&target("manifests/2"), &[]).await;
    assert_eq!((got.status, searches(&lab)), (200, asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_data_is_counted_and_not_used() {
    let (lab, redis) = (Lab::new(6).await, Cluster::start());
    let node = lab.agent(&redis.config()).await;
    let key = |tag: &str| format!("hp:1:place:trusted:org/app:{tag}");
    let long = "a".repeat(1 << 20);
    for (tag, value) in [
        ("1", "\u{1b}[31mghcr.io"),
        ("2", "evil.example"),
        ("3", long.as_str()),
    ] {
        // As an argument a megabyte is too long.
        match value.len() {
            0..1000 => redis.at_master(&["set", &key(tag), value]),
            length => redis.at_master(&["setrange", &key(tag), &length.to_string(), "x"]),
        };
    }
    redis.at_master(&["lpush", &key("4"), "ghcr.io"]);
    redis.at_master(&["set", "hp:1:holder:trusted:org/app:evil.example", ""]);
    // Three are wrong; a registry that nobody has configured here is good for another agent.
    for (tag, due) in [("1", 1), ("2", 1), ("3", 2), ("4", 3)] {
        let (record, _) = pull(&node, tag).await;
        assert_eq!(record.registry, Some("ghcr.io".parse().unwrap()), "{tag}");
        assert_eq!(errors(&node).await, due, "{tag}");
    }
    let said = status(&node).await;
    let error = said["redis"]["error"].as_str().unwrap();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert!(
        said["redis"]["master"].is_string(),
        "the connection is good all the same: {said}"
    );
    // Nor at a start, where everything is read.
    let late = lab.agent(&redis.config()).await;
    let (record, _) = pull(&late, "2").await;
    assert_eq!(record.registry, Some("ghcr.io".parse().unwrap()));
}
