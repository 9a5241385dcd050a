//! What token endpoints answer.

use super::*;
use crate::config::Secret;

#[test]
fn token_documents() {
    let cases = [
        // Harbor, Docker Hub, GHCR, and one that speaks OAuth2 only.
        (
            r#"{"token":"t","access_token":"","expires_in":1800,"issued_at":"2026-01-01T00:00:00Z"}"#,
            Ok(("t", 1800.0)),
        ),
        (
            r#"{"token":"t","access_token":"t","expires_in":300}"#,
            Ok(("t", 300.0)),
        ),
        (r#"{"token":"t"}"#, Ok(("t", 60.0))),
        (r#"{"access_token":"a","expires_in":"90"}"#, Ok(("a", 90.0))),
        (
            r#"{"token":null,"access_token":"a","expires_in":null}"#,
            Ok(("a", 60.0)),
        ),
        (r#"{"token":"t","expires_in":0}"#, Ok(("t", 60.0))),
        (r#"{"token":"t","expires_in":-5}"#, Ok(("t", 60.0))),
        (r#"{"token":"t","expires_in":1e300}"#, Ok(("t", 86400.0))),
        (r#"{"token":"t","expires_in":0.5}"#, Ok(("t", 0.5))),
        (
            r#"{"token":"","access_token":""}"#,
            Err("its answer holds no token"),
        ),
        (r#"{}"#, Err("its answer holds no token")),
        ("<html>", Err("its answer is no token document")),
        (r#"["t"]"#, Err("its answer is no token document")),
        ("[]", Err("its answer is no token document")),
        ("", Err("its answer is no token document")),
        (r#"{"token":"a\r\nb"}"#, Err("its token cannot be sent")),
        (r#"{"token":"a b"}"#, Err("its token cannot be sent")),
    ];
    for (body, expected) in cases {
        match (read_token(body.as_bytes()), expected) {
            (Ok(issued), Ok((token, life))) => {
                assert_eq!(issued.authorization, format!("Bearer {token}"), "{body}");
                assert!(issued.authorization.is_sensitive());
                assert_eq!(issued.life.as_secs_f64(), life, "{body}");
            }
            (found, expected) => assert_eq!(found.map(|_| ()), expected.map(|_| ()), "{body}"),
        }
    }
}

#[test]
fn a_document_may_be_packed_or_begin_with_a_mark() {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;
    let packed = |plain: &[u8]| {
        let mut packing = GzEncoder::new(Vec::new(), Compression::best());
        packing.write_all(plain).unwrap();
        packing.finish().unwrap()
    };
    let (plain, marked) = (br#"{"token":"t"}"#, b"\xef\xbb\xbf{\"token\":\"t\"}");
    for body in [marked.to_vec(), packed(plain), packed(marked)] {
        assert_eq!(read_token(&body).unwrap().authorization, "Bearer t");
    }
    let mut cut = packed(plain);
    cut.truncate(12);
    let bomb = packed(&vec![b' '; 4 << 20]);
    for body in [cut, bomb, vec![0x1f, 0x8b], b"\xef\xbb\xbf".to_vec()] {
        assert!(read_token(&body).is_err(), "{} bytes", body.len());
    }
}

#[test]
fn a_token_has_16_kib_at_most() {
    let document = |bytes| format!(r#"{{"token":"{}"}}"#, "t".repeat(bytes));
    assert!(read_token(document(MAX_TOKEN).as_bytes()).is_ok());
    let longer = read_token(document(MAX_TOKEN + 1).as_bytes());
    assert_eq!(longer.err(), Some("its token is longer than 16 KiB"));
}

#[test]
fn a_robots_dollar_is_literal_and_nothing_shows_the_password() {
    let header = basic_authorization(&Credential {
        username: "robot$node".into(),
        password: Secret::new("päss"),
    });
    assert_eq!(header, "Basic cm9ib3Qkbm9kZTpww6Rzcw==");
    assert_eq!(format!("{header:?}"), "Sensitive");
}
