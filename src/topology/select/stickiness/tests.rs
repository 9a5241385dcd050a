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
    let of = (&registry, &repository);
    let start = Instant::now();
    assert_eq!(table.sticky(of, start), None);
    table.answered(of, &endpoint(1), Trust::Trusted, start);
    let later = start + STAYS - Duration::from_secs(1);
    assert_eq!(table.sticky(of, later), Some(endpoint(1)));
    table.answered(of, &endpoint(1), Trust::Trusted, later);
    let much_later = later + STAYS - Duration::from_secs(1);
    assert!(table.sticky(of, much_later).is_some());
    assert_eq!(table.sticky(of, later + STAYS), None);
    // Another registry's repository of the same name is another one.
    let quay = "quay.io".parse().unwrap();
    assert_eq!(table.sticky((&quay, &repository), later), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_to_answer_wins() {
    let mut table = Stickiness::default();
    let (registry, repository) = names("library/nginx");
    let (of, now) = ((&registry, &repository), Instant::now());
    table.answered(of, &endpoint(1), Trust::Trusted, now);
    table.answered(of, &endpoint(2), Trust::Untrusted, now);
    assert_eq!(table.sticky(of, now), Some(endpoint(2)));
}

/// Another repository that names the same layer says nothing of where this one's comes from.
#[tokio::test(start_paused = true)]
async fn content_is_learned_for_its_repository_alone() {
    let mut table = Stickiness::default();
    let ((registry, ours), (_, theirs)) = (names("library/app"), names("evil/app"));
    let now = Instant::now();
    let (ours, theirs) = ((&registry, &ours), (&registry, &theirs));
    table.learned(ours, &digest(1), (&endpoint(1), Trust::Trusted), now);
    table.learned(theirs, &digest(1), (&endpoint(2), Trust::Trusted), now);
    assert_eq!(table.learned_at(ours, &digest(1), now), Some(endpoint(1)));
    assert_eq!(table.learned_at(theirs, &digest(1), now), Some(endpoint(2)));
}

#[tokio::test(start_paused = true)]
async fn is_bounded_and_forgets_the_oldest() {
    let mut table = Stickiness::default();
    let (now, (registry, repository)) = (Instant::now(), names("library/app"));
    let of = (&registry, &repository);
    let mut learn = |number, who| {
        table.learned(of, &digest(number), (&endpoint(who), Trust::Trusted), now);
    };
    for number in 0..CAPACITY {
        learn(number, 1);
    }
    // Written again: no longer the oldest.
    learn(0, 2);
    learn(CAPACITY, 3);
    assert_eq!(table.digests.len(), CAPACITY);
    let learned_at = |number| table.learned_at(of, &digest(number), now);
    assert_eq!(learned_at(0), Some(endpoint(2)));
    assert_eq!(learned_at(1), None);
    assert_eq!(learned_at(2), Some(endpoint(1)));
    assert_eq!(learned_at(CAPACITY), Some(endpoint(3)));
}
