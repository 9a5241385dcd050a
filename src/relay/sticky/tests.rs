//! What is remembered of a repository's addresses, and for how long.

use super::*;
use crate::cache::Trust;
use crate::relay::memory::Image;
use crate::topology::SourceId;

fn endpoint(last: u8) -> EndpointId {
    EndpointId {
        source: SourceId::Tier("replica".into()),
        address: ([203, 0, 113, last], 443).into(),
    }
}

fn route(registry: &str, repository: &str) -> Route {
    Route {
        registry: None,
        registry_label: registry.parse().unwrap(),
        repository: repository.parse().unwrap(),
        key: "".into(),
        targets: Vec::new(),
        reasons: Vec::new(),
    }
}

fn nginx() -> Route {
    route("docker.io", "library/nginx")
}

fn digest(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn answers(table: &Sticky, route: &Route, who: u8, learned: &[Digest], now: Instant) {
    let of = pulled(route, Trust::Trusted);
    table.answered(&of, &endpoint(who), learned.iter(), now);
}

fn pulled(route: &Route, trust: Trust) -> Pulled {
    let (registry, repository) = (route.registry_label.clone(), route.repository.clone());
    let image = Image::content(registry, repository, digest(0));
    Pulled { image, trust }
}

fn sticky(table: &Sticky, route: &Route, now: Instant) -> Option<EndpointId> {
    table.repository(route, now)
}

#[tokio::test(start_paused = true)]
async fn stays_ten_minutes_after_the_last_answer() {
    let (table, start) = (Sticky::default(), Instant::now());
    assert_eq!(sticky(&table, &nginx(), start), None);
    answers(&table, &nginx(), 1, &[], start);
    let later = start + STAYS - Duration::from_secs(1);
    assert_eq!(sticky(&table, &nginx(), later), Some(endpoint(1)));
    answers(&table, &nginx(), 1, &[], later);
    let much_later = later + STAYS - Duration::from_secs(1);
    assert!(sticky(&table, &nginx(), much_later).is_some());
    assert_eq!(sticky(&table, &nginx(), later + STAYS), None);
    // Another registry's repository of the same name is another one.
    let quay = route("quay.io", "library/nginx");
    assert_eq!(sticky(&table, &quay, later), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_to_answer_wins() {
    let (table, now) = (Sticky::default(), Instant::now());
    answers(&table, &nginx(), 1, &[], now);
    let of = pulled(&nginx(), Trust::Untrusted);
    table.answered(&of, &endpoint(2), [].iter(), now);
    assert_eq!(sticky(&table, &nginx(), now), Some(endpoint(2)));
}

/// Another repository that names the same layer says nothing of where this one's comes from.
#[tokio::test(start_paused = true)]
async fn content_is_learned_for_its_repository_alone() {
    let (table, now) = (Sticky::default(), Instant::now());
    let theirs = route("docker.io", "evil/app");
    answers(&table, &nginx(), 1, &[digest(1)], now);
    answers(&table, &theirs, 2, &[digest(1)], now);
    let learned_at = |route: &Route| table.digest(route, &digest(1), now);
    assert_eq!(learned_at(&nginx()), Some(endpoint(1)));
    assert_eq!(learned_at(&theirs), Some(endpoint(2)));
}

#[tokio::test(start_paused = true)]
async fn is_bounded_and_forgets_the_oldest() {
    let (table, now) = (Sticky::default(), Instant::now());
    for number in 0..CAPACITY {
        answers(&table, &nginx(), 1, &[digest(number)], now);
    }
    // Written again: no longer the oldest.
    answers(&table, &nginx(), 2, &[digest(0)], now);
    answers(&table, &nginx(), 3, &[digest(CAPACITY)], now);
    assert_eq!(table.digests.read(|digests| digests.len()), CAPACITY);
    let learned_at = |number| table.digest(&nginx(), &digest(number), now);
    assert_eq!(learned_at(0), Some(endpoint(2)));
    assert_eq!(learned_at(1), None);
    assert_eq!(learned_at(2), Some(endpoint(1)));
    assert_eq!(learned_at(CAPACITY), Some(endpoint(3)));
}
