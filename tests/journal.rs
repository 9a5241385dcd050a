//! The journal as an operator reads it: the built program, the real systemd-journald in a mount namespace of its own,
//! the real journalctl. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, with parts that are made for others as well"
)]

mod support;

#[path = "agent/client.rs"]
mod client;
#[path = "journal/faults.rs"]
mod faults;
#[path = "journal/journald.rs"]
mod journald;
#[path = "journal/traces.rs"]
mod traces;

use client::Client;
use harbor_pilot::telemetry::EventName;
use journald::{Journald, Record};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use support::{FakeRegistry, Image, free_address};

const REPOSITORY: &str = "library/app";
const TIERED: &str = "proxy-docker-io/library/app";

/// docs/observability.md, of an access record; `ERROR` where there was one.
const ACCESS: [&str; 16] = [
    "REQUEST_ID",
    "REGISTRY",
    "REPOSITORY",
    "REFERENCE",
    "KIND",
    "METHOD",
    "STATUS",
    "OUTCOME",
    "TIER",
    "ENDPOINT",
    "ATTEMPTS",
    "RESUMES",
    "BYTES",
    "TTFB_MS",
    "DURATION_MS",
    "GENERATION",
];

async fn get(address: SocketAddr, path: &str) -> u16 {
    let mut client = Client::connect(address).await;
    client.ask("GET", path, &[]).await;
    client.answer(false).await.status
}

async fn pull(address: SocketAddr, what: &str) -> u16 {
    get(address, &format!("/v2/{REPOSITORY}/{what}?ns=docker.io")).await
}

