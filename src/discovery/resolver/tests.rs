//! Tests of discovery/resolver.

use super::*;
use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{RData, Record};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

const GOOD: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1))];

fn ok(addresses: &[IpAddr], ttl: u64) -> OfFamily {
    Ok((addresses.to_vec(), Duration::from_secs(ttl)))
}

fn nothing() -> OfFamily {
    Ok((Vec::new(), Duration::MAX))
}

fn failed(reason: &str) -> OfFamily {
    Err(reason.to_owned())
}

#[test]
fn one_family_failing_does_not_fail_the_other() {
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    let of = |v4, v6| combine(v4, v6).map(|a| (a.addresses.len(), a.ttl.as_secs(), a.unanswered));
    assert_eq!(of(ok(&GOOD, 60), ok(&[v6], 9)), Ok((2, 9, None)));
    assert_eq!(of(ok(&GOOD, 60), nothing()), Ok((1, 60, None)));
    assert_eq!(
        of(ok(&GOOD, 60), failed("SERVFAIL")),
        Ok((1, 60, Some(Family::V6)))
    );
    assert_eq!(
        of(failed("late"), ok(&[v6], 60)),
        Ok((1, 60, Some(Family::V4)))
    );
    assert_eq!(of(failed("a"), nothing()), Err("a".to_owned()));
    assert_eq!(of(nothing(), failed("b")), Err("b".to_owned()));
    assert_eq!(of(failed("a"), failed("b")), Err("a".to_owned()));
    assert!(of(nothing(), nothing()).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_late_family_is_left() {
    let after = |millis, answer| async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        answer
    };
    let start = tokio::time::Instant::now();
    let (v4, v6) = both(after(10, ok(&GOOD, 60)), after(9000, ok(&GOOD, 60))).await;
    assert!(v4.is_ok() && v6.is_err());
    assert_eq!(start.elapsed().as_millis(), 510);
    // The first to end has nothing: the other has its time.
    let (v4, v6) = both(after(1900, ok(&GOOD, 60)), after(10, nothing())).await;
    assert!(v4.is_ok() && v6.is_ok());
    let (v4, _) = both(after(1900, ok(&GOOD, 60)), after(10, failed("SERVFAIL"))).await;
    assert!(v4.is_ok());
}

/// A DNS server on the loopback, over UDP and over TCP at the same port.
async fn server(queries: Arc<AtomicU32>) -> SocketAddr {
    let (udp, tcp, address) = sockets().await;
    over_tcp(tcp, Arc::default());
    crate::lifecycle::spawn_detached("dns server", async move {
        let mut buffer = [0_u8; 1500];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            queries.fetch_add(1, Ordering::Relaxed);
            let reply = reply(&buffer[..length]);
            udp.send_to(&reply, from).await.unwrap();
        }
    });
    address
}

async fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        // Somebody else's test may have that port.
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp, address);
        }
    }
}

/// Answers over TCP, each message behind its length (RFC 1035, 4.2.2).
fn over_tcp(listener: TcpListener, queries: Arc<AtomicU32>) {
    crate::lifecycle::spawn_detached("dns server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let queries = queries.clone();
            crate::lifecycle::spawn_detached("dns connection", async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; length.into()];
                    stream.read_exact(&mut query).await.unwrap();
                    queries.fetch_add(1, Ordering::Relaxed);
                    let reply = reply(&query);
                    let length = u16::try_from(reply.len()).unwrap();
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&reply).await.unwrap();
                }
            });
        }
    });
}

/// What the server answers.
fn reply(query: &[u8]) -> Vec<u8> {
    let query = Message::from_bytes(query).unwrap();
    let question = query.queries[0].clone();
    let name = question.name().clone();
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.add_query(question.clone());
    let host = name.to_lowercase().to_string();
    let data = match (host.as_str(), question.query_type()) {
        ("alias.example.", RecordType::A) => {
            let to = Name::from_ascii("real.example.").unwrap();
            let alias = RData::CNAME(CNAME(to.clone()));
            reply.add_answer(Record::from_rdata(name, 7, alias));
            let a = RData::A(A::new(203, 0, 113, 1));
            reply.add_answer(Record::from_rdata(to, 300, a));
            None
        }
        ("v6.example.", RecordType::AAAA) => {
            let address = AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            Some(RData::AAAA(address))
        }
        ("v6.example.", RecordType::A) => None,
        ("missing.example.", _) => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            None
        }
        ("half.example." | "harbor.dc_region.example.", RecordType::A) => {
            Some(RData::A(A::new(203, 0, 113, 2)))
        }
        ("half.example.", _) => {
            reply.metadata.response_code = ResponseCode::ServFail;
            None
        }
        _ => None,
    };
    if let Some(data) = data {
        reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
    }
    reply.to_bytes().unwrap()
}

fn resolver(nameserver: SocketAddr, hosts: &std::path::Path) -> SystemResolver {
    let dns = config::Dns {
        nameservers: vec![nameserver],
        min_ttl: Duration::from_secs(5),
        max_ttl: Duration::from_secs(300),
    };
    // The sender may go: the last value stays.
    let (_, dns) = watch::channel(dns);
    SystemResolver::with_files(dns, "/nonexistent/resolv.conf".into(), hosts.into())
}

