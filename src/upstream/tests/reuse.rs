//! Keep-alive: what is used again, what is not, and what an unseen end looks like.

use super::support::{
    Server, connect_named, endpoint, eventually, fetch, get, read_head, tier, tier_at, timeouts,
    url,
};
use crate::lifecycle::DataPlane;
use crate::topology::{Failure, Source, Sources};
use crate::upstream::{Client, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::Instant;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    for _ in 0..20 {
        let response = fetch(&client, &source, server.address).await.unwrap();
        assert_eq!(response.body.read_to(2).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 1);
    assert_eq!(client.idle_connections(), 1);
    let idle = client.idle(&endpoint(&source, server.address)).unwrap();
    assert!(idle.is_reused());
    assert_eq!(idle.address(), Some(server.address));
}

#[tokio::test]
async fn a_connection_moves_to_the_thread_that_takes_it() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let data = DataPlane::start(2).unwrap();
    let threads: Vec<_> = data.threads().runtimes().collect();
    // From this thread to one of the others, to the other, and there again.
    let response = fetch(&client, &source, server.address).await.unwrap();
    response.body.read_to(2).await.unwrap();
    for thread in [threads[0], threads[1], threads[1]] {
        let (client, source, at) = (client.clone(), source.clone(), server.address);
        let (said, heard) = oneshot::channel();
        thread.spawn(async move {
            let idle = client.idle(&endpoint(&source, at)).unwrap();
            let response = idle.send(get("/")).await.unwrap();
            said.send(response.body.read_to(2).await.unwrap()).unwrap();
        });
        assert_eq!(heard.await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn connections_are_not_used_again_where_the_answer_says_so() {
    let rows: [(&'static [u8], usize); 6] = [
        (OK, 1),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            0,
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
            0,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            1,
        ),
    ];
    for (answer, kept) in rows {
        let server = Server::answering(None, answer).await;
        let client = Client::new(timeouts());
        let response = fetch(&client, &tier_at(&server), server.address)
            .await
            .unwrap();
        response.body.read_to(2).await.unwrap();
        let shown = String::from_utf8_lossy(answer);
        assert_eq!(client.idle_connections(), kept, "{shown}");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_handed_out() {
    let server = Server::start(None, |mut socket, _| async move {
        read_head(&mut socket).await;
        socket.write_all(OK).await.unwrap();
    })
    .await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let response = fetch(&client, &source, server.address).await.unwrap();
    response.body.read_to(2).await.unwrap();
    eventually("noticed", || {
        client.sweep(Instant::now());
        client.idle_connections() == 0
    })
    .await;
    assert!(client.idle(&endpoint(&source, server.address)).is_none());
}

/// The second request on a connection that ends without or after a byte of the answer.
async fn second_request(last_words: &'static [u8]) -> Error {
    let server = Server::start(None, move |mut socket, _| async move {
        read_head(&mut socket).await;
        socket.write_all(OK).await.unwrap();
        read_head(&mut socket).await;
        socket.write_all(last_words).await.unwrap();
    })
    .await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let response = fetch(&client, &source, server.address).await.unwrap();
    response.body.read_to(2).await.unwrap();
    let connection = client.idle(&endpoint(&source, server.address)).unwrap();
    connection.send(get("/v2/")).await.unwrap_err()
}

#[tokio::test]
async fn a_silent_end_of_a_used_connection_is_worth_another_try() {
    let error = second_request(b"").await;
    assert_eq!(error.failure, Failure::Reset);
    assert!(error.stale_connection, "{error}");
}

#[tokio::test]
async fn an_end_after_a_byte_is_not() {
    let error = second_request(b"HTTP/1.1 20").await;
    assert_eq!(error.failure, Failure::Reset);
    assert!(!error.stale_connection, "{error}");
}

#[tokio::test]
async fn a_silent_end_of_a_new_connection_is_not() {
    let server = Server::start(None, |mut socket, _| async move {
        read_head(&mut socket).await;
    })
    .await;
    let client = Client::new(timeouts());
    let error = fetch(&client, &tier_at(&server), server.address)
        .await
        .unwrap_err();
    assert_eq!(error.failure, Failure::Reset);
    assert!(!error.stale_connection, "{error}");
}

#[tokio::test]
async fn nonsense_and_endless_heads_are_wrong_content() {
    const LONG: usize = 160 * 1024;
    let mut long = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    long.resize(long.len() + LONG, b'a');
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    for i in 0..200 {
        many.extend_from_slice(format!("X-{i}: y\r\n").as_bytes());
    }
    many.extend_from_slice(b"\r\n");
    let rows = [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"\x16\x03\x01\x00\x01\x00\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec(),
        long,
        many,
    ];
    for answer in rows {
        let shown = String::from_utf8_lossy(&answer)
            .chars()
            .take(20)
            .collect::<String>();
        let server = Server::start(None, move |mut socket, _| {
            let answer = answer.clone();
            async move {
                read_head(&mut socket).await;
                socket.write_all(&answer).await.ok();
                read_head(&mut socket).await;
            }
        })
        .await;
        let client = Client::new(timeouts());
        let error = fetch(&client, &tier_at(&server), server.address)
            .await
            .unwrap_err();
        assert_eq!(error.failure, Failure::Content, "{shown}: {error}");
        assert!(!error.stale_connection);
    }
}

#[tokio::test]
async fn changed_sources_lose_their_connections() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let sources = |source: &Arc<Source>, generation| Sources {
        generation,
        tiers: vec![source.clone()],
        ..Sources::default()
    };
    client.update(&sources(&source, 1));
    let under_way = fetch(&client, &source, server.address).await.unwrap();
    let response = fetch(&client, &source, server.address).await.unwrap();
    response.body.read_to(2).await.unwrap();
    assert_eq!(client.idle_connections(), 1);

    client.update(&sources(&source, 2));
    assert_eq!(client.idle_connections(), 1, "nothing changed");

    let mut changed = (*source).clone();
    changed.tls.insecure_skip_verify = true;
    client.update(&sources(&Arc::new(changed), 3));
    assert_eq!(client.idle_connections(), 0);
    under_way.body.read_to(2).await.unwrap();
    assert_eq!(client.idle_connections(), 0, "came back too late");

    let late = fetch(&client, &source, server.address).await.unwrap();
    late.body.read_to(2).await.unwrap();
    assert_eq!(client.idle_connections(), 0, "of a source that is gone");
}

#[tokio::test]
async fn named_hosts_keep_their_connections_per_source() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let target = url(&format!("http://{}", server.address));
    let from = server.address.to_string();
    let idle = |source: &Arc<Source>, from: &str| {
        let from = endpoint(source, from.parse().unwrap());
        let named = crate::upstream::Named {
            by: source,
            from: &from,
            target: &target,
        };
        client.idle_named(named).is_some()
    };
    assert!(!idle(&source, &from));
    let by = (&source, from.as_str());
    let connection = connect_named(&client, by, &target, &[]).await.unwrap();
    let response = connection.send(get("/token")).await.unwrap();
    response.body.read_to(2).await.unwrap();
    let mut other = tier(&format!("http://{}", server.address));
    other.id = crate::topology::SourceId::Tier("core".into());
    assert!(!idle(&Arc::new(other), &from));
    assert!(client.idle(&endpoint(&source, server.address)).is_none());
    // Another address of the source may not lead there.
    assert!(!idle(&source, "203.0.113.7:443"));
    assert!(idle(&source, &from));
}

#[tokio::test]
async fn refused_is_refused() {
    // It is bound and does not listen: refused, and nobody else gets the port.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();
    let source = Arc::new(tier(&format!("http://{address}")));
    let client = Client::new(timeouts());
    let error = fetch(&client, &source, address).await.unwrap_err();
    assert_eq!(error.failure, Failure::Refused);
    let source = std::error::Error::source(&error).unwrap();
    let refused = source.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(
        error.detail().contains("connecting to replica/127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_connect_without_an_answer_ends() {
    // A listener whose queue is full drops what comes next.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = std::net::TcpStream::connect(address).unwrap();
    let mut limits = timeouts();
    limits.connect = Duration::from_millis(300);
    let client = Client::new(limits);
    let source = Arc::new(tier(&format!("http://{address}")));
    let error = fetch(&client, &source, address).await.unwrap_err();
    assert_eq!(error.failure, Failure::ConnectTimeout, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_share_few_connections() {
    const AT_ONCE: usize = 8;
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let workers = (0..AT_ONCE).map(|_| async {
        for _ in 0..100 {
            let response = fetch(&client, &source, server.address).await.unwrap();
            assert_eq!(response.body.read_to(2).await.unwrap(), "ok");
        }
    });
    futures_util::future::join_all(workers).await;
    assert!(server.accepted() <= AT_ONCE, "{}", server.accepted());
}