/// journald's own fields and the transport's are not ours.
fn ours(record: &Record) -> BTreeSet<&str> {
    let names = record.keys().map(String::as_str);
    names.filter(|name| !name.starts_with('_')).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_has_the_fields_of_the_interface() {
    let journald = Journald::start();
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let tier = FakeRegistry::builder()
        .harbor()
        .with_image(TIERED, "1", &image);
    let (upstream, tier) = (upstream.start().await, tier.start().await);
    let (listen, nobody) = (free_address(), free_address());
    let config = |tier: &str| {
        format!(
            "[server]\nlisten = [\"{listen}\"]\nadmin = \"127.0.0.1:0\"\n[log]\nfilter = \"debug\"\n\
             [[tier]]\nname = \"replica\"\nurl = \"{tier}\"\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [tier.health]\nprobe = \"none\"\n[[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
            upstream.base_url()
        )
    };
    let good = config(&tier.base_url());
    let mut agent = journald.agent(&good);
    agent.wait_until(listen);

    assert_eq!(pull(listen, "manifests/1").await, 200);
    assert_eq!(pull(listen, "manifests/none").await, 404);
    agent.configure("nonsense = 1\n");
    agent.signal("HUP");
    journald.wait_for("EVENT=config_rejected");
    agent.configure(&config(&format!("http://{nobody}")));
    agent.signal("HUP");
    journald.wait_for("EVENT=config_reloaded");
    assert_eq!(pull(listen, "manifests/1").await, 200);
    journald.wait_for("EVENT=tier_down");
    drop(upstream);
    assert_eq!(pull(listen, "manifests/other").await, 503);
    agent.signal("TERM");
    agent.ended();

    // As docs/observability.md writes it.
    let records = journald.read(&["-t", "harbor-pilot"]);
    for record in &records {
        assert_eq!(record["_TRANSPORT"], "journal", "{record:?}");
        assert!(!record["MESSAGE"].is_empty(), "{record:?}");
        for name in ours(record) {
            let upper = |c: char| c.is_ascii_uppercase() || c == '_';
            assert!(name.chars().all(upper) && !name.starts_with("F_"), "{name}");
        }
    }
    let failover = journald.read(&["-t", "harbor-pilot", "OUTCOME=failover"]);
    let [failover] = &failover[..] else {
        panic!("{failover:#?}");
    };
    let error = failover.get("ERROR").map(|_| "ERROR");
    let expected = ["SYSLOG_IDENTIFIER", "PRIORITY", "MESSAGE", "TARGET"];
    let expected = ACCESS.into_iter().chain(expected).chain(error);
    assert_eq!(ours(failover), expected.collect(), "{failover:#?}");
    let values = [
        ("REGISTRY", "docker.io"),
        ("REPOSITORY", REPOSITORY),
        ("REFERENCE", "1"),
        ("KIND", "manifest"),
        ("METHOD", "GET"),
        ("STATUS", "200"),
        ("TIER", "upstream"),
        ("PRIORITY", "6"),
        ("TARGET", "harbor_pilot::access"),
    ];
    for (name, value) in values {
        assert_eq!(failover[name], value, "{name}");
    }
    let priorities = [
        ("OUTCOME=served", "6"),
        ("OUTCOME=not_found", "6"),
        ("OUTCOME=failed", "4"),
        ("EVENT=tier_down", "4"),
        ("EVENT=endpoint_ejected", "4"),
        ("EVENT=config_rejected", "3"),
        ("EVENT=config_reloaded", "6"),
        ("EVENT=drain", "6"),
        ("MESSAGE=registry ping", "7"),
    ];
    for (matches, priority) in priorities {
        let found = journald.read(&["-t", "harbor-pilot", matches]);
        assert!(!found.is_empty(), "{matches}\n{records:#?}");
        for record in found {
            assert_eq!(record["PRIORITY"], priority, "{record:?}");
        }
    }
    let pings = journald.read(&["-t", "harbor-pilot", "MESSAGE=registry ping"]);
    // A diagnostic is of the place where it arose, and has its fields in its message.
    let expected = [
        "SYSLOG_IDENTIFIER",
        "PRIORITY",
        "MESSAGE",
        "TARGET",
        "CODE_FILE",
        "CODE_LINE",
    ];
    assert_eq!(ours(&pings[0]), expected.into(), "{:#?}", pings[0]);
    assert!(pings[0]["CODE_FILE"].starts_with("src/"), "{:#?}", pings[0]);
    let shown = journald.read(&["-t", "harbor-pilot", "-p", "info", "MESSAGE=registry ping"]);
    assert!(shown.is_empty(), "{shown:?}");

    let down = &journald.read(&["-t", "harbor-pilot", "EVENT=tier_down"])[0];
    assert_eq!(down["TIER"], "replica");
    assert!(!down["REASON"].is_empty());
    for &event in EventName::ALL {
        let matches = format!("EVENT={}", event.word());
        for record in journald.read(&["-t", "harbor-pilot", &matches]) {
            assert_eq!(record["MESSAGE_ID"], event.message_id(), "{record:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journalctl_explains_an_event() {
    let journald = Journald::start();
    let listed = journald.catalog(&["--list-catalog"]);
    for &event in EventName::ALL {
        let id = event.message_id();
        let found = listed.lines().filter(|line| line.starts_with(id));
        assert_eq!(found.count(), 1, "{event:?}\n{listed}");
        let dumped = journald.catalog(&["--dump-catalog", id]);
        assert!(dumped.contains("Defined-By: harbor-pilot"), "{dumped}");
    }
    let listen = free_address();
    let mut agent = journald.agent(&format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"127.0.0.1:0\"\n"
    ));
    agent.wait_until(listen);
    agent.configure("nonsense = 1\n");
    agent.signal("HUP");
    journald.wait_for("EVENT=config_rejected");
    let told = journald.run(&["-x", "-t", "harbor-pilot", "EVENT=config_rejected"]);
    for line in [
        "Subject: The configuration was refused",
        "harbor-pilot check",
        "systemctl reload harbor-pilot",
        "nonsense",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(!told.contains('@'), "a field without a value\n{told}");
}