#[tokio::test]
async fn asks_the_configured_server_and_caches_nothing() {
    let queries = Arc::new(AtomicU32::new(0));
    let directory = tempfile::tempdir().unwrap();
    let resolver = resolver(
        server(queries.clone()).await,
        &directory.path().join("hosts"),
    );

    let alias = resolver.resolve("alias.example").await.unwrap();
    assert_eq!(alias.addresses, GOOD);
    assert_eq!(alias.ttl, Duration::from_secs(7), "the alias's life counts");
    assert_eq!(alias.unanswered, None);

    let v6 = resolver.resolve("v6.example").await.unwrap();
    assert_eq!(v6.addresses, ["2001:db8::1".parse::<IpAddr>().unwrap()]);

    let half = resolver.resolve("half.example").await.unwrap();
    assert_eq!(half.addresses.len(), 1);
    assert_eq!(half.unanswered, Some(Family::V6));

    let error = resolver.resolve("missing.example").await.unwrap_err();
    assert!(error.contains("Non-Existent Domain"), "{error}");

    let service = resolver.resolve("harbor.dc_region.example").await.unwrap();
    assert_eq!(service.addresses, half.addresses, "a `_` in a label");

    let before = queries.load(Ordering::Relaxed);
    resolver.resolve("v6.example").await.unwrap();
    assert_eq!(
        queries.load(Ordering::Relaxed),
        before + 2,
        "A and AAAA again"
    );
}

/// A firewall that swallows UDP, or a server that has TCP alone.
#[tokio::test]
async fn a_server_that_is_silent_over_udp_is_asked_over_tcp() {
    let (udp, tcp, address) = sockets().await;
    let queries = Arc::new(AtomicU32::new(0));
    over_tcp(tcp, queries.clone());
    let directory = tempfile::tempdir().unwrap();
    let resolver = resolver(address, &directory.path().join("hosts"));
    let start = tokio::time::Instant::now();
    let found = resolver.resolve("alias.example").await.unwrap();
    assert_eq!(
        (found.addresses.as_slice(), found.unanswered),
        (&GOOD[..], None)
    );
    assert!(start.elapsed() < TRY * 2, "{:?}", start.elapsed());
    let error = resolver.resolve("missing.example").await.unwrap_err();
    assert!(error.contains("Non-Existent Domain"), "{error}");
    assert_eq!(queries.load(Ordering::Relaxed), 4, "A and AAAA of both");
    // Nobody at all there over UDP.
    drop(udp);
    let found = resolver.resolve("half.example").await.unwrap();
    assert_eq!(found.addresses.len(), 1);
}

#[tokio::test]
async fn hosts_file_wins_and_is_read_again_when_it_changes() {
    let queries = Arc::new(AtomicU32::new(0));
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "203.0.113.8 Alias.example # a comment\n").unwrap();
    let resolver = resolver(server(queries.clone()).await, &hosts);
    let from_file = resolver.resolve("alias.example").await.unwrap();
    assert_eq!(
        from_file.addresses,
        ["203.0.113.8".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(queries.load(Ordering::Relaxed), 0);
    // Replaced by a rename, as most tools do: another inode.
    let new = directory.path().join("new");
    std::fs::write(
        &new,
        "203.0.113.9 alias.example\n2001:db8::9 alias.example\n",
    )
    .unwrap();
    std::fs::rename(&new, &hosts).unwrap();
    let from_file = resolver.resolve("alias.example").await.unwrap();
    assert_eq!(from_file.addresses.len(), 2);
    std::fs::remove_file(&hosts).unwrap();
    let from_dns = resolver.resolve("alias.example").await.unwrap();
    assert_eq!(from_dns.addresses, GOOD);
}

#[tokio::test]
async fn resolv_conf_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let resolv_conf = directory.path().join("resolv.conf");
    let dns = config::Dns {
        nameservers: Vec::new(),
        min_ttl: Duration::from_secs(5),
        max_ttl: Duration::from_secs(300),
    };
    let (_sender, dns) = watch::channel(dns);
    let hosts = directory.path().join("hosts");
    let resolver = SystemResolver::with_files(dns, resolv_conf.clone(), hosts);
    let error = resolver.current().await.unwrap_err();
    assert!(error.contains("resolv.conf"), "{error}");
    std::fs::write(&resolv_conf, "nameserver 127.0.0.1\noptions ndots:5\n").unwrap();
    let first = resolver.current().await.unwrap();
    assert_eq!(first.resolver.options().ndots, 5);
    assert_eq!(first.resolver.options().timeout, TRY);
    assert!(Arc::ptr_eq(&first, &resolver.current().await.unwrap()));
    std::fs::write(&resolv_conf, "search ~. (none) .x\nnameserver 127.0.0.1\n").unwrap();
    let second = resolver.current().await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(second.resolver.options().ndots, 1);
}
