//! HTTP proxies: CONNECT for https, absolute targets for http.

use super::certificates::{certificate, serving};
use super::support::{
    Server, Socket, connect_named, endpoint, fetch, get, read_head, tier, timeouts, upstream, url,
};
use crate::config::{Credential, Proxy, Secret};
use crate::topology::{Failure, Source};
use crate::upstream::{Client, Error};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn behind(mut source: Source, proxy: SocketAddr) -> Source {
    source.proxy = Some(Proxy {
        url: url(&format!("http://{proxy}")),
        credential: Some(Credential {
            username: "user".to_owned(),
            password: Secret::new("pass"),
        }),
    });
    source
}

/// Answers CONNECT with the bytes and closes.
async fn proxy_answer(answer: Vec<u8>) -> Error {
    let server = Server::start(None, move |mut socket, _| {
        let answer = answer.clone();
        async move {
            read_head(&mut socket).await;
            socket.write_all(&answer).await.ok();
            socket.shutdown().await.ok();
            // The rest of the request stays unread until the peer is done with the answer.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    let source = Arc::new(behind(
        upstream("https://registry.example.com"),
        server.address,
    ));
    let client = Client::new(timeouts());
    fetch(&client, &source, server.address).await.unwrap_err()
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let issued = certificate(&["registry.example.com"]);
    let origin = Server::answering(Some(serving(&issued)), OK).await;
    let seen = Arc::new(Mutex::new(String::new()));
    let (heard, to) = (seen.clone(), origin.address);
    let proxy = Server::start(None, move |mut socket: Socket, _| {
        let heard = heard.clone();
        async move {
            let head = read_head(&mut socket).await.unwrap();
            heard.lock().unwrap().push_str(&head);
            let established = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
            socket.write_all(established).await.unwrap();
            let mut onward = TcpStream::connect(to).await.unwrap();
            copy_bidirectional(&mut socket, &mut onward).await.ok();
        }
    })
    .await;
    let mut source = behind(upstream("https://registry.example.com"), proxy.address);
    source.tls.ca = Some(issued.pem.as_bytes().into());
    let client = Client::new(timeouts());
    let response = fetch(&client, &Arc::new(source), proxy.address)
        .await
        .unwrap();
    assert_eq!(response.body.read_to(2).await.unwrap(), "ok");
    let head = seen.lock().unwrap().clone();
    let expected = "CONNECT registry.example.com:443 HTTP/1.1\r\nHost: registry.example.com:443\r\n\
                    Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    assert_eq!(head, expected);
}

#[tokio::test]
async fn refusals_and_nonsense_of_a_proxy_are_told() {
    let mut long = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    long.resize(20_000, b'a');
    let rows: [(&[u8], Failure, &str); 12] = [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            Failure::Refused,
            "other credentials",
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\nno",
            Failure::Refused,
            "answered 403",
        ),
        (
            b"HTTP/1.0 502 Bad Gateway\r\n\r\n",
            Failure::Refused,
            "answered 502",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
            Failure::Content,
            "not HTTP",
        ),
        (b"HTTP/1.1 2000 OK\r\n\r\n", Failure::Content, "not HTTP"),
        (b"HTTP/1.1 20\r\n\r\n", Failure::Content, "not HTTP"),
        (b"HTTP/1.1 +20 OK\r\n\r\n", Failure::Content, "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", Failure::Content, "not HTTP"),
        (b"HTTP/1.1 099 x\r\n\r\n", Failure::Content, "not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            Failure::Content,
            "before the tunnel",
        ),
        (b"HTTP/1.1 200 OK\r\n", Failure::Reset, "end of file"),
        (&long, Failure::Content, "longer than 8 KiB"),
    ];
    for (answer, failure, words) in rows {
        let error = proxy_answer(answer.to_vec()).await;
        assert_eq!(error.failure, failure, "{error}");
        assert!(error.detail().contains(words), "{words}: {error}");
        assert!(!error.detail().contains("pass"), "{error}");
        assert!(!error.detail().contains("dXNlcjpwYXNz"), "{error}");
    }
}

#[tokio::test]
async fn a_silent_proxy_is_left() {
    let server = Server::start(None, |mut socket, _| async move {
        read_head(&mut socket).await;
        read_head(&mut socket).await;
    })
    .await;
    let source = Arc::new(behind(
        upstream("https://registry.example.com"),
        server.address,
    ));
    let mut limits = timeouts();
    limits.tls = Duration::from_millis(200);
    let error = fetch(&Client::new(limits), &source, server.address)
        .await
        .unwrap_err();
    assert_eq!(error.failure, Failure::ConnectTimeout, "{error}");
}

#[tokio::test]
async fn http_goes_with_an_absolute_target() {
    let seen = Arc::new(Mutex::new(String::new()));
    let heard = seen.clone();
    let proxy = Server::start(None, move |mut socket, _| {
        let heard = heard.clone();
        async move {
            while let Some(head) = read_head(&mut socket).await {
                heard.lock().unwrap().push_str(&head);
                socket.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let source = Arc::new(behind(
        tier("http://replica.example.com:8080"),
        proxy.address,
    ));
    let client = Client::new(timeouts());
    let to = endpoint(&source, proxy.address);
    for path in ["/v2/library/nginx/manifests/1.27?ns=docker.io", "/v2/"] {
        let connection = match client.idle(&to) {
            Some(connection) => connection,
            None => client.connect(&source, &to).await.unwrap(),
        };
        let response = connection.send(get(path)).await.unwrap();
        response.body.read_to(2).await.unwrap();
    }
    assert_eq!(proxy.accepted(), 1);
    let head = seen.lock().unwrap().clone();
    let first = "GET http://replica.example.com:8080/v2/library/nginx/manifests/1.27?ns=docker.io HTTP/1.1\r\n";
    assert!(head.starts_with(first), "{head}");
    assert!(
        head.contains("GET http://replica.example.com:8080/v2/ HTTP/1.1\r\n"),
        "{head}"
    );
    let authorization = "proxy-authorization: Basic dXNlcjpwYXNz\r\n";
    assert_eq!(head.matches(authorization).count(), 2, "{head}");
}

#[tokio::test]
async fn named_hosts_go_through_the_source_s_proxy() {
    let proxy = Server::answering(None, OK).await;
    let source = Arc::new(behind(tier("http://replica.example.com"), proxy.address));
    let client = Client::new(timeouts());
    let target = url("http://cdn.example.com");
    let from = proxy.address.to_string();
    let by = (&source, from.as_str());
    let connection = connect_named(&client, by, &target, &[]).await.unwrap();
    connection.send(get("/blob")).await.unwrap();
    assert_eq!(proxy.accepted(), 1);
    for forbidden in [
        "http://127.0.0.1:22",
        "http://169.254.169.254",
        "http://localhost",
    ] {
        let named = connect_named(&client, by, &url(forbidden), &[]).await;
        assert_eq!(named.unwrap_err().failure, Failure::Refused, "{forbidden}");
    }
    assert_eq!(proxy.accepted(), 1);
}
