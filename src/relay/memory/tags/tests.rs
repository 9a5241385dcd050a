//! Who stands behind the others for a tag, and for how long.

use super::*;
use crate::oci::ManifestKinds;
use crate::topology::SourceId;
use std::net::SocketAddr;

struct Course {
    tags: TagAnswers,
    begin: Instant,
}

impl Course {
    fn new() -> Self {
        Self {
            tags: TagAnswers::new(),
            begin: Instant::now(),
        }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begin + Duration::from_secs(seconds)
    }

    fn answers(&self, who: u8, top: &str) {
        let (endpoint, length) = (endpoint(who), top.len() as u64);
        let told = (&digest(top), length);
        self.tags.answered(&tag("1"), &endpoint, told, self.begin);
    }

    /// The manifest is read.
    fn lists(&self, top: &str, names: &[&str]) {
        let named = names.iter().map(|name| Descriptor {
            digest: digest(name),
            size: name.len() as u64,
            is_manifest: false,
        });
        let manifest = content("library/app", top);
        let named: Vec<_> = named.collect();
        self.tags.lists((&manifest, Trust::Trusted), &named);
    }

    fn nowhere(&self, name: &str, seconds: u64) {
        let content = content("library/app", name);
        let at = self.at(seconds);
        self.tags.is_nowhere((&content, Trust::Trusted), at);
    }

    fn has_size(&self, name: &str, size: usize) {
        let content = content("library/app", name);
        let of = (&content, Trust::Trusted);
        self.tags.has_size(of, size as u64, self.begin);
    }

    /// The last bytes of the addresses that stand behind.
    fn behind(&self, seconds: u64) -> Vec<u8> {
        let behind = self.tags.refuted(&tag("1"), self.at(seconds));
        behind.iter().map(|one| last(&one.endpoint)).collect()
    }
}

fn endpoint(last: u8) -> EndpointId {
    EndpointId {
        source: SourceId::Tier("replica".into()),
        address: SocketAddr::from(([192, 0, 2, last], 443)),
    }
}

fn last(endpoint: &EndpointId) -> u8 {
    match endpoint.address {
        SocketAddr::V4(address) => address.ip().octets()[3],
        SocketAddr::V6(_) => panic!("an IPv4 address"),
    }
}

fn digest(name: &str) -> Digest {
    Digest::sha256(name.as_bytes())
}

fn content(repository: &str, name: &str) -> Image {
    let (registry, repository) = ("docker.io".parse().unwrap(), repository.parse().unwrap());
    Image::content(registry, repository, digest(name))
}

fn tag_for(tag: &str, kinds: ManifestKinds, trust: Trust) -> Key {
    let (registry, repository) = ("docker.io".parse().unwrap(), "library/app".parse().unwrap());
    let tag = Image::new(registry, repository, tag.parse().unwrap(), kinds);
    (tag, trust)
}

fn tag(tag: &str) -> Key {
    tag_for(tag, ManifestKinds::ALL, Trust::Trusted)
}

#[test]
fn an_answer_stands_until_something_that_it_names_is_nowhere() {
    let it = Course::new();
    it.answers(1, "index");
    it.answers(2, "another");
    it.lists("index", &["child", "other"]);
    // Asked for again and again, and nothing comes of it: a node that has everything already.
    assert!(it.behind(0).is_empty() && it.behind(86_400).is_empty());
    it.nowhere("layer", 1);
    it.has_size("child", "child".len());
    assert!(it.behind(1).is_empty(), "nothing of that refutes it");
    it.nowhere("other", 10);
    assert_eq!((it.behind(10), it.behind(309)), (vec![1], vec![1]));
    assert!(it.behind(310).is_empty(), "forgiven");
    it.nowhere("other", 400);
    assert_eq!(it.behind(400), [1], "and refuted anew");
}

#[test]
fn the_manifest_itself_may_be_nowhere_or_of_another_length() {
    let it = Course::new();
    it.answers(1, "index");
    it.nowhere("index", 0);
    assert_eq!(it.behind(0), [1]);
    let it = Course::new();
    it.answers(1, "index");
    it.has_size("index", 5);
    assert!(it.behind(0).is_empty());
    it.has_size("index", 6);
    assert_eq!(it.behind(0), [1]);
}

#[test]
fn content_of_another_size_refutes_who_named_it() {
    let it = Course::new();
    it.answers(1, "index");
    it.lists("index", &["child"]);
    it.has_size("child", 99);
    assert_eq!(it.behind(0), [1]);
}

#[test]
fn the_same_answer_of_another_address_is_refuted_with_it() {
    let it = Course::new();
    it.answers(1, "index");
    it.lists("index", &["child"]);
    it.answers(2, "index");
    it.nowhere("child", 0);
    it.answers(3, "index");
    assert_eq!(it.behind(0), [1, 2, 3]);
    // Said once more it stays as it is; another answer is another matter.
    it.answers(1, "index");
    assert_eq!(it.behind(0), [1, 2, 3]);
    it.answers(1, "newer");
    assert_eq!(it.behind(0), [2, 3]);
}

#[test]
fn each_refuted_answer_is_said_once() {
    let it = Course::new();
    it.answers(1, "index");
    it.nowhere("index", 0);
    let news = |seconds| it.tags.refuted(&tag("1"), it.at(seconds))[0].is_news;
    assert!(news(0) && !news(1));
    it.nowhere("index", 400);
    assert!(news(400), "it happened again");
}

/// Other repositories, other kinds of manifest, other clients, other tags.
#[test]
fn only_what_belongs_to_the_tag_refutes_it() {
    let it = Course::new();
    it.answers(1, "index");
    let elsewhere = content("library/other", "index");
    it.tags.is_nowhere((&elsewhere, Trust::Trusted), it.begin);
    let own = content("library/app", "index");
    it.tags.is_nowhere((&own, Trust::Untrusted), it.begin);
    assert!(it.behind(0).is_empty());
    it.nowhere("index", 0);
    let some = ManifestKinds::of_accept("application/vnd.oci.image.index.v1+json");
    for other in [
        tag("2"),
        tag_for("1", some, Trust::Trusted),
        tag_for("1", ManifestKinds::ALL, Trust::Untrusted),
    ] {
        assert!(it.tags.refuted(&other, it.begin).is_empty());
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let it = Course::new();
    for number in 0..TAGS + 50 {
        let told = (&digest("index"), 5);
        let tag = tag(&number.to_string());
        it.tags.answered(&tag, &endpoint(1), told, it.begin);
    }
    assert_eq!(it.tags.0.read(|tags| tags.len()), TAGS);
    for who in 0..20 {
        it.answers(who, &who.to_string());
    }
    let kept = it
        .tags
        .0
        .read(|tags| tags.get(&tag("1"), it.begin).map(Vec::len));
    assert_eq!(kept, Some(SOURCES));
}
