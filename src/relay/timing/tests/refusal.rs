//! An authoritative source says no, and others may have what is wanted.

use super::*;

/// After a "no" others have so long; who was asked before it has the whole time.
#[test]
fn after_a_no_those_who_are_asked_for_the_first_time_have_a_limit() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    let upstream = fresh(&mut machine, true, clock.at(0));
    assert_eq!(machine.poll(clock.at(0)), Order::Send(upstream));
    machine.ended(upstream);
    machine.refused(Some(clock.at(2_300)));
    assert_eq!(machine.poll(clock.at(300)), Order::Start(Want::Next));
    let tier = fresh(&mut machine, true, clock.at(300));
    assert_eq!(machine.poll(clock.at(300)), Order::Send(tier));
    machine.set_more(false);
    let waits = machine.poll(clock.at(310));
    assert!(
        matches!(waits, Order::WaitUntil(at) if at <= clock.at(2_300)),
        "{waits:?}"
    );
    assert_eq!(machine.poll(clock.at(2_300)), Order::End(End::Final));
    // A later "no" gives nobody more time, and takes none.
    machine.refused(Some(clock.at(4_000)));
    assert_eq!(machine.poll(clock.at(2_300)), Order::End(End::Final));
    machine.refused(None);
    assert_eq!(
        machine.poll(clock.at(2_200)),
        Order::WaitUntil(clock.at(2_300))
    );
}

/// Who connects when a "no" comes is not asked: it may be of the source that said it, or dead.
#[test]
fn after_a_no_who_was_not_yet_asked_is_left() {
    let clock = Clock::start();
    let mut machine = Machine::new(BLOB, clock.at(0));
    machine.poll(clock.at(0));
    machine.set_more(true);
    let connecting = machine.started(false, clock.at(0));
    assert_eq!(machine.poll(clock.at(250)), Order::Start(Want::Next));
    let upstream = fresh(&mut machine, true, clock.at(250));
    assert_eq!(machine.poll(clock.at(250)), Order::Send(upstream));
    machine.ended(upstream);
    machine.refused(Some(clock.at(2_300)));
    machine.connected(connecting);
    assert_eq!(machine.poll(clock.at(300)), Order::Start(Want::Next));
    machine.none_left(Want::Next);
    assert_eq!(machine.poll(clock.at(300)), Order::End(End::Exhausted));
}
