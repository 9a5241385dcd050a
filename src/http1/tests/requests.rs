//! Requests as they are read, and heads of answers as they are written.

use crate::http1::{Date, End, RequestHead, ResponseHead, Told, Wrong, request_head};
use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use proptest::prelude::{any, prop, proptest};
use std::time::{Duration, UNIX_EPOCH};

const LIMIT: usize = 1024;

fn read(text: &str) -> Result<Option<RequestHead>, Wrong> {
    request_head(&mut BytesMut::from(text), LIMIT)
}

#[test]
fn a_request_is_taken_off_the_front() {
    let text = "GET /v2/?ns=a HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.0\r\n\r\n";
    let mut buffer = BytesMut::from(text);
    let first = request_head(&mut buffer, LIMIT).unwrap().unwrap();
    assert_eq!(first.request.method, "GET");
    assert_eq!(first.request.target, "/v2/?ns=a");
    assert_eq!(first.request.version, Version::HTTP_11);
    assert_eq!(first.request.fields.get(&HOST), Some(&b"x"[..]));
    assert!(first.keep && !first.has_body);
    let second = request_head(&mut buffer, LIMIT).unwrap().unwrap();
    assert_eq!(second.request.version, Version::HTTP_10);
    assert!(!second.keep);
    assert!(buffer.is_empty());
    assert!(request_head(&mut buffer, LIMIT).unwrap().is_none());
}

#[test]
fn what_follows_a_request_is_known_from_its_head() {
    let rows = [
        ("HTTP/1.1\r\nHost: x", true, false),
        ("HTTP/1.1\r\nConnection: close", false, false),
        ("HTTP/1.1\r\nConnection: x, Close", false, false),
        ("HTTP/1.0\r\nHost: x", false, false),
        ("HTTP/1.0\r\nConnection: Keep-Alive", true, false),
        ("HTTP/1.1\r\nContent-Length: 0", true, false),
        ("HTTP/1.1\r\nContent-Length: 3", true, true),
        ("HTTP/1.1\r\nTransfer-Encoding: chunked", true, true),
        ("HTTP/1.0\r\nConnection: close, keep-alive", false, false),
        (
            "HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked",
            true,
            true,
        ),
    ];
    for (rest, keep, has_body) in rows {
        let head = read(&format!("POST / {rest}\r\n\r\n")).unwrap().unwrap();
        assert_eq!((head.keep, head.has_body), (keep, has_body), "{rest}");
    }
}

#[test]
fn what_is_no_request_is_said_to_be_none() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(LIMIT));
    let unfinished = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(LIMIT));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X:\r\n".repeat(101));
    let rows = [
        ("\x16\x03\x01\x00\u{a5}\x01", false),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
        ("GET / HTTP/3\r\n\r\n", false),
        ("GET /\r\n\r\n", false),
        ("GET / a HTTP/1.1\r\n\r\n", false),
        ("G@T / HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", false),
        (
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", false),
        (
            "GET / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: nonsense\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
        ),
        ("GET /#fragment HTTP/1.1\r\n\r\n", false),
        (&long, true),
        (&unfinished, true),
        (&many, true),
    ];
    for (text, too_long) in rows {
        let wrong = read(text).unwrap_err();
        assert_eq!(wrong == Wrong::TooLong, too_long, "{text:.60}: {wrong}");
    }
}

