//! An unprivileged process of the node that takes places: idle, busy and unread connections by the hundred, and heads that never
//! end. Trusted clients are served as if it were not there, and so are the agent's own checks. (A pull of a trusted client that
//! took longer than a second would fail here.)

use crate::client::{Client, End};
use crate::is_long;
use crate::node::{Node, REPOSITORY, Setup, target};
use crate::support::{FakeRegistry, Fault, Image, On};
use harbor_pilot::node::answers;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::{Duration, Instant};

/// As the agent is packaged.
const PLACES: usize = 512;

/// The agent under attack, with an image to pull and a layer of which a stranger wants much.
struct Stage {
    node: Node,
    upstream: FakeRegistry,
    image: Image,
    bait: Image,
}

impl Stage {
    async fn with(keys: &str) -> Self {
        // Both ends of every connection are in this process.
        let all = getrlimit(Resource::Nofile);
        let most = Rlimit {
            current: all.maximum,
            ..all
        };
        setrlimit(Resource::Nofile, most).unwrap();
        let (image, bait) = (
            Image::with_layers(1, &[100_000]),
            Image::with_layers(2, &[700_000]),
        );
        let upstream = FakeRegistry::builder()
            .with_image(REPOSITORY, "1", &image)
            .with_image(REPOSITORY, "2", &bait)
            .start()
            .await;
        let node = Setup::of(&[], &upstream).and(keys).start().await;
        Self {
            node,
            upstream,
            image,
            bait,
        }
    }

    /// So many strangers that ask for the large layer.
    async fn strangers(&self, count: usize) -> Vec<Client> {
        let bait = target(&format!("blobs/{}", self.bait.layer().digest));
        let mut strangers = Vec::new();
        for _ in 0..count {
            let mut client = Client::connect_as_stranger(self.node.addr).await;
            client.ask("GET", &bait, &[]).await;
            strangers.push(client);
        }
        strangers
    }

    /// A trusted client's pull on a new connection, and both checks of the agent; prints how long the pull took.
    async fn pull(&self, beside: &str) {
        let began = Instant::now();
        let mut client = self.node.client().await;
        let layer = format!("blobs/{}", self.image.layer().digest);
        for what in ["manifests/1", &layer] {
            client.ask("GET", &target(what), &[]).await;
            let got = client.answer(false).await;
            assert_eq!((got.status, got.end), (200, End::Clean), "{what} {got:?}");
        }
        let took = began.elapsed();
        println!("a pull beside {beside}: {took:?}");
        assert!(took < Duration::from_secs(1), "{beside}: {took:?}");
        assert!(answers(self.node.addr).await, "the watchdog, {beside}");
    }

    /// Requests at the upstream's address, as the agent counts them.
    async fn in_flight(&self) -> u64 {
        let mut client = Client::connect(self.node.admin).await;
        client.ask("GET", "/status", &[]).await;
        let status: serde_json::Value =
            serde_json::from_slice(&client.answer(false).await.body).unwrap();
        let sources = status["upstreams"].as_array().unwrap();
        let endpoints = sources.iter().filter_map(|it| it["endpoints"].as_array());
        let counts = endpoints
            .flatten()
            .map(|it| it["in_flight"].as_u64().unwrap());
        counts.sum()
    }

