//! Delays and the budget, by numbers.

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_delay_stays_within_its_limits() {
    let table = [
        (None, 2_000),
        (Some(0), 500),
        (Some(333), 500),
        (Some(400), 600),
        (Some(1_000), 1_500),
        (Some(1_334), 2_000),
        (Some(20_000), 2_000),
    ];
    for (percentile_95, due) in table {
        assert_eq!(
            delay(percentile_95.map(millis)),
            millis(due),
            "{percentile_95:?}"
        );
    }
}

#[test]
fn the_95th_percentile_leaves_the_slowest_twentieth_out() {
    let (now, mut times) = (Instant::now(), FirstBytes::default());
    for index in 0..60 {
        times.add(millis(100 + index), now);
    }
    for _ in 0..3 {
        times.add(millis(9_000), now);
    }
    // 63 samples: the 60th in order.
    assert_eq!(times.percentile_95(now), Some(millis(159)));
    times.add(millis(9_000), now);
    // 64 samples: the 61st.
    assert_eq!(times.percentile_95(now), Some(millis(9_000)));
}

#[test]
fn the_oldest_samples_make_room_and_old_ones_do_not_count() {
    let (now, mut times) = (Instant::now(), FirstBytes::default());
    for _ in 0..SAMPLES {
        times.add(millis(5_000), now);
    }
    for _ in 0..SAMPLES {
        times.add(millis(10), now + millis(1));
    }
    assert_eq!(times.percentile_95(now + millis(2)), Some(millis(10)));
    assert_eq!(times.0.len(), SAMPLES);
    assert_eq!(times.percentile_95(now + millis(1) + RECENT), None);
}

#[test]
fn a_few_samples_say_nothing() {
    let (now, hedging) = (Instant::now(), Hedging::default());
    let source = SourceId::Tier("replica".into());
    for _ in 0..FEWEST - 1 {
        hedging.answered(&source, millis(20), now);
    }
    assert_eq!(hedging.delay(&source, now), LONGEST);
    hedging.answered(&source, millis(20), now);
    assert_eq!(hedging.delay(&source, now), SHORTEST);
    let other = SourceId::Tier("core".into());
    assert_eq!(
        hedging.delay(&other, now),
        LONGEST,
        "each source for itself"
    );
}

/// Sends a hedge, if one may be sent.
fn sends(hedging: &Hedging, trust: Trust) -> bool {
    let may = hedging.may_send(trust);
    if may {
        hedging.sent(trust);
    }
    may
}

#[test]
fn one_request_in_ten_is_hedged_at_most() {
    let hedging = Hedging::default();
    let pay = || sends(&hedging, Trust::Trusted);
    let burst = (0..10).filter(|_| pay()).count();
    assert_eq!(burst, 3);
    let mut hedged = 0;
    for _ in 0..1_000 {
        hedging.requested(Trust::Trusted);
        hedged += u32::from(pay());
    }
    assert_eq!(hedged, 100);
    for _ in 0..1_000 {
        hedging.requested(Trust::Trusted);
    }
    assert_eq!((0..10).filter(|_| pay()).count(), 3, "not saved up");
}

#[test]
fn untrusted_clients_spend_hedges_of_their_own() {
    let hedging = Hedging::default();
    while sends(&hedging, Trust::Untrusted) {}
    assert!(sends(&hedging, Trust::Trusted));
}
