//! The machine's table: what happened, at which millisecond, and the one right order.

mod refusal;
mod silence;

use super::*;
use std::time::Duration;

const BLOB: Timing = Timing {
    connect_race: Duration::from_millis(250),
    first_byte: Duration::from_secs(4),
    total: Duration::from_secs(20),
    escalation: [
        Some(Step {
            after: Duration::from_secs(2),
            whom: Want::Next,
            again: Some(Duration::from_secs(1)),
        }),
        None,
    ],
};

const MANIFEST: Timing = hedged_after(Duration::MAX);

const fn hedged_after(delay: Duration) -> Timing {
    let upstream = Step {
        after: Duration::from_secs(3),
        whom: Want::Upstream,
        again: None,
    };
    let tier = Step {
        after: delay,
        whom: Want::Tier,
        again: None,
    };
    Timing {
        escalation: [Some(upstream), Some(tier)],
        ..BLOB
    }
}

struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }
    fn at(&self, millis: u64) -> Instant {
        self.0 + Duration::from_millis(millis)
    }
}

/// An attempt whose connect took no time: there is nothing to doubt about its connection.
fn fresh(machine: &mut Machine, more: bool, now: Instant) -> AttemptId {
    machine.set_more(more);
    let attempt = machine.started(false, now);
    machine.connected(attempt);
    attempt
}

#[test]
fn an_idle_connection_is_asked_at_once_and_nobody_else() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Start(Want::Next));
    let first = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(first));
    assert_eq!(machine.poll(clock.at(0)), Order::WaitUntil(clock.at(2_000)));
    assert_eq!(
        machine.poll(clock.at(1_999)),
        Order::WaitUntil(clock.at(2_000))
    );
}

#[test]
fn the_next_connect_joins_after_the_race_delay_and_the_first_to_finish_is_asked() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Start(Want::Next));
    let dead = machine.started(false, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::WaitUntil(clock.at(250)));
    assert_eq!(machine.poll(clock.at(249)), Order::WaitUntil(clock.at(250)));
    assert_eq!(machine.poll(clock.at(250)), Order::Start(Want::Next));
    let good = machine.started(false, clock.at(250));
    assert_eq!(machine.poll(clock.at(250)), Order::WaitUntil(clock.at(500)));
    machine.connected(good);
    assert_eq!(machine.poll(clock.at(253)), Order::Send(good));
    // The dead one's end changes nothing while the good one is being asked.
    machine.ended(dead);
    assert_eq!(
        machine.poll(clock.at(2_000)),
        Order::WaitUntil(clock.at(2_253))
    );
}

#[test]
fn a_loser_that_connects_later_waits_for_its_turn() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let slow = machine.started(false, clock.at(0));
    machine.poll(clock.at(250));
    let fast = fresh(&mut machine, true, clock.at(250));
    assert_eq!(machine.poll(clock.at(250)), Order::Send(fast));
    machine.connected(slow);
    assert_eq!(
        machine.poll(clock.at(300)),
        Order::WaitUntil(clock.at(2_250))
    );
    machine.ended(fast);
    assert_eq!(machine.poll(clock.at(310)), Order::Send(slow));
}

#[test]
fn a_refused_connect_brings_the_next_at_once() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let refused = machine.started(false, clock.at(0));
    machine.ended(refused);
    assert_eq!(machine.poll(clock.at(1)), Order::Start(Want::Next));
}

#[test]
fn no_candidate_at_all_is_the_end() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Start(Want::Next));
    machine.none_left(Want::Next);
    assert_eq!(machine.poll(clock.at(0)), Order::End(End::Exhausted));
}

#[test]
fn the_last_candidate_is_waited_for_to_the_end_of_time() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let only = fresh(&mut machine, false, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(only));
    assert_eq!(
        machine.poll(clock.at(4_000)),
        Order::WaitUntil(clock.at(20_000))
    );
    assert_eq!(machine.poll(clock.at(20_000)), Order::End(End::OutOfTime));
}

