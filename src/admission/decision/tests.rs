//! Tables of who makes way for whom.

use super::Activity::{Answering, Blocked, Head, Idle};
use super::*;
use Standing::{Check, Trusted, Untrusted};

const STALL: Duration = Duration::from_secs(60);
const KIB: u64 = 1024;

fn occupant(
    standing: Standing,
    activity: Activity,
    lasting: u64,
    age: u64,
    moved: u64,
) -> Occupant {
    Occupant {
        standing,
        activity,
        lasting: Duration::from_secs(lasting),
        age: Duration::from_secs(age),
        moved,
    }
}

fn untrusted(activity: Activity, lasting: u64, age: u64, moved: u64) -> Occupant {
    occupant(Untrusted, activity, lasting, age, moved)
}

fn trusted(activity: Activity, lasting: u64, age: u64, moved: u64) -> Occupant {
    occupant(Trusted, activity, lasting, age, moved)
}

/// Who makes way for each kind of newcomer.
#[track_caller]
fn assert_makes_way(all: &[Occupant], for_untrusted: Option<usize>, for_trusted: Option<usize>) {
    let choice = |newcomer| makes_way(newcomer, STALL, all.iter().copied().enumerate());
    assert_eq!(choice(Untrusted), for_untrusted, "untrusted: {all:?}");
    assert_eq!(choice(Trusted), for_trusted, "trusted: {all:?}");
    assert_eq!(choice(Check), for_trusted, "a check: {all:?}");
}

#[test]
fn alone_each_makes_way_or_not() {
    let table = [
        (untrusted(Idle, 0, 0, 0), true, true),
        (untrusted(Idle, 50, 3000, 9 << 30), true, true),
        (untrusted(Head, 0, 0, 0), true, true),
        (untrusted(Blocked, 5, 5, 9 << 20), true, true),
        (untrusted(Blocked, 4, 100, 0), false, true),
        // The source is slow; but for so long nobody waits in good faith when others have no slot.
        (untrusted(Answering, 200, 299, 0), false, true),
        (untrusted(Answering, 200, 300, 300 * KIB - 1), true, true),
        (untrusted(Answering, 200, 300, 300 * KIB), false, true),
        (untrusted(Blocked, 4, 300, 300 * KIB - 1), true, true),
        (trusted(Idle, 3000, 3000, 0), false, true),
        (trusted(Head, 10, 10, 0), false, true),
        (trusted(Answering, 3000, 3000, 0), false, false),
        (trusted(Blocked, 59, 3000, 0), false, false),
        (trusted(Blocked, 60, 60, 9 << 20), true, true),
    ];
    for (it, for_untrusted, for_trusted) in table {
        assert_makes_way(&[it], for_untrusted.then_some(0), for_trusted.then_some(0));
    }
    assert_makes_way(&[], None, None);
    let check = occupant(Check, Idle, 3000, 3000, 0);
    assert_makes_way(&[check], None, None);
}

#[test]
fn who_has_gone_without_progress_for_longest_makes_way_first() {
    let mut all = vec![
        trusted(Idle, 900, 900, 0),
        untrusted(Answering, 1, 1, 0),
        untrusted(Idle, 7, 900, 0),
        untrusted(Blocked, 9, 900, 9 << 30),
        untrusted(Head, 8, 8, 0),
        untrusted(Answering, 9, 300, 17),
        untrusted(Answering, 9, 300, 16),
        trusted(Blocked, 61, 900, 0),
        trusted(Blocked, 62, 900, 0),
        untrusted(Answering, 1, 1, 5),
    ];
    // Each time the first of them is taken out.
    let order = [3, 4, 2, 6, 5, 8, 7];
    let slots: Vec<_> = all.iter().copied().enumerate().collect();
    let mut left = slots.clone();
    for due in order {
        for newcomer in [Untrusted, Trusted, Check] {
            let choice = makes_way(newcomer, STALL, left.iter().copied());
            assert_eq!(choice, Some(due), "{newcomer:?}");
        }
        left.retain(|(at, _)| *at != due);
    }
    assert_eq!(makes_way(Untrusted, STALL, left.iter().copied()), None);
    // For the trusted also those who are busy, the least busy first, and at last a trusted one that asks nothing.
    for due in [1, 9, 0] {
        assert_eq!(makes_way(Trusted, STALL, left.iter().copied()), Some(due));
        left.retain(|(at, _)| *at != due);
    }
    assert!(left.is_empty());
    all.clear();
    all.extend((0..600).map(|_| trusted(Answering, 1, 1, 0)));
    assert_makes_way(&all, None, None);
}

#[test]
fn what_a_client_moves_counts_for_five_minutes() {
    let at = Duration::from_secs;
    let mut moved = Moved::default();
    assert_eq!(moved.within(at(7000)), 0);
    moved.add(1000, at(10));
    moved.add(500, at(299));
    assert_eq!(moved.within(at(299)), 1500);
    // It fades with the span after it.
    assert_eq!(moved.within(at(300)), 1500);
    assert_eq!(moved.within(at(450)), 750);
    moved.add(100, at(450));
    assert_eq!(moved.within(at(450)), 850);
    assert_eq!(moved.within(at(599)), 100 + 5);
    assert_eq!(moved.within(at(600)), 100);
    assert_eq!(moved.within(at(900)), 0);
    moved.add(u64::MAX, at(5000));
    moved.add(u64::MAX, at(5000));
    assert_eq!(moved.within(at(5000)), u64::MAX);
    assert_eq!(moved.within(at(5100)), u64::MAX);
    // A clock that goes back changes nothing.
    assert_eq!(moved.within(at(0)), u64::MAX);
}
