//! Answers and requests in HTTP/1.1: no input panics or hangs, and whether it comes at once or byte by byte, the same is
//! understood of it.

#![no_main]

use bytes::BytesMut;
use harbor_pilot::http1::{Framing, Piece, answer_head, request_head};
use libfuzzer_sys::fuzz_target;

/// The longest head here.
const LIMIT: usize = 4096;

/// What came of an answer: its head in words, its body, and how it ended.
type Story = (Option<String>, Vec<u8>, &'static str);

fuzz_target!(|bytes: &[u8]| {
    let Some((style, bytes)) = bytes.split_first() else {
        return;
    };
    let to_head = style % 2 == 1;
    let at_once = answer(&[bytes], to_head);
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(answer(&each, to_head), at_once);
    assert!(at_once.1.len() <= bytes.len());

    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(head)) = request_head(&mut buffer, LIMIT) {
        assert!(!head.request.target.is_empty());
        assert!(head.request.target.bytes().all(|byte| byte > b' ' && byte != 0x7f));
    }
});

fn answer(pieces: &[&[u8]], to_head: bool) -> Story {
    let mut pieces = pieces.iter();
    let (mut buffer, mut interim) = (BytesMut::new(), 0);
    let (shown, mut framing) = loop {
        match answer_head(&mut buffer, to_head, LIMIT, &mut interim) {
            Ok(Some(head)) => {
                let shown = format!("{} {:?} {:?} {}", head.status, head.fields, head.framing, head.keep);
                break (shown, head.framing);
            }
            Ok(None) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return (None, Vec::new(), "no head"),
            },
            Err(_) => return (None, Vec::new(), "wrong head"),
        }
    };
    let mut body = Vec::new();
    loop {
        match framing.take(&mut buffer) {
            Ok(Piece::Data(data)) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Ok(Piece::End) => {
                assert!(framing.is_over());
                return (Some(shown), body, "end");
            }
            Ok(Piece::More) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None if framing == Framing::UntilClose => return (Some(shown), body, "close"),
                None => return (Some(shown), body, "early"),
            },
            Err(_) => return (Some(shown), body, "wrong body"),
        }
    }
}
