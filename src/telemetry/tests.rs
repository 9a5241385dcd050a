//! Tests of telemetry.

use super::init::build;
use super::queue::{POOLED, Queue};
use super::sink::Sink;
use super::*;
use crate::telemetry::Text;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

pub(super) fn record() -> AccessRecord {
    AccessRecord {
        request_id: "0123abcd".into(),
        registry: Some("docker.io".parse().unwrap()),
        repository: "library/nginx".into(),
        reference: format!("sha256:{}", "ab12".repeat(16)).as_str().into(),
        kind: "blob",
        method: "GET",
        status: 200,
        outcome: RequestOutcome::Served,
        tier: "replica".into(),
        endpoint: "203.0.113.7:443".into(),
        attempts: 1,
        resumes: 0,
        bytes: 12_897_485,
        time_to_first_byte: Some(Duration::from_millis(4)),
        duration: Duration::from_millis(35),
        generation: 7,
        error: String::new(),
        asked_by: None,
    }
}

pub(super) fn change(event: EventName) -> StateChange {
    StateChange {
        event,
        tier: Some("replica".to_owned()),
        endpoint: Some("203.0.113.7:443".to_owned()),
        reason: "connect_timeout".to_owned(),
        message: format!("replica: {}", event.word()),
    }
}

/// Keeps what is written, and how often.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<(String, usize)>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut paper = self.0.lock().unwrap();
        paper.0.push_str(std::str::from_utf8(bytes).unwrap());
        paper.1 += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap().0.clone()
    }

    pub(super) fn sink(&self) -> Sink {
        Sink::lines(Box::new(self.clone()), false)
    }
}

/// What stands after the time.
pub(super) fn said(paper: &Paper) -> Vec<String> {
    let text = paper.text();
    let lines = text
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned());
    lines.collect()
}

#[test]
fn the_time_is_a_date() {
    let digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "9");
    let now = utc_now();
    assert_eq!(digits(&now), "9999-99-99T99:99:99Z");
    let paper = Paper::default();
    let (journal, guard) = unfiltered(paper.sink());
    journal.event(change(EventName::TierUp));
    assert!(guard.flush(Duration::from_secs(20)));
    let text = paper.text();
    let (time, _) = text.split_once(' ').unwrap();
    assert_eq!(digits(time), "9999-99-99T99:99:99.999999Z");
    // In the order of the alphabet, and no two minutes apart.
    assert!(
        time[..19] >= now[..19] && time[..16] <= utc_now()[..16],
        "{time} {now}"
    );
}

#[test]
fn where_the_log_goes() {
    let stderr = Destination::Stderr { color: true };
    let journald = Destination::Journald;
    for (stream, inode, expected) in [
        (None, Some((9, 22)), &stderr),
        (Some("9:22"), Some((9, 22)), &journald),
        (Some("9:23"), Some((9, 22)), &stderr),
        (Some("8:22"), Some((9, 22)), &stderr),
        (Some("9:22"), None, &stderr),
        (Some("nonsense"), None, &stderr),
        (Some("9:x"), Some((9, 22)), &stderr),
    ] {
        assert_eq!(&Destination::decide(stream, inode, true), expected);
    }
}

/// A journal that writes everything there.
pub(super) fn unfiltered(sink: Sink) -> (Journal, Guard) {
    let (queue, guard, _layers) = build("info", sink).unwrap();
    let journal = Journal::queued(Queue {
        filtered: false,
        ..queue
    });
    (journal, guard)
}

#[test]
fn lines_are_written_in_batches_and_in_order() {
    let paper = Paper::default();
    let (journal, guard) = unfiltered(paper.sink());
    for number in 0..2000_u64 {
        let mut record = record();
        record.bytes = number;
        journal.access(Box::new(record));
    }
    journal.event(change(EventName::TierDown));
    assert!(guard.flush(Duration::from_secs(20)));
    let lines = said(&paper);
    assert_eq!(journal.dropped(), 0);
    assert_eq!(lines.len(), 2001);
    assert!(lines[1999].ends_with(", 1.9 KiB request=0123abcd"));
    assert_eq!(
        lines[2000],
        " WARN harbor_pilot::event: tier_down: replica: tier_down"
    );
    let writes = paper.0.lock().unwrap().1;
    assert!(writes < 1000, "{writes} writes for 2001 lines");
}

