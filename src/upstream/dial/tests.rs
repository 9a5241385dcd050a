//! Status lines and the order of addresses.

use super::{host_and_port, interleave, status_of};
use crate::upstream::tests::support::url;
use std::net::SocketAddr;

#[test]
fn status_lines() {
    let rows: [(&[u8], Option<u16>); 9] = [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
        (b"HTTP/1.0 200\r\n\r\n", Some(200)),
        (b"HTTP/1.1 407 \r\n\r\n", Some(407)),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None),
        (b"HTTP/1.1 20\r\n\r\n", None),
        (b"HTTP/1.1 +20 OK\r\n\r\n", None),
        (b"HTTP/2 200\r\n\r\n", None),
        (b"HTTP/1.1 099 x\r\n\r\n", None),
        (b"\r\n\r\n", None),
    ];
    for (head, expected) in rows {
        assert_eq!(
            status_of(head),
            expected,
            "{}",
            String::from_utf8_lossy(head)
        );
    }
}

#[test]
fn address_families_take_turns() {
    let parse = |text: &str| -> Vec<SocketAddr> {
        text.split_whitespace()
            .map(|a| a.parse().unwrap())
            .collect()
    };
    let rows = [
        ("", ""),
        ("1.0.0.1:1 1.0.0.2:1", "1.0.0.1:1 1.0.0.2:1"),
        (
            "1.0.0.1:1 1.0.0.2:1 1.0.0.3:1 [1::1]:1 [1::2]:1",
            "1.0.0.1:1 [1::1]:1 1.0.0.2:1 [1::2]:1 1.0.0.3:1",
        ),
        ("[1::1]:1 [1::2]:1 1.0.0.1:1", "[1::1]:1 1.0.0.1:1 [1::2]:1"),
    ];
    for (given, expected) in rows {
        assert_eq!(interleave(parse(given)), parse(expected));
    }
}

#[test]
fn authorities_always_have_a_port() {
    let rows = [
        ("https://replica.example.com", "replica.example.com:443"),
        (
            "http://replica.example.com:8080",
            "replica.example.com:8080",
        ),
        ("https://[2001:db8::1]", "[2001:db8::1]:443"),
    ];
    for (text, expected) in rows {
        assert_eq!(host_and_port(&url(text)), expected);
    }
}
