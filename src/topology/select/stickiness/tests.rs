//! Tests of topology/select/stickiness.

use super::*;
use crate::topology::SourceId;

fn endpoint(last: u8) -> EndpointId {
    EndpointId {
        source: SourceId::Tier("replica".into()),
        address: ([203, 0, 113, last], 443).into(),
    }
}

fn names(repository: &str) -> (RegistryName, Repository) {
    ("docker.io".parse().unwrap(), repository.parse().unwrap())
}

fn digest(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn stays_ten_minutes_after_the_last_answer() {
    let mut table = Stickiness::default();
    let (registry, repository) = names("library/nginx");
    let start = Instant::now();
    assert_eq!(table.sticky(&registry, &repository, start), None);
    table.answered(&registry, &repository, &endpoint(1), start);
    let later = start + STAYS - Duration::from_secs(1);
    assert_eq!(
        table.sticky(&registry, &repository, later),
        Some(endpoint(1))
    );
    table.answered(&registry, &repository, &endpoint(1), later);
    let much_later = later + STAYS - Duration::from_secs(1);
    assert!(table.sticky(&registry, &repository, much_later).is_some());
    assert_eq!(table.sticky(&registry, &repository, later + STAYS), None);
    // Another registry's repository of the same name is another one.
    let quay = "quay.io".parse().unwrap();
    assert_eq!(table.sticky(&quay, &repository, later), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_to_answer_wins() {
    let mut table = Stickiness::default();
    let (registry, repository) = names("library/nginx");
    let now = Instant::now();
    table.answered(&registry, &repository, &endpoint(1), now);
    table.answered(&registry, &repository, &endpoint(2), now);
    assert_eq!(table.sticky(&registry, &repository, now), Some(endpoint(2)));
}

#[tokio::test(start_paused = true)]
async fn is_bounded_and_forgets_the_oldest() {
    let mut table = Stickiness::default();
    let now = Instant::now();
    for number in 0..CAPACITY {
        table.learned(&digest(number), &endpoint(1), now);
    }
    // Written again: no longer the oldest.
    table.learned(&digest(0), &endpoint(2), now);
    table.learned(&digest(CAPACITY), &endpoint(3), now);
    assert_eq!(table.digests.entries.len(), CAPACITY);
    assert_eq!(table.digests.by_age.len(), CAPACITY);
    assert_eq!(table.learned_at(&digest(0)), Some(endpoint(2)));
    assert_eq!(table.learned_at(&digest(1)), None);
    assert_eq!(table.learned_at(&digest(2)), Some(endpoint(1)));
    assert_eq!(table.learned_at(&digest(CAPACITY)), Some(endpoint(3)));
}
