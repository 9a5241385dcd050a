//! Floods: what they cost, and whom.

use super::*;
use crate::telemetry::EventName;
use crate::telemetry::line::Style;
use crate::telemetry::refusals::{OWN_RECORDS, PERIOD};
use crate::telemetry::tests::{Paper, change, record, said, unfiltered};
use crate::telemetry::writer::Sink;
use std::io::{self, Write};
use std::sync::Condvar;
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

#[test]
fn no_flood_of_access_records_costs_an_event() {
    let stopped = Stopped::default();
    let sink = Sink::lines(Box::new(stopped.clone()), Style { color: false });
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
            let (count, _) = line
                .strip_prefix("INFO  ")?
                .split_once(" more requests were refused")?;
            count.parse::<u64>().ok()
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
