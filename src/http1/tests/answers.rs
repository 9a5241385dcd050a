//! Heads of answers, by tables and in every cut.

use crate::http1::{AnswerHead, Framing, Wrong, answer_head};
use bytes::BytesMut;
use proptest::prelude::{any, prop, proptest};

const LIMIT: usize = 1024;

fn read(text: &[u8], to_head: bool) -> Result<Option<AnswerHead>, Wrong> {
    answer_head(&mut BytesMut::from(text), to_head, LIMIT, &mut 0)
}

#[test]
fn the_end_of_a_body_is_told_by_the_head() {
    let chunked = Framing::chunked();
    let rows = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5",
            Framing::Length(5),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\ncontent-length: 5",
            Framing::Length(5),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            chunked,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip,  Chunked",
            chunked,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip",
            Framing::UntilClose,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
            Framing::UntilClose,
            false,
        ),
        // Both: the coding counts, and the connection is not trusted with another request.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            chunked,
            false,
        ),
        ("HTTP/1.1 200 OK\r\nX: y", Framing::UntilClose, false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5",
            Framing::Length(5),
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive",
            Framing::Length(5),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close",
            Framing::Length(5),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x-y,  CLOSE",
            Framing::Length(5),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x\r\nConnection: close",
            Framing::Length(5),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: closely, keep-alive",
            Framing::Length(5),
            true,
        ),
        ("HTTP/1.1 204 No Content\r\nX: y", Framing::Length(0), true),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5",
            Framing::Length(0),
            true,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked",
            Framing::Length(0),
            true,
        ),
    ];
    for (head, framing, keep) in rows {
        let found = read(format!("{head}\r\n\r\n").as_bytes(), false);
        let found = found.unwrap().unwrap();
        assert_eq!((found.framing, found.keep), (framing, keep), "{head}");
        let to_head = read(format!("{head}\r\n\r\n").as_bytes(), true);
        assert_eq!(
            to_head.unwrap().unwrap().framing,
            Framing::Length(0),
            "HEAD: {head}"
        );
    }
    let both = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let both = read(both, false).unwrap().unwrap();
    assert!(!both.fields.contains(&http::header::CONTENT_LENGTH));
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(LIMIT));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X:\r\n".repeat(101));
    let rows = [
        ("SSH-2.0-OpenSSH_9.2\r\n", false),
        ("HTTP/2 200 OK\r\n\r\n", false),
        ("HTTP/1.1 20 OK\r\n\r\n", false),
        ("HTTP/1.1 099 OK\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n X: folded\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
            false,
        ),
        (&long, true),
        (&many, true),
    ];
    for (text, too_long) in rows {
        let wrong = read(text.as_bytes(), false).unwrap_err();
        assert_eq!(wrong == Wrong::TooLong, too_long, "{text:.60}: {wrong}");
    }
}

#[test]
fn interim_answers_are_skipped() {
    let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut buffer = BytesMut::from(&text[..]);
    let head = answer_head(&mut buffer, false, LIMIT, &mut 0)
        .unwrap()
        .unwrap();
    assert_eq!(head.status, 200);
    assert!(!head.fields.contains(&http::header::LINK));
    assert_eq!(buffer, "ok");
}

/// However they come: all at once, or one by one.
#[test]
fn more_than_eight_interim_answers_are_none() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (count, is_taken) in [(8, true), (9, false), (1000, false)] {
        let text = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count) + last;
        let at_once = answer_head(&mut BytesMut::from(text.as_str()), false, 4096, &mut 0);
        assert_eq!(at_once.is_ok(), is_taken, "{count}");
        let (mut buffer, mut interim) = (BytesMut::new(), 0);
        let mut one_by_one = Ok(None);
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            one_by_one = answer_head(&mut buffer, false, 4096, &mut interim);
            if !matches!(one_by_one, Ok(None)) {
                break;
            }
        }
        assert_eq!(one_by_one.is_ok(), is_taken, "{count}");
        assert!(interim <= 9, "{interim}");
    }
}

#[test]
fn fields_are_found_by_name_in_any_case_and_their_values_are_not_shown() {
    let text = b"HTTP/1.1 401 U\r\nWWW-authenticate: Basic\r\nwww-AUTHENTICATE: Bearer x\r\nSet-Cookie: sid=secret\r\n\r\n";
    let fields = read(text, false).unwrap().unwrap().fields;
    let name = http::header::WWW_AUTHENTICATE;
    let all: Vec<_> = fields.all(&name).collect();
    assert_eq!(all, [&b"Basic"[..], b"Bearer x"]);
    assert_eq!(fields.text(&name), Some("Basic"));
    assert!(fields.texts(&name).eq(["Basic", "Bearer x"]));
    let foreign = "HTTP/1.1 200 OK\r\nAccept: a\u{e9}\r\naccept: b\r\nAccept:\r\n\r\n";
    let foreign = read(foreign.as_bytes(), false).unwrap().unwrap().fields;
    let accept = http::header::ACCEPT;
    assert_eq!(foreign.text(&accept), None);
    assert!(foreign.texts(&accept).eq(["b", ""]));
    assert_eq!(fields.get(&http::header::WARNING), None);
    let shown = format!("{fields:?}");
    assert!(
        shown.contains("Set-Cookie") && !shown.contains("secret"),
        "{shown}"
    );
}

proptest! {
    /// However it is cut, the same head comes of it, at its last byte and not before.
    #[test]
    fn a_head_may_come_in_pieces(cuts in prop::collection::vec(1_usize..30, 1..8), extra in any::<bool>()) {
        let text = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 5\r\n\r\n";
        let mut cuts = cuts.into_iter().cycle();
        let (mut buffer, mut interim) = (BytesMut::new(), 0);
        let mut rest = &text[..];
        let head = loop {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = after;
            if rest.is_empty() && extra {
                buffer.extend_from_slice(b"hel");
            }
            match answer_head(&mut buffer, false, LIMIT, &mut interim).unwrap() {
                Some(head) => break head,
                None => assert!(!rest.is_empty()),
            }
        };
        assert!(rest.is_empty());
        assert_eq!((head.status.as_u16(), head.framing, head.keep), (206, Framing::Length(5), true));
        assert_eq!(&buffer[..], if extra { &b"hel"[..] } else { b"" });
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), to_head in any::<bool>()) {
        let _ = read(&bytes, to_head);
        let mut led = b"HTTP/1.1 200 OK\r\n".to_vec();
        led.extend_from_slice(&bytes);
        let _ = read(&led, to_head);
    }
}
