//! All sources dead: what this node fetched anonymously before is answered from disk, nothing else is (design P11).

use crate::metric;
use crate::node::{Node, REPOSITORY, Setup, TIERED, write};
use crate::support::{FakeRegistry, Fault, Image, On, Reply};
use harbor_pilot::telemetry::{EventName, RequestOutcome};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Short, so that outages are noticed soon.
const CLOCK: &str = "[timeouts]\nconnect_race = \"100ms\"\nfirst_byte = \"500ms\"\nupstream_joins = \"400ms\"\n\
                     tls = \"1s\"\ntotal = \"5s\"\n";

async fn image_in(upstream: &Image) -> FakeRegistry {
    let registry = FakeRegistry::builder();
    registry.with_image(REPOSITORY, "1", upstream).start().await
}

/// The files that are kept.
fn kept(node: &Node) -> Vec<PathBuf> {
    let all = |directory: PathBuf| {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path())
    };
    // A tree for trusted clients and one for the others, in each a folder per repository.
    all(node.home.path().join("state/manifests"))
        .flat_map(all)
        .flat_map(all)
        .collect()
}

async fn until_kept(node: &Node, files: usize) {
    let since = Instant::now();
    while kept(node).len() != files {
        assert!(
            since.elapsed() < Duration::from_secs(15),
            "{:?}",
            kept(node)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_total_outage_what_was_pulled_is_answered_from_disk_even_after_a_restart() {
    let image = Image::random(1, 1);
    let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
    let (mut tier, mut upstream) = (tier.start().await, image_in(&image).await);
    let setup = Setup::of(&[&tier], &upstream).and(CLOCK);
    let mut node = setup.start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    until_kept(&node, 2).await;
    tier.refuse().await;
    upstream.refuse().await;
    node.signal(harbor_pilot::lifecycle::RawSignal::Terminate)
        .await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    let node = Node::start(&setup, home).await;

    let by_digest = format!("manifests/{}", image.top.digest);
    for (method, what) in [
        ("HEAD", "manifests/1"),
        ("GET", "manifests/1"),
        ("GET", &*by_digest),
    ] {
        let got = node.ask(method, &crate::node::target(what), &[]).await;
        assert_eq!(got.status, 200, "{method} {what}: {got:?}");
        if method == "GET" {
            assert_eq!(got.body, image.top.body);
        }
        let digest = got.header("docker-content-digest");
        assert_eq!(digest, Some(image.top.digest.as_str()));
        assert_eq!(got.header("content-type"), Some(image.top.media_type));
        assert_eq!(
            got.header("content-length"),
            Some(&*image.top.body.len().to_string())
        );
        let age: u64 = got.header("x-harbor-pilot-stale").unwrap().parse().unwrap();
        assert!(age < 60, "{age}");
        assert_eq!(got.header("x-harbor-pilot-served-by"), None);
        let record = node.record(&got).await;
        assert_eq!((record.outcome, &*record.tier), (RequestOutcome::Stale, ""));
        assert!(record.error.contains("refused"), "{}", record.error);
    }
    assert_eq!(
        metric(&node, "stale_served_total").await.as_deref(),
        Some("3")
    );
    let event = node.event(EventName::StaleServed).await;
    assert!(
        event.message.contains("docker.io/library/app:1"),
        "{event:?}"
    );
    assert_eq!(
        node.count(EventName::StaleServed),
        2,
        "once per image and minute"
    );

    let never = node.pull("manifests/2").await;
    assert_eq!(never.status, 503);
    for source in ["t1/", "upstream/"] {
        assert!(never.message().contains(source), "{}", never.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_outage_brings_it_and_every_kind_of_outage_does() {
    let image = Image::random(2, 1);
    let table = [
        (Fault::Reply(Reply::error(503, "UNAVAILABLE", "down")), true),
        (
            Fault::Reply(Reply::error(429, "TOOMANYREQUESTS", "slow down")),
            true,
        ),
        (Fault::ResetInsteadOfAnswer, true),
        (Fault::NoAnswer, true),
        (Fault::AcceptAndSilent, true),
        // Wrong, but alive: nobody knows less than before.
        (Fault::Reply(Reply::error(418, "TEAPOT", "no")), false),
    ];
    for (fault, stale) in table {
        let upstream = image_in(&image).await;
        let node = Setup::of(&[], &upstream).and(CLOCK).start().await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        until_kept(&node, 2).await;
        upstream.set_fault_on(On::Manifests, fault.clone());
        let got = node.pull("manifests/1").await;
        let due = if stale { 200 } else { 503 };
        assert_eq!(got.status, due, "{fault:?}: {got:?}");
        assert_eq!(
            got.header("x-harbor-pilot-stale").is_some(),
            stale,
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_denies_is_deleted() {
    let image = Image::random(3, 1);
    for (status, left) in [(404, 1), (403, 0)] {
        let mut upstream = image_in(&image).await;
        let node = Setup::of(&[], &upstream).and(CLOCK).start().await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        until_kept(&node, 2).await;
        upstream.set_fault_on(
            On::Manifests,
            Fault::Reply(Reply::error(status, "DENIED", "no")),
        );
        assert_eq!(node.pull("manifests/1").await.status, 404);
        until_kept(&node, left).await;
        upstream.refuse().await;
        let got = node.pull("manifests/1").await;
        assert_eq!(got.header("x-harbor-pilot-stale"), None, "{got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_with_a_credential_is_not_kept_and_off_is_off() {
    let image = Image::random(4, 1);
    let table = [
        (
            "username = \"robot\"\npassword_file = \"HOME/password\"",
            "",
            false,
        ),
        ("", "[stale]\nenabled = false\n", false),
        ("", "", true),
    ];
    for (keys, tables, keeps) in table {
        let mut upstream = image_in(&image).await;
        let home = tempfile::tempdir().unwrap();
        write(&home.path().join("password"), "secret");
        let keys = keys.replace("HOME", home.path().to_str().unwrap());
        let setup = Setup::default().registry(&upstream.base_url(), &keys);
        let node = Node::start(&setup.and(CLOCK).and(tables), home).await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        if keeps {
            until_kept(&node, 2).await;
        } else {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(kept(&node), Vec::<PathBuf>::new(), "{keys} {tables}");
        }
        upstream.refuse().await;
        let due = if keeps { 200 } else { 503 };
        assert_eq!(
            node.pull("manifests/1").await.status,
            due,
            "{keys} {tables}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_nothing_does_not_touch_a_pull() {
    let image = Image::random(5, 1);
    let upstream = image_in(&image).await;
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("state")).unwrap();
    std::fs::write(home.path().join("state/manifests"), "no directory").unwrap();
    let node = Node::start(&Setup::of(&[], &upstream).and(CLOCK), home).await;
    for what in [
        "manifests/1".to_owned(),
        format!("manifests/{}", image.top.digest),
    ] {
        assert_eq!(node.pull(&what).await.status, 200);
    }
    let event = node.event(EventName::FilesNotWritable).await;
    assert!(event.message.contains("pulls go on"), "{event:?}");
    assert_eq!(node.count(EventName::FilesNotWritable), 1);
}

/// A filter or a login page between the node and the registry: what it says is nobody's word on the image.
#[tokio::test(flavor = "multi_thread")]
async fn html_that_says_no_is_an_outage_and_nothing_is_remembered_of_it() {
    let image = Image::random(6, 1);
    for status in [401, 403, 404, 451] {
        let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
        let (tier, upstream) = (tier.start().await, image_in(&image).await);
        let node = Setup::of(&[&tier], &upstream).and(CLOCK).start().await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        until_kept(&node, 2).await;
        tier.set_fault(Fault::Reply(Reply::error(503, "UNAVAILABLE", "no")));
        let page = "<html><title>Blocked</title>Your client does not have permission.</html>";
        let page = Reply::new(status).body("text/html; charset=UTF-8", page);
        upstream.set_fault(Fault::Reply(page));
        for _ in 0..2 {
            for method in ["GET", "HEAD"] {
                let got = node
                    .ask(method, &crate::node::target("manifests/1"), &[])
                    .await;
                assert_eq!(got.status, 200, "{status}: {got:?}");
                let stale = got.header("x-harbor-pilot-stale");
                assert!(stale.is_some(), "{status} {method}: {got:?}");
            }
        }
        let got = node.pull(&format!("blobs/{}", image.layer().digest)).await;
        assert_eq!(got.status, 503, "{status}: {got:?}");
        assert!(got.message().contains("upstream/"), "{status}: {got:?}");
        until_kept(&node, 2).await;
        upstream.heal();
        let got = node.pull("manifests/1").await;
        let by = got.header("x-harbor-pilot-served-by").unwrap_or_default();
        assert!(by.starts_with("upstream/"), "{status}: {got:?}");
        assert_eq!(node.count(EventName::EndpointEjected), 1, "the tier's");
    }
}
