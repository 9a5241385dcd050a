//! Restarts of the built program under a stand-in for systemd that does with listening sockets what systemd's fd store
//! does (design O3): no request fails over planned restarts, and every other end closes the port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, with parts that are made for others as well"
)]

mod support;

#[path = "agent/client.rs"]
mod client;
#[path = "restart/load.rs"]
mod load;
#[path = "restart/supervisor.rs"]
mod supervisor;

use load::Load;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use supervisor::{REMOVE, STORE, Supervisor};
use support::{FakeRegistry, Fault, Image, free_address};

/// Where the image is at the real registry.
const REPOSITORY: &str = "library/app";
/// How often the agent is restarted under load.
const RESTARTS: usize = 50;
/// Design 10: nobody waits for more than 2 s. Three times that is allowed where others use the machine too.
const LONGEST: Duration = Duration::from_secs(6);
/// "Refused within 1 s", three times.
const REFUSED: Duration = Duration::from_secs(3);

async fn upstream(image: &Image) -> FakeRegistry {
    let upstream = FakeRegistry::builder();
    upstream.with_image(REPOSITORY, "1", image).start().await
}

fn config(listen: &[SocketAddr], upstream: &FakeRegistry) -> String {
    let listen: Vec<_> = listen.iter().map(|it| format!("\"{it}\"")).collect();
    format!(
        "[server]\nlisten = [{}]\nadmin = \"127.0.0.1:0\"\n[timeouts]\ndrain = \"300ms\"\n\
         [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
        listen.join(", "),
        upstream.base_url()
    )
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// How long the port is still open; at most three seconds.
#[track_caller]
fn assert_refused(address: SocketAddr) {
    let since = Instant::now();
    while !is_refused(address) {
        assert!(since.elapsed() < REFUSED, "the port of nobody is open");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn answers(address: SocketAddr) -> u16 {
    let mut client = client::Client::connect(address).await;
    client.ask("GET", "/v2/", &[]).await;
    client.answer(false).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_over_fifty_planned_restarts() {
    let image = Image::with_layers(1, &[20_000, 300_000]);
    let upstream = upstream(&image).await;
    let address = free_address();
    // The default of 3 s: on a machine that is busy answers take longer than the others' 0.3 s.
    let config = config(&[address], &upstream).replace("drain = \"300ms\"", "");
    let mut agent = Supervisor::new(&config);
    agent.start();
    agent.wait_until_ready();
    let load = Load::start(address, &image);
    for round in 1..=RESTARTS {
        let status = agent.stop().await;
        assert!(
            status.success(),
            "restart {round}: {status}\n{}",
            agent.log()
        );
        assert_eq!(agent.stored(), 1, "restart {round}");
        agent.start();
        agent.wait_until_ready();
        assert_eq!(agent.stored(), 0, "taken back, restart {round}");
    }
    let tally = load.end().await;
    println!("{RESTARTS} restarts: {tally}");
    assert!(
        tally.failed.is_empty(),
        "{:#?}\n{}",
        tally.failed,
        agent.log()
    );
    assert!(tally.answers > RESTARTS, "{tally}");
    assert!(tally.longest < LONGEST, "{tally}");
}

/// Bodies that are cut are resumed; a request that was cut before its answer would have failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_has_not_begun_at_the_drains_limit_is_waited_for() {
    let image = Image::random(1, 1);
    let upstream = upstream(&image).await;
    let address = free_address();
    let mut agent = Supervisor::new(&config(&[address], &upstream));
    agent.start();
    agent.wait_until_ready();
    // The drain's 0.3 s are over long before.
    let late = Fault::SlowFirstByte(Duration::from_millis(700));
    upstream.set_fault_on(support::On::Manifests, late);
    let mut client = client::Client::connect(address).await;
    let manifest = format!("/v2/{REPOSITORY}/manifests/1?ns=docker.io");
    client.ask("GET", &manifest, &[]).await;
    while upstream.lines().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (status, got) = tokio::join!(agent.stop(), client.answer(false));
    assert_eq!(
        (got.status, got.body),
        (200, image.top.body),
        "{}",
        agent.log()
    );
    assert!(status.success());
    assert_eq!(agent.stored(), 1);
}

/// What the program says to systemd, in order: the socket is removed from the store before the configuration is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_stored_last_and_removed_first() {
    let upstream = upstream(&Image::random(1, 1)).await;
    let address = free_address();
    let mut agent = Supervisor::new(&config(&[address], &upstream));
    agent.start();
    agent.wait_until_ready();
    agent.stop().await;
    agent.start();
    agent.wait_until_ready();
    assert_eq!(answers(address).await, 200);
    assert_eq!(agent.sockets_without_cloexec(), Vec::<String>::new());
    agent.stop().await;
    let said = agent.said();
    let said: Vec<_> = said.iter().map(|it| it.lines().next().unwrap()).collect();
    assert_eq!(
        said,
        [
            "READY=1",
            "STOPPING=1",
            STORE,
            REMOVE,
            "READY=1",
            "STOPPING=1",
            STORE
        ]
    );
    // Nothing but the store holds the port open now; systemd lets go of it where the unit stays down.
    assert!(!is_refused(address));
    agent.release();
    assert_refused(address);
}

/// A start that fails after the socket was taken back, in each of its phases: the port is closed, not silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_closes_the_port() {
    let upstream = upstream(&Image::random(1, 1)).await;
    let (address, taken) = (free_address(), TcpListener::bind("127.0.0.1:0").unwrap());
    let good = config(&[address], &upstream);
    let second = config(&[address, taken.local_addr().unwrap()], &upstream);
    let admin = good.replace(
        "admin = \"127.0.0.1:0\"",
        &format!("admin = \"{}\"", taken.local_addr().unwrap()),
    );
    let failures = [
        ("a bad file, and none that was accepted", "nonsense\n", 64),
        ("a second listener that cannot be bound", &*second, 1),
        ("an admin port that is taken", &*admin, 1),
    ];
    for (what, text, expected) in failures {
        let mut agent = Supervisor::new(&good);
        agent.start();
        agent.wait_until_ready();
        agent.stop().await;
        assert_eq!(agent.stored(), 1, "{what}");
        agent.forget_state();
        agent.configure(text);
        agent.start();
        let status = agent.ended().await;
        assert_eq!(status.code(), Some(expected), "{what}\n{}", agent.log());
        assert_eq!(agent.stored(), 0, "{what}");
        assert_refused(address);
    }
}

/// A log filter that cannot be read ends the start before the log exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_log_closes_the_port() {
    let upstream = upstream(&Image::random(1, 1)).await;
    let address = free_address();
    let mut agent = Supervisor::new(&config(&[address], &upstream));
    agent.start();
    agent.wait_until_ready();
    agent.stop().await;
    agent.log_filter("=!=");
    agent.start();
    assert_eq!(agent.ended().await.code(), Some(64), "{}", agent.log());
    assert_eq!(agent.stored(), 0);
    assert_refused(address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_configured_no_more_is_closed() {
    let upstream = upstream(&Image::random(1, 1)).await;
    let [old, stays, new] = [(); 3].map(|()| free_address());
    let mut agent = Supervisor::new(&config(&[old, stays], &upstream));
    agent.start();
    agent.wait_until_ready();
    assert_eq!(answers(old).await, 200);
    agent.stop().await;
    assert_eq!(agent.stored(), 2);
    agent.configure(&config(&[stays, new], &upstream));
    agent.start();
    agent.wait_until_ready();
    assert_refused(old);
    assert_eq!((answers(stays).await, answers(new).await), (200, 200));
}

/// Where images without a registry are is on disk a moment after it was found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_outlives_a_kill() {
    let image = Image::random(172, 1);
    let harbor = || FakeRegistry::builder().harbor();
    let hub = harbor().start().await;
    let ghcr = harbor().with_image("proxy-ghcr-io/org/app", "1", &image);
    let ghcr = ghcr.start().await;
    let tier = |registry: &str, at: &FakeRegistry| {
        let (name, url) = (registry.replace('.', "-"), at.base_url());
        format!(
            "[[tier]]\nname = \"{name}\"\nurl = \"{url}\"\n[tier.projects]\n\
             \"{registry}\" = \"proxy-{name}\"\n[tier.health]\nprobe = \"none\"\n"
        )
    };
    let listen = free_address();
    let config = format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"127.0.0.1:0\"\n[direct]\nenabled = false\n\
         [router]\nnames = [\"registry.example.com\"]\norder = [\"docker.io\", \"ghcr.io\"]\n{}{}",
        tier("docker.io", &hub),
        tier("ghcr.io", &ghcr)
    );
    let mut supervisor = Supervisor::new(&config);
    supervisor.start();
    supervisor.wait_until_ready();
    let pull = async || {
        let mut client = client::Client::connect(listen).await;
        let target = "/v2/proxy/org/app/manifests/1?ns=registry.example.com";
        client.ask("GET", target, &[]).await;
        let got = client.answer(false).await;
        (got.status, got.body)
    };
    assert_eq!(pull().await, (200, image.top.body.clone()));
    let since = Instant::now();
    while !supervisor.holds("state/router") {
        assert!(since.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    supervisor.signal("KILL");
    supervisor.ended().await;
    // Without the mapping its silence would be 503: it is placed before the other.
    hub.set_fault(Fault::CloseInsteadOfAnswer);
    supervisor.start();
    supervisor.wait_until_ready();
    assert_eq!(pull().await, (200, image.top.body));
}

/// Ends that nobody planned store nothing: killed, hung and killed, told twice to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_nobody_planned_closes_the_port() {
    let upstream = upstream(&Image::random(1, 1)).await;
    let address = free_address();
    let drains = config(&[address], &upstream).replace("300ms", "9s");
    let mut agent = Supervisor::new(&drains);
    agent.start();
    agent.wait_until_ready();
    agent.signal("KILL");
    assert!(!agent.ended().await.success());
    assert_eq!(agent.stored(), 0);
    assert_refused(address);

    agent.start();
    agent.wait_until_ready();
    let mut client = client::Client::connect(address).await;
    let image = Image::random(1, 1);
    upstream.set_fault_on(support::On::Blobs, Fault::NoAnswer);
    let blob = format!(
        "/v2/{REPOSITORY}/blobs/{}?ns=docker.io",
        image.blobs[0].digest
    );
    client.ask("GET", &blob, &[]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.signal("TERM");
    assert!(agent.ended().await.success(), "{}", agent.log());
    assert_eq!(agent.stored(), 0, "it was told to go at once");
    assert_refused(address);
}
