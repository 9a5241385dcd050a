//! What the log does to pulls, and what floods and faults do to the log.

use crate::client::{Client, End};
use crate::journald::{Agent, Journald, Record};
use crate::support::{FakeRegistry, Fault, Image, On, free_address};
use crate::{REPOSITORY, get, pull};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// A registry with one image, in front of it an agent that logs into this journal.
struct Stage {
    journald: Journald,
    upstream: FakeRegistry,
    agent: Agent,
    listen: SocketAddr,
    admin: SocketAddr,
    config: String,
}

impl Stage {
    async fn new(journald: Journald, filter: &str, image: &Image) -> Self {
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", image);
        let (upstream, listen, admin) = (upstream.start().await, free_address(), free_address());
        let config = format!(
            "[server]\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\n[log]\nfilter = \"{filter}\"\n\
             [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
            upstream.base_url()
        );
        let mut agent = journald.agent(&config);
        agent.wait_until(listen);
        Self {
            journald,
            upstream,
            agent,
            listen,
            admin,
            config,
        }
    }

    /// Records that a filter lets through only at `debug`.
    async fn ping(&self, times: usize) {
        let mut client = Client::connect(self.listen).await;
        for _ in 0..times {
            client.ask("GET", "/v2/", &[]).await;
            assert_eq!(client.answer(false).await.status, 200);
        }
    }

