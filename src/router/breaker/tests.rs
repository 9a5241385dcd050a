//! When a project is left out, and when it is tried again.

use super::*;

fn project() -> Project {
    ("core".into(), "docker.io".parse().unwrap(), Trust::Trusted)
}

#[test]
fn five_failures_in_a_row_leave_a_project_out_and_one_trial_brings_it_back() {
    let (breakers, project, start) = (Breakers::default(), project(), Instant::now());
    let fail = |now| breakers.told(project.clone(), true, now);
    for _ in 0..4 {
        fail(start);
        assert!(breakers.may_ask(&project, start));
    }
    fail(start);
    assert!(!breakers.may_ask(&project, start));
    assert_eq!(breakers.open(start), ["core/docker.io"]);
    let (tier, registry, _) = project.clone();
    let other = (tier.clone(), "ghcr.io".parse().unwrap(), Trust::Trusted);
    assert!(breakers.may_ask(&other, start));
    let of_strangers = (tier, registry, Trust::Untrusted);
    assert!(breakers.may_ask(&of_strangers, start));

    let later = start + OPEN;
    assert!(breakers.may_ask(&project, later), "the trial");
    assert!(!breakers.may_ask(&project, later), "and no other");
    fail(later);
    assert!(!breakers.may_ask(&project, later + OPEN / 2));

    let again = later + OPEN;
    assert!(breakers.may_ask(&project, again));
    breakers.told(project.clone(), false, again);
    assert!(breakers.may_ask(&project, again));
    assert!(breakers.open(again).is_empty());
}

#[test]
fn a_good_answer_begins_the_count_anew_and_a_lost_trial_blocks_nobody() {
    let (breakers, project, start) = (Breakers::default(), project(), Instant::now());
    for round in 0..8 {
        breakers.told(project.clone(), round % 4 != 3, start);
    }
    assert!(breakers.may_ask(&project, start));
    for _ in 0..5 {
        breakers.told(project.clone(), true, start);
    }
    assert!(breakers.may_ask(&project, start + OPEN));
    // That one was cancelled: nobody told how it went.
    assert!(breakers.may_ask(&project, start + OPEN * 2));
}

#[test]
fn what_untrusted_clients_ask_for_leaves_nothing_out_for_trusted_ones() {
    let (breakers, of_trusted, start) = (Breakers::default(), project(), Instant::now());
    let (tier, registry, _) = of_trusted.clone();
    let of_strangers = (tier, registry, Trust::Untrusted);
    for _ in 0..50 {
        breakers.told(of_strangers.clone(), true, start);
    }
    assert!(!breakers.may_ask(&of_strangers, start));
    assert!(breakers.may_ask(&of_trusted, start));
    assert_eq!(breakers.open(start), ["core/docker.io"]);
}
