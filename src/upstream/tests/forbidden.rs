//! Forbidden addresses are refused before a socket exists.

use super::support::{Server, endpoint, eventually, get, tier, timeouts, upstream, url};
use crate::topology::Failure;
use crate::upstream::Client;
use std::net::IpAddr;
use std::sync::Arc;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_not_dialled() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    for source in [
        upstream(&format!("http://registry.example.com:{port}")),
        tier(&format!("http://replica.example.com:{port}")),
        upstream(&format!("http://localhost:{port}")),
    ] {
        let source = Arc::new(source);
        let to = endpoint(&source, server.address);
        let error = client.connect(&source, &to).await.unwrap_err();
        assert_eq!(error.failure, Failure::Refused);
        assert!(error.detail.contains("loopback"), "{error}");
    }
    assert_eq!(server.accepted(), 0);
    let source = Arc::new(tier(&format!("http://harbor.localhost:{port}")));
    let to = endpoint(&source, server.address);
    client.connect(&source, &to).await.unwrap();
}

#[tokio::test]
async fn a_private_address_of_an_upstream_names_the_remedy() {
    let client = Client::new(timeouts());
    let source = Arc::new(upstream("https://registry.example.com"));
    let to = endpoint(&source, "10.0.0.1:443".parse().unwrap());
    let error = client.connect(&source, &to).await.unwrap_err();
    assert!(error.detail.contains("[[tier]]"), "{error}");
    assert!(error.detail.contains("`upstream`"), "{error}");
}

#[tokio::test]
async fn named_hosts_are_checked_by_address() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    let away = Arc::new(upstream("http://registry.example.com"));
    let target = url(&format!("http://cdn.example.com:{port}"));
    let loopback: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let error = client
        .connect_named(&away, &target, &loopback)
        .await
        .unwrap_err();
    assert_eq!(error.failure, Failure::Refused);
    assert!(error.detail.contains("loopback"), "{error}");
    assert!(
        error.detail.contains("named by upstream(docker.io)"),
        "{error}"
    );
    assert_eq!(server.accepted(), 0);

    // Of several addresses only those that are allowed are dialled.
    let here = Arc::new(tier("http://127.0.0.1:1"));
    let mixed = ["169.254.169.254".parse().unwrap(), server.address.ip()];
    let connection = client.connect_named(&here, &target, &mixed).await.unwrap();
    let response = connection.send(get("/blob")).await.unwrap();
    assert_eq!(response.body.read_to(2).await.unwrap(), "ok");
    assert_eq!(server.accepted(), 1);

    let nothing = client.connect_named(&here, &target, &[]).await.unwrap_err();
    assert!(nothing.detail.contains("no address"), "{nothing}");
}

#[tokio::test]
async fn a_named_host_is_reached_at_its_second_address() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    let here = Arc::new(tier("http://127.0.0.1:1"));
    let target = url(&format!("http://cdn.example.com:{port}"));
    // Nothing listens there on the same port.
    let addresses = ["127.0.0.9".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    client
        .connect_named(&here, &target, &addresses)
        .await
        .unwrap();
    eventually("accepted", || server.accepted() == 1).await;
}

#[tokio::test]
async fn https_never_leads_to_http() {
    let client = Client::new(timeouts());
    let source = Arc::new(upstream("https://registry.example.com"));
    let target = url("http://cdn.example.com");
    let address = ["203.0.113.7".parse().unwrap()];
    let error = client
        .connect_named(&source, &target, &address)
        .await
        .unwrap_err();
    assert!(error.detail.contains("https to http"), "{error}");
}
