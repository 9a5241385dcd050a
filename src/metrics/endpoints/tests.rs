//! Tests of metrics/endpoints.

use super::*;

fn gauge(tier: &str, endpoints: impl IntoIterator<Item = (String, bool)>) -> TierGauge {
    TierGauge {
        tier: tier.into(),
        ready: Some(true),
        endpoints: endpoints.into_iter().collect(),
    }
}

fn shown(rows: &[(Arc<str>, String, bool)]) -> Vec<String> {
    let rows = rows.iter();
    rows.map(|(tier, endpoint, healthy)| format!("{tier} {endpoint} {healthy}"))
        .collect()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

#[test]
fn a_series_goes_15_minutes_after_its_address_left() {
    let mut series = Series::default();
    let start = Instant::now();
    let both = [gauge("r", [("a".into(), true), ("b".into(), false)])];
    let one = [gauge("r", [("a".into(), false)])];
    assert_eq!(
        shown(&series.update(&both, start)),
        ["r a true", "r b false"]
    );
    let later = series.update(&one, start + minutes(1));
    assert_eq!(shown(&later), ["r a false", "r b false"]);
    let later = series.update(&one, start + minutes(14));
    assert_eq!(shown(&later), ["r a false", "r b false"]);
    let later = series.update(&one, start + minutes(15));
    assert_eq!(shown(&later), ["r a false"]);
    let later = series.update(&[], start + minutes(29));
    assert_eq!(shown(&later), ["r a false"]);
    assert!(series.update(&[], start + minutes(30)).is_empty());
}

#[test]
fn at_most_64_per_tier_and_the_present_ones_first() {
    let mut series = Series::default();
    let start = Instant::now();
    let named = |prefix: &'static str, count: usize| {
        (0..count).map(move |number| (format!("{prefix}{number:03}"), true))
    };
    let first = series.update(
        &[gauge("r", named("a", 60)), gauge("c", named("a", 3))],
        start,
    );
    assert_eq!(first.len(), 63);
    let tiers = [gauge("r", named("z", 50)), gauge("c", named("a", 3))];
    let second = series.update(&tiers, start + minutes(1));
    assert_eq!(second.len(), 64 + 3);
    let present = second.iter().filter(|row| row.1.starts_with('z')).count();
    assert_eq!(present, 50);
    let third = series.update(&[gauge("r", named("y", 70))], start + minutes(2));
    let present = third.iter().filter(|row| row.1.starts_with('y')).count();
    assert_eq!(present, 64);
}

#[test]
fn of_two_upstreams_at_one_address_the_worse_shows() {
    let mut series = Series::default();
    let tiers = [
        gauge("upstream", [("a".into(), false)]),
        gauge("upstream", [("a".into(), true), ("b".into(), true)]),
    ];
    let rows = series.update(&tiers, Instant::now());
    assert_eq!(shown(&rows), ["upstream a false", "upstream b true"]);
}
