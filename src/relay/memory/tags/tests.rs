//! Who stands behind the others for a tag, and for how long.

use super::*;
use crate::cache::Trust;
use crate::oci::ManifestKinds;
use crate::relay::memory::Image;
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

    /// Who gave the same answer; `None`: it said so before.
    fn answers(&self, who: u8, top: &str) -> Option<Vec<u8>> {
        self.answers_for(&tag("1"), who, top)
    }

    fn answers_for(&self, tag: &Pulled, who: u8, top: &str) -> Option<Vec<u8>> {
        let length = top.len() as u64;
        let (endpoint, top) = (endpoint(who), digest(top));
        let tags = &self.tags;
        let like = tags.answered(tag, &endpoint, &top, length, self.begin)?;
        Some(like.iter().map(last).collect())
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
        self.tags.lists(&manifest, &named);
    }

    /// The last bytes of the addresses whose answers that refutes.
    fn nowhere(&self, name: &str) -> Vec<u8> {
        let content = content("library/app", name);
        who(&self.tags.refuted(&content, None))
    }

    fn has_size(&self, name: &str, size: usize) -> Vec<u8> {
        let content = content("library/app", name);
        who(&self.tags.refuted(&content, Some(size as u64)))
    }
}

fn who(refuted: &[Answer]) -> Vec<u8> {
    let refuted = refuted.iter().map(|one| last(&one.endpoint));
    refuted.collect()
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

fn content(repository: &str, name: &str) -> Pulled {
    let (registry, repository) = ("docker.io".parse().unwrap(), repository.parse().unwrap());
    Pulled {
        image: Image::content(registry, repository, digest(name)),
        trust: Trust::Trusted,
    }
}

fn tag_for(tag: &str, kinds: ManifestKinds, trust: Trust) -> Pulled {
    let (registry, repository) = ("docker.io".parse().unwrap(), "library/app".parse().unwrap());
    let image = Image::new(registry, repository, tag.parse().unwrap(), kinds);
    Pulled { image, trust }
}

fn tag(tag: &str) -> Pulled {
    tag_for(tag, ManifestKinds::ALL, Trust::Trusted)
}

#[test]
fn an_answer_stands_until_something_that_it_names_is_nowhere() {
    let it = Course::new();
    it.answers(1, "index");
    it.answers(2, "another");
    it.lists("index", &["child", "other"]);
    // Asked for again and again, and nothing comes of it: a node that has everything already.
    assert_eq!(it.answers(1, "index"), None);
    assert!(it.nowhere("layer").is_empty());
    assert!(it.has_size("child", "child".len()).is_empty());
    assert_eq!(it.nowhere("other"), [1]);
}

#[test]
fn the_manifest_itself_may_be_nowhere_or_of_another_length() {
    let it = Course::new();
    it.answers(1, "index");
    assert_eq!(it.nowhere("index"), [1]);
    assert!(it.has_size("index", 5).is_empty());
    assert_eq!(it.has_size("index", 6), [1]);
}

#[test]
fn content_of_another_size_refutes_who_named_it() {
    let it = Course::new();
    it.answers(1, "index");
    it.lists("index", &["child"]);
    assert_eq!(it.has_size("child", 99), [1]);
}

#[test]
fn the_same_answer_of_another_address_is_known_as_such() {
    let it = Course::new();
    assert_eq!(it.answers(1, "index"), Some(vec![]));
    it.lists("index", &["child"]);
    assert_eq!(it.answers(2, "index"), Some(vec![1]));
    assert_eq!(it.answers(3, "index"), Some(vec![1, 2]));
    assert_eq!(it.nowhere("child"), [1, 2, 3], "it names the same");
    assert_eq!(it.answers(1, "newer"), Some(vec![]));
    assert_eq!(
        it.nowhere("child"),
        [2, 3],
        "another answer is another matter"
    );
}

/// Other repositories, other kinds of manifest, other clients, other tags.
#[test]
fn only_what_belongs_to_the_tag_refutes_it() {
    let it = Course::new();
    it.answers(1, "index");
    let elsewhere = content("library/other", "index");
    let refuted = it.tags.refuted(&elsewhere, None);
    assert!(refuted.is_empty());
    let own = content("library/app", "index");
    let untrusted = Pulled {
        trust: Trust::Untrusted,
        ..own.clone()
    };
    assert!(it.tags.refuted(&untrusted, None).is_empty());
    let some = ManifestKinds::from_accept("application/vnd.oci.image.index.v1+json");
    let other_kinds = tag_for("1", some, Trust::Trusted);
    it.answers_for(&other_kinds, 2, "other");
    let refuted = it.tags.refuted(&own, None);
    let refuted = refuted
        .into_iter()
        .map(|one| (one.tag, one.endpoint, one.top));
    let due = (tag("1"), endpoint(1), digest("index"));
    assert_eq!(refuted.collect::<Vec<_>>(), [due]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let it = Course::new();
    for number in 0..ANSWERS + 50 {
        it.answers_for(&tag(&number.to_string()), 1, "index");
        // Asked for again and again, it stays.
        it.answers_for(&tag("latest"), 1, "index");
    }
    let of = key(&tag("1"));
    let answers = || it.tags.0.read(|all| all.get(&of, it.begin).map(Vec::len));
    assert_eq!(answers(), Some(ANSWERS));
    assert_eq!(it.answers_for(&tag("latest"), 1, "index"), None);
    for who in 0..100 {
        it.answers(who, &who.to_string());
    }
    assert_eq!(answers(), Some(ANSWERS));
    for number in 0..REPOSITORIES + 50 {
        it.answers_for(&content(&format!("library/{number}"), "index"), 1, "index");
    }
    assert_eq!(it.tags.0.read(|all| all.len()), REPOSITORIES);
}
