//! Where bodies end, however they are cut.

use crate::http1::{Framing, Piece, Wrong};
use bytes::BytesMut;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

/// Feeds a body in these pieces; what came out, whether its end was seen, and what is left over.
fn feed(mut framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), Wrong> {
    let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
    let mut pieces = pieces.iter();
    loop {
        match framing.take(&mut buffer)? {
            Piece::Data(data) => {
                assert!(!data.is_empty());
                got.extend_from_slice(&data);
            }
            Piece::End => {
                assert!(framing.is_over());
                assert_eq!(framing.left(), Some(0));
                let left = pieces.flat_map(|piece| piece.iter());
                let left = buffer.iter().chain(left).copied().collect();
                return Ok((got, true, left));
            }
            Piece::More => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return Ok((got, framing.is_over(), buffer.to_vec())),
            },
        }
    }
}

#[test]
fn chunks_are_read_as_they_are_meant() {
    let rows: [(&str, &str); 6] = [
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
        ("0005;a=\"b;c\"\r\nhello\r\n000\r\n\r\n", "hello"),
        ("5 \t\r\nhello\r\n0\r\n\r\n", "hello"),
        (
            "A\r\n0123456789\r\n0\r\nExpires: never\r\nX: y\r\n\r\n",
            "0123456789",
        ),
        ("0\r\n\r\n", ""),
    ];
    for (text, expected) in rows {
        let whole = format!("{text}next");
        let found = feed(Framing::chunked(), &[whole.as_bytes()]).unwrap();
        let expected = (expected.as_bytes().to_vec(), true, b"next".to_vec());
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn what_is_no_chunk_is_wrong() {
    let endless_line = format!("5;{}", "a".repeat(20_000));
    let endless_trailers = format!("0\r\n{}", "X: y\r\n".repeat(4000));
    let rows = [
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "zz\r\n",
        "\r\n",
        " 5\r\nhello",
        "-5\r\nhello",
        "+5\r\nhello",
        "0x5\r\nhello",
        "5\nhello",
        "5;a\nb\r\nhello",
        "0;a\n\r\n\r\n",
        "5\rhello",
        "5\r\nhelloX\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "11111111111111111\r\n",
        "0\r\nno field\r\n\r\n",
        &endless_line,
        &endless_trailers,
    ];
    for text in rows {
        let found = feed(Framing::chunked(), &[text.as_bytes()]);
        assert!(found.is_err(), "{text:.40}: {found:?}");
    }
}

#[test]
fn a_size_of_all_ones_is_no_end() {
    let text = b"ffffffffffffffff\r\nhello";
    let (got, is_over, _) = feed(Framing::chunked(), &[text]).unwrap();
    assert_eq!((got, is_over), (b"hello".to_vec(), false));
}

#[test]
fn without_a_length_everything_belongs_to_it() {
    let (got, is_over, left) = feed(Framing::UntilClose, &[b"he", b"llo"]).unwrap();
    assert_eq!((got, is_over, left), (b"hello".to_vec(), false, vec![]));
    assert_eq!(Framing::UntilClose.left(), None);
}

/// A body in chunks of these sizes, encoded in one of the allowed ways.
fn encoded(body: &[u8], sizes: &[usize], style: u8) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), body);
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        if chunk.is_empty() {
            break;
        }
        let line = match style {
            0 => format!("{:x}", chunk.len()),
            1 => format!("{:08X}", chunk.len()),
            _ => format!("{:x};name=value", chunk.len()),
        };
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(match style {
        0 => b"0\r\n\r\n".as_slice(),
        1 => b"00\r\nX: y\r\n\r\n",
        _ => b"0;x\r\n\r\n",
    });
    out
}

fn cut<'a>(text: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![Just(1), 2_usize..40, 1000_usize..20_000];
    prop::collection::vec(size, 1..6)
}

proptest! {
    #[test]
    fn any_body_in_any_chunks_and_any_cuts_comes_out_as_it_was(
        body in prop::collection::vec(any::<u8>(), 0..30_000),
        (chunks, cuts) in (sizes(), sizes()),
        style in 0_u8..3,
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut text = encoded(&body, &chunks, style);
        let length = text.len();
        text.extend_from_slice(&behind);
        let found = feed(Framing::chunked(), &cut(&text, &cuts)).unwrap();
        assert_eq!(found, (body.clone(), true, behind.clone()));
        // Without its last byte it has no end.
        let short = feed(Framing::chunked(), &cut(&text[..length - 1], &cuts)).unwrap();
        assert_eq!((short.0, short.1), (body.clone(), false));

        let mut text = body.clone();
        text.extend_from_slice(&behind);
        let framing = Framing::Length(body.len() as u64);
        let found = feed(framing, &cut(&text, &cuts)).unwrap();
        assert_eq!(found, (body.clone(), true, behind));
        if let Some((_, short)) = body.split_last() {
            let found = feed(framing, &cut(short, &cuts)).unwrap();
            assert_eq!(found, (short.to_vec(), false, vec![]));
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..200), cuts in sizes()) {
        let _ = feed(Framing::chunked(), &cut(&text, &cuts));
    }
}