fn head(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    for (name, value) in fields {
        let (name, value) = (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        head.set(name, value);
    }
    head
}

fn told(version: Version, to_head: bool, end: End, keep: bool) -> Told {
    Told {
        version,
        to_head,
        end,
        keep,
    }
}

#[test]
fn a_field_has_one_value() {
    let mut one = head(200, &[("x-a", "b"), ("x-c", "d"), ("x-a", "e")]);
    assert_eq!(one.get(&HeaderName::from_static("x-a")).unwrap(), "e");
    assert_eq!(one.get(&HeaderName::from_static("x-b")), None);
    one.set(CONTENT_LENGTH, 7_u64);
    let mut out = Vec::new();
    one.write(
        &mut out,
        told(Version::HTTP_11, false, End::Length(7), true),
        "now",
    );
    let due = "HTTP/1.1 200 OK\r\nx-a: e\r\nx-c: d\r\ncontent-length: 7\r\ndate: now\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), due);
}

#[test]
fn the_status_line_says_the_usual_words_or_its_own() {
    for (reason, due) in [(None, "Forbidden"), (Some("No, and why"), "No, and why")] {
        let mut one = head(403, &[]);
        one.reason = reason;
        let mut out = Vec::new();
        one.write(
            &mut out,
            told(Version::HTTP_11, true, End::Length(0), true),
            "now",
        );
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(&format!("HTTP/1.1 403 {due}\r\n")),
            "{text}"
        );
    }
}

#[test]
fn an_answer_says_where_it_ends() {
    let (old, new) = (Version::HTTP_10, Version::HTTP_11);
    let (ok, known) = (head(200, &[]), head(200, &[("content-length", "7")]));
    let rows = [
        (&ok, Some(5), false, new, End::Length(5)),
        (&ok, Some(0), false, new, End::Length(0)),
        (&ok, None, false, new, End::Chunked),
        (&ok, None, false, old, End::Close),
        (&known, None, false, new, End::Length(7)),
        (&known, None, false, old, End::Length(7)),
        (&known, Some(0), true, new, End::Length(0)),
        (&head(204, &[]), None, false, new, End::Length(0)),
        (&head(304, &[]), None, false, old, End::Length(0)),
    ];
    for (head, length, to_head, version, end) in rows {
        let found = head.end(length, to_head, version);
        assert_eq!(found, end, "{head:?} {length:?} {to_head} {version:?}");
    }
}

#[test]
fn heads_are_written_with_what_belongs_to_the_hop() {
    let write = |head: &ResponseHead, (version, to_head), (end, keep)| {
        let mut out = Vec::new();
        head.write(&mut out, told(version, to_head, end, keep), "now");
        String::from_utf8(out).unwrap()
    };
    let (old, new) = (Version::HTTP_10, Version::HTTP_11);
    let plain = head(
        200,
        &[
            ("x-a", "b"),
            ("connection", "x"),
            ("transfer-encoding", "y"),
        ],
    );
    assert_eq!(
        write(&plain, (new, false), (End::Length(5), true)),
        "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\ndate: now\r\n\r\n"
    );
    assert_eq!(
        write(&plain, (new, false), (End::Chunked, false)),
        "HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\nconnection: close\r\ndate: now\r\n\r\n"
    );
    assert_eq!(
        write(&plain, (old, false), (End::Length(0), true)),
        "HTTP/1.0 200 OK\r\nx-a: b\r\ncontent-length: 0\r\nconnection: keep-alive\r\ndate: now\r\n\r\n"
    );
    let told = head(404, &[("content-length", "7"), ("date", "then")]);
    let due = "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\ndate: then\r\n\r\n";
    assert_eq!(write(&told, (new, false), (End::Length(7), true)), due);
    assert_eq!(
        write(&told, (new, true), (End::Length(0), true)),
        due,
        "HEAD"
    );
    assert_eq!(
        write(&head(200, &[]), (new, true), (End::Length(0), true)),
        "HTTP/1.1 200 OK\r\ndate: now\r\n\r\n",
        "what a GET would have is not known"
    );
    assert_eq!(
        write(&head(204, &[]), (new, false), (End::Length(0), true)),
        "HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n"
    );
}

#[test]
fn a_date_changes_with_the_second() {
    let mut date = Date::default();
    let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
    assert_eq!(date.at(at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date.at(at(999)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date.at(at(1000)), "Thu, 01 Jan 1970 00:00:01 GMT");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = request_head(&mut BytesMut::from(&bytes[..]), LIMIT);
        let mut led = b"GET / HTTP/1.1\r\n".to_vec();
        led.extend_from_slice(&bytes);
        let _ = request_head(&mut BytesMut::from(&led[..]), LIMIT);
    }
}
