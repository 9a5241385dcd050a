//! What bodies say of their end, and where their connections go.

use super::support::{Server, eventually, fetch, read_head, tier_at, timeouts};
use crate::topology::Failure;
use crate::upstream::{Body, Client, Error};
use bytes::Bytes;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a server writes before it closes, and what must come of it.
async fn body_of(answer: &'static [u8]) -> Result<(Body, Client), Error> {
    let server = Server::start(None, move |mut socket, _| async move {
        read_head(&mut socket).await;
        socket.write_all(answer).await.unwrap();
        socket.shutdown().await.unwrap();
    })
    .await;
    let client = Client::new(timeouts());
    let response = fetch(&client, &tier_at(&server), server.address).await?;
    Ok((response.body, client))
}

#[tokio::test]
async fn whole_bodies_are_read() {
    let rows: [(&[u8], &[u8]); 6] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            b"hello",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ];
    for (answer, expected) in rows {
        let (body, _client) = body_of(answer).await.unwrap();
        let bytes = body.read_to(100).await.unwrap();
        assert_eq!(bytes, expected, "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn bodies_that_end_early_are_errors() {
    let rows: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello",
    ];
    for answer in rows {
        let (mut body, client) = body_of(answer).await.unwrap();
        let mut got = Vec::new();
        let error = loop {
            match body.next().await {
                Some(Ok(piece)) => got.extend_from_slice(&piece),
                Some(Err(error)) => break error,
                None => panic!("a clean end of {}", String::from_utf8_lossy(answer)),
            }
        };
        assert_eq!(got, b"hello");
        assert_eq!(error.failure, Failure::Reset);
        assert!(!error.stale_connection);
        assert!(error.detail().contains("replica/127.0.0.1:"), "{error}");
        assert_eq!(client.idle_connections(), 0);
    }
}

/// A source that always has more to say: another task of the same thread has its turn after 32 pieces at most.
#[tokio::test]
async fn a_body_in_tiny_pieces_lets_others_have_their_turn() {
    const PIECES: usize = 3200;
    let server = Server::start(None, |mut socket, _| async move {
        read_head(&mut socket).await;
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        answer.extend_from_slice(&b"1\r\nx\r\n".repeat(PIECES));
        answer.extend_from_slice(b"0\r\n\r\n");
        socket.write_all(&answer).await.unwrap();
        std::future::pending().await
    })
    .await;
    let client = Client::new(timeouts());
    let response = fetch(&client, &tier_at(&server), server.address)
        .await
        .unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    crate::lifecycle::spawn_detached("the other task", async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let read = response.body.read_to(PIECES as u64).await.unwrap();
    assert_eq!(read.len(), PIECES);
    let turns = turns.load(Ordering::SeqCst);
    assert!(turns >= PIECES / 32 - 1, "{turns} turns");
}

#[tokio::test]
async fn a_broken_chunk_is_wrong_content() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n";
    let (body, _client) = body_of(answer).await.unwrap();
    let error = body.read_to(100).await.unwrap_err();
    assert_eq!(error.failure, Failure::Content, "{error}");
}

#[tokio::test]
async fn a_limit_holds_with_and_without_a_length() {
    let rows: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ];
    for answer in rows {
        let (body, client) = body_of(answer).await.unwrap();
        let error = body.read_to(4).await.unwrap_err();
        assert_eq!(error.failure, Failure::TooLarge);
        assert!(error.detail().contains("longer than 4 bytes"), "{error}");
        assert_eq!(client.idle_connections(), 0);
        let (body, _client) = body_of(answer).await.unwrap();
        assert_eq!(body.read_to(5).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_body_dropped_early_closes_its_connection() {
    let closed = Arc::new(AtomicBool::new(false));
    let saw = closed.clone();
    let server = Server::start(None, move |mut socket, _| {
        let saw = saw.clone();
        async move {
            read_head(&mut socket).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin";
            socket.write_all(head).await.unwrap();
            let end = socket.read_u8().await;
            saw.store(end.is_err(), Ordering::SeqCst);
        }
    })
    .await;
    let client = Client::new(timeouts());
    let response = fetch(&client, &tier_at(&server), server.address)
        .await
        .unwrap();
    let mut body = response.body;
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(first, "begin");
    assert!(!closed.load(Ordering::SeqCst));
    drop(body);
    eventually("closed", || closed.load(Ordering::SeqCst)).await;
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let closed = Arc::new(AtomicBool::new(false));
    let saw = closed.clone();
    let server = Server::start(None, move |mut socket, _| {
        let saw = saw.clone();
        async move {
            read_head(&mut socket).await;
            let end = socket.read_u8().await;
            saw.store(end.is_err(), Ordering::SeqCst);
        }
    })
    .await;
    let client = Client::new(timeouts());
    let source = tier_at(&server);
    let request = fetch(&client, &source, server.address);
    let limit = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(limit, request).await.is_err());
    eventually("closed", || closed.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn small_bodies_are_drained_and_large_ones_are_not() {
    for (length, kept) in [(0, 1), (200, 1), (64 * 1024, 1), (64 * 1024 + 1, 0)] {
        let server = Server::start(None, move |mut socket, _| async move {
            while read_head(&mut socket).await.is_some() {
                let head = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {length}\r\n\r\n");
                let mut answer = head.into_bytes();
                answer.resize(answer.len() + length, b'x');
                if socket.write_all(&answer).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let client = Client::new(timeouts());
        let response = fetch(&client, &tier_at(&server), server.address)
            .await
            .unwrap();
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
        let mut body = response.body;
        body.drain_small().await;
        drop(body);
        assert_eq!(client.idle_connections(), kept, "{length} bytes");
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_drip() {
    let server = Server::start(None, |mut socket, _| async move {
        read_head(&mut socket).await;
        let head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\nx";
        socket.write_all(head).await.unwrap();
        socket.read_u8().await.ok();
    })
    .await;
    let client = Client::new(timeouts());
    let response = fetch(&client, &tier_at(&server), server.address)
        .await
        .unwrap();
    let mut body = response.body;
    body.drain_small().await;
    drop(body);
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    const LENGTH: usize = 3 * 1024 * 1024 + 7;
    let pattern = |i: usize| u8::try_from(i % 251).unwrap();
    let server = Server::start(None, move |mut socket, _| async move {
        read_head(&mut socket).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let body: Vec<u8> = (0..LENGTH).map(pattern).collect();
        socket.write_all(&body).await.unwrap();
        socket.read_u8().await.ok();
    })
    .await;
    let client = Client::new(timeouts());
    let response = fetch(&client, &tier_at(&server), server.address)
        .await
        .unwrap();
    let bytes: Bytes = response.body.read_to(LENGTH as u64).await.unwrap();
    assert_eq!(bytes.len(), LENGTH);
    assert!(
        bytes
            .iter()
            .enumerate()
            .all(|(i, byte)| *byte == pattern(i))
    );
    assert_eq!(client.idle_connections(), 1);
}
