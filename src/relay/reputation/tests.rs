//! What stands against whom, for whom, and until when.

use super::*;
use crate::oci::Digest;
use crate::relay::memory::Image;
use Trust::{Trusted, Untrusted};
use std::net::SocketAddr;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn endpoint(source: &SourceId, last: u8) -> EndpointId {
    EndpointId {
        source: source.clone(),
        address: SocketAddr::from(([192, 0, 2, last], 443)),
    }
}

fn replica(last: u8) -> EndpointId {
    endpoint(&SourceId::Tier("replica".into()), last)
}

/// A request for a blob.
fn blob(registry: &str, repository: &str, name: &str) -> Subject {
    let (registry, repository) = (registry.parse().unwrap(), repository.parse().unwrap());
    let digest = Digest::sha256(name.as_bytes());
    Subject::from(&Pulled {
        image: Image::content(registry, repository, digest),
        trust: Trusted,
    })
}

fn layer() -> Subject {
    blob("docker.io", "library/app", "layer")
}

fn asked_by(subject: &Subject, trust: Trust) -> Subject {
    Subject {
        trust,
        ..subject.clone()
    }
}

struct Case {
    reputation: Reputation,
    begin: Instant,
}

impl Case {
    fn new() -> Self {
        Self {
            reputation: Reputation::default(),
            begin: Instant::now(),
        }
    }

    fn saw(&self, fault: &Fault, of: &EndpointId, subject: &Subject, at: u64, trust: Trust) {
        let (now, subject) = (self.begin + seconds(at), asked_by(subject, trust));
        self.reputation.saw(fault, of, &subject, now);
    }

    /// `1 behind`, `all last`
    fn against(&self, subject: &Subject, at: u64, trust: Trust) -> Vec<String> {
        let (now, subject) = (self.begin + seconds(at), asked_by(subject, trust));
        let against = self.reputation.against(&subject, now);
        let shown = against.iter().map(|held| {
            let last = |address: SocketAddr| address.ip().to_string().replace("192.0.2.", "");
            let who = held.address.map_or("all".to_owned(), last);
            format!("{who} {:?}", held.effect).to_lowercase()
        });
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        shown
    }
}

#[test]
fn each_fault_counts_for_its_scope_and_time() {
    let (same, sibling) = (layer(), blob("docker.io", "library/app", "other"));
    let elsewhere = blob("docker.io", "library/other", "layer");
    let registry = blob("quay.io", "library/app", "other");
    // What is held back of: the same, another blob, the same elsewhere, another registry; and for how long.
    let table = [
        (Fault::Silent, ["1 behind"; 4], 30),
        (Fault::Slow, ["1 behind"; 4], 300),
        (Fault::TierSilent, ["all last", "all last", "", ""], 30),
        (Fault::Stalls, ["all behind", "all behind", "", ""], 30),
        (
            Fault::UpstreamLimited(seconds(20)),
            ["all last", "all last", "", ""],
            20,
        ),
        (Fault::Unproven, ["1 behind", "", "", ""], 600),
        (Fault::Unconfirmed, ["1 last", "", "", ""], 300),
        (
            Fault::TooManyRequests(seconds(20)),
            ["1 last", "1 last", "1 last", ""],
            20,
        ),
    ];
    for (fault, due, lasts) in table {
        let it = Case::new();
        it.saw(&fault, &replica(1), &same, 0, Trusted);
        let all = [&same, &sibling, &elsewhere, &registry];
        for (subject, due) in all.into_iter().zip(due) {
            for (at, due) in [(0, due), (lasts - 1, due), (lasts, "")] {
                let against = it.against(subject, at, Trusted).join(" ");
                assert_eq!(against, due, "{fault:?} of {subject:?} after {at} s");
            }
        }
        it.reputation.sweep(it.begin + seconds(lasts));
        assert!(it.reputation.0.is_empty(), "{fault:?}");
    }
}

/// For everything the address stands behind its like, for the repository its tier behind all; the bytes are not asked for there.
#[test]
fn wrong_bytes_count_for_their_content_the_address_and_the_repository() {
    let it = Case::new();
    let wrong = Fault::WrongBytes(Digest::sha256(b"layer"));
    it.saw(&wrong, &replica(1), &layer(), 0, Trusted);
    let behind = ["1 behind"];
    assert_eq!(
        it.against(&layer(), 299, Trusted),
        ["1 behind", "1 never", "all last"]
    );
    let sibling = blob("docker.io", "library/app", "other");
    assert_eq!(it.against(&sibling, 299, Trusted), ["1 behind", "all last"]);
    let elsewhere = blob("docker.io", "library/other", "other");
    assert_eq!(it.against(&elsewhere, 299, Trusted), behind);
    assert_eq!(it.against(&layer(), 300, Trusted), ["1 never"]);
    assert!(it.against(&layer(), 600, Trusted).is_empty());
    // An upstream stands behind the tiers as it is, and stays a source.
    let it = Case::new();
    let upstream = SourceId::Upstream("docker.io".parse().unwrap());
    it.saw(&wrong, &endpoint(&upstream, 1), &sibling, 0, Trusted);
    assert_eq!(it.against(&sibling, 0, Trusted), behind);
}