#[test]
fn written_records_come_back_and_no_more_than_are_kept() {
    let paper = Paper::default();
    let (journal, guard) = unfiltered(paper.sink());
    assert!(journal.recycled().is_none());
    for _ in 0..POOLED + 100 {
        journal.access(Box::new(record()));
    }
    assert!(guard.flush(Duration::from_secs(20)));
    let back = std::iter::from_fn(|| journal.recycled()).count();
    assert_eq!(back, POOLED);
}

#[test]
fn a_broken_stderr_counts_its_losses() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::lines(Box::new(Broken), false);
    let (queue, guard, _layers) = build("info", sink).unwrap();
    let journal = Journal::queued(Queue {
        filtered: false,
        ..queue
    });
    for _ in 0..10 {
        journal.access(Box::new(record()));
    }
    assert!(guard.flush(Duration::from_secs(20)));
    assert_eq!(journal.dropped(), 10);
}

#[test]
fn diagnostics_and_records_pass_one_filter() {
    let paper = Paper::default();
    let ping = AccessRecord {
        kind: "other",
        repository: Text::default(),
        ..record()
    };
    for filter in ["info", "debug", "warn,harbor_pilot::access=info"] {
        let (queue, guard, layers) = build(filter, paper.sink()).unwrap();
        let journal = Journal::queued(queue);
        tracing::subscriber::with_default(layers, || {
            tracing::warn!(target: "harbor_pilot::telemetry", tier = "replica", left = 3, "slow\nsource");
            tracing::debug!(target: "harbor_pilot::telemetry", "detail");
            journal.access(Box::new(ping.clone()));
            journal.access(Box::new(record()));
            journal.event(change(EventName::TierUp));
        });
        assert!(guard.flush(Duration::from_secs(20)));
    }
    assert!(build("no such=level=x", paper.sink()).is_err());
    let blob = " INFO harbor_pilot::access: blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 served by replica/203.0.113.7:443 in 35 ms, 12.3 MiB request=0123abcd";
    let warning = r#" WARN harbor_pilot::telemetry: slow\nsource tier=replica left=3"#;
    let up = " INFO harbor_pilot::event: tier_up: replica: tier_up";
    assert_eq!(
        said(&paper),
        [
            warning,
            blob,
            up,
            warning,
            "DEBUG harbor_pilot::telemetry: detail",
            "DEBUG harbor_pilot::access: ping GET 200 in 35 ms request=0123abcd",
            blob,
            up,
            warning,
            blob,
        ]
    );
}

#[test]
fn the_last_changes_are_kept_whatever_the_destination() {
    let (journal, captured) = Journal::capturing();
    for _ in 0..25 {
        journal.event(change(EventName::TierUp));
    }
    journal.event(change(EventName::TierDown));
    journal.access(Box::new(record()));
    let recent = journal.clone().recent();
    assert_eq!(recent.len(), RECENT);
    assert_eq!(recent[RECENT - 1].change.event, EventName::TierDown);
    assert_eq!(captured.events().len(), 26);
    assert_eq!(captured.accesses().len(), 1);
}

#[test]
fn colours_are_only_for_terminals() {
    let line = |color: bool| {
        let paper = Paper::default();
        let (journal, guard) = unfiltered(Sink::lines(Box::new(paper.clone()), color));
        journal.event(change(EventName::TierDown));
        assert!(guard.flush(Duration::from_secs(20)));
        paper.text()
    };
    assert!(!line(false).contains('\u{1b}'));
    let colored = line(true);
    assert!(colored.contains("\u{1b}[33m WARN\u{1b}[0m"), "{colored:?}");
    assert!(
        colored.ends_with("tier_down: replica: tier_down\n"),
        "{colored:?}"
    );
}
