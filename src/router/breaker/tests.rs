//! When a project is left out, and when it is tried again.

use super::*;

fn project() -> (Arc<str>, RegistryName) {
    ("core".into(), "docker.io".parse().unwrap())
}

#[test]
fn five_failures_in_a_row_leave_a_project_out_and_one_trial_brings_it_back() {
    let (breakers, (tier, registry), start) = (Breakers::default(), project(), Instant::now());
    let fail = |now| breakers.told(&tier, &registry, true, now);
    for _ in 0..4 {
        fail(start);
        assert!(breakers.may_ask(&tier, &registry, start));
    }
    fail(start);
    assert!(!breakers.may_ask(&tier, &registry, start));
    assert_eq!(breakers.open(start), ["core/docker.io"]);
    let other = "ghcr.io".parse().unwrap();
    assert!(breakers.may_ask(&tier, &other, start));

    let later = start + OPEN;
    assert!(breakers.may_ask(&tier, &registry, later), "the trial");
    assert!(!breakers.may_ask(&tier, &registry, later), "and no other");
    fail(later);
    assert!(!breakers.may_ask(&tier, &registry, later + OPEN / 2));

    let again = later + OPEN;
    assert!(breakers.may_ask(&tier, &registry, again));
    breakers.told(&tier, &registry, false, again);
    assert!(breakers.may_ask(&tier, &registry, again));
    assert!(breakers.open(again).is_empty());
}

#[test]
fn a_good_answer_begins_the_count_anew_and_a_lost_trial_blocks_nobody() {
    let (breakers, (tier, registry), start) = (Breakers::default(), project(), Instant::now());
    for round in 0..8 {
        breakers.told(&tier, &registry, round % 4 != 3, start);
    }
    assert!(breakers.may_ask(&tier, &registry, start));
    for _ in 0..5 {
        breakers.told(&tier, &registry, true, start);
    }
    assert!(breakers.may_ask(&tier, &registry, start + OPEN));
    // That one was cancelled: nobody told how it went.
    assert!(breakers.may_ask(&tier, &registry, start + OPEN * 2));
}
