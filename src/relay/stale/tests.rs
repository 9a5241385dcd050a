//! What is kept comes back, proved and only while it may; what cannot be written costs one event.

mod eviction;
mod strangers;

use super::*;
use crate::budget::Budget;
use crate::telemetry::{Captured, EventName};
use futures_util::FutureExt as _;

const BODY: &[u8] = br#"{"schemaVersion":2}"#;
const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const DAY: Duration = Duration::from_secs(86_400);

fn limits() -> config::Stale {
    config::Stale {
        enabled: true,
        max_age: 7 * DAY,
        max_bytes: 64 << 20,
    }
}

struct Kept {
    _home: tempfile::TempDir,
    store: Arc<Store>,
    writer: Writer,
    said: Captured,
}

impl Kept {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (journal, said) = Journal::capturing();
        let directory = home.path().join("manifests");
        let store = Arc::new(Store::new(directory, journal, Budget::unlimited()));
        Self {
            writer: Writer::new(store.clone()),
            _home: home,
            store,
            said,
        }
    }

    fn keep(&mut self, reference: &str, body: &'static [u8], at: SystemTime) {
        self.keep_of(&image(reference), body, Trust::Trusted, at);
    }

    fn keep_of(&mut self, image: &Image, body: &'static [u8], trust: Trust, at: SystemTime) {
        let whole = Some((Bytes::from_static(body), MEDIA_TYPE.to_owned()));
        self.keep_as_of(image, body, whole, trust, at);
    }

    fn keep_as_of(
        &mut self,
        image: &Image,
        body: &[u8],
        whole: Option<(Bytes, String)>,
        trust: Trust,
        at: SystemTime,
    ) {
        let image = image.clone();
        let keep = Keep {
            of: Pulled { image, trust },
            digest: Digest::sha256(body),
            whole,
            limits: limits(),
        };
        let command = Command::Keep(keep);
        self.writer.carry_out(command, Instant::now(), at);
    }

    fn keep_as(
        &mut self,
        reference: &str,
        body: &[u8],
        whole: Option<(Bytes, String)>,
        limits: config::Stale,
        now: Instant,
        at: SystemTime,
    ) {
        let (image, trust) = (image(reference), Trust::Trusted);
        let keep = Keep {
            of: Pulled { image, trust },
            digest: Digest::sha256(body),
            whole,
            limits,
        };
        self.writer.carry_out(Command::Keep(keep), now, at);
    }

    fn forget(&mut self, denied: &Image, kinds: Option<ManifestKinds>) {
        let command = Command::Forget(denied.clone(), kinds);
        self.writer
            .carry_out(command, Instant::now(), SystemTime::now());
    }

    fn read(&self, reference: &str, now: SystemTime) -> Option<StaleManifest> {
        self.read_of(&image(reference), now)
    }

    fn read_of(&self, image: &Image, now: SystemTime) -> Option<StaleManifest> {
        self.store.read(image, limits().max_age, now)
    }
}

/// 0.1.0 had a folder per repository where the trees are now.
#[test]
fn what_an_earlier_version_kept_is_neither_answered_nor_left() {
    let mut kept = Kept::new();
    let folder = kept.store.directory().join("f");
    std::fs::create_dir_all(&folder).unwrap();
    let name = Digest::sha256(BODY).as_str().replace(':', ".");
    let text = [MEDIA_TYPE.as_bytes(), b"\n", BODY].concat();
    std::fs::write(folder.join(&name), text).unwrap();
    std::fs::write(folder.join("tag.1"), Digest::sha256(BODY).as_str()).unwrap();
    let now = SystemTime::now();
    assert!(kept.read("1", now).is_none());
    kept.keep("2", BODY, now);
    assert!(!folder.exists());
    assert!(kept.read("2", now).is_some());
}

const ALL: ManifestKinds = ManifestKinds::ALL;

/// For who takes everything.
fn image(reference: &str) -> Image {
    image_for("library/app", reference, ALL)
}

fn image_for(repository: &str, reference: &str, kinds: ManifestKinds) -> Image {
    Image::new(
        "docker.io".parse().unwrap(),
        repository.parse().unwrap(),
        reference.parse().unwrap(),
        kinds,
    )
}

/// Who takes no index.
fn narrow() -> ManifestKinds {
    ManifestKinds::from_accept(MEDIA_TYPE)
}

#[test]
fn a_manifest_comes_back_by_tag_and_by_digest_with_its_age() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    kept.keep("1.27", BODY, now);
    let later = now + DAY;
    let found = kept.read("1.27", later).unwrap();
    assert_eq!((&found.body[..], &*found.media_type), (BODY, MEDIA_TYPE));
    assert_eq!(found.digest, Digest::sha256(BODY));
    assert_eq!(found.age, DAY);
    let by_digest = kept.read(Digest::sha256(BODY).as_str(), later).unwrap();
    assert_eq!(by_digest, found);
    assert_eq!(kept.read("1.28", later), None);
    assert_eq!(
        kept.read("1.27", now - DAY).unwrap().age,
        Duration::ZERO,
        "a clock set back"
    );
    assert_eq!(kept.read("1.27", now + 7 * DAY + DAY), None, "too old");
}