    /// The sum of a metric's lines that contain this.
    fn metric(&self, name: &str, label: &str) -> u64 {
        let url = format!("http://{}/metrics", self.admin);
        let output = Command::new("curl").args(["-sS", "--fail", &url]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        values.sum()
    }

    fn dropped(&self) -> u64 {
        self.metric("harbor_pilot_log_dropped_total", "")
    }

    fn read(&self, matches: &str) -> Vec<Record> {
        self.journald.read(&["-t", "harbor-pilot", matches])
    }
}

fn one() -> Image {
    Image::random(1, 1)
}

/// Design H6: 4096 records wait in the queue, and some hundred in journald's socket; the rest is dropped and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_go_on_while_journald_stands_still() {
    let stage = Stage::new(Journald::start(), "debug", &one()).await;
    stage.journald.signal("STOP");
    stage.ping(6000).await;
    assert_eq!(pull(stage.listen, "manifests/1").await, 200);
    stage.journald.signal("CONT");
    stage.journald.wait_for("EVENT=log_dropped");
    let said = &stage.read("EVENT=log_dropped")[0];
    let (lost, _) = said["REASON"].split_once(' ').unwrap();
    assert!(lost.parse::<u64>().unwrap() > 0, "{said:?}");
    assert_eq!(pull(stage.listen, "manifests/1").await, 200);
    stage.journald.wait_for("OUTCOME=direct");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journald_that_has_stood_still_for_five_seconds_shows_in_the_metric() {
    let stage = Stage::new(Journald::start(), "debug", &one()).await;
    stage.journald.signal("STOP");
    // More than its socket holds, less than the queue does.
    stage.ping(1500).await;
    assert_eq!(stage.dropped(), 0);
    tokio::time::sleep(Duration::from_millis(5500)).await;
    assert_eq!(pull(stage.listen, "manifests/1").await, 200);
    let dropped = stage.dropped();
    assert!((1..100).contains(&dropped), "{dropped}");
    stage.journald.signal("CONT");
    stage.journald.wait_for("EVENT=log_dropped");
    // What waited is written, after the first batch and that event.
    let pings = || stage.read("MESSAGE=registry ping").len();
    let since = Instant::now();
    while pings() < 1500 {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", pings());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_journald_holds_the_exit_up_for_a_second_at_most() {
    let mut stage = Stage::new(Journald::start(), "debug", &one()).await;
    stage.journald.signal("STOP");
    stage.ping(1500).await;
    let since = Instant::now();
    stage.agent.signal("TERM");
    stage.agent.ended();
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    stage.journald.signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_journald_is_found_and_stderr_used_meanwhile() {
    let mut stage = Stage::new(Journald::start(), "info", &one()).await;
    assert_eq!(pull(stage.listen, "manifests/first").await, 404);
    stage.journald.wait_for("REFERENCE=first");
    assert_eq!(stage.agent.stderr(), "");
    stage.journald.end();
    assert_eq!(pull(stage.listen, "manifests/second").await, 404);
    let line = "harbor_pilot::access: manifest docker.io/library/app:second 404";
    let since = Instant::now();
    while !stage.agent.stderr().contains(line) {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "{}",
            stage.agent.stderr()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.journald.begin();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(pull(stage.listen, "manifests/third").await, 404);
    stage.journald.wait_for("REFERENCE=third");
    assert!(!stage.agent.stderr().contains("third"));
    assert_eq!(stage.dropped(), 0, "none was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journald_that_comes_after_the_agent_is_found() {
    let mut stage = Stage::new(Journald::absent(), "info", &one()).await;
    assert_eq!(pull(stage.listen, "manifests/first").await, 404);
    stage.journald.begin();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(pull(stage.listen, "manifests/second").await, 404);
    stage.journald.wait_for("REFERENCE=second");
    assert!(stage.agent.stderr().contains("library/app:first 404"));
}

/// A datagram of journald's socket holds about 200 KB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_are_whole() {
    let stage = Stage::new(Journald::start(), "info", &one()).await;
    let key = "k".repeat(500_000);
    let filter = format!("{key}=nonsense");
    let config = stage.config.replace("\"info\"", &format!("\"{filter}\""));
    stage.agent.configure(&config);
    stage.agent.signal("HUP");
    stage.journald.wait_for("EVENT=config_rejected");
    let event = &stage.read("EVENT=config_rejected")[0];
    assert!(
        event["REASON"].contains(&key),
        "{} bytes",
        event["REASON"].len()
    );
    let errors = stage.read("PRIORITY=3");
    let whole = |record: &&Record| record["MESSAGE"].contains(&key);
    assert!(
        errors.iter().filter(whole).count() >= 1,
        "the problem's own record"
    );
    assert_eq!(stage.dropped(), 0);
}

/// Where a flood of refused requests comes with one of others, beside which events arise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_costs_no_event() {
    const LAYERS: usize = 20;
    const AT_ONCE: usize = 50;
    let flood = |listen: SocketAddr, target: &'static str, status: u16, rounds: usize| async move {
        let mut client = Client::connect(listen).await;
        let one = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        for _ in 0..rounds {
            client.send(one.repeat(AT_ONCE)).await;
            for _ in 0..AT_ONCE {
                assert_eq!(client.answer(false).await.status, status);
            }
        }
        rounds * AT_ONCE
    };
    let image = Image::with_layers(1, &[100_000; LAYERS]);
    let stage = Stage::new(Journald::start(), "info", &image).await;
    stage
        .upstream
        .set_fault_on(On::Blobs, Fault::CorruptAt(50_000));
    let rounds = match std::env::var("HARBOR_PILOT_HOSTILE").as_deref() {
        Ok("long") => 8000,
        _ => 400,
    };
    let since = Instant::now();
    let refused = "/v2/library/app/manifests/1?ns=nobody.example";
    let refused = [(); 2].map(|()| tokio::spawn(flood(stage.listen, refused, 404, rounds)));
    let served = "/v2/library/app/manifests/1?ns=docker.io";
    let served = tokio::spawn(flood(stage.listen, served, 200, rounds / 4));
    for layer in &image.blobs[..LAYERS] {
        let target = format!("/v2/{REPOSITORY}/blobs/{}?ns=docker.io", layer.digest);
        let mut client = Client::connect(stage.listen).await;
        client.ask("GET", &target, &[]).await;
        assert_eq!(client.answer(false).await.end, End::Reset);
    }
    let mut sent = 0;
    for client in refused {
        sent += client.await.unwrap();
    }
    let took = since.elapsed();
    let served = served.await.unwrap();
    // The sum of the last second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stage.agent.signal("TERM");
    stage.journald.wait_for("EVENT=drain");

    let of_layer = |record: &&Record| {
        let mut layers = image.blobs[..LAYERS].iter();
        layers.any(|layer| record["REASON"].contains(layer.digest.as_str()))
    };
    let events = stage.read("EVENT=digest_mismatch");
    assert_eq!(
        events.iter().filter(of_layer).count(),
        LAYERS,
        "{events:#?}"
    );
    let refused = stage.read("OUTCOME=refused");
    let (sums, own): (Vec<_>, Vec<_>) = refused
        .iter()
        .partition(|record| record.contains_key("COUNT"));
    let summed: usize = sums
        .iter()
        .map(|sum| sum["COUNT"].parse::<usize>().unwrap())
        .sum();
    assert_eq!(own.len() + summed, sent, "each is told of once");
    let per_second = sent as f64 / took.as_secs_f64();
    println!(
        "{sent} refused requests ({per_second:.0} per second) and {served} served ones: {LAYERS} of {LAYERS} events, {} records of their own, {} sums",
        own.len(),
        sums.len()
    );
    let fields = [
        "COUNT",
        "MESSAGE",
        "OUTCOME",
        "PRIORITY",
        "SYSLOG_IDENTIFIER",
        "TARGET",
    ];
    assert_eq!(crate::ours(sums[0]), fields.into());
    assert_eq!(sums[0]["PRIORITY"], "6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_every_refused_request() {
    let stage = Stage::new(Journald::start(), "info", &one()).await;
    let mut client = Client::connect(stage.listen).await;
    for _ in 0..500 {
        let target = "/v2/library/app/manifests/1?ns=nobody.example";
        client.ask("GET", target, &[]).await;
        assert_eq!(client.answer(false).await.status, 404);
    }
    assert_eq!(
        stage.metric("harbor_pilot_requests_total", "outcome=\"refused\""),
        500
    );
    assert_eq!(get(stage.listen, "/v2/").await, 200);
}
