//! Tests of the history.

use super::*;

fn record(outcome: RequestOutcome, repository: &str) -> AccessRecord {
    AccessRecord {
        registry: Some("docker.io".parse().unwrap()),
        repository: repository.into(),
        reference: "1".into(),
        kind: "manifest",
        method: "GET",
        status: 200,
        outcome,
        time_to_first_byte: Some(Duration::from_millis(40)),
        ..AccessRecord::default()
    }
}

fn note(history: &History, outcome: RequestOutcome, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let pull = record(outcome, &format!("app/{number}"));
        history.note([&pull].into_iter());
    }
}

#[test]
fn the_last_two_hundred_are_kept_and_refused_ones_push_nothing_out() {
    let history = History::default();
    note(&history, RequestOutcome::Served, 0..300);
    let pulls = history.pulls();
    assert_eq!(pulls.len(), 200);
    assert_eq!(pulls[199].repository, "app/100");
    note(&history, RequestOutcome::Refused, 1000..2000);
    let ping = AccessRecord {
        kind: "other",
        status: 200,
        ..AccessRecord::default()
    };
    history.note([&ping].into_iter());
    let pulls = history.pulls();
    assert_eq!(pulls.len(), 220);
    for (at, due) in [
        (0, "app/1999"),
        (19, "app/1980"),
        (20, "app/299"),
        (219, "app/100"),
    ] {
        assert_eq!(pulls[at].repository, due, "{at}");
    }
}

/// A node whose pulls are all refused shows as many as any other. They make way for others, down to twenty.
#[test]
fn refused_ones_have_the_room_that_no_others_need() {
    let history = History::default();
    note(&history, RequestOutcome::Refused, 0..300);
    assert_eq!(history.pulls().len(), 200);
    for number in 0..300 {
        note(&history, RequestOutcome::Served, number..number + 1);
        let served = (number + 1).min(200);
        let kept = history.kept.lock();
        let due = (served, (200 - served).max(20));
        assert_eq!((kept.pulls.len(), kept.refused.len()), due);
        drop(kept);
    }
    assert_eq!(history.pulls()[219].repository, "app/280");
}

#[test]
fn percentiles_are_right_within_a_step() {
    let mut bytes = FirstBytes::default();
    assert_eq!(bytes.percentile(50), None);
    for _ in 0..90 {
        bytes.add(Duration::from_millis(10));
    }
    for _ in 0..10 {
        bytes.add(Duration::from_secs(2));
    }
    for (percent, due) in [(50, 0.010), (90, 0.010), (95, 2.0), (100, 2.0)] {
        let found = bytes.percentile(percent).unwrap().as_secs_f64();
        assert!((0.84..1.19).contains(&(found / due)), "{percent}: {found}");
    }
    bytes.add(Duration::ZERO);
    bytes.add(Duration::from_secs(3600));
    assert!(bytes.percentile(100).unwrap() > Duration::from_secs(50));
}

/// At most 1 MiB, with the longest texts that there are, and a day of slots.
#[test]
fn its_memory_is_bounded() {
    let history = History::default();
    let long = "ü".repeat(4000);
    // Refused ones first, so that both rings have been as long as they get.
    for outcome in [RequestOutcome::Refused, RequestOutcome::Served] {
        let pull = AccessRecord {
            reference: long.as_str().into(),
            endpoint: long.as_str().into(),
            error: long.clone(),
            ..record(outcome, &long)
        };
        for _ in 0..300 {
            history.note([&pull].into_iter());
        }
    }
    let kept = history.kept.lock();
    let text = |text: &String| text.capacity();
    let pulls = kept.pulls.iter().chain(&kept.refused).map(|pull| {
        assert!(pull.repository.len() <= TEXT_BYTES);
        let texts = [
            &pull.repository,
            &pull.reference,
            &pull.endpoint,
            &pull.error,
        ];
        size_of::<Pull>() + texts.into_iter().map(text).sum::<usize>()
    });
    // A batch of records shares one time.
    let pulls: usize = pulls.sum::<usize>() + (PULLS + REFUSED) * 64;
    let rings = (kept.pulls.capacity() + kept.refused.capacity()) * size_of::<Pull>();
    let slots = (60 + 96) * size_of::<(u64, FirstBytes)>();
    let bytes = pulls + rings + slots;
    assert!(bytes <= 512 << 10, "{bytes}");
}
