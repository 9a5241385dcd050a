//! Slots that are taken, given back and given up.

use super::*;
use crate::admission::Lookup;
use Standing::{Check, Trusted, Untrusted};
use futures_util::FutureExt as _;

fn admission(slots: usize) -> Admission {
    let peers = Peers::new(Lookup::Address(|_| false));
    Admission::new(slots, Duration::from_secs(60), peers)
}

fn is_evicted(slot: &Slot) -> bool {
    slot.evicted().now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_somebody_makes_way_and_nobody_before() {
    let admission = admission(2);
    let now = Instant::now;
    let [first, second] = [(); 2].map(|()| admission.enter(Untrusted, now()).unwrap());
    assert!(!is_evicted(&first) && !is_evicted(&second));
    tokio::time::advance(Duration::from_secs(1)).await;
    first.rests(now());
    let third = admission.enter(Untrusted, now()).unwrap();
    assert!(is_evicted(&second) && !is_evicted(&first));
    assert_eq!(admission.taken().by.len(), 2);
    // Who has made way gives no slot back a second time.
    drop(second);
    assert_eq!(admission.taken().by.len(), 2);
    first.answers(now());
    third.answers(now());
    assert!(admission.enter(Untrusted, now()).is_none(), "all are busy");
    drop(third);
    let fourth = admission.enter(Untrusted, now()).unwrap();
    fourth.answers(now());
    assert!(!is_evicted(&first));
    let trusted = [(); 2].map(|()| admission.enter(Trusted, now()).unwrap());
    assert!(is_evicted(&first) && is_evicted(&fourth));
    trusted.iter().for_each(|slot| slot.answers(now()));
    assert!(admission.enter(Trusted, now()).is_none());
    // The agent's own checks find a slot in any case.
    let checks = [(); 3].map(|()| admission.enter(Check, now()).unwrap());
    assert!(checks.iter().all(|slot| slot.trust() == Trust::Trusted));
    assert_eq!(admission.taken().by.len(), 5);
    drop(checks);
    assert!(trusted.iter().all(|slot| !is_evicted(slot)));
}

#[tokio::test(start_paused = true)]
async fn six_hundred_busy_ones_keep_no_trusted_client_out() {
    let admission = admission(512);
    let now = Instant::now;
    let mut busy = Vec::new();
    for _ in 0..600 {
        busy.extend(admission.enter(Untrusted, now()));
        let slot = busy.last().unwrap();
        slot.answers(now());
        slot.moved(1 << 20, now());
    }
    assert_eq!(busy.len(), 512);
    let trusted: Vec<_> = (0..512)
        .map(|_| admission.enter(Trusted, now()).unwrap())
        .collect();
    assert!(busy.iter().all(is_evicted));
    assert_eq!(admission.taken().by.len(), 512);
    drop(trusted);
    assert_eq!(admission.taken().by.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_makes_way_and_who_reads_on_does_not() {
    let admission = admission(2);
    let now = Instant::now;
    let [reads, stalls] = [(); 2].map(|()| admission.enter(Untrusted, now()).unwrap());
    for slot in [&reads, &stalls] {
        slot.answers(now());
        slot.is_blocked(now());
    }
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(admission.enter(Untrusted, now()).is_none());
    reads.moved(1, now());
    reads.answers(now());
    reads.is_blocked(now());
    tokio::time::advance(Duration::from_secs(1)).await;
    let _third = admission.enter(Untrusted, now()).unwrap();
    assert!(is_evicted(&stalls) && !is_evicted(&reads));
    assert_eq!(reads.stall_limit(), Duration::from_secs(60));
    let trusted = admission.enter(Trusted, now()).unwrap();
    assert_eq!(trusted.stall_limit(), Duration::from_secs(300));
}

#[tokio::test]
async fn who_waits_for_the_end_is_woken() {
    let admission = admission(1);
    let slot = admission.enter(Untrusted, Instant::now()).unwrap();
    let newcomer = async {
        tokio::task::yield_now().await;
        admission.enter(Untrusted, Instant::now()).unwrap()
    };
    let (_newcomer, ()) = tokio::join!(newcomer, slot.evicted());
}
