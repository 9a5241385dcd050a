//! The budget: what is counted, what waits, what gives way.

#![allow(
    clippy::disallowed_methods,
    reason = "the test waits for what it spawns"
)]

use super::*;
use std::collections::BTreeMap;
use std::sync::Mutex;

const KIB: usize = 1024;

/// Of manifests, lists and tokens; nothing else is held here.
fn held(budget: &Budget) -> Vec<u64> {
    let mut of = BTreeMap::from_iter(budget.usage().bytes);
    let known = ["manifests", "lists", "tokens"].map(|kind| of.remove(kind).unwrap());
    assert!(of.into_values().all(|bytes| bytes == 0), "{budget:?}");
    known.into()
}

/// Keeps some leases, the oldest first.
#[derive(Default)]
struct Kept(Mutex<Vec<Lease>>);

impl Keeper for Kept {
    fn give_up(&self, is_enough: &dyn Fn() -> bool) {
        while !is_enough() {
            let mut kept = self.0.lock().unwrap();
            if kept.is_empty() {
                return;
            }
            kept.remove(0);
        }
    }
}

#[test]
fn what_is_held_is_counted_by_kind_until_it_is_dropped() {
    let budget = Budget::new(1000);
    let mut manifest = budget.lease(Kind::Manifests);
    let token = budget.lease(Kind::Tokens);
    assert!(manifest.try_grow(600));
    token.set(300);
    assert_eq!((held(&budget), budget.held()), (vec![600, 0, 300], 900));
    assert!(!manifest.try_grow(701), "only 100 are left");
    assert_eq!(held(&budget), [600, 0, 300]);
    assert!(manifest.try_grow(700));
    manifest.set(10);
    assert_eq!(held(&budget), [10, 0, 300]);
    token.set(5000);
    assert_eq!(
        budget.held(),
        5010,
        "what is bounded by itself is only counted"
    );
    drop(manifest);
    drop(token);
    assert_eq!((held(&budget), budget.held()), (vec![0, 0, 0], 0));
    assert_eq!(budget.usage().refused, 0, "nobody has waited for nothing");
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_waits_two_seconds_and_is_refused() {
    let budget = Budget::new(1000);
    let first = budget.lease(Kind::Manifests);
    first.set(900);
    let began = Instant::now();
    let mut second = budget.lease(Kind::Lists);
    let mut patience = PATIENCE;
    let refused = second.grow(200, &mut patience).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(
        (refused.wanted, refused.held, refused.limit),
        (200, 900, 1000)
    );
    assert_eq!(budget.usage().refused, 1);
    assert_eq!(second.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_when_bytes_come_back_and_waits_less_the_next_time() {
    let budget = Budget::new(1000);
    let first = budget.lease(Kind::Manifests);
    first.set(900);
    let waiting = budget.clone();
    let waiting = tokio::spawn(async move {
        let mut lease = waiting.lease(Kind::Lists);
        let mut patience = PATIENCE;
        lease.grow(200, &mut patience).await.unwrap();
        (lease, patience)
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    first.set(800);
    let (mut lease, mut patience) = waiting.await.unwrap();
    assert_eq!(patience, Duration::from_millis(500));
    let began = Instant::now();
    lease.grow(300, &mut patience).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    assert_eq!(lease.bytes(), 200, "what was held still is");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_refuses_at_once() {
    let budget = Budget::new(1000);
    let all = budget.lease(Kind::Manifests);
    all.set(1000);
    let wait = |bytes| {
        let budget = budget.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let mut lease = budget.lease(Kind::Lists);
            let grown = lease.grow(bytes, &mut PATIENCE.clone()).await;
            (grown.is_ok(), began.elapsed())
        })
    };
    let first = wait(400);
    tokio::task::yield_now().await;
    assert_eq!(wait(200).await.unwrap(), (false, Duration::ZERO));
    let gone = wait(100);
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.is_err());
    let second = wait(100);
    assert_eq!(first.await.unwrap(), (false, PATIENCE));
    assert_eq!(second.await.unwrap(), (false, PATIENCE));
    assert_eq!(budget.usage().refused, 3);
}

#[test]
fn what_is_kept_gives_way_the_oldest_first_and_no_more_than_is_needed() {
    let budget = Budget::new(1000);
    let kept = Arc::new(Kept::default());
    for bytes in [100, 200, 300] {
        let lease = budget.lease(Kind::Manifests);
        lease.set(bytes);
        kept.0.lock().unwrap().push(lease);
    }
    let keeper: Arc<dyn Keeper> = kept.clone();
    budget.register(Arc::downgrade(&keeper));
    let mut lease = budget.lease(Kind::Lists);
    assert!(lease.try_grow(650));
    let left: Vec<_> = kept.0.lock().unwrap().iter().map(Lease::bytes).collect();
    assert_eq!(left, [300]);
    assert!(!lease.try_grow(1001), "more than there is");
}

#[tokio::test(start_paused = true)]
async fn a_buffer_is_counted_until_the_last_reference_is_gone() {
    let budget = Budget::new(1024 * KIB as u64);
    for (length, known, counted) in [
        (0, true, 0),
        (10, true, 10),
        (SMALL, true, SMALL),
        (SMALL, false, SMALL),
        (SMALL + 1, true, 128 * KIB),
        (SMALL + 1, false, 128 * KIB),
        (300 * KIB, true, 320 * KIB),
        (300 * KIB, false, 320 * KIB),
    ] {
        let text: Vec<u8> = (0..=250).cycle().take(length).collect();
        let expected = if known { length } else { 0 };
        let mut buffer = Buffer::new(&budget, Kind::Manifests, expected)
            .await
            .unwrap();
        for piece in text.chunks(7000) {
            buffer.push(piece).await.unwrap();
        }
        assert_eq!(buffer.length(), length);
        let bytes = buffer.finish();
        assert!(bytes == text, "{length}");
        assert_eq!(budget.held(), counted, "{length}");
        let part = bytes.slice(..length.min(3));
        drop(bytes);
        assert_eq!(part.len(), length.min(3));
        if length > 0 {
            assert_eq!(
                budget.held(),
                counted,
                "{length}: a part of it is all of it"
            );
        }
        drop(part);
        assert_eq!(budget.held(), 0, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn small_buffers_never_wait_and_large_ones_are_refused() {
    let budget = Budget::new(256 * KIB as u64);
    let all = budget.lease(Kind::Manifests);
    all.set(256 * KIB);
    let began = Instant::now();
    let mut small = Buffer::new(&budget, Kind::Lists, SMALL).await.unwrap();
    small.push(&[1; SMALL]).await.unwrap();
    assert!(began.elapsed().is_zero());
    small.push(b"x").await.unwrap_err();
    assert_eq!(began.elapsed(), PATIENCE, "it has become large");
    assert!(Buffer::try_new(&budget, Kind::Lists, SMALL + 1).is_none());
    assert!(Buffer::try_new(&budget, Kind::Lists, SMALL).is_some());
    drop(all);
    assert!(Buffer::try_new(&budget, Kind::Lists, SMALL + 1).is_some());
}

#[test]
fn spare_memory_is_at_most_an_eighth_and_nothing_gives_way_to_it() {
    let budget = Budget::new(4000);
    let kept = Arc::new(Kept::default());
    let keeper: Arc<dyn Keeper> = kept.clone();
    budget.register(Arc::downgrade(&keeper));
    let mut manifest = budget.lease(Kind::Manifests);
    assert!(manifest.try_grow(3700));
    kept.0.lock().unwrap().push(manifest);
    let mut layers: Vec<Lease> = (0..3).map(|_| budget.lease(Kind::Layers)).collect();
    layers[0].set(100);
    assert!(layers[0].try_spare(200) && layers[0].try_spare(200));
    assert!(!layers[1].try_spare(101), "there is no room");
    assert_eq!(budget.held_for(Kind::Manifests), 3700);
    kept.0.lock().unwrap().clear();
    assert!(layers[1].try_spare(300));
    assert!(!layers[2].try_spare(1), "an eighth of all is the most");
    assert_eq!(budget.held_for(Kind::Layers), 500);
}

#[test]
fn many_threads_hold_bytes_together() {
    let budget = Budget::new(1000);
    let lease = budget.lease(Kind::LogRecords);
    lease.add(700);
    lease.add(700);
    assert_eq!(
        (lease.bytes(), budget.held()),
        (1400, 1400),
        "never refused"
    );
    assert!(!budget.lease(Kind::Manifests).try_grow(1), "but counted");
    lease.sub(1300);
    lease.set(50);
    assert_eq!((lease.bytes(), budget.held()), (50, 50));
    drop(lease);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_fall_is_told_once() {
    let budget = Budget::new(1000);
    let lease = budget.lease(Kind::Tokens);
    lease.set(500);
    assert!(!budget.has_fallen(100));
    lease.set(401);
    assert!(!budget.has_fallen(100));
    lease.set(450);
    lease.set(400);
    assert!(budget.has_fallen(100), "since it was the most");
    assert!(!budget.has_fallen(100));
    lease.set(0);
    assert!(budget.has_fallen(100));
    assert!(!budget.has_fallen(1), "nothing has been held since");
}
