//! Tests of health/schedule.

use super::*;
use crate::topology::Failure;

const MINUTE: Duration = Duration::from_secs(60);

fn ejected(now: Instant) -> EndpointStatus {
    EndpointStatus::Ejected {
        until: now,
        cause: Failure::Refused,
        strikes: 1,
    }
}

fn circumstances(status: EndpointStatus) -> Circumstances {
    Circumstances {
        status,
        failed_probes: 0,
        interval: MINUTE,
        idle: false,
    }
}

/// The seconds of the probes until `end`, with the circumstances that stay.
fn probes(clock: &mut ProbeClock, then: Circumstances, start: Instant, end: u64) -> Vec<u64> {
    let mut at = Vec::new();
    while clock.next() <= start + Duration::from_secs(end) {
        let now = clock.next();
        at.push((now - start).as_secs());
        clock.started(then.status, now);
        clock.finished(then, now, 0.5);
    }
    at
}

#[test]
fn healthy_every_minute_give_or_take_half() {
    for (jitter, waits) in [(0.0, 30), (0.5, 60), (0.999_999, 89)] {
        let now = Instant::now();
        let mut clock = ProbeClock::new(now, 0.0);
        clock.finished(circumstances(EndpointStatus::Healthy), now, jitter);
        assert_eq!((clock.next() - now).as_secs(), waits);
    }
    let now = Instant::now();
    let mut clock = ProbeClock::new(now, 0.7);
    assert_eq!((clock.next() - now).as_secs(), 7);
    let mut idle = circumstances(EndpointStatus::Healthy);
    idle.idle = true;
    clock.finished(idle, now, 0.5);
    assert_eq!((clock.next() - now).as_secs(), 300);
}

#[test]
fn a_first_failure_is_looked_at_again_soon_and_once() {
    let now = Instant::now();
    let mut clock = ProbeClock::new(now, 0.0);
    let mut failed = circumstances(EndpointStatus::Healthy);
    failed.failed_probes = 1;
    clock.finished(failed, now, 0.5);
    assert_eq!(clock.next() - now, SOON);
    // Overruled by pulls that go well: no reason to ask more often.
    failed.failed_probes = 2;
    clock.finished(failed, now, 0.5);
    assert_eq!(clock.next() - now, MINUTE);
}

#[test]
fn ejected_doubles_up_to_a_minute_within_the_budget() {
    let start = Instant::now();
    let mut clock = ProbeClock::new(start, 0.0);
    clock.turned(ejected(start), start, 0.0);
    let at = probes(&mut clock, circumstances(ejected(start)), start, 600);
    assert_eq!(at[..6], [5, 15, 35, 75, 135, 195]);
    assert!(at.len() <= 15, "{at:?}");
}

#[test]
fn flapping_keeps_to_the_budget() {
    let start = Instant::now();
    let mut clock = ProbeClock::new(start, 0.0);
    let probation = EndpointStatus::Probation { successes: 0 };
    let mut count = 0;
    clock.turned(ejected(start), start, 0.0);
    while clock.next() < start + BUDGET_SPAN {
        let now = clock.next();
        clock.started(ejected(start), now);
        count += 1;
        // Every probe passes, and the next request ejects it again.
        clock.finished(circumstances(probation), now, 0.0);
        clock.turned(probation, now, 0.0);
        clock.turned(ejected(start), now, 0.0);
    }
    assert_eq!(count, 15, "the rest of the ten minutes is quiet");
}

/// Splits 0 up to 1 into fractions that look random and are the same every time.
fn jitters(seed: u32) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |turn| {
        let mixed = (seed * 64 + turn).wrapping_mul(0x9e37_79b9);
        f64::from(mixed ^ (mixed >> 15)) / 4_294_967_296.0
    })
}

/// A rollout meets a dead address: a thousand nodes eject it in the same moment.
#[test]
fn a_fleet_that_ejects_together_does_not_probe_together() {
    let start = Instant::now();
    let mut seconds = vec![0_u32; 600];
    for node in 0..1000 {
        let mut jitters = jitters(node);
        let mut jitter = || jitters.next().unwrap();
        let mut clock = ProbeClock::new(start, jitter());
        clock.turned(ejected(start), start, jitter());
        let mut count = 0;
        while clock.next() < start + BUDGET_SPAN {
            let now = clock.next();
            seconds[usize::try_from((now - start).as_secs()).unwrap()] += 1;
            count += 1;
            clock.started(ejected(start), now);
            clock.finished(circumstances(ejected(start)), now, jitter());
        }
        assert!((5..=BUDGET).contains(&count), "{count}");
    }
    // The first comes after 5 to 7.5 s, the others mingle.
    let most = |from: usize, to: usize| seconds[from..to].iter().max().copied().unwrap();
    assert!(most(0, 10) <= 450, "{:?}", &seconds[..10]);
    assert!(most(60, 600) <= 50, "{:?}", &seconds[60..]);
}
