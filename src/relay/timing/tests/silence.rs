//! Sources that are asked and say nothing.

use super::*;

/// Two silent addresses and a silent tier behind them cost four seconds, not twelve.
#[test]
fn who_is_silent_for_a_blob_is_superseded_and_the_next_sooner() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let first = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(first));
    assert_eq!(machine.poll(clock.at(0)), Order::WaitUntil(clock.at(2_000)));
    let mut others = Vec::new();
    for at in [2_000, 3_000, 4_000] {
        let asked = clock.at(at);
        if at == 4_000 {
            let timed_out = Order::TimedOut {
                attempt: first,
                late: Late::FirstByte,
            };
            assert_eq!(machine.poll(asked), timed_out, "health is told");
        }
        assert_eq!(machine.poll(asked), Order::Start(Want::Next), "at {at}");
        let last = at == 4_000;
        let next = fresh(&mut machine, !last, asked);
        assert_eq!(machine.poll(asked), Order::Send(next));
        others.push(next);
        let wait = if last { 20_000 } else { at + 1_000 };
        assert_eq!(machine.poll(asked), Order::WaitUntil(clock.at(wait)));
    }
    // They run on: whoever answers first serves, and the search waits for all of them.
    for attempt in others {
        machine.ended(attempt);
        let order = machine.poll(clock.at(4_500));
        assert_eq!(order, Order::WaitUntil(clock.at(20_000)));
    }
    machine.ended(first);
    assert_eq!(machine.poll(clock.at(4_600)), Order::End(End::Exhausted));
}

#[test]
fn the_silent_one_keeps_its_turn_until_there_is_another() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let slow = fresh(&mut machine, false, clock.at(0));
    machine.poll(clock.at(0));
    let order = machine.poll(clock.at(3_000));
    assert_eq!(order, Order::WaitUntil(clock.at(20_000)));
    // DNS names another.
    machine.set_more(true);
    assert_eq!(machine.poll(clock.at(3_100)), Order::Start(Want::Next));
    machine.set_more(false);
    let next = machine.started(false, clock.at(3_100));
    machine.ended(next);
    let order = machine.poll(clock.at(3_200));
    assert_eq!(order, Order::WaitUntil(clock.at(20_000)));
    assert_eq!(machine.unanswered().next().map(|(id, _)| id), Some(slow));
}

#[test]
fn a_connection_with_nobody_behind_it_ends_with_its_liveness_connect() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let kept = machine.started(true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(kept));
    assert_eq!(machine.poll(clock.at(250)), Order::CheckLiveness(kept));
    let gone = Order::TimedOut {
        attempt: kept,
        late: Late::Liveness,
    };
    assert_eq!(machine.poll(clock.at(500)), gone);
    assert_eq!(machine.poll(clock.at(500)), Order::Start(Want::Next));
    machine.none_left(Want::Next);
    let order = machine.poll(clock.at(500));
    assert_eq!(order, Order::WaitUntil(clock.at(20_000)));
    // No answer to the liveness connect within its own limit.
    machine.ended(kept);
    assert_eq!(machine.poll(clock.at(2_750)), Order::End(End::Exhausted));
}

#[test]
fn a_tier_that_is_left_is_followed_while_upstream_is_silent_too() {
    let clock = Clock::start();
    let mut machine = Machine::new(MANIFEST, clock.at(0));
    machine.poll(clock.at(0));
    let slow = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(slow));
    assert_eq!(machine.poll(clock.at(3_000)), Order::Start(Want::Upstream));
    machine.forget_upstream();
    let upstream = fresh(&mut machine, true, clock.at(3_000));
    assert_eq!(machine.poll(clock.at(3_000)), Order::Send(upstream));
    let timed_out = Order::TimedOut {
        attempt: slow,
        late: Late::FirstByte,
    };
    assert_eq!(machine.poll(clock.at(4_000)), timed_out);
    assert_eq!(machine.poll(clock.at(4_000)), Order::Start(Want::Next));
    let next = fresh(&mut machine, true, clock.at(4_000));
    assert_eq!(machine.poll(clock.at(4_000)), Order::Send(next));
    // One at a time: the next one after it only when upstream has timed out as well.
    assert_eq!(
        machine.poll(clock.at(4_000)),
        Order::WaitUntil(clock.at(7_000))
    );
}
