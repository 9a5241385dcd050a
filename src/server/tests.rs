//! The endpoint over real sockets on loopback.

use super::*;
use crate::admission::{Lookup, Peers};
use crate::config::Config;
use crate::lifecycle::Drain;
use crate::router::testing;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A server over the built-in configuration, which asks nobody by itself.
struct Stage {
    at: SocketAddr,
    drain: Drain,
    _relay: testing::Stage,
    _key: watch::Sender<Option<Secret>>,
}

async fn stage(idle: Duration) -> Stage {
    let relay = testing::stage(Config::built_in());
    let dispatcher = Dispatcher::new(relay.relay.clone(), relay.state.path());
    let (key_in, key) = watch::channel(None);
    let settings = Settings {
        admission: admission(4, LONG),
        idle,
        key,
        threads: Threads::current(),
        metrics: Arc::default(),
        gateway: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (drain, watch) = Drain::new();
    let served = serve(listener, dispatcher, settings, watch);
    relay.tasks.spawn("server", served);
    Stage {
        at,
        drain,
        _relay: relay,
        _key: key_in,
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn talk(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn who_says_nothing_or_half_is_let_go_after_the_idle_time() {
    let stage = stage(Duration::from_millis(200)).await;
    for request in ["", "GET /v2/ HTT", "GET /v2/ HTTP/1.1\r\nHost: x\r\n"] {
        let said = tokio::time::timeout(Duration::from_secs(10), talk(stage.at, request)).await;
        let said = said.expect("the connection ends");
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn once_it_is_closed_nobody_accepts() {
    let stage = stage(LONG).await;
    stage.drain.begin(LONG);
    assert!(
        crate::node::answers(stage.at).await,
        "accepting goes on while draining"
    );
    stage.drain.close();
    for _ in 0..500 {
        if TcpStream::connect(stage.at).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it still accepts");
}

/// So many slots, for clients that are all untrusted.
pub(super) fn admission(slots: usize, stall: Duration) -> Admission {
    let peers = Peers::new(Lookup::Address(|_| false));
    Admission::new(slots, stall, peers)
}

/// A connection of ours with its slot, and its peer.
pub(super) async fn admitted(admission: &Admission) -> ((Stream, Slot), TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let slot = admission.admit(&stream, true).await.unwrap();
    let stream = Stream::Left(Socket::new(stream));
    socket::prepare(&stream);
    ((stream, slot), peer)
}

#[tokio::test]
async fn doctors_image_is_answered_here_and_only_under_its_own_name() {
    let stage = stage(LONG).await;
    let ask = async |target: &str| {
        let request = format!("GET /v2/{target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        talk(stage.at, &request).await
    };
    let image = "harbor-pilot.invalid/doctor";
    let found = ask(&format!(
        "{image}/manifests/check-0123456789abcdef?ns=docker.io"
    ))
    .await;
    assert!(found.starts_with("HTTP/1.1 200 OK\r\n"), "{found}");
    assert!(found.contains("docker-content-digest: sha256:"), "{found}");
    let tags = ask(&format!("{image}/tags/list")).await;
    assert!(tags.contains("\"check-0123456789abcdef\""), "{tags}");
    let other = ask(&format!("{image}/manifests/latest?ns=docker.io")).await;
    assert!(other.starts_with("HTTP/1.1 404 Not Found\r\n"), "{other}");
    // Routed like everybody's, and to nobody: that host is no configured registry.
    let neighbour = ask(&format!(
        "{image}2/manifests/check-0123456789abcdef?ns=x.invalid"
    ))
    .await;
    assert!(
        neighbour.contains("not a configured registry"),
        "{neighbour}"
    );
}
