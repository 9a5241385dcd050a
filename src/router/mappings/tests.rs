//! What is remembered, for how long, and over a restart.

use super::*;
use crate::router::testing::router;
use Trust::{Trusted, Untrusted};

fn wanted(tag: &str) -> Wanted {
    Wanted {
        repository: "library/nginx".parse().unwrap(),
        subject: Subject::Manifest(tag.parse().unwrap()),
        trust: Trusted,
    }
}

/// The same for an untrusted client.
fn by_stranger(tag: &str) -> Wanted {
    Wanted {
        trust: Untrusted,
        ..wanted(tag)
    }
}

fn registry(name: &str) -> RegistryName {
    name.parse().unwrap()
}

/// Who has had anything of the repository.
fn registries(mappings: &Mappings, trust: Trust, now: Instant) -> Vec<RegistryName> {
    let holders = mappings.holders(&wanted("1").repository, trust, now);
    holders.into_iter().map(|one| one.registry).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_place_is_fresh_then_stale_then_old_and_never_forgotten_by_time() {
    let (mappings, start) = (Mappings::default(), Instant::now());
    let (hub, nginx) = (registry("docker.io"), wanted("1"));
    assert_eq!(mappings.place(&nginx, &router(), start), None);
    assert_eq!(mappings.found(&nginx, &hub, start), None);
    let table = [
        (0, Freshness::Fresh),
        (299, Freshness::Fresh),
        (300, Freshness::Stale),
        (359, Freshness::Stale),
        (360, Freshness::Old),
        (1_000_000, Freshness::Old),
    ];
    for (after, due) in table {
        let now = start + seconds(after);
        let known = mappings.place(&nginx, &router(), now);
        assert_eq!(known, Some((hub.clone(), due)), "{after} s");
    }
    mappings.found(&nginx, &hub, start + seconds(400));
    let known = mappings.place(&nginx, &router(), start + seconds(500));
    assert_eq!(known, Some((hub, Freshness::Fresh)));
}

#[test]
fn a_tag_says_nothing_of_another_one() {
    let (mappings, now) = (Mappings::default(), Instant::now());
    let (hub, quay) = (registry("docker.io"), registry("quay.io"));
    mappings.found(&wanted("evil"), &quay, now);
    assert_eq!(mappings.place(&wanted("1"), &router(), now), None);
    mappings.found(&wanted("1"), &hub, now);
    let known = registries(&mappings, Trusted, now);
    assert_eq!(known, [hub.clone(), quay.clone()]);
    assert_eq!(mappings.found(&wanted("1"), &quay, now), Some(hub));
}

#[test]
fn what_nobody_has_is_not_looked_for_again_for_a_while() {
    let (mappings, start) = (Mappings::default(), Instant::now());
    let (hub, nginx) = (registry("docker.io"), wanted("1"));
    mappings.found(&nginx, &hub, start);
    assert_eq!(mappings.is_gone(&nginx, start), Some(hub.clone()));
    assert_eq!(mappings.place(&nginx, &router(), start), None);
    assert!(mappings.was_nowhere(&nginx, &router(), start + seconds(29)));
    assert!(!mappings.was_nowhere(&nginx, &router(), start + seconds(30)));
    mappings.found(&nginx, &hub, start);
    assert!(!mappings.was_nowhere(&nginx, &router(), start));
    assert!(mappings.is_news(&nginx, start));
    assert!(!mappings.is_news(&nginx, start + seconds(599)));
    assert!(mappings.is_news(&nginx, start + seconds(600)));
}

#[test]
fn what_is_known_outlives_the_process_and_is_asked_again_then() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("router");
    let (mappings, now) = (Mappings::default(), Instant::now());
    let (hub, quay) = (registry("docker.io"), registry("quay.io"));
    let tags = Wanted {
        subject: Subject::Tags,
        ..by_stranger("1")
    };
    mappings.found(&wanted("1"), &hub, now);
    mappings.found(&tags, &quay, now);
    mappings.store(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    mappings.store(&file).unwrap();
    assert!(!file.exists(), "nothing has changed");
    mappings.found(&wanted("2"), &hub, now);
    mappings.store(&file).unwrap();

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("nonsense\n-  -\n{text}")).unwrap();
    let again = Mappings::load(&file);
    assert_eq!(again.len(), 3);
    let known = again.place(&wanted("1"), &router(), Instant::now());
    assert_eq!(known, Some((hub, Freshness::Old)));
    let known = again.place(&tags, &router(), Instant::now());
    assert_eq!(known, Some((quay, Freshness::Old)));
    assert_eq!(Mappings::load(&home.path().join("absent")).len(), 0);
}

