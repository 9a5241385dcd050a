//! The registry endpoint as a server: who may ask, how many, and what is not HTTP (design S5, S6).

use crate::client::{Client, End};
use crate::node::{Node, REPOSITORY, Setup, target, write};
use crate::support::{FakeRegistry, Fault, Image, On};
use std::time::Duration;

async fn upstream(image: &Image) -> FakeRegistry {
    let upstream = FakeRegistry::builder();
    upstream.with_image(REPOSITORY, "1", image).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_header_is_required_of_everything() {
    let image = Image::random(1, 1);
    let upstream = upstream(&image).await;
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    write(&key, "open-sesame\n");
    let keys = format!("require_header_file = \"{}\"", key.display());
    let node = Node::start(&Setup::of(&[], &upstream).server(&keys), home).await;
    let right = [("X-Harbor-Pilot-Key", "open-sesame")];
    for target in ["/v2/", &target("manifests/1"), &target("tags/list")] {
        for wrong in [
            &[][..],
            &[("X-Harbor-Pilot-Key", "sesame")],
            &[("X-Harbor-Pilot-Key", "")],
        ] {
            let got = node.ask("GET", target, wrong).await;
            assert_eq!(got.status, 404, "{target}");
            assert!(!got.text().contains("sesame"));
        }
        assert_eq!(
            node.ask("GET", target, &right).await.status,
            200,
            "{target}"
        );
    }
    // It is ours: upstream never sees it.
    let seen = upstream.requests();
    assert!(
        seen.iter()
            .all(|asked| asked.header("x-harbor-pilot-key").is_none())
    );
    // A new value holds from the reload on.
    write(&key, "another\n");
    node.signal(harbor_pilot::lifecycle::RawSignal::Hangup)
        .await;
    node.event(harbor_pilot::telemetry::EventName::ConfigReloaded)
        .await;
    assert_eq!(node.ask("GET", "/v2/", &right).await.status, 404);
    let new = [("X-Harbor-Pilot-Key", "another")];
    assert_eq!(node.ask("GET", "/v2/", &new).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_of_connections_the_answer_is_503_and_close() {
    let image = Image::random(1, 1);
    let upstream = upstream(&image).await;
    let node = Setup::of(&[], &upstream)
        .and("[limits]\nconnections = 2\n")
        .start()
        .await;
    upstream.set_fault_on(On::Manifests, Fault::NoAnswer);
    let mut held = Vec::new();
    for tag in ["manifests/1", "manifests/2"] {
        let mut client = node.client().await;
        client.ask("GET", &target(tag), &[]).await;
        held.push(client);
    }
    while upstream.lines().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = node.client().await;
    third.ask("GET", &target("manifests/1"), &[]).await;
    let got = third.answer(false).await;
    assert_eq!((got.status, got.end), (503, End::Clean));
    assert_eq!(got.code(), "UNAVAILABLE");
    got.assert_keeps_manners(None);
    assert!(got.header("x-harbor-pilot-request-id").is_some(), "{got:?}");
    assert_eq!(third.rest().await.1, End::Fin);
    // A place that is given up is free again.
    held.pop();
    let mut status = 503;
    for _ in 0..200 {
        let mut client = node.client().await;
        client.ask("GET", "/v2/", &[]).await;
        status = client.answer(false).await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, 200);
}

/// Who asks nothing keeps nobody out: it is closed, and asks again on another connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_of_connections_who_rests_makes_way() {
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[], &upstream)
        .and("[limits]\nconnections = 2\n")
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut client = node.client().await;
        client.ask("GET", "/v2/", &[]).await;
        assert_eq!(client.answer(false).await.status, 200);
        held.push(client);
    }
    for (at, client) in held.iter_mut().enumerate() {
        if at < 4 {
            assert_eq!(client.rest().await, (Vec::new(), End::Fin), "{at}");
        } else {
            client.ask("GET", "/v2/", &[]).await;
            assert_eq!(client.answer(false).await.status, 200, "{at}");
        }
    }
}

/// A client that speaks TLS here must not be left to its own timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_client_is_told_at_once() {
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[], &upstream).start().await;
    let mut client = node.client().await;
    let mut hello = vec![
        0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03,
    ];
    hello.extend([0x5a; 194]);
    client.send(&hello).await;
    let (said, end) = client.rest().await;
    assert!(
        said.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&said)
    );
    assert_ne!(end, End::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_alive_through_every_kind_of_answer() {
    let image = Image::with_layers(2, &[100_000]);
    let upstream = upstream(&image).await;
    let node = Setup::of(&[], &upstream).start().await;
    let mut client = node.client().await;
    let blob = target(&format!("blobs/{}", image.layer().digest));
    let requests = [
        ("GET", "/v2/".to_owned(), 200),
        ("HEAD", target("manifests/1"), 200),
        ("GET", target("manifests/1"), 200),
        ("HEAD", blob.clone(), 200),
        ("GET", blob, 200),
        ("GET", target("manifests/nosuchtag"), 404),
        ("HEAD", target("manifests/nosuchtag"), 404),
        ("GET", "/nonsense".to_owned(), 404),
        ("HEAD", "/v2/".to_owned(), 200),
        ("DELETE", "/v2/".to_owned(), 405),
    ];
    for (method, target, status) in &requests {
        client.ask(method, target, &[]).await;
        let got = client.answer(*method == "HEAD").await;
        assert_eq!(
            (got.status, got.end),
            (*status, End::Clean),
            "{method} {target}"
        );
        if *status == 405 {
            assert_eq!(got.header("allow"), Some("GET, HEAD"));
        }
    }
}

/// Sixty-four streams at once over one address, all exact; busy addresses are waited for, not refused (P12).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_all_served() {
    let image = Image::with_layers(3, &[150_000]);
    let upstream = upstream(&image).await;
    let every = Duration::from_millis(5);
    upstream.set_fault_on(
        On::Blobs,
        Fault::Drip {
            bytes: 10_000,
            every,
        },
    );
    let node = Setup::of(&[], &upstream).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let blob = target(&format!("blobs/{}", image.layer().digest));
    let pulls = (0..64).map(|_| {
        let (addr, blob) = (node.addr, blob.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(addr).await;
            client.ask("GET", &blob, &[]).await;
            client.answer(false).await
        })
    });
    for pull in pulls.collect::<Vec<_>>() {
        let got = pull.await.unwrap();
        assert!(
            got.end == End::Clean && got.body == image.layer().body,
            "{got:?}"
        );
    }
}