    async fn metric(&self, series: &str) -> u64 {
        let mut client = Client::connect(self.node.admin).await;
        client.ask("GET", "/metrics", &[]).await;
        let text = client.answer(false).await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_strangers_keep_nobody_out() {
    let stage = Stage::with("").await;
    let mut idle = Vec::new();
    for number in 0..600 {
        let mut client = Client::connect_as_stranger(stage.node.addr).await;
        match number % 3 {
            0 => {}
            1 => client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n").await,
            _ => {
                client.ask("GET", "/v2/", &[]).await;
                assert_eq!(client.answer(false).await.status, 200, "{number}");
            }
        }
        idle.push(client);
    }
    for _ in 0..10 {
        stage.pull("600 idle connections").await;
    }
    // Nor one another: who has been idle for longest made way.
    let mut last = Client::connect_as_stranger(stage.node.addr).await;
    last.ask("GET", "/v2/", &[]).await;
    assert_eq!(last.answer(false).await.status, 200);
    assert_eq!(idle[0].rest().await, (Vec::new(), End::Fin));
    let series = "harbor_pilot_clients_ended_total{reason=\"made_way\"}";
    assert!(stage.metric(series).await >= 88);
}

/// 100 streams that nobody reads made an address loaded, and every other pull waited for 2 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_do_not_read_cost_others_nothing() {
    let stage = Stage::with("").await;
    let unread = stage.strangers(if is_long() { 500 } else { 100 }).await;
    let beside = format!("{} that do not read", unread.len());
    stage.pull(&beside).await;
    // Another stranger gives way to them, until they are known not to read: 2 s later, and those that waited for a turn 2 s
    // after that.
    assert!(stage.in_flight().await >= 16);
    let since = Instant::now();
    while stage.in_flight().await > 0 {
        assert!(since.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.pull(&beside).await;
    let began = Instant::now();
    let mut another = Client::connect_as_stranger(stage.node.addr).await;
    let layer = target(&format!("blobs/{}", stage.image.layer().digest));
    another.ask("GET", &layer, &[]).await;
    assert_eq!(another.answer(false).await.end, End::Clean);
    assert!(began.elapsed() < Duration::from_secs(1), "{began:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_strangers_make_way_for_trusted_clients() {
    let (strangers, places) = if is_long() { (600, PLACES) } else { (150, 128) };
    let stage = Stage::with(&format!("[limits]\nconnections = {places}\n")).await;
    let layer = stage.bait.layer().digest.to_string();
    let drip = Fault::Drip {
        bytes: 4_000,
        every: Duration::from_millis(500),
    };
    stage.upstream.set_fault_on(On::Ending(layer), drip);
    let mut busy = stage.strangers(places).await;
    for client in &mut busy {
        assert_eq!(client.head_of_answer().await.status, 200);
    }
    // Strangers make no way for a stranger, while they are busy.
    let refused = strangers - places;
    for client in &mut stage.strangers(refused).await {
        assert_eq!(client.head_of_answer().await.status, 503);
    }
    for _ in 0..5 {
        stage.pull(&format!("{strangers} busy ones")).await;
    }
    let series = "harbor_pilot_clients_ended_total{reason=\"refused\"}";
    assert!(stage.metric(series).await >= refused as u64);
}

/// Also where trusted clients have all places, and are busy: nobody is to take a full agent for a hung one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_own_checks_always_find_a_place() {
    let stage = Stage::with("[limits]\nconnections = 4\n").await;
    stage
        .upstream
        .set_fault_on(On::Manifests, Fault::SlowFirstByte(Duration::from_secs(3)));
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut client = stage.node.client().await;
        client.ask("GET", &target("manifests/1"), &[]).await;
        busy.push(client);
    }
    // All four are read by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut fifth = stage.node.client().await;
    fifth.ask("GET", "/v2/", &[]).await;
    let got = fifth.answer(false).await;
    assert_eq!(got.status, 503);
    assert!(got.header("x-harbor-pilot-request-id").is_some());
    let checks = (0..8).map(|_| answers(stage.node.addr));
    let checks = futures_util::future::join_all(checks).await;
    assert_eq!(checks, [true; 8]);
    for client in &mut busy {
        assert_eq!(client.answer(false).await.status, 200, "none made way");
    }
}

/// A client that does not read is ended, with an end in good order behind what it has; a trusted one has more time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_is_not_read_ends() {
    let stage = Stage::with("[timeouts]\nclient = \"2500ms\"\n").await;
    let layer = stage.bait.layer();
    let bait = target(&format!("blobs/{}", layer.digest));
    let mut trusted = stage.node.client().await;
    trusted.ask("GET", &bait, &[]).await;
    let mut stranger = stage.strangers(1).await.remove(0);
    let got = stranger.head_of_answer().await;
    assert_eq!(got.status, 200);
    let record = stage.node.record(&got).await;
    let due = "the client took no byte for 2.5 s";
    assert!(record.error.contains(due), "{record:?}");
    let (body, end) = stranger.rest().await;
    assert_eq!(end, End::Fin);
    assert!(body.len() < layer.body.len() && layer.body.starts_with(&body));
    let series = "harbor_pilot_clients_ended_total{reason=\"stalled\"}";
    assert_eq!(stage.metric(series).await, 1);
    let got = trusted.answer(false).await;
    assert!(got.end == End::Clean && got.body == layer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_endpoint_answers_beside_strangers() {
    let stage = Stage::with("").await;
    let admin = stage.node.admin;
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(Client::connect_as_stranger(admin).await);
    }
    // 32 that come again as soon as they are ended.
    let renewed = (0..32).map(|_| async {
        loop {
            let mut client = Client::connect_as_stranger(admin).await;
            client.rest().await;
        }
    });
    let asked = async {
        for user in ["trusted", "stranger"] {
            for _ in 0..20 {
                let began = Instant::now();
                let mut client = match user {
                    "trusted" => Client::connect(admin).await,
                    _ => Client::connect_as_stranger(admin).await,
                };
                client.ask("GET", "/readyz", &[]).await;
                let got = client.answer(false).await;
                if user == "trusted" {
                    assert_eq!(got.status, 200);
                    assert!(began.elapsed() < Duration::from_secs(1), "{began:?}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::select! {
        () = asked => {}
        _ = futures_util::future::join_all(renewed) => {}
    }
    assert_eq!(idle[0].rest().await.0, b"", "it made way");
}

/// As a script does that sends its request and ends its side: it has its answer, also of a source that takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_no_more_has_its_answer_and_who_goes_frees_the_source() {
    let stage = Stage::with("").await;
    let slow = Fault::SlowFirstByte(Duration::from_millis(1500));
    stage.upstream.set_fault_on(On::All, slow);
    let layer = stage.image.layer();
    for what in ["manifests/1".to_owned(), format!("blobs/{}", layer.digest)] {
        let mut client = stage.node.client().await;
        client.ask("GET", &target(&what), &[]).await;
        client.asks_no_more().await;
        let got = client.answer(false).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{what}");
    }
    stage.upstream.heal();
    stage.upstream.set_fault_on(On::Blobs, Fault::NoAnswer);
    let mut client = stage.node.client().await;
    let records = stage.node.journal.accesses().len();
    client
        .ask("GET", &target(&format!("blobs/{}", layer.digest)), &[])
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    drop(client);
    let ended =
        |journal: &harbor_pilot::telemetry::Captured| journal.accesses().get(records).cloned();
    stage.node.until(ended).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{began:?}");
}
