//! The order of addresses, and authorities.

use super::{host_and_port, interleave};
use crate::upstream::tests::support::url;
use std::net::SocketAddr;

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
