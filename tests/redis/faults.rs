//! Redis slow, wrong or dead: a pull waits 50 ms once, and it is said.

use crate::cluster::{Cluster, PATIENCE};
use crate::lab::{Lab, errors, pull, status, until, until_connected, until_failed};
use crate::node::{Node, write};
use crate::support::free_address;
use harbor_pilot::lifecycle::RawSignal;
use rustix::process::Signal;
use std::time::Duration;

/// Three times what a pull may wait, and what it takes by itself on a busy machine.
const LIMIT: Duration = Duration::from_millis(150);

/// The first pull may wait; none of the others does, as long as the rest lasts.
async fn assert_waits_once(node: &Node, tags: std::ops::RangeInclusive<u32>, usual: Duration) {
    let mut took = Vec::new();
    for tag in tags {
        took.push(pull(node, &tag.to_string()).await.1);
    }
    println!("usual {usual:?}, then {took:?}");
    let waited = took
        .iter()
        .filter(|one| **one > usual + Duration::from_millis(45));
    assert!(waited.count() <= 2, "{took:?}");
    assert!(took.iter().all(|one| *one < usual + LIMIT), "{took:?}");
}

/// What a search takes here.
async fn usual(node: &Node) -> Duration {
    let mut took = Vec::new();
    for tag in ["1", "2", "3"] {
        took.push(pull(node, tag).await.1);
    }
    took.into_iter().max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed() {
    let (lab, mut redis) = (Lab::new(3).await, Cluster::start());
    let first = lab.agent(&redis.config()).await;
    let second = lab.agent(&redis.config()).await;
    pull(&first, "1").await;
    redis.until(|it| {
        it.cli(
            it.replica.address,
            &["exists", "hp:1:place:trusted:org/app:1"],
        )
        .trim()
            == "1"
    });
    redis.master.kill();
    // Until the sentinel has made the replica a master nobody waits.
    pull(&first, "2").await;
    let new = redis.replica.address.to_string();
    for node in [&first, &second] {
        let status = until(node, |status| status["redis"]["master"] == new.as_str()).await;
        assert!(status["redis"]["errors"].as_u64().unwrap() >= 1, "{status}");
        assert!(errors(node).await >= 1);
    }
    pull(&first, "3").await;
    let key = "hp:1:place:trusted:org/app:3";
    redis.until(|it| it.cli(it.replica.address, &["exists", key]).trim() == "1");
    let asked = lab.hub.requests().len();
    pull(&second, "1").await;
    pull(&second, "3").await;
    assert_eq!(lab.hub.requests().len(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_costs_a_pull_50_ms_once() {
    let (lab, redis) = (Lab::new(12).await, Cluster::start());
    let node = lab.agent(&redis.config()).await;
    let usual = usual(&node).await;
    redis.at_master(&["client", "pause", "4000", "all"]);
    assert_waits_once(&node, 4..=11, usual).await;
    until_failed(&node, "50 ms").await;
    assert!(errors(&node).await >= 1);
    // It is itself again.
    until_connected(&node).await;
    pull(&node, "12").await;
    redis.until(|it| {
        it.at_master(&["exists", "hp:1:place:trusted:org/app:12"])
            .trim()
            == "1"
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_costs_a_pull_50_ms_once() {
    let (lab, redis) = (Lab::new(12).await, Cluster::start());
    let node = lab.agent(&redis.config()).await;
    let usual = usual(&node).await;
    // No failover to the replica, which would be healthy.
    redis.sentinel.signal(Signal::STOP);
    redis.master.signal(Signal::STOP);
    assert_waits_once(&node, 4..=11, usual).await;
    until_failed(&node, "").await;
    redis.master.signal(Signal::CONT);
    redis.sentinel.signal(Signal::CONT);
    until_connected(&node).await;
    pull(&node, "12").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_redis_images_are_found_all_the_same() {
    let lab = Lab::new(6).await;
    let nobody = format!(
        "[router.redis]\nsentinels = [\"{}\", \"{}\"]\nmaster = \"mymaster\"\n",
        free_address(),
        free_address()
    );
    let node = lab.setup(&nobody).start().await;
    let usual = usual(&node).await;
    let said = until_failed(&node, "no sentinel leads to a master").await;
    let error = said["redis"]["error"].as_str().unwrap();
    assert_eq!(error.matches("Connection refused").count(), 2, "{error}");
    assert_waits_once(&node, 4..=6, usual).await;
}

/// The first sentinel is down, and the second one knows no such master; the third leads there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_in_turn() {
    let (lab, redis, other) = (Lab::new(1).await, Cluster::start(), Cluster::start());
    other.cli(other.sentinel.address, &["sentinel", "remove", "mymaster"]);
    let all = format!(
        "[\"{}\", \"{}\", \"{}\"]",
        free_address(),
        other.sentinel.address,
        redis.sentinel.address
    );
    let one = format!("[\"{}\"]", redis.sentinel.address);
    let node = lab.agent(&redis.config().replace(&one, &all)).await;
    assert_eq!(
        status(&node).await["redis"]["master"],
        redis.master.address.to_string()
    );
    let node = lab
        .setup(&redis.config().replace("mymaster", "yours"))
        .start()
        .await;
    until_failed(&node, "it knows no master \"yours\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_and_a_right_one_taken_up() {
    let (lab, redis) = (
        Lab::new(4).await,
        Cluster::with_password(Some("right-secret")),
    );
    let config = redis.config();
    write(&redis.password_file(), "wrong-secret");
    let node = lab.setup(&config).start().await;
    let said = until_failed(&node, "the password is refused")
        .await
        .to_string();
    let usual = usual(&node).await;
    assert_waits_once(&node, 4..=4, usual).await;
    for secret in ["wrong-secret", "right-secret"] {
        assert!(!said.contains(secret) && !format!("{:?}", node.journal).contains(secret));
    }
    // The file is looked at: nobody has to reload.
    write(&redis.password_file(), "right-secret");
    let since = std::time::Instant::now();
    until_connected(&node).await;
    assert!(since.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_another_redis_up_and_none() {
    let (lab, redis, other) = (Lab::new(2).await, Cluster::start(), Cluster::start());
    let node = lab.setup("").start().await;
    assert!(status(&node).await["redis"].is_null());
    for (config, master) in [
        (redis.config(), Some(&redis)),
        (
            other.config() + "db = 3\nkey_prefix = \"other\"\n",
            Some(&other),
        ),
        (String::new(), None),
    ] {
        node.rewrite(&lab.setup(&config));
        node.signal(RawSignal::Hangup).await;
        match master {
            Some(at) => {
                let master = at.master.address.to_string();
                until(&node, |status| status["redis"]["master"] == master.as_str()).await;
            }
            None => {
                until(&node, |status| status["redis"].is_null()).await;
            }
        }
    }
    node.rewrite(&lab.setup(&(other.config() + "db = 3\nkey_prefix = \"other\"\n")));
    node.signal(RawSignal::Hangup).await;
    until_connected(&node).await;
    pull(&node, "1").await;
    let key = ["-n", "3", "exists", "other:1:place:trusted:org/app:1"];
    other.until(|it| it.at_master(&key).trim() == "1");
}
