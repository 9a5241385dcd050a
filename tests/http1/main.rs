//! HTTP/1.1 as the agent reads it beside hyper: 5,000 connections of clients and 5,000 of sources.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own helpers end the test"
)]

mod messages;
mod oracle;

use oracle::Oracle;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// How many messages each test makes.
const CASES: u32 = 5000;

/// Compares `CASES` messages. A generator whose messages are mostly refused would show nothing: a quarter must be read.
fn compare<S: Strategy>(messages: S, compared: impl Fn(&Oracle, S::Value) -> usize) {
    let oracle = Oracle::new();
    let count = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
    let outcome = runner.run(&messages, |message| {
        count.set(count.get() + compared(&oracle, message));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (count, least) = (count.get(), CASES as usize / 4);
    assert!(count > least, "only {count} of {CASES} messages were read");
}

#[test]
fn requests_are_read_as_hypers_server_reads_them() {
    compare(messages::requests(), |oracle, bytes| {
        oracle.requests(&bytes)
    });
}

#[test]
fn responses_are_read_as_hypers_client_reads_them() {
    let messages = (messages::response(), any::<bool>());
    compare(messages, |oracle, (bytes, to_head)| {
        oracle.response(&bytes, to_head)
    });
}

/// What differed once: each of these is refused.
#[test]
fn known_requests() {
    let oracle = Oracle::new();
    for text in [
        "GET /v2/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
        "GET /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        "GET /v2/ HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
        "GET /v2/#f HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(oracle.requests(text.as_bytes()), 0, "{text:?}");
    }
}
