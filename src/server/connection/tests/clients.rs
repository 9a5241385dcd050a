//! What clients do besides asking: they leave, ask no more, do not read, and are ended for others.

use super::*;
use crate::admission::Standing;
use crate::config::{Gateway, Secret};
use crate::server::gateway;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[tokio::test]
async fn who_leaves_gives_up_the_answer_and_the_body() {
    for target in ["/never", "/hang"] {
        let mut stage = stage(LONG).await;
        stage.say(&format!("GET {target} HTTP/1.1\r\n\r\n")).await;
        while stage.script.asked.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What it asks meanwhile is no sign of its leaving, and neither is that it asks no more.
        stage.say("GET /next HTTP/1.1\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!stage.script.dropped.load(Ordering::SeqCst), "{target}");
        stage.peer.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!stage.script.dropped.load(Ordering::SeqCst), "{target}");
        let (dropped, served) = (stage.script.dropped.clone(), stage.served);
        drop(stage.peer);
        let gone = async {
            while !dropped.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            served.await.unwrap();
        };
        timeout(Duration::from_secs(5), gone).await.expect(target);
    }
}

/// What a script does that sends its request and ends its side at once.
#[tokio::test]
async fn who_asks_no_more_has_its_answers() {
    for target in ["/slow", "/told", "/large"] {
        let mut stage = stage(LONG).await;
        let asked = format!("GET /a HTTP/1.1\r\n\r\nGET {target} HTTP/1.1\r\n\r\n");
        stage.say(&asked).await;
        stage.peer.shutdown().await.unwrap();
        let heard = stage.hear().await;
        assert!(heard.contains("\r\n\r\n/a"), "{target}");
        let whole = match target {
            "/slow" => heard.ends_with("slow"),
            "/told" => heard.ends_with("hello"),
            _ => heard.len() > 3_000_000,
        };
        assert!(whole, "{target}: {} bytes", heard.len());
        assert_eq!(stage.script.asked.load(Ordering::SeqCst), 2);
    }
}

/// One that goes at once, before its answer, is noticed as it ever was.
#[tokio::test]
async fn who_goes_is_noticed_at_once() {
    for target in ["/never", "/hang"] {
        let mut stage = stage(LONG).await;
        stage.say(&format!("GET {target} HTTP/1.1\r\n\r\n")).await;
        while stage.script.asked.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let began = Instant::now();
        drop(stage.peer);
        timeout(LONG, &mut stage.served).await.unwrap().unwrap();
        assert!(stage.script.dropped.load(Ordering::SeqCst), "{target}");
        assert!(began.elapsed() < Duration::from_millis(500), "{target}");
    }
}

/// Bytes that wait for so long end the answer; a client that takes some goes on, and a source that is slow costs nothing.
#[tokio::test]
async fn who_takes_no_byte_is_ended_and_who_waits_for_the_source_is_not() {
    let limit = Duration::from_secs(3);
    let slots = admission(3, limit);
    let mut waits = stage_of(&slots, LONG).await;
    waits.say("GET /hang HTTP/1.1\r\n\r\n").await;
    let mut stalls = stage_of(&slots, LONG).await;
    let mut reads = stage_of(&slots, LONG).await;
    let began = Instant::now();
    for stage in [&mut stalls, &mut reads] {
        stage.say("GET /large HTTP/1.1\r\n\r\n").await;
    }
    let mut heard = vec![0; 300_000];
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        reads.peer.read_exact(&mut heard).await.unwrap();
    }
    timeout(Duration::from_secs(5), &mut stalls.served)
        .await
        .expect("it is ended")
        .unwrap();
    assert!(began.elapsed() >= limit);
    assert_eq!(stalls.script.unread.load(Ordering::SeqCst), 1);
    assert_eq!(reads.script.unread.load(Ordering::SeqCst), 0);
    // What it was given is right, and its end is in good order.
    let mut prefix = Vec::new();
    stalls.peer.read_to_end(&mut prefix).await.unwrap();
    let head = prefix
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    assert!(prefix.len() < 3_000_000 && large().starts_with(&prefix[head + 4..]));
    let mut rest = Vec::new();
    let left = 3_000_000 - 8 * heard.len();
    while rest.len() < left {
        assert_ne!(reads.peer.read_buf(&mut rest).await.unwrap(), 0);
    }
    // The source of the first has given nothing all the time.
    assert!(waits.hear_one(13).await.contains("hel"));
    assert_eq!(waits.script.unread.load(Ordering::SeqCst), 0);
    assert!(waits.served.try_recv().is_err());
}

/// Where slots run short, who makes no progress makes way, with an end in good order.
#[tokio::test]
async fn who_makes_way_is_ended_whatever_it_does() {
    for request in [
        "",
        "GET /a HT",
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /never HTTP/1.1\r\n\r\n",
        "GET /hang HTTP/1.1\r\n\r\n",
        "GET /large HTTP/1.1\r\n\r\n",
    ] {
        let slots = admission(1, LONG);
        let mut first = stage_of(&slots, LONG).await;
        first.say(request).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let check = slots.enter(Standing::Check, Instant::now());
        assert!(check.is_some(), "{request}");
        timeout(Duration::from_secs(5), &mut first.served)
            .await
            .expect(request)
            .unwrap();
        let mut heard = Vec::new();
        first.peer.read_to_end(&mut heard).await.unwrap();
    }
}

/// A head that comes byte by byte has a limit of its own.
#[tokio::test]
async fn a_head_that_drips_is_ended() {
    let mut stage = stage(Duration::from_millis(400)).await;
    let began = Instant::now();
    let mut bytes = "GET /a HTTP/1.1\r\nhost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".bytes();
    while stage.served.try_recv().is_err() {
        let _ = stage.peer.write_all(&[bytes.next().unwrap()]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// The socket takes nothing more, not even the end of TLS.
#[tokio::test]
async fn who_reads_nothing_over_tls_is_closed_in_time() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = gateway::tls(&Gateway {
        listen: Vec::new(),
        chain: own.cert.pem().into_bytes().into(),
        key: Secret::new(&own.signing_key.serialize_pem()),
    });
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let ((stream, slot), peer) = admitted(&admission(1, LONG)).await;
    let Stream::Left(socket) = stream else {
        panic!("it is TCP");
    };
    let (acceptor, connector) = (
        TlsAcceptor::from(tls.unwrap()),
        TlsConnector::from(Arc::new(client)),
    );
    let name = "localhost".try_into().unwrap();
    let (stream, _peer) = tokio::join!(acceptor.accept(socket), connector.connect(name, peer));
    let mut stream = stream.unwrap();
    let piece = [0; 16 * 1024];
    let patience = Duration::from_millis(200);
    while timeout(patience, stream.write_all(&piece)).await.is_ok() {}
    let (_drain, watch) = Drain::new();
    let stream = Stream::Right(Box::new(stream));
    let mut serving = Serving::new(stream, slot, LONG, watch, Script::default());
    let closed = timeout(LINGER * 5, serving.connection.close()).await;
    closed.expect("the connection is closed");
}
