//! From start to stop: reload, changed files, a start with bad files, drain (design O2, O4).

use crate::client::{Client, End};
use crate::node::{Node, REPOSITORY, Setup, TIERED, target, write};
use crate::support::{FakeRegistry, Fault, Image, On};
use harbor_pilot::lifecycle::RawSignal;
use harbor_pilot::telemetry::EventName;
use std::time::Duration;

async fn upstream(image: &Image) -> FakeRegistry {
    let upstream = FakeRegistry::builder();
    upstream.with_image(REPOSITORY, "1", image).start().await
}

async fn status(node: &Node) -> serde_json::Value {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", "/status", &[]).await;
    serde_json::from_slice(&client.answer(false).await.body).unwrap()
}

async fn admin(node: &Node, path: &str) -> u16 {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", path, &[]).await;
    client.answer(false).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_file_comes_into_force_and_a_bad_one_changes_nothing() {
    let image = Image::random(1, 1);
    let (old, new) = (upstream(&image).await, upstream(&image).await);
    let node = Setup::of(&[], &old).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    assert_eq!(old.lines().len(), 1);

    node.rewrite(&Setup::of(&[], &old).and("[dns]\nmin_tll = \"5s\"\n"));
    node.signal(RawSignal::Hangup).await;
    let event = node.event(EventName::ConfigRejected).await;
    assert!(event.reason.contains("min_tll"), "{event:?}");
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let shown = status(&node).await;
    assert_eq!(shown["config"]["last_reload_ok"], false);
    assert!(
        shown["config"]["error"]
            .as_str()
            .unwrap()
            .contains("min_tll")
    );
    assert_eq!(shown["config"]["generation"], 1);
    assert_eq!(node.count(EventName::ConfigReloaded), 0);

    node.rewrite(&Setup::of(&[], &new));
    node.signal(RawSignal::Hangup).await;
    node.event(EventName::ConfigReloaded).await;
    // Nobody waits for DNS to have seen the new source: the very first request is served by it.
    assert_eq!(node.pull("manifests/1").await.status, 200);
    assert_eq!((old.lines().len(), new.lines().len()), (2, 1));
    let shown = status(&node).await;
    assert_eq!(shown["config"]["last_reload_ok"], true);
    assert_eq!(shown["config"]["generation"], 2);
}

/// A password that the configuration names is noticed when it changes, within 10 s (looked at every 5 s).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_is_noticed() {
    let image = Image::random(1, 1);
    let tier = FakeRegistry::builder()
        .harbor()
        .account("robot$node", "second");
    let tier = tier
        .with(|it| it.private = true)
        .with_image(TIERED, "1", &image);
    let (tier, upstream) = (tier.start().await, FakeRegistry::builder().start().await);
    let home = tempfile::tempdir().unwrap();
    let password = home.path().join("password");
    write(&password, "first\n");
    let keys = format!(
        "username = \"robot$node\"\npassword_file = \"{}\"",
        password.display()
    );
    let setup = Setup::default().tier(&tier.base_url(), &keys);
    let setup = setup.registry(&upstream.base_url(), "");
    let node = Node::start(&setup, home).await;
    let got = node.pull("manifests/1").await;
    assert_eq!(
        got.status, 404,
        "the tier denies, upstream has it not: {got:?}"
    );
    write(&password, "second\n");
    node.event(EventName::ConfigReloaded).await;
    let got = node.pull("manifests/1").await;
    assert_eq!(&*node.record(&got).await.tier, "t1", "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_bad_file_uses_the_accepted_one() {
    let image = Image::random(1, 1);
    let upstream = upstream(&image).await;
    let mut node = Setup::of(&[], &upstream).start().await;
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    let mut text = Setup::of(&[], &upstream).text(home.path());
    text.push_str("[nonsense]\nx = 1\n");
    write(&home.path().join("config.toml"), &text);
    let node = Node::start_with_files(home).await;
    node.event(EventName::ConfigRejected).await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let shown = status(&node).await;
    assert_eq!(shown["config"]["from_last_accepted"], true);
    assert_eq!(shown["ready"], true);
}

/// A pull of a large blob from a source that takes its time.
async fn slow_pull(drain: &str) -> (Node, Client, FakeRegistry, Image) {
    let image = Image::with_layers(2, &[400_000]);
    let upstream = upstream(&image).await;
    let every = Duration::from_millis(25);
    upstream.set_fault_on(
        On::Blobs,
        Fault::Drip {
            bytes: 10_000,
            every,
        },
    );
    let keys = format!("[timeouts]\ndrain = \"{drain}\"\n");
    let node = Setup::of(&[], &upstream).and(&keys).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let mut client = node.client().await;
    let blob = target(&format!("blobs/{}", image.layer().digest));
    client.ask("GET", &blob, &[]).await;
    assert_eq!(client.head_of_answer().await.status, 200);
    assert_eq!(admin(&node, "/readyz").await, 200);
    (node, client, upstream, image)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_bodies_end() {
    let (mut node, mut client, _upstream, image) = slow_pull("9s").await;
    node.signal(RawSignal::Terminate).await;
    node.event(EventName::Drain).await;
    // Readiness is off, and whoever comes is served all the same.
    assert_eq!(admin(&node, "/readyz").await, 503);
    assert_eq!(admin(&node, "/livez").await, 200);
    let got = node.get("/v2/").await;
    assert_eq!((got.status, got.header("connection")), (200, Some("close")));
    let (body, end) = client.rest().await;
    assert!(body == image.layer().body, "{} bytes", body.len());
    assert_eq!(end, End::Fin);
    node.ended().await.unwrap();
    let records = node.journal.accesses();
    assert_eq!(records.last().unwrap().bytes, 400_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_drains_limit_bodies_are_cut_with_fin() {
    let (mut node, mut client, _upstream, image) = slow_pull("200ms").await;
    node.signal(RawSignal::Terminate).await;
    let (body, end) = client.rest().await;
    assert_eq!(
        end,
        End::Fin,
        "with a reset containerd would throw the right prefix away"
    );
    assert!(body.len() < 400_000 && image.layer().body.starts_with(&body));
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_signal_ends_it_at_once() {
    let (mut node, _client, _upstream, _image) = slow_pull("9s").await;
    let since = std::time::Instant::now();
    node.signal(RawSignal::Terminate).await;
    node.event(EventName::Drain).await;
    assert!(node.is_running());
    node.signal(RawSignal::Interrupt).await;
    node.ended().await.unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "nine were allowed"
    );
}

/// Once stopped the port is closed: containerd goes on to its next host at once (O3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_agent_refuses() {
    let upstream = FakeRegistry::builder().start().await;
    let mut node = Setup::of(&[], &upstream).start().await;
    assert_eq!(node.get("/v2/").await.status, 200);
    node.signal(RawSignal::Interrupt).await;
    node.ended().await.unwrap();
    let mut refused = false;
    for _ in 0..100 {
        refused = tokio::net::TcpStream::connect(node.addr).await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused);
}