/// Who stalls is known to the bodies of its repository that are under way at its tier.
#[test]
fn a_stall_is_known_of_the_tier_and_a_late_answer_ends_its_silence() {
    let it = Case::new();
    let (source, now) = (replica(1).source, it.begin);
    let of = layer();
    assert!(!it.reputation.is_slow(&source, &of, now));
    it.saw(&Fault::Stalls, &replica(1), &of, 0, Trusted);
    assert!(it.reputation.is_slow(&source, &of, now));
    let core = SourceId::Tier("core".into());
    assert!(!it.reputation.is_slow(&core, &of, now));
    let elsewhere = blob("docker.io", "library/other", "layer");
    assert!(!it.reputation.is_slow(&source, &elsewhere, now));
    it.saw(&Fault::Silent, &replica(1), &of, 0, Trusted);
    it.saw(&Fault::TierSilent, &replica(1), &of, 0, Trusted);
    it.reputation.has_answered(&replica(1), Trusted);
    assert_eq!(it.against(&of, 0, Trusted), ["all behind"], "it stalls");
}

#[test]
fn what_untrusted_clients_teach_is_for_their_like_alone() {
    let it = Case::new();
    it.saw(&Fault::Silent, &replica(1), &layer(), 0, Untrusted);
    it.saw(&Fault::Silent, &replica(2), &layer(), 0, Trusted);
    assert_eq!(it.against(&layer(), 0, Trusted), ["2 behind"]);
    assert_eq!(it.against(&layer(), 0, Untrusted), ["1 behind", "2 behind"]);
    it.reputation.has_answered(&replica(2), Untrusted);
    assert_eq!(it.against(&layer(), 0, Trusted), ["2 behind"]);
    it.reputation.has_answered(&replica(2), Trusted);
    it.reputation.has_answered(&replica(1), Trusted);
    assert!(it.against(&layer(), 0, Untrusted).is_empty());
    // A digest proves what is wrong, and a registry's limit is one of the node, whoever asked.
    let digest = Digest::sha256(b"layer");
    it.saw(
        &Fault::WrongBytes(digest),
        &replica(1),
        &layer(),
        0,
        Untrusted,
    );
    let limit = Fault::TooManyRequests(seconds(9));
    it.saw(&limit, &replica(2), &layer(), 0, Untrusted);
    assert_eq!(it.against(&layer(), 0, Trusted), ["1 never", "2 last"]);
}

#[test]
fn a_row_is_not_made_shorter_and_ends_when_it_is_lifted() {
    let it = Case::new();
    let limit = |wait| Fault::TooManyRequests(seconds(wait));
    it.saw(&limit(30), &replica(1), &layer(), 0, Trusted);
    it.saw(&limit(5), &replica(1), &layer(), 1, Trusted);
    assert_eq!(it.against(&layer(), 29, Trusted), ["1 last"]);
    it.saw(&Fault::Unproven, &replica(1), &layer(), 30, Trusted);
    it.saw(&Fault::Silent, &replica(1), &layer(), 30, Trusted);
    assert_eq!(it.against(&layer(), 30, Trusted), ["1 behind", "1 behind"]);
    let image = Pulled {
        image: layer().image.unwrap(),
        trust: Trusted,
    };
    let now = it.begin + seconds(30);
    assert!(it.reputation.holds(&replica(1), &image, now));
    assert!(!it.reputation.holds(&replica(2), &image, now));
    it.reputation.clear(&replica(1), &image);
    assert!(!it.reputation.knows(&image, now));
    assert_eq!(it.against(&layer(), 30, Trusted), ["1 behind"], "silent");
}

#[test]
fn two_addresses_of_a_tier_speak_for_it_and_one_of_an_upstream() {
    let it = Case::new();
    let (hub, quay) = (layer(), blob("quay.io", "library/app", "layer"));
    let limit = |wait| Fault::TooManyRequests(seconds(wait));
    it.saw(&limit(30), &replica(1), &hub, 0, Trusted);
    assert_eq!(it.against(&hub, 0, Trusted), ["1 last"]);
    it.saw(&limit(10), &replica(2), &hub, 0, Trusted);
    assert_eq!(
        it.against(&hub, 9, Trusted),
        ["1 last", "2 last", "all last"]
    );
    assert_eq!(it.against(&hub, 10, Trusted), ["1 last"]);
    assert!(it.against(&quay, 0, Trusted).is_empty(), "another registry");
    let upstream = SourceId::Upstream("docker.io".parse().unwrap());
    it.saw(&limit(40), &endpoint(&upstream, 21), &hub, 20, Trusted);
    assert_eq!(it.against(&hub, 59, Trusted), ["21 last", "all last"]);
    assert!(it.against(&hub, 60, Trusted).is_empty());
}

#[test]
fn what_is_remembered_is_bounded_and_shown_with_what_counts_for_most_in_front() {
    let it = Case::new();
    for number in 0..SCOPES + 50 {
        let subject = blob("docker.io", "library/app", &number.to_string());
        it.saw(&Fault::Unproven, &replica(1), &subject, 0, Trusted);
    }
    for last in 0..100 {
        it.saw(&Fault::Slow, &replica(last), &layer(), 0, Trusted);
    }
    let rows = it.reputation.rows(it.begin);
    assert!(rows.len() < SCOPES + ROWS, "{}", rows.len());
    let [first, .., last] = &rows[..] else {
        panic!("rows");
    };
    assert_eq!((first.reason, first.scope.names().1), (SLOW, None));
    assert_eq!(last.reason.0, "unproven");
    let (_, repository, reference) = last.scope.names();
    assert!(reference.is_some() && repository.is_some());
}
