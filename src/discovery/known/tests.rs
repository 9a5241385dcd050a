//! Tests of discovery/known.

use super::*;
use crate::discovery::resolver::Family;
use crate::topology::testing::{self, source};

const LIMITS: Dns = Dns {
    nameservers: Vec::new(),
    min_ttl: Duration::from_secs(5),
    max_ttl: Duration::from_secs(300),
};

fn tier(now: Instant) -> Known {
    let source = source(testing::tier("replica"), "https://replica.example");
    Known::new(&source, Vec::new(), now)
}

fn upstream(now: Instant) -> Known {
    let id = SourceId::Upstream("docker.io".parse().unwrap());
    Known::new(&source(id, "https://registry.example"), Vec::new(), now)
}

fn answer(addresses: &[&str], ttl: u64) -> Answer {
    Answer {
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ttl: Duration::from_secs(ttl),
        unanswered: None,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn published(known: &Known, now: Instant) -> Vec<String> {
    let set = known.published(now);
    set.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_life_of_records_is_clamped() {
    for (ttl, waits) in [(0, 5), (1, 5), (60, 60), (300, 300), (86_400, 300)] {
        let now = Instant::now();
        let mut known = tier(now);
        assert!(known.is_due(now), "a tier is looked up at once");
        known.started(now, seconds(5));
        assert!(!known.is_due(now + seconds(600)), "one lookup at a time");
        known.answered(&answer(&["203.0.113.1"], ttl), &LIMITS, now);
        assert!(!known.is_due(now + seconds(waits) - Duration::from_millis(1)));
        assert!(known.is_due(now + seconds(waits)));
        assert_eq!(known.wakes(now), Some(now + seconds(waits)));
    }
}

#[test]
fn only_other_addresses_are_a_change() {
    let now = Instant::now();
    let mut known = tier(now);
    let mut step = |addresses: &[&str]| known.answered(&answer(addresses, 5), &LIMITS, now);
    assert_eq!(step(&["203.0.113.2", "203.0.113.1"]), Change::Learned);
    assert_eq!(step(&["203.0.113.1", "203.0.113.2"]), Change::Same);
    assert_eq!(
        step(&["203.0.113.1", "203.0.113.2", "203.0.113.1"]),
        Change::Same
    );
    let changed = step(&["203.0.113.3", "203.0.113.2"]);
    let expected = Change::Changed {
        added: vec!["203.0.113.3:443".parse().unwrap()],
        removed: vec!["203.0.113.1:443".parse().unwrap()],
    };
    assert_eq!(changed, expected);
    assert_eq!(
        published(&known, now),
        ["203.0.113.2:443", "203.0.113.3:443"]
    );
}

#[test]
fn failures_keep_the_last_good_set_and_back_off() {
    let mut now = Instant::now();
    let mut known = tier(now);
    known.answered(&answer(&["203.0.113.1"], 5), &LIMITS, now);
    for (wait, kept) in [1, 2, 4, 8, 16, 30, 30].into_iter().zip(0..) {
        now += seconds(5);
        let change = known.failed("SERVFAIL", now);
        let expected = match kept {
            0 => Change::WentStale { kept: 1 },
            _ => Change::StillStale,
        };
        assert_eq!(change, expected);
        assert_eq!(known.wakes(now), Some(now + seconds(wait)));
        let set = known.published(now);
        assert!(set.stale);
        assert_eq!(set.error.as_deref(), Some("SERVFAIL"));
        assert_eq!(set.addresses.len(), 1);
    }
    let change = known.answered(&answer(&["203.0.113.1"], 5), &LIMITS, now);
    assert_eq!(change, Change::Same);
    assert!(!known.published(now).stale);
    // A new outage is told again, and waits from the beginning.
    assert_eq!(known.failed("SERVFAIL", now), Change::WentStale { kept: 1 });
    assert_eq!(known.wakes(now), Some(now + seconds(1)));
}

#[test]
fn a_family_that_failed_keeps_its_addresses() {
    let now = Instant::now();
    let mut known = tier(now);
    known.answered(&answer(&["203.0.113.1", "2001:db8::1"], 5), &LIMITS, now);
    let mut half = answer(&["203.0.113.2"], 5);
    half.unanswered = Some(Family::V6);
    known.answered(&half, &LIMITS, now);
    assert_eq!(
        published(&known, now),
        ["203.0.113.2:443", "[2001:db8::1]:443"]
    );
    half.unanswered = None;
    known.answered(&half, &LIMITS, now);
    assert_eq!(published(&known, now), ["203.0.113.2:443"]);
}

#[test]
fn the_last_runs_addresses_serve_only_until_dns_answers() {
    let now = Instant::now();
    let source = source(testing::tier("replica"), "https://replica.example:8443");
    let remembered = vec!["203.0.113.9".parse().unwrap()];
    let mut known = Known::new(&source, remembered.clone(), now);
    assert!(published(&known, now).is_empty());
    assert_eq!(
        known.failed("timed out", now),
        Change::WentStale { kept: 1 }
    );
    assert_eq!(published(&known, now), ["203.0.113.9:8443"]);
    assert_eq!(known.to_remember(), remembered);
    let change = known.answered(&answer(&["203.0.113.1"], 5), &LIMITS, now);
    assert!(matches!(change, Change::Changed { .. }));
    assert_eq!(published(&known, now), ["203.0.113.1:8443"]);
}

#[test]
fn literals_need_no_dns() {
    for (host, shown) in [
        ("203.0.113.7", "203.0.113.7:443"),
        ("2001:db8::7", "[2001:db8::7]:443"),
    ] {
        let now = Instant::now();
        for id in [
            SourceId::Tier("replica".into()),
            SourceId::Upstream("docker.io".parse().unwrap()),
        ] {
            let mut source = source(id, "https://replaced");
            source.url.host = host.to_owned();
            let mut known = Known::new(&source, Vec::new(), now);
            known.touch(now);
            assert!(!known.is_due(now));
            assert_eq!(known.wakes(now), None);
            assert_eq!(published(&known, now + DORMANT_AFTER * 9), [shown]);
            assert!(known.to_remember().is_empty());
        }
    }
}

#[test]
fn upstreams_are_asked_about_when_wanted_and_served_for_an_hour() {
    let start = Instant::now();
    let mut known = upstream(start);
    assert!(!known.is_due(start), "nobody wanted it");
    assert_eq!(known.wakes(start), None);
    known.touch(start);
    assert!(known.is_due(start));
    known.started(start, seconds(5));
    known.answered(&answer(&["203.0.113.1"], 60), &LIMITS, start);

    let soon = start + seconds(59);
    known.touch(soon);
    assert!(!known.is_due(start + seconds(60)), "that touch was early");
    let minutes = start + seconds(1800);
    assert!(!known.is_due(minutes));
    assert_eq!(
        published(&known, minutes).len(),
        1,
        "stale while revalidating"
    );

    let hour = start + DORMANT_AFTER;
    assert_eq!(known.wakes(minutes), Some(hour));
    assert!(published(&known, hour).is_empty());
    known.touch(hour);
    assert!(known.is_due(hour));
    known.started(hour, seconds(5));
    assert!(published(&known, hour).is_empty(), "not before the answer");
    // DNS is down: the old set is better than none.
    known.failed("timed out", hour);
    let set = known.published(hour);
    assert!(set.stale);
    assert_eq!(set.addresses.len(), 1);
}
