//! Who is doubted for a tag, and what ends the doubt.

use super::*;
use crate::oci::ManifestKinds;
use crate::topology::SourceId;
use std::net::SocketAddr;

struct Course {
    tags: UnprovedTags,
    begin: Instant,
}

impl Course {
    fn new() -> Self {
        Self {
            tags: UnprovedTags::new(),
            begin: Instant::now(),
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.begin + Duration::from_millis(millis)
    }

    /// A tier's address answers with a body that names some content.
    fn answers(&self, who: u8, top: &str, names: &[&str], millis: u64) {
        let named: Vec<Descriptor> = names.iter().map(|name| descriptor(name)).collect();
        let (endpoint, top) = (endpoint(who), digest(top));
        self.tags
            .answered(&image("1"), &endpoint, &top, &named, self.at(millis));
    }

    fn served(&self, name: &str, millis: u64) {
        let (content, size) = (content("library/app", name), descriptor(name).size);
        let to = (&content, Trust::Trusted);
        self.tags.served(to, size, self.at(millis));
    }

    fn missing(&self, name: &str, millis: u64) {
        let content = content("library/app", name);
        self.tags
            .missing((&content, Trust::Trusted), self.at(millis));
    }

    /// The last bytes of the doubted addresses.
    fn doubted(&self, millis: u64) -> Vec<EndpointId> {
        let doubted = self.tags.doubted(&image("1"), self.at(millis));
        doubted.into_iter().map(|one| one.endpoint).collect()
    }
}

fn endpoint(last: u8) -> EndpointId {
    EndpointId {
        source: SourceId::Tier("replica".into()),
        address: SocketAddr::from(([192, 0, 2, last], 443)),
    }
}

fn digest(name: &str) -> Digest {
    Digest::sha256(name.as_bytes())
}

fn descriptor(name: &str) -> Descriptor {
    Descriptor {
        digest: digest(name),
        size: name.len() as u64,
        is_manifest: false,
    }
}

fn content(repository: &str, name: &str) -> Image {
    let (registry, repository) = ("docker.io".parse().unwrap(), repository.parse().unwrap());
    Image::content(registry, repository, digest(name))
}

/// The tag as trusted clients know it who take everything.
fn image(tag: &str) -> Key {
    image_for(tag, ManifestKinds::ALL, Trust::Trusted)
}

fn image_for(tag: &str, kinds: ManifestKinds, trust: Trust) -> Key {
    let (registry, repository) = ("docker.io".parse().unwrap(), "library/app".parse().unwrap());
    let image = Image::new(registry, repository, tag.parse().unwrap(), kinds);
    (image, trust)
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_which_nothing_came_is_doubted_from_the_next_pull_on_and_not_for_ever() {
    let it = Course::new();
    it.answers(1, "wrong", &["child"], 0);
    assert_eq!(it.doubted(999), [], "the GET behind a HEAD, and other pods");
    // Asked again meanwhile: the first time counts.
    it.answers(1, "wrong", &["child"], 900);
    assert_eq!(it.doubted(1000), [endpoint(1)]);
    it.answers(1, "wrong", &["child"], 200_000);
    assert_eq!(it.doubted(299_999), [endpoint(1)]);
    assert_eq!(it.doubted(300_000), []);
    it.answers(1, "wrong", &["child"], 300_000);
    assert_eq!(it.doubted(300_500), [], "from the beginning");
    assert_eq!(it.doubted(301_000), [endpoint(1)]);
    let other = it.tags.doubted(&image("2"), it.at(301_000));
    assert_eq!(other, [], "another tag of the same image");
}

#[tokio::test(start_paused = true)]
async fn whoever_names_what_was_served_is_not_doubted() {
    let it = Course::new();
    it.answers(1, "top", &["child", "another"], 0);
    let child = content("library/app", "child");
    it.tags.served((&child, Trust::Trusted), 6, it.at(10));
    assert_eq!(it.doubted(2000), [endpoint(1)], "another size than it said");
    it.served("stranger", 2000);
    assert_eq!(it.doubted(2000), [endpoint(1)]);
    it.served("child", 2000);
    assert_eq!(it.doubted(2000), []);
    // Tomorrow's pods have all of it already, and ask for the tag alone.
    it.answers(1, "top", &["child", "another"], 80_000_000);
    assert_eq!(it.doubted(80_010_000), []);
    // The same body from elsewhere is as good, another body is not.
    it.answers(2, "top", &["child", "another"], 80_010_000);
    it.answers(3, "moved", &["child", "another"], 80_010_000);
    assert_eq!(it.doubted(80_012_000), [endpoint(3)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_served_after_another_answer_says_nothing_of_the_first() {
    let it = Course::new();
    // Its platform is wrong, the rest is right: containerd asks for nothing.
    it.answers(1, "wrong", &["child"], 0);
    it.answers(2, "right", &["child"], 2000);
    it.served("child", 2010);
    assert_eq!(it.doubted(5000), [endpoint(1)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_names_what_is_nowhere_is_doubted_at_once_whatever_else_was_served() {
    let it = Course::new();
    it.answers(1, "wrong", &["config", "layer"], 0);
    it.served("config", 10);
    it.missing("layer", 20);
    it.served("config", 30);
    assert_eq!(it.doubted(30), [endpoint(1)]);
    it.answers(2, "wrong", &["config", "layer"], 40);
    assert_eq!(it.doubted(40), [endpoint(1), endpoint(2)]);
    assert_eq!(it.doubted(300_019), [endpoint(1), endpoint(2)]);
    assert_eq!(it.doubted(300_020), [endpoint(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_digest_from_anywhere_ends_the_doubt_in_the_same_answer_alone() {
    let it = Course::new();
    it.answers(1, "right", &["child"], 0);
    it.answers(2, "wrong", &["nobodys"], 0);
    it.tags.proved(&image("1"), &digest("right"), it.at(2000));
    assert_eq!(it.doubted(3000), [endpoint(2)]);
    it.answers(1, "right", &["child"], 4000);
    it.missing("child", 4000);
    assert_eq!(it.doubted(6000), [endpoint(2)], "it is what the tag names");
}

#[tokio::test(start_paused = true)]
async fn several_are_doubted_and_each_is_said_once() {
    let it = Course::new();
    for who in 1..=3 {
        it.answers(who, &format!("wrong {who}"), &["child"], 0);
    }
    let news = |millis| -> Vec<bool> {
        let doubted = it.tags.doubted(&image("1"), it.at(millis));
        doubted.iter().map(|one| one.is_news).collect()
    };
    assert_eq!(news(1000), [true, true, true]);
    assert_eq!(news(2000), [false, false, false]);
    it.answers(2, "wrong again", &["child"], 2000);
    assert_eq!(news(4000), [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn tags_and_sources_are_bounded() {
    let it = Course::new();
    for who in 0..=SOURCES {
        it.answers(u8::try_from(who).unwrap(), "wrong", &["child"], 0);
    }
    let doubted = it.doubted(1000);
    assert_eq!(doubted.len(), SOURCES);
    assert!(!doubted.contains(&endpoint(0)), "the oldest made room");
    for tag in 0..IMAGES as u64 {
        let image = image(&format!("v{tag}"));
        let (endpoint, top) = (endpoint(1), digest("wrong"));
        it.tags
            .answered(&image, &endpoint, &top, &[], it.at(1000 + tag));
    }
    assert_eq!(it.doubted(3000), []);
    assert_eq!(it.tags.doubted(&image("v0"), it.at(3000)).len(), 1);
}

/// What is nowhere in another repository, and what is served from there, says nothing of this one's tag; nor does what untrusted
/// clients do with it, or who takes other kinds of manifest.
#[tokio::test(start_paused = true)]
async fn only_the_same_kind_of_client_in_the_same_repository_confirms_and_refutes() {
    let it = Course::new();
    it.answers(1, "top", &["child"], 0);
    let (ours, theirs) = (
        content("library/app", "child"),
        content("evil/app", "child"),
    );
    it.tags.missing((&theirs, Trust::Trusted), it.at(10));
    it.tags.missing((&ours, Trust::Untrusted), it.at(10));
    assert_eq!(it.doubted(500), []);
    it.tags.served((&theirs, Trust::Trusted), 5, it.at(500));
    it.tags.served((&ours, Trust::Untrusted), 5, it.at(500));
    assert_eq!(it.doubted(1000), [endpoint(1)], "still open");
    it.served("child", 1000);
    assert_eq!(it.doubted(2000), []);
    let narrow = ManifestKinds::of_accept("application/vnd.oci.image.manifest.v1+json");
    for other in [
        image_for("1", ManifestKinds::ALL, Trust::Untrusted),
        image_for("1", narrow, Trust::Trusted),
    ] {
        it.tags.proved(&other, &digest("platform"), it.at(3000));
        let named = [descriptor("child")];
        it.tags
            .answered(&other, &endpoint(2), &digest("top"), &named, it.at(3000));
        assert_eq!(it.tags.doubted(&other, it.at(5000)).len(), 1, "asked twice");
    }
    it.answers(1, "top", &["child"], 5000);
    assert_eq!(it.doubted(7000), [], "confirmed as before");
}