#[test]
fn upstream_joins_a_slow_manifest_and_the_tier_runs_on() {
    let clock = Clock::start();
    let mut machine = Machine::new(MANIFEST, clock.at(0));
    machine.poll(clock.at(0));
    let tier = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(tier));
    assert_eq!(machine.poll(clock.at(0)), Order::WaitUntil(clock.at(3_000)));
    assert_eq!(machine.poll(clock.at(3_000)), Order::Start(Want::Upstream));
    machine.forget_upstream();
    let upstream = fresh(&mut machine, true, clock.at(3_000));
    assert_eq!(machine.poll(clock.at(3_000)), Order::Send(upstream));
    // Upstream says no: the tier, still being asked, may yet answer.
    machine.ended(upstream);
    machine.refused(None);
    assert_eq!(
        machine.poll(clock.at(3_100)),
        Order::WaitUntil(clock.at(20_000))
    );
    machine.ended(tier);
    assert_eq!(machine.poll(clock.at(5_000)), Order::End(End::Final));
}

#[test]
fn upstream_that_was_asked_in_its_turn_does_not_join_again() {
    let clock = Clock::start();
    let mut machine = Machine::new(MANIFEST, clock.at(0));
    machine.poll(clock.at(0));
    machine.forget_upstream();
    let upstream = fresh(&mut machine, false, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(upstream));
    assert_eq!(
        machine.poll(clock.at(3_000)),
        Order::WaitUntil(clock.at(20_000))
    );
}

#[test]
fn a_hedge_goes_to_a_tier_once() {
    let clock = Clock::start();
    let timing = hedged_after(Duration::from_millis(500));
    let mut machine = Machine::new(timing, clock.at(0));
    machine.poll(clock.at(0));
    let first = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(first));
    assert_eq!(machine.poll(clock.at(500)), Order::Start(Want::Tier));
    let second = fresh(&mut machine, true, clock.at(500));
    assert_eq!(machine.poll(clock.at(500)), Order::Send(second));
    assert_eq!(
        machine.poll(clock.at(1_500)),
        Order::WaitUntil(clock.at(3_000))
    );
}

/// Upstream is there, and none of its addresses may be asked.
#[test]
fn upstream_that_has_nobody_to_ask_gives_a_superseded_tier_no_turn() {
    let clock = Clock::start();
    let mut machine = Machine::new(hedged_after(Duration::from_secs(2)), clock.at(0));
    machine.poll(clock.at(0));
    let first = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(first));
    assert_eq!(machine.poll(clock.at(2_000)), Order::Start(Want::Tier));
    let hedge = machine.started(false, clock.at(2_000));
    assert_eq!(machine.poll(clock.at(3_000)), Order::Start(Want::Upstream));
    machine.none_left(Want::Upstream);
    machine.connected(hedge);
    assert_eq!(machine.poll(clock.at(3_200)), Order::Send(hedge));
}

#[test]
fn a_manifest_that_timed_out_is_said_once_and_runs_on() {
    let clock = Clock::start();
    let mut machine = Machine::new(MANIFEST, clock.at(0));
    machine.forget_upstream();
    machine.poll(clock.at(0));
    let silent = fresh(&mut machine, true, clock.at(0));
    machine.poll(clock.at(0));
    let timed_out = Order::TimedOut {
        attempt: silent,
        late: Late::FirstByte,
    };
    assert_eq!(machine.poll(clock.at(4_000)), timed_out);
    assert_eq!(machine.poll(clock.at(4_000)), Order::Start(Want::Next));
    let next = fresh(&mut machine, false, clock.at(4_000));
    assert_eq!(machine.poll(clock.at(4_000)), Order::Send(next));
    machine.ended(next);
    // The silent one is all that is left.
    assert_eq!(
        machine.poll(clock.at(4_100)),
        Order::WaitUntil(clock.at(20_000))
    );
    machine.ended(silent);
    assert_eq!(machine.poll(clock.at(4_200)), Order::End(End::Exhausted));
}

