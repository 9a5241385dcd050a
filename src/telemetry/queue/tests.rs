//! Floods: what they cost, and whom.

use super::*;
use crate::telemetry::EventName;
use crate::telemetry::refusals::{OWN_RECORDS, PERIOD};
use crate::telemetry::sink::Sink;
use crate::telemetry::tests::{Paper, change, record, said, unfiltered};
use std::io::{self, Write};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// A log that stands still until it is let go, and then keeps what was written.
#[derive(Clone, Default)]
struct Stopped(Arc<(Mutex<bool>, Condvar)>, Paper);

impl Write for Stopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (goes_on, told) = &*self.0;
        drop(told.wait_while(goes_on.lock().unwrap(), |goes_on| !*goes_on));
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stopped {
    fn go_on(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// Design H6: a log that does not read would block whoever writes to it.
#[test]
fn a_stopped_log_blocks_no_sender_and_drops_are_counted() {
    let stopped = Stopped::default();
    let (journal, guard) = unfiltered(Sink::lines(Box::new(stopped.clone()), false));
    let sent = 4 * u64::try_from(CAPACITY).unwrap();
    // Were a sender to block, this would never end: nobody reads.
    for _ in 0..sent {
        journal.access(Box::new(record()));
    }
    let dropped = journal.dropped();
    assert!(dropped > 0, "the queue is bounded");
    assert!(dropped < sent, "and it holds something");
    assert!(!guard.flush(Duration::from_millis(10)));

    // It reads again: all that was queued arrives, and the losses are said.
    stopped.go_on();
    assert!(guard.flush(Duration::from_secs(20)));
    let lines = said(&stopped.1);
    let records = lines
        .iter()
        .filter(|line| line.contains("served by"))
        .count();
    let tell = format!("log_dropped: {dropped} log records were dropped");
    assert!(lines.iter().any(|line| line.contains(&tell)), "{tell}");
    assert_eq!(u64::try_from(records).unwrap() + dropped, sent);
    assert_eq!(journal.dropped(), dropped);
}

#[test]
fn a_stopped_log_does_not_hang_the_exit() {
    let stopped = Stopped::default();
    let (journal, guard) = unfiltered(Sink::lines(Box::new(stopped.clone()), false));
    for _ in 0..2 * CAPACITY {
        journal.access(Box::new(record()));
    }
    let start = Instant::now();
    drop(guard);
    assert!(start.elapsed() < Duration::from_secs(3), "a second");
    stopped.go_on();
}

#[test]
fn a_log_that_stands_still_for_five_seconds_is_not_waited_for() {
    let (queue, _receiver) = queue(false);
    let stall = &queue.state.stall;
    let (now, later) = (Instant::now(), STALL_LIMIT + Duration::from_millis(1));
    assert!(!stall.is_too_long(|| now + later), "it has nothing to do");
    stall.begins();
    assert!(!stall.is_too_long(Instant::now));
    assert!(stall.is_too_long(|| Instant::now() + later));
    stall.ends();
    assert!(!stall.is_too_long(|| Instant::now() + later));

    let standing = Stall {
        since: parking_lot::Mutex::new(now.checked_sub(later)),
    };
    let (sender, receiver) = sync_channel(8);
    let queue = Queue {
        sender,
        state: Arc::new(State {
            stall: standing,
            ..State::default()
        }),
        filtered: false,
    };
    queue.access(Box::new(record()));
    assert_eq!(queue.state.drops.total(), 1, "counted at once");
    queue.event(change(EventName::DigestMismatch));
    assert_eq!(queue.state.drops.total(), 1, "an event waits");
    queue.state.stall.ends();
    queue.access(Box::new(record()));
    let waiting: Vec<Entry> = receiver.try_iter().map(|queued| queued.entry).collect();
    assert!(
        matches!(&waiting[..], [Entry::Event(_), Entry::Access(_)]),
        "{waiting:?}"
    );
}

#[test]
fn no_flood_of_access_records_costs_an_event() {
    let stopped = Stopped::default();
    let sink = Sink::lines(Box::new(stopped.clone()), false);
    let (journal, guard) = unfiltered(sink);
    for _ in 0..4 * CAPACITY {
        journal.access(Box::new(record()));
    }
    let lost = journal.dropped();
    assert!(lost > 0, "the queue is full");
    for _ in 0..FOR_EVENTS {
        journal.event(change(EventName::DigestMismatch));
    }
    assert_eq!(journal.dropped(), lost, "every event has a place");
    // Theirs are bounded as well. One batch is on its way, and took its own.
    for _ in 0..FOR_EVENTS {
        journal.event(change(EventName::DigestMismatch));
    }
    let lost = journal.dropped();
    stopped.go_on();
    assert!(guard.flush(Duration::from_secs(20)));
    let lines = said(&stopped.1);
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    let events = count("digest_mismatch: ");
    assert!((FOR_EVENTS..2 * FOR_EVENTS).contains(&events), "{events}");
    let kept = u64::try_from(events + count("served by")).unwrap();
    let sent = u64::try_from(4 * CAPACITY + 2 * FOR_EVENTS).unwrap();
    assert_eq!(kept + lost, sent);
    assert_eq!(count("log_dropped: "), 1);
    assert!(
        lines
            .iter()
            .any(|line| line.contains(&format!("{lost} log records")))
    );
}

#[test]
fn refused_requests_beyond_a_hundred_per_second_are_summed_up() {
    let paper = Paper::default();
    let (journal, guard) = unfiltered(paper.sink());
    let refused = || {
        let outcome = RequestOutcome::Refused;
        journal.access(Box::new(AccessRecord {
            outcome,
            ..record()
        }));
    };
    let counted = || -> (u64, u64) {
        let lines = said(&paper);
        let own = lines
            .iter()
            .filter(|line| line.contains(" 200 refused in "));
        let sums = lines.iter().filter_map(|line| {
            let (count, _) = line.split_once(" more requests were refused")?;
            count.rsplit(' ').next()?.parse::<u64>().ok()
        });
        (u64::try_from(own.count()).unwrap(), sums.sum())
    };
    // The writer has long been asleep when the sum begins.
    for _ in 0..OWN_RECORDS {
        refused();
    }
    assert!(guard.flush(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(50));
    for _ in 0..20_000 {
        refused();
    }
    journal.access(Box::new(record()));
    let since = Instant::now();
    while counted().1 == 0 {
        assert!(
            since.elapsed() < PERIOD * 20,
            "the sum is written by itself"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    refused();
    assert!(
        guard.flush(Duration::from_secs(20)),
        "which writes the rest"
    );
    let (own, summed) = counted();
    assert_eq!(own + summed, u64::from(OWN_RECORDS) + 20_001);
    // As many periods may have begun as seconds have gone by.
    let periods = since.elapsed().as_secs() + 3;
    assert!(own <= u64::from(OWN_RECORDS) * periods, "{own}");
    assert_eq!(journal.dropped(), 0);
}

/// A record's text is as long as a source's answer makes it.
#[test]
fn what_waits_is_counted_in_the_budget_and_bounded_in_bytes() {
    let budget = Budget::new(64 << 20);
    let stopped = Stopped::default();
    let (journal, guard) = unfiltered(Sink::lines(Box::new(stopped.clone()), false));
    journal.count_in(&budget);
    let error = "x".repeat(100_000);
    for _ in 0..1000 {
        journal.access(Box::new(AccessRecord {
            error: error.clone(),
            ..record()
        }));
    }
    let waiting = budget.held_for(Kind::LogRecords);
    let longest = 2 * error.len();
    assert!(
        (MOST_BYTES..MOST_BYTES + longest).contains(&waiting),
        "{waiting}"
    );
    assert!(journal.dropped() >= 950, "{}", journal.dropped());
    // Events have their places all the same.
    let lost = journal.dropped();
    journal.event(change(EventName::DigestMismatch));
    assert!(budget.held_for(Kind::LogRecords) > waiting);
    assert_eq!(journal.dropped(), lost);
    stopped.go_on();
    assert!(guard.flush(Duration::from_secs(20)));
    // The batch with the answer to that is given back a moment later.
    let since = Instant::now();
    while budget.held() > 0 {
        assert!(since.elapsed() < Duration::from_secs(20), "{budget:?}");
        std::thread::yield_now();
    }
}
