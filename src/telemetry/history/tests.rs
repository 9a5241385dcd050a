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

#[test]
fn the_last_two_hundred_are_kept_and_refused_ones_push_nothing_out() {
    let history = History::default();
    for number in 0..300 {
        let pull = record(RequestOutcome::Served, &format!("app/{number}"));
        history.note([&pull].into_iter());
    }
    let refused = record(RequestOutcome::Refused, "stranger");
    for _ in 0..1000 {
        history.note([&refused].into_iter());
    }
    let ping = AccessRecord {
        kind: "other",
        status: 200,
        ..AccessRecord::default()
    };
    history.note([&ping].into_iter());
    let pulls = history.pulls();
    assert_eq!(pulls.len(), PULLS + REFUSED);
    assert_eq!(
        (PULLS + REFUSED, pulls[0].repository.as_str()),
        (200, "stranger")
    );
    assert_eq!(pulls[REFUSED].repository, "app/299");
    assert_eq!(pulls.last().unwrap().repository, "app/120");
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
    for outcome in [RequestOutcome::Served, RequestOutcome::Refused] {
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
