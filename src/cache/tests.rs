//! Who makes room for whom.

use super::*;
use Trust::{Trusted, Untrusted};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(begin: Instant, seconds: u64) -> Instant {
    begin + Duration::from_secs(seconds)
}

#[test]
fn entries_expire_by_time_and_leave_by_number() {
    let mut map = TtlMap::new(Bounds::entries(Duration::from_secs(30), 2));
    let begin = Instant::now();
    map.put("a", 1, Trusted, begin);
    map.put("b", 2, Trusted, at(begin, 1));
    assert_eq!(map.get(&"a", at(begin, 29)), Some(&1));
    assert_eq!(map.get(&"a", at(begin, 30)), None);
    map.put("c", 3, Trusted, at(begin, 2));
    assert_eq!(map.get(&"a", at(begin, 3)), None, "the oldest made room");
    assert_eq!(map.get(&"b", at(begin, 3)), Some(&2));
    map.put("d", 4, Trusted, at(begin, 60));
    assert_eq!(map.len(), 1, "what had expired is gone");
    assert_eq!(map.remove(&"d"), Some(4));
    assert!(map.is_empty());
}

#[test]
fn expired_entries_go_without_a_write() {
    let (mut map, begin) = (TtlMap::new(Bounds::entries(MINUTE, 8)), Instant::now());
    map.put(1, (), Trusted, begin);
    map.put(2, (), Untrusted, at(begin, 30));
    map.drop_expired(at(begin, 60));
    assert_eq!(map.len(), 1);
    map.drop_expired(at(begin, 90));
    assert_eq!((map.len(), map.bytes()), (0, 0));
}

#[test]
fn untrusted_clients_hold_a_quarter_and_evict_no_trusted_clients_entry() {
    let (mut map, now) = (
        TtlMap::new(Bounds::entries(Duration::MAX, 8)),
        Instant::now(),
    );
    for trusted in 0..8 {
        map.put(trusted, (), Trusted, now);
    }
    for untrusted in 100..1_000 {
        map.put(untrusted, (), Untrusted, now);
    }
    assert!((0..8).all(|key| map.get(&key, now).is_some()), "{map:?}");
    assert_eq!(map.len(), 8, "a full map has no room for others");
    map.remove(&0);
    map.remove(&1);
    map.remove(&2);
    for untrusted in 100..1_000 {
        map.put(untrusted, (), Untrusted, now);
    }
    let held: Vec<i32> = map.iter().map(|(key, ..)| *key).collect();
    assert_eq!(held, [998, 999, 3, 4, 5, 6, 7]);
    map.put(8, (), Trusted, now);
    map.put(9, (), Trusted, now);
    let held: Vec<i32> = map.iter().map(|(key, ..)| *key).collect();
    assert_eq!(held, [999, 3, 4, 5, 6, 7, 8, 9], "theirs make room first");
}

#[test]
fn what_a_trusted_client_taught_stays_a_trusted_clients() {
    let (mut map, now) = (
        TtlMap::new(Bounds::entries(Duration::MAX, 4)),
        Instant::now(),
    );
    map.put("trusted", 1, Trusted, now);
    map.put("trusted", 2, Untrusted, now);
    map.put("other", 3, Untrusted, now);
    map.put("another", 4, Untrusted, now);
    assert_eq!(map.get(&"trusted", now), Some(&2));
    assert_eq!(map.get(&"other", now), None);
    // Used by a trusted client it is one of theirs.
    map.used(&"another", Trusted);
    map.put("more", 5, Untrusted, now);
    assert_eq!(map.len(), 3);
}

#[test]
fn what_is_used_leaves_later() {
    let (mut map, now) = (
        TtlMap::new(Bounds::entries(Duration::MAX, 3)),
        Instant::now(),
    );
    for key in 0..3 {
        map.put(key, (), Trusted, now);
    }
    map.used(&0, Untrusted);
    map.put(3, (), Trusted, now);
    assert!(map.get(&0, now).is_some());
    assert!(map.get(&1, now).is_none());
}

