//! The hold-back buffer's promises, by example and by property.

use super::*;
use proptest::prelude::*;

fn all(hold_back: &mut HoldBack) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = hold_back.release() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

#[test]
fn the_newest_bytes_stay() {
    let blob = vec![7_u8; 200_000];
    let mut hold_back = HoldBack::hashed(Digest::sha256(&blob), Some(200_000));
    for chunk in blob.chunks(10_000).take(10) {
        hold_back.push(Bytes::copy_from_slice(chunk)).unwrap();
    }
    let released = all(&mut hold_back);
    let hold_back_begins = 100_000 - 32 * 1024;
    assert_eq!(released.len(), hold_back_begins);
    assert_eq!(hold_back.released(), hold_back_begins as u64);
    assert_eq!(hold_back.held(), HELD_BACK);
    assert_eq!(hold_back.received(), 100_000);
}

/// However large the chunks are that a source's bytes come in: no more than the hold-back buffer is fetched twice (P7).
#[test]
fn no_more_than_the_hold_back_is_held_whatever_the_chunks() {
    for size in [1, 1000, 32 * 1024, 100_000, 400_000] {
        let mut hold_back = HoldBack::measured(2_000_000);
        let mut came = 0;
        while came < 900_000 {
            hold_back.push(Bytes::from(vec![7; size])).unwrap();
            came += size as u64;
            all(&mut hold_back);
            assert_eq!(hold_back.held(), HELD_BACK.min(came), "{size}");
        }
    }
}

/// 64 streams at once are to be cheap: what waits for the hold-back buffer to move on keeps no chunk's memory besides its own.
#[test]
fn what_is_let_go_shares_no_memory_with_what_is_held() {
    let mut hold_back = HoldBack::measured(1_000_000);
    hold_back.push(Bytes::from(vec![7; 160 * 1024])).unwrap();
    let released = hold_back.release().unwrap();
    assert_eq!(released.len(), 128 * 1024);
    assert_eq!(hold_back.held(), HELD_BACK);
    assert!(released.is_unique());
    assert_eq!(hold_back.release(), None);
}

#[test]
fn error_json_at_a_broken_end_is_never_let_go() {
    let blob = vec![1_u8; 100_000];
    let json = br#"{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}"#;
    let mut hold_back = HoldBack::hashed(Digest::sha256(&blob), Some(100_000));
    hold_back
        .push(Bytes::copy_from_slice(&blob[..70_000]))
        .unwrap();
    hold_back.push(Bytes::from_static(json)).unwrap();
    assert!(blob.starts_with(&all(&mut hold_back)));
    assert_eq!(hold_back.finish(), Err(Fault::TooShort));
}

#[test]
fn one_byte_too_many_is_seen_at_once() {
    let mut hold_back = HoldBack::measured(3);
    hold_back.push(Bytes::from_static(b"abc")).unwrap();
    assert_eq!(
        hold_back.push(Bytes::from_static(b"d")),
        Err(Fault::TooLong)
    );
}

#[test]
fn nothing_is_a_body_too() {
    let mut hold_back = HoldBack::hashed(Digest::sha256(b""), Some(0));
    assert!(hold_back.is_full());
    assert_eq!(hold_back.finish(), Ok(()));
    assert_eq!(hold_back.release(), None);
}

proptest! {
    /// In whatever chunks a body comes, it ends well only with exactly the right bytes, and what was let go
    /// before is a prefix of what came.
    #[test]
    fn only_the_right_bytes_end_well(
        blob in proptest::collection::vec(any::<u8>(), 0..120_000),
        cuts in proptest::collection::vec(1_usize..40_000, 1..20),
        spoil in proptest::option::of((any::<proptest::sample::Index>(), 1_u8..)),
        lost in 0_usize..3,
        knows_length in any::<bool>(),
    ) {
        let digest = Digest::sha256(&blob);
        let mut sent = blob.clone();
        if let Some((at, change)) = spoil && !sent.is_empty() {
            let at = at.index(sent.len());
            sent[at] ^= change;
        }
        sent.truncate(sent.len().saturating_sub(lost));
        let length = knows_length.then_some(blob.len() as u64);
        let mut hold_back = HoldBack::hashed(digest, length);
        let (mut rest_of, mut got, mut cut) = (&sent[..], Vec::new(), cuts.iter().cycle());
        while !rest_of.is_empty() {
            let (chunk, after) = rest_of.split_at(rest_of.len().min(*cut.next().unwrap()));
            hold_back.push(Bytes::copy_from_slice(chunk)).unwrap();
            got.extend(all(&mut hold_back));
            rest_of = after;
        }
        prop_assert!(sent.starts_with(&got));
        let ended = hold_back.finish();
        prop_assert_eq!(ended.is_ok(), sent == blob);
        if ended.is_ok() {
            got.extend(all(&mut hold_back));
            prop_assert_eq!(got, blob);
        }
    }
}