#[test]
fn a_tag_that_moved_names_the_newest_and_what_is_named_again_is_young_again() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    kept.keep("1", BODY, now - 6 * DAY);
    kept.keep("1", b"{}", now - 5 * DAY);
    assert_eq!(kept.read("1", now).unwrap().body, "{}");
    // Upstream's HEAD names the content without sending it.
    kept.keep_as("1", b"{}", None, limits(), Instant::now(), now);
    assert_eq!(kept.read("1", now).unwrap().age, Duration::ZERO);
    let content = kept.read(Digest::sha256(b"{}").as_str(), now).unwrap();
    assert_eq!(content.age, Duration::ZERO);
}

#[test]
fn what_does_not_fit_its_digest_is_absent() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    kept.keep("1", BODY, now);
    let hex = Digest::sha256(BODY).as_str().replace(':', ".");
    let [folder, _] = kept.store.folders(&image("1"));
    let content = folder.join(hex);
    for broken in [
        &b""[..],
        b"x",
        b"a/manifest\nother bytes",
        b"a/b\r\n{\"schemaVersion\":2}",
    ] {
        std::fs::write(&content, broken).unwrap();
        assert_eq!(kept.read("1", now), None, "{broken:?}");
    }
    std::fs::write(folder.join("tag-ff.1"), "sha256:12\n").unwrap();
    assert_eq!(kept.read("1", now), None);
}

#[test]
fn a_denial_deletes() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    kept.keep("1", BODY, now);
    kept.keep("2", BODY, now);
    kept.forget(&image("1"), Some(ALL));
    kept.forget(&image("never-kept"), Some(ALL));
    assert_eq!(kept.read("1", now), None);
    assert!(kept.read("2", now).is_some());
    kept.forget(&image("1"), None);
    kept.forget(&image("1"), None);
    assert_eq!(kept.read("2", now), None);
    assert!(!kept.store.is_tainted());
}

#[test]
fn a_disk_that_takes_nothing_costs_one_event_and_is_tried_again() {
    let (mut kept, now) = (Kept::new(), Instant::now());
    // No directory can be made where a file stands.
    std::fs::write(kept.store.directory(), "").unwrap();
    let whole = || Some((Bytes::from_static(BODY), MEDIA_TYPE.to_owned()));
    let at = SystemTime::now();
    for seconds in [0, 1, 599, 600, 700, 1_300] {
        let now = now + Duration::from_secs(seconds);
        kept.keep_as("1", BODY, whole(), limits(), now, at);
    }
    let events = kept.said.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].event, EventName::FilesNotWritable);
    std::fs::remove_file(kept.store.directory()).unwrap();
    kept.keep_as(
        "1",
        BODY,
        whole(),
        limits(),
        now + Duration::from_secs(1_400),
        at,
    );
    assert_eq!(kept.read("1", at), None, "it rests after a failure");
    kept.keep_as(
        "1",
        BODY,
        whole(),
        limits(),
        now + Duration::from_secs(1_900),
        at,
    );
    assert!(kept.read("1", at).is_some());
}

#[test]
fn the_oldest_and_the_too_old_make_room_on_disk() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    let small = config::Stale {
        max_bytes: 8 * 4096,
        ..limits()
    };
    for index in 0..20_u32 {
        let body = Bytes::from(format!("{{\"n\":{index}}}"));
        let at = now - Duration::from_secs(100 - u64::from(index));
        let whole = Some((body.clone(), MEDIA_TYPE.to_owned()));
        kept.keep_as(
            &format!("t{index}"),
            &body,
            whole,
            small,
            Instant::now(),
            at,
        );
    }
    let [folder, _] = kept.store.folders(&image("t19"));
    let files = std::fs::read_dir(folder).unwrap().count();
    assert!(files <= 8, "{files} files");
    assert!(kept.read("t19", now).is_some());
    assert_eq!(kept.read("t0", now), None);
}

/// Registries say "no" as often as somebody asks for what there is not. What waits for the disk is bounded, and all of it gets
/// through; a disk that takes none of it answers nothing.
#[tokio::test(start_paused = true)]
async fn a_flood_of_denials_waits_for_the_disk_within_bounds() {
    let (journal, said) = Journal::capturing();
    let (commands, mut queue) = mpsc::channel(QUEUE + DENIALS);
    let stale = Arc::new(Stale {
        commands,
        ..Stale::start("/nonexistent".into(), journal, Budget::unlimited())
    });
    let deny = |number: usize| {
        let stale = stale.clone();
        let image = image(&format!("t{number}"));
        async move { stale.forget(&image, Some(ALL)).await }
    };
    let bound = QUEUE + DENIALS;
    for number in 0..bound {
        deny(number).now_or_never().expect("its pull does not wait");
    }
    let more = futures_util::future::join_all((bound..bound + 300).map(deny));
    let mut more = Box::pin(more);
    assert!(
        (&mut more).now_or_never().is_none(),
        "who is denied beyond them waits"
    );
    let taking = async {
        for _ in 0..bound + 300 {
            queue.recv().await.unwrap();
        }
    };
    tokio::join!(more, taking);
    assert!(queue.try_recv().is_err(), "each came once");
    assert!(!stale.store.is_tainted() && said.events().is_empty());

    let since = Instant::now();
    futures_util::future::join_all((0..bound + 300).map(deny)).await;
    assert_eq!(since.elapsed(), DENIAL_LIMIT, "the disk took none");
    assert!(stale.store.is_tainted());
    assert_eq!(said.events().len(), 1, "{:?}", said.events());
}
