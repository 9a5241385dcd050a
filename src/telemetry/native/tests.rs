//! Tests of telemetry/native.

use super::*;
use crate::telemetry::Text;
use crate::telemetry::tests::{change, record};
use crate::telemetry::{EventName, RequestOutcome};
use std::collections::HashSet;

/// Takes a datagram apart as journald does.
fn decode(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        let line = std::str::from_utf8(&bytes[..end]).unwrap();
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            fields.push((name.to_owned(), value.to_owned()));
        } else {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let length = usize::try_from(length).unwrap();
            let value = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
            assert_eq!(bytes[8 + length], b'\n');
            bytes = &bytes[8 + length + 1..];
            fields.push((line.to_owned(), value.to_owned()));
        }
    }
    fields
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|field| field.0 == name);
    let value = found.next().map(|field| field.1.as_str());
    assert!(found.next().is_none(), "{name} twice");
    value
}

#[test]
fn an_access_record_has_the_fields_of_the_interface() {
    let mut datagram = Datagram::default();
    let mut full = record();
    full.error = "reset after 4 KiB".to_owned();
    datagram.access(&full);
    let fields = decode(datagram.bytes());
    let expected = [
        ("SYSLOG_IDENTIFIER", "harbor-pilot"),
        ("PRIORITY", "6"),
        (
            "MESSAGE",
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 served by replica/203.0.113.7:443 in 35 ms, 12.3 MiB: reset after 4 KiB",
        ),
        ("REQUEST_ID", "0123abcd"),
        ("REGISTRY", "docker.io"),
        ("REPOSITORY", "library/nginx"),
        ("REFERENCE", &*full.reference),
        ("KIND", "blob"),
        ("METHOD", "GET"),
        ("STATUS", "200"),
        ("OUTCOME", "served"),
        ("TIER", "replica"),
        ("ENDPOINT", "203.0.113.7:443"),
        ("ATTEMPTS", "1"),
        ("RESUMES", "0"),
        ("BYTES", "12897485"),
        ("TTFB_MS", "4"),
        ("DURATION_MS", "35"),
        ("GENERATION", "7"),
        ("ERROR", "reset after 4 KiB"),
    ];
    let expected: Vec<_> = expected
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert_eq!(fields, expected);
}

#[test]
fn empty_values_are_left_out() {
    let mut datagram = Datagram::default();
    let mut refused = record();
    refused.registry = None;
    refused.tier = "".into();
    refused.endpoint = Text::default();
    refused.time_to_first_byte = None;
    datagram.access(&refused);
    let fields = decode(datagram.bytes());
    for absent in ["REGISTRY", "TIER", "ENDPOINT", "TTFB_MS", "ERROR"] {
        assert_eq!(value(&fields, absent), None, "{absent}");
    }
}

#[test]
fn an_event_has_the_fields_of_the_interface() {
    let mut datagram = Datagram::default();
    datagram.event(&change(EventName::TierDown));
    let fields = decode(datagram.bytes());
    assert_eq!(value(&fields, "EVENT"), Some("tier_down"));
    assert_eq!(value(&fields, "TIER"), Some("replica"));
    assert_eq!(value(&fields, "ENDPOINT"), Some("203.0.113.7:443"));
    assert_eq!(value(&fields, "REASON"), Some("connect_timeout"));
    assert_eq!(value(&fields, "PRIORITY"), Some("4"));
    assert_eq!(
        value(&fields, "MESSAGE_ID"),
        Some(EventName::TierDown.message_id())
    );
}

#[test]
fn message_ids_are_distinct_and_journald_accepts_them() {
    let ids: HashSet<_> = EventName::ALL.map(EventName::message_id).into();
    assert_eq!(ids.len(), EventName::ALL.len());
    let words: HashSet<_> = EventName::ALL.map(EventName::word).into();
    assert_eq!(words.len(), EventName::ALL.len());
    for id in ids {
        assert_eq!(id.len(), 32, "{id}");
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "{id}"
        );
    }
}

#[test]
fn a_value_with_line_breaks_cannot_forge_a_field() {
    let mut datagram = Datagram::default();
    let mut forged = record();
    forged.repository = "a\nPRIORITY=0\nMESSAGE=forged".into();
    datagram.access(&forged);
    let fields = decode(datagram.bytes());
    assert_eq!(
        value(&fields, "REPOSITORY"),
        Some(r"a\nPRIORITY=0\nMESSAGE=forged")
    );
    assert_eq!(value(&fields, "PRIORITY"), Some("6"));
    let message = value(&fields, "MESSAGE").unwrap();
    assert!(
        message.contains(r"docker.io/a\nPRIORITY=0\nMESSAGE=forged@"),
        "{message}"
    );
}

#[test]
fn the_longest_record_fits_a_datagram() {
    let long = "ä".repeat(100_000);
    let mut datagram = Datagram::default();
    let mut record = record();
    record.request_id = long.as_str().into();
    record.repository = long.as_str().into();
    record.reference = long.as_str().into();
    record.endpoint = long.as_str().into();
    record.tier = long.as_str().into();
    record.error = long;
    datagram.access(&record);
    assert!(datagram.bytes().len() < 64 * 1024);
    let fields = decode(datagram.bytes());
    assert_eq!(value(&fields, "ERROR").map(str::len), Some(TEXT_LIMIT));
    assert_eq!(
        value(&fields, "REPOSITORY").map(str::len),
        Some(FIELD_LIMIT)
    );
}

#[test]
fn priorities() {
    let mut datagram = Datagram::default();
    let mut record = record();
    record.outcome = RequestOutcome::Failed;
    datagram.access(&record);
    assert_eq!(value(&decode(datagram.bytes()), "PRIORITY"), Some("4"));

    record.outcome = RequestOutcome::Served;
    record.kind = "other";
    record.repository = Text::default();
    datagram.access(&record);
    assert_eq!(value(&decode(datagram.bytes()), "PRIORITY"), Some("7"));

    datagram.event(&change(EventName::ConfigRejected));
    assert_eq!(value(&decode(datagram.bytes()), "PRIORITY"), Some("3"));
}

#[test]
fn a_replaced_journald_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let old = UnixDatagram::bind(&path).unwrap();
    let mut socket = Socket::connect(&path).unwrap();
    assert!(socket.send(b"one"));
    drop(old);
    std::fs::remove_file(&path).unwrap();
    assert!(!socket.send(b"two"), "nobody was there");
    let new = UnixDatagram::bind(&path).unwrap();
    assert!(socket.send(b"three"));
    let mut buffer = [0; 16];
    let length = new.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"three");
}
