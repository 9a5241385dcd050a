//! Forbidden addresses are refused before a socket exists.

use super::support::{
    Server, connect_named, endpoint, eventually, get, tier, timeouts, upstream, url,
};
use crate::topology::{Failure, SourceKind};
use crate::upstream::egress::OwnListeners;
use crate::upstream::{Client, Named};
use std::net::IpAddr;
use std::sync::Arc;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// On the same host, by the name that /etc/hosts or a private zone has for it.
#[tokio::test]
async fn a_configured_name_may_lead_to_loopback() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    for source in [
        upstream(&format!("http://registry.example.com:{port}")),
        tier(&format!("http://replica.example.com:{port}")),
        upstream(&format!("http://localhost:{port}")),
        tier(&format!("http://harbor.localhost:{port}")),
    ] {
        let source = Arc::new(source);
        let to = endpoint(&source, server.address);
        client.connect(&source, &to).await.unwrap();
    }
    eventually("accepted", || server.accepted() == 4).await;
}

#[tokio::test]
async fn a_configured_name_never_leads_to_metadata() {
    let client = Client::new(timeouts());
    for source in [
        upstream("http://registry.example.com"),
        tier("http://r.test"),
    ] {
        let source = Arc::new(source);
        for address in [
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "100.100.100.200:80",
            "168.63.129.16:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
        ] {
            let to = endpoint(&source, address.parse().unwrap());
            let error = client.connect(&source, &to).await.unwrap_err();
            assert_eq!(error.failure, Failure::Refused, "{address}");
            assert!(error.detail().contains("never dialled"), "{error}");
        }
    }
}

/// A request to the agent's own port would come back to it, and so on.
#[tokio::test]
async fn the_agents_own_listeners_are_nobodys_source() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    let source = Arc::new(tier(&format!("http://node.example.com:{port}")));
    let everywhere = [server.address, format!("0.0.0.0:{port}").parse().unwrap()];
    let mapped = format!("[::ffff:127.0.0.1]:{port}");
    for listener in everywhere {
        client.set_listeners(vec![listener]);
        for address in [server.address.to_string(), mapped.clone()] {
            let to = endpoint(&source, address.parse().unwrap());
            let error = client.connect(&source, &to).await.unwrap_err();
            assert!(error.detail().contains("own listener"), "{error}");
            let by = (&source, "127.0.0.2:80");
            let target = url(&format!("http://other.example.com:{port}"));
            let named = connect_named(&client, by, &target, &[to.address.ip()]).await;
            let error = named.unwrap_err();
            assert!(error.detail().contains("own listener"), "{error}");
        }
    }
    assert_eq!(server.accepted(), 0);
    // Another address of this machine is another listener's, another machine's port is not ours.
    client.set_listeners(vec![format!("127.0.0.9:{port}").parse().unwrap()]);
    let to = endpoint(&source, server.address);
    client.connect(&source, &to).await.unwrap();
    let everywhere = OwnListeners(vec![format!("0.0.0.0:{port}").parse().unwrap()]);
    let target = url(&format!("http://other.example.com:{port}"));
    let named = Named {
        by: &source,
        from: &to,
        target: &target,
    };
    let elsewhere = ["203.0.113.7".parse().unwrap()];
    assert!(named.allowed(&elsewhere, &everywhere).is_ok());
}

#[tokio::test]
async fn a_private_address_that_an_upstream_names_is_refused_with_the_remedy() {
    let client = Client::new(timeouts());
    let target = url("http://storage.example.com");
    let source = Arc::new(upstream("http://registry.example.com"));
    let private = ["10.0.0.1".parse().unwrap()];
    let by = (&source, "203.0.113.7:80");
    let named = connect_named(&client, by, &target, &private).await;
    let error = named.unwrap_err();
    assert!(error.detail().contains("[[tier]]"), "{error}");
    // The remedy is one: as a tier it may.
    let mut mirror = tier("http://registry.example.com");
    mirror.kind = SourceKind::Mirror;
    let mirror = Arc::new(mirror);
    let from = endpoint(&mirror, "203.0.113.7:80".parse().unwrap());
    let named = Named {
        by: &mirror,
        from: &from,
        target: &target,
    };
    assert!(named.allowed(&private, &OwnListeners::default()).is_ok());
}

/// Another port of the source's own host is asked where the source was asked, without a lookup.
#[tokio::test]
async fn the_sources_own_host_is_asked_at_the_address_that_named_it() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    let source = Arc::new(upstream("http://registry.example.com"));
    let target = url(&format!("http://registry.example.com:{port}"));
    let from = endpoint(&source, "127.0.0.1:80".parse().unwrap());
    let named = Named {
        by: &source,
        from: &from,
        target: &target,
    };
    assert_eq!(named.looked_up(), None);
    client.connect_named(named, &[]).await.unwrap();
    eventually("accepted", || server.accepted() == 1).await;
    let elsewhere = url("http://cdn.example.com");
    let named = Named {
        target: &elsewhere,
        ..named
    };
    assert_eq!(named.looked_up(), Some("cdn.example.com"));
}

#[tokio::test]
async fn named_hosts_are_checked_by_address() {
    let server = Server::answering(None, OK).await;
    let client = Client::new(timeouts());
    let port = server.address.port();
    let away = Arc::new(upstream("http://registry.example.com"));
    let target = url(&format!("http://cdn.example.com:{port}"));
    let loopback: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let named = connect_named(&client, (&away, "203.0.113.7:80"), &target, &loopback).await;
    let error = named.unwrap_err();
    assert_eq!(error.failure, Failure::Refused);
    assert!(error.detail().contains("loopback"), "{error}");
    assert!(
        error.detail().contains("named by upstream(docker.io)"),
        "{error}"
    );
    assert_eq!(server.accepted(), 0);

    // Of several addresses only those that are allowed are dialled.
    let here = Arc::new(tier("http://127.0.0.1:1"));
    let mixed = ["169.254.169.254".parse().unwrap(), server.address.ip()];
    let by = (&here, "127.0.0.1:1");
    let connection = connect_named(&client, by, &target, &mixed).await.unwrap();
    let response = connection.send(get("/blob")).await.unwrap();
    assert_eq!(response.body.read_to(2).await.unwrap(), "ok");
    assert_eq!(server.accepted(), 1);

    let nothing = connect_named(&client, by, &target, &[]).await.unwrap_err();
    assert!(nothing.detail().contains("no address"), "{nothing}");
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
    let by = (&here, "127.0.0.1:1");
    connect_named(&client, by, &target, &addresses)
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
    let named = connect_named(&client, (&source, "203.0.113.7:443"), &target, &address).await;
    let error = named.unwrap_err();
    assert!(error.detail().contains("https to http"), "{error}");
}