#[test]
fn what_an_untrusted_client_taught_counts_for_untrusted_clients_alone() {
    let (mappings, now) = (Mappings::default(), Instant::now());
    let (hub, quay) = (registry("docker.io"), registry("quay.io"));
    let place = |wanted: &Wanted| {
        let place = mappings.place(wanted, &router(), now);
        place.map(|(registry, _)| registry)
    };
    let known = |trust| registries(&mappings, trust, now);
    mappings.found(&by_stranger("1"), &quay, now);
    assert_eq!(
        (place(&by_stranger("1")), place(&wanted("1"))),
        (Some(quay.clone()), None)
    );
    assert_eq!(
        (known(Untrusted), known(Trusted)),
        (vec![quay.clone()], vec![])
    );
    mappings.is_gone(&by_stranger("2"), now);
    assert!(!mappings.was_nowhere(&wanted("2"), &router(), now));

    // Theirs is everybody's, and an untrusted client's own goes before it for such clients.
    mappings.found(&wanted("1"), &hub, now);
    mappings.found(&wanted("3"), &hub, now);
    assert_eq!(
        (place(&by_stranger("1")), place(&wanted("1"))),
        (Some(quay.clone()), Some(hub.clone()))
    );
    assert_eq!(place(&by_stranger("3")), Some(hub.clone()));
    assert_eq!(
        (known(Untrusted), known(Trusted)),
        (vec![quay, hub.clone()], vec![hub])
    );
}

#[test]
fn what_could_not_be_written_is_written_the_next_time() {
    let home = tempfile::tempdir().unwrap();
    let (mappings, now) = (Mappings::default(), Instant::now());
    mappings.found(&wanted("1"), &registry("docker.io"), now);
    assert!(
        mappings
            .store(&home.path().join("absent").join("router"))
            .is_err()
    );
    let file = home.path().join("router");
    mappings.store(&file).unwrap();
    assert_eq!(Mappings::load(&file).len(), 1);
}

#[test]
fn another_agents_word_stays_one_until_the_image_was_served_from_there() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("router");
    let (mappings, now) = (Mappings::default(), Instant::now());
    let (hub, quay) = (registry("docker.io"), registry("quay.io"));
    let freshness = |mappings: &Mappings, tag: &str| {
        let place = mappings.place(&wanted(tag), &router(), Instant::now());
        place.unwrap().1
    };
    let is_told = |mappings: &Mappings| -> Vec<bool> {
        let holders = mappings.holders(&wanted("1").repository, Trusted, Instant::now());
        holders.iter().map(|one| one.is_told).collect()
    };
    assert!(mappings.told(&wanted("1"), &quay, now));
    mappings.taken_over(&wanted("2"), &quay, now);
    assert_eq!(is_told(&mappings), [true]);
    // Over a restart as well.
    mappings.store(&file).unwrap();
    for mappings in [&mappings, &Mappings::load(&file)] {
        assert_eq!(freshness(mappings, "1"), Freshness::Told);
        assert_eq!(freshness(mappings, "2"), Freshness::Told);
        assert_eq!(is_told(mappings), [true]);
    }
    mappings.found(&wanted("1"), &quay, now);
    assert_eq!(freshness(&mappings, "1"), Freshness::Fresh);
    assert_eq!(is_told(&mappings), [false]);
    // What another agent says later takes nothing from that.
    mappings.taken_over(&wanted("3"), &quay, now);
    mappings.taken_over(&wanted("3"), &hub, now);
    assert_eq!(is_told(&mappings), [true, false]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches(" trusted told\n").count(), 2, "{text}");
}