/// Whatever happens in whatever order, a search ends within its time and never waits for the past.
#[test]
fn every_course_ends() {
    for seed in 0..2_000_u64 {
        let clock = Clock::start();
        let timing = match seed % 3 {
            0 => BLOB,
            1 => MANIFEST,
            _ => hedged_after(Duration::from_millis(500)),
        };
        let mut machine = Machine::new(timing, clock.at(0));
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let (mut now, mut started, mut left) = (0, 0_usize, next(6));
        let mut ended = false;
        for _ in 0..500 {
            match machine.poll(clock.at(now)) {
                Order::Start(want) => {
                    if left == 0 {
                        machine.none_left(want);
                    } else {
                        left -= 1;
                        if left == 0 {
                            machine.forget_upstream();
                        }
                        machine.set_more(left > 0);
                        machine.started(next(2) == 0, clock.at(now));
                        started += 1;
                    }
                }
                Order::WaitUntil(until) => {
                    assert!(until > clock.at(now), "seed {seed}: waits for the past");
                    if started > 0 && next(2) == 0 {
                        let attempt = usize::try_from(next(started as u64)).unwrap();
                        match next(3) {
                            0 => machine.connected(attempt),
                            1 => machine.ended(attempt),
                            _ => {}
                        }
                        now += 1;
                    } else {
                        now = u64::try_from((until - clock.at(0)).as_millis()).unwrap();
                    }
                }
                Order::End(_) => {
                    ended = true;
                    break;
                }
                Order::CheckLiveness(attempt) => {
                    if next(2) == 0 {
                        machine.alive(attempt);
                    }
                }
                Order::Send(_) | Order::TimedOut { .. } => {}
            }
        }
        assert!(ended, "seed {seed} did not end");
    }
}

fn hedged(clock: &Clock) -> (Machine, AttemptId) {
    let mut machine = Machine::new(MANIFEST, clock.at(0));
    machine.hedge_after(Some(Duration::from_millis(500)));
    machine.poll(clock.at(0));
    let slow = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(slow));
    assert_eq!(machine.poll(clock.at(500)), Order::Start(Want::Tier));
    (machine, slow)
}

#[test]
fn a_hedge_that_fails_brings_upstream_no_earlier() {
    let clock = Clock::start();
    let (mut machine, slow) = hedged(&clock);
    let hedge = machine.started(false, clock.at(500));
    // Its connect is pending: nobody races it, and upstream least of all.
    assert_eq!(
        machine.poll(clock.at(500)),
        Order::WaitUntil(clock.at(3_000))
    );
    machine.ended(hedge);
    assert_eq!(
        machine.poll(clock.at(1_000)),
        Order::WaitUntil(clock.at(3_000))
    );
    assert_eq!(machine.poll(clock.at(3_000)), Order::Start(Want::Upstream));
    let unanswered: Vec<AttemptId> = machine.unanswered().map(|(attempt, _)| attempt).collect();
    assert_eq!(unanswered, [slow]);
}

#[test]
fn without_a_hedge_the_slow_one_keeps_its_turn() {
    let clock = Clock::start();
    let (mut machine, slow) = hedged(&clock);
    machine.none_left(Want::Tier);
    assert_eq!(
        machine.poll(clock.at(500)),
        Order::WaitUntil(clock.at(3_000))
    );
    // When it fails, the next in order is asked at once, and nobody hedges again.
    machine.ended(slow);
    assert_eq!(machine.poll(clock.at(600)), Order::Start(Want::Next));
    let next = fresh(&mut machine, true, clock.at(600));
    assert_eq!(machine.poll(clock.at(600)), Order::Send(next));
    assert_eq!(
        machine.poll(clock.at(1_200)),
        Order::WaitUntil(clock.at(3_000))
    );
}

#[test]
fn a_slow_one_that_fails_while_its_hedge_connects_leaves_the_race_open() {
    let clock = Clock::start();
    let (mut machine, slow) = hedged(&clock);
    machine.started(false, clock.at(500));
    machine.ended(slow);
    assert_eq!(machine.poll(clock.at(600)), Order::WaitUntil(clock.at(750)));
    assert_eq!(machine.poll(clock.at(750)), Order::Start(Want::Next));
}
