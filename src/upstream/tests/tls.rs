//! TLS against real servers: what is shown to whom, sessions, ends.

use super::certificates::{
    authority, certificate, chain, issue, params, self_signed, serving, source_at,
};
use super::support::{Server, connect_named, endpoint, fetch, get, read_head, timeouts, url};
use crate::config::{Secret, Tls};
use crate::lifecycle::Socket;
use crate::topology::Failure;
use crate::upstream::tls::{SourceTls, server_name};
use crate::upstream::{Client, dial};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn no_verification_only_by_its_own_switch_and_for_its_own_host() {
    let issued = certificate(&["elsewhere.example.com"]);
    let server = Server::answering(Some(serving(&issued)), OK).await;
    let mut source = source_at(&server, None);
    source.tls.insecure_skip_verify = true;
    let source = Arc::new(source);
    let client = Client::new(timeouts());
    fetch(&client, &source, server.address).await.unwrap();
    let target = url(&format!(
        "https://cdn.example.com:{}",
        server.address.port()
    ));
    let address: IpAddr = server.address.ip();
    let from = server.address.to_string();
    let by = (&source, from.as_str());
    let named = connect_named(&client, by, &target, &[address]).await;
    let error = named.unwrap_err();
    assert_eq!(error.failure, Failure::Tls, "{error}");
    let own = url(&format!("https://{}", server.address));
    connect_named(&client, by, &own, &[]).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_certificate_is_known() {
    let mut wanted = params(&["127.0.0.1"]);
    wanted.not_after = date_time_ymd(2099, 1, 1);
    let issued = self_signed(&wanted);
    let server = Server::answering(Some(serving(&issued)), OK).await;
    let source = Arc::new(source_at(&server, Some(&issued.pem)));
    let client = Client::new(timeouts());
    assert_eq!(client.certificate_expiry(&source.id), None);
    fetch(&client, &source, server.address).await.unwrap();
    // 2099-01-01T00:00:00Z
    let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(4_070_908_800);
    assert_eq!(client.certificate_expiry(&source.id), Some(expected));
}

#[tokio::test]
async fn silence_and_nonsense_in_the_handshake_end_it() {
    for nonsense in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let server = Server::start(None, move |mut socket, _| async move {
            socket.write_all(nonsense).await.unwrap();
            while socket.read_u8().await.is_ok() {}
        })
        .await;
        let source = Arc::new(source_at(&server, None));
        let mut limits = timeouts();
        limits.tls = Duration::from_millis(300);
        let client = Client::new(limits);
        let error = fetch(&client, &source, server.address).await.unwrap_err();
        assert_eq!(error.failure, Failure::Tls, "{error}");
        assert!(
            error
                .detail()
                .contains("TLS handshake with upstream/127.0.0.1:"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn client_certificates_are_shown_to_the_source_alone() {
    let authority = authority();
    let server_side = issue(&authority, &params(&["127.0.0.1", "cdn.example.com"]));
    let mut client_params = params(&["node-1"]);
    client_params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_side = issue(&authority, &client_params);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let (chain, key) = chain(&server_side);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(chain, key);
    let server = Server::answering(Some(Arc::new(config.unwrap())), OK).await;

    let mut source = source_at(&server, Some(&authority.pem()));
    source.tls.client = Some((
        client_side.pem.as_bytes().into(),
        Secret::new(&client_side.key),
    ));
    let source = Arc::new(source);
    let client = Client::new(timeouts());
    fetch(&client, &source, server.address).await.unwrap();

    // In TLS 1.3 the server's refusal comes after the client's part of the handshake: at the first read.
    let target = url(&format!(
        "https://cdn.example.com:{}",
        server.address.port()
    ));
    let from = server.address.to_string();
    let by = (&source, from.as_str());
    let named = connect_named(&client, by, &target, &[server.address.ip()]).await;
    let error = match named {
        Ok(connection) => connection.send(get("/blob")).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.failure, Failure::Tls, "{error}");
    assert!(!error.stale_connection);
}

#[tokio::test]
async fn settings_that_cannot_be_built_say_why() {
    let rows = [
        ("ca_file` holds no certificate", "no pem", None),
        (
            "the PEM of `ca_file`",
            "-----BEGIN CERTIFICATE-----\n???\n",
            None,
        ),
        ("the PEM of `client_key_file`", "", Some("no key")),
    ];
    let issued = certificate(&["127.0.0.1"]);
    let server = Server::answering(Some(serving(&issued)), OK).await;
    for (words, ca, key) in rows {
        let mut source = source_at(&server, Some(ca));
        if let Some(key) = key {
            source.tls = Tls {
                client: Some((issued.pem.as_bytes().into(), Secret::new(key))),
                ..Tls::default()
            };
        }
        let source = Arc::new(source);
        let client = Client::new(timeouts());
        let to = endpoint(&source, server.address);
        let error = client.connect(&source, &to).await.unwrap_err();
        assert_eq!(error.failure, Failure::Tls);
        assert!(error.detail().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_close_without_notice_is_told_from_an_end_that_was_said() {
    let issued = certificate(&["127.0.0.1"]);
    for polite in [true, false] {
        let server = Server::start(Some(serving(&issued)), move |mut socket, _| async move {
            read_head(&mut socket).await;
            socket
                .write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")
                .await
                .unwrap();
            socket.flush().await.unwrap();
            if polite {
                socket.shutdown().await.unwrap();
            }
        })
        .await;
        let source = Arc::new(source_at(&server, Some(&issued.pem)));
        let client = Client::new(timeouts());
        let response = fetch(&client, &source, server.address).await.unwrap();
        let (mut body, mut read) = (response.body, Vec::new());
        while let Some(piece) = body.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(read, b"hello");
        assert_eq!(body.is_unannounced(), !polite);
    }
    // Where the end is told by a length, nothing behind it is waited for, and nothing before it is an end.
    for (length, is_whole) in [(5, true), (6, false)] {
        let server = Server::start(Some(serving(&issued)), move |mut socket, _| async move {
            read_head(&mut socket).await;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello");
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.flush().await.unwrap();
        })
        .await;
        let source = Arc::new(source_at(&server, Some(&issued.pem)));
        let client = Client::new(timeouts());
        let response = fetch(&client, &source, server.address).await.unwrap();
        let read = response.body.read_to(10).await;
        assert_eq!(read.is_ok(), is_whole, "{read:?}");
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let issued = certificate(&["127.0.0.1"]);
    let server = Server::answering(Some(serving(&issued)), OK).await;
    let source = source_at(&server, Some(&issued.pem));
    let config = SourceTls::new(&source.tls, None).unwrap().own().clone();
    let limit = Duration::from_secs(5);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let tcp = dial::tcp("x", server.address, limit).await.unwrap();
        let name = server_name("127.0.0.1").unwrap();
        let mut tls = dial::tls("x", Socket::new(tcp), name, config.clone(), limit)
            .await
            .unwrap();
        tls.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // The tickets come before the answer.
        let mut answer = vec![0; OK.len()];
        tls.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, OK);
        kinds.push(tls.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds.last(), Some(&HandshakeKind::Resumed), "{kinds:?}");
    assert_ne!(kinds.first(), Some(&HandshakeKind::Resumed), "{kinds:?}");
}

#[tokio::test]
async fn a_large_body_arrives_whole_over_both_versions() {
    const LENGTH: usize = 2 * 1024 * 1024 + 7;
    let pattern = |i: usize| u8::try_from(i % 251).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let issued = certificate(&["127.0.0.1"]);
        let (chain, key) = chain(&issued);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let server = Server::start(
            Some(Arc::new(config.unwrap())),
            move |mut socket, _| async move {
                read_head(&mut socket).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
                socket.write_all(head.as_bytes()).await.unwrap();
                let body: Vec<u8> = (0..LENGTH).map(pattern).collect();
                socket.write_all(&body).await.unwrap();
                socket.flush().await.unwrap();
                socket.read_u8().await.ok();
            },
        )
        .await;
        let source = Arc::new(source_at(&server, Some(&issued.pem)));
        let client = Client::new(timeouts());
        let response = fetch(&client, &source, server.address).await.unwrap();
        let bytes = response.body.read_to(LENGTH as u64).await.unwrap();
        assert_eq!(bytes.len(), LENGTH);
        assert!(
            bytes
                .iter()
                .enumerate()
                .all(|(i, byte)| *byte == pattern(i))
        );
        assert_eq!(client.idle_connections(), 1);
    }
}