#[test]
fn bytes_are_bounded_like_entries() {
    let bounds = Bounds {
        life: MINUTE,
        entries: 100,
        bytes: 40,
    };
    let mut map = TtlMap::weighed(bounds, |_, value: &usize| *value);
    let now = Instant::now();
    map.put("t1", 15, Trusted, now);
    map.put("t2", 15, Trusted, now);
    map.put("u1", 6, Untrusted, now);
    map.put("u2", 4, Untrusted, now);
    assert_eq!((map.len(), map.bytes()), (4, 40));
    map.put("u3", 5, Untrusted, now);
    assert_eq!(map.get(&"u1", now), None, "a quarter of the bytes");
    map.put("huge", 11, Untrusted, now);
    map.put("vast", 41, Trusted, now);
    assert_eq!(
        (map.len(), map.bytes()),
        (4, 39),
        "more than its part alone"
    );
    map.put("t3", 12, Trusted, now);
    assert_eq!((map.get(&"t1", now), map.bytes()), (None, 27));
    map.shrink_to(12);
    assert_eq!(map.bytes(), 12);
}

proptest! {
    /// Whatever is written, used and taken out, the books agree and the bounds hold.
    #[test]
    fn the_bounds_hold(
        acts in prop::collection::vec((0_u8..4, 0_u8..20, 0_usize..30, any::<bool>(), 0_u64..20), 0..200)
    ) {
        let bounds = Bounds { life: Duration::from_secs(50), entries: 8, bytes: 100 };
        let mut map = TtlMap::weighed(bounds, |_, value: &usize| *value);
        let mut now = Instant::now();
        for (act, key, bytes, trusted, passes) in acts {
            let trust = if trusted { Trusted } else { Untrusted };
            now += Duration::from_secs(passes);
            match act {
                0 | 1 => map.put(key, bytes, trust, now),
                2 => map.used(&key, trust),
                _ => drop(map.remove(&key)),
            }
            let of = |trust| map.iter().filter(move |(.., of)| *of == trust);
            let weight = |trust| of(trust).map(|(_, bytes, _)| bytes).sum::<usize>();
            prop_assert!(map.len() <= 8 && of(Untrusted).count() <= 2);
            prop_assert!(map.bytes() <= 100 && weight(Untrusted) <= 25);
            prop_assert_eq!(map.bytes(), weight(Trusted) + weight(Untrusted));
            prop_assert_eq!(map.len(), of(Trusted).count() + of(Untrusted).count());
            prop_assert_eq!(map.entries.len(), map.trusted.by_age.len() + map.untrusted.by_age.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_has_grown_is_weighed_anew_and_others_make_room() {
    let bounds = Bounds {
        bytes: 100,
        ..Bounds::entries(Duration::from_secs(30), 10)
    };
    let mut map: TtlMap<&str, usize> = TtlMap::weighed(bounds, |_, bytes| *bytes);
    let now = Instant::now();
    map.put("a", 10, Trusted, now);
    map.put("b", 10, Trusted, now);
    *map.get_mut(&"b", now).unwrap() = 95;
    assert_eq!(map.bytes(), 20);
    map.weigh(&"b");
    assert_eq!((map.get(&"a", now), map.get(&"b", now)), (None, Some(&95)));
    assert_eq!(map.bytes(), 95);
    map.weigh(&"a");
    map.remove(&"b");
    assert_eq!(map.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_that_fits_of_one_class_is_evicted() {
    let map = SharedTtlMap::new(Bounds::entries(Duration::from_secs(30), 100));
    let now = Instant::now();
    for (key, trust) in [(1, Trusted), (2, Untrusted), (3, Trusted)] {
        map.put(key, key, trust, now);
    }
    assert!(!map.evict(Untrusted, |value| *value == 1));
    assert!(map.evict(Trusted, |value| *value > 1));
    assert_eq!(map.get(&1, now).zip(map.get(&2, now)), Some((1, 2)));
    assert!(!map.holds(&3, now));
    map.sweep(now + Duration::from_secs(30));
    assert!(map.is_empty());
}
