//! What is kept comes back, proved and only while it may; what cannot be written costs one event.

use super::eviction::{Stored, evicted};
use super::*;
use crate::telemetry::{Captured, EventName};

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
    shelf: Arc<Shelf>,
    writer: Writer,
    said: Captured,
    tainted: Arc<AtomicBool>,
}

impl Kept {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::new(home.path().join("manifests")));
        let (journal, said) = Journal::capturing();
        let tainted = Arc::<AtomicBool>::default();
        Self {
            writer: Writer::new(shelf.clone(), journal, tainted.clone()),
            _home: home,
            shelf,
            said,
            tainted,
        }
    }

    fn keep(&mut self, reference: &str, body: &'static [u8], at: SystemTime) {
        let whole = Some((Bytes::from_static(body), MEDIA_TYPE.to_owned()));
        self.keep_as(reference, body, whole, limits(), Instant::now(), at);
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
        let command = Command::Keep {
            folder: "f".to_owned(),
            reference: reference.parse().unwrap(),
            digest: Digest::sha256(body),
            whole,
            limits,
        };
        self.writer.carry_out(command, now, at);
    }

    fn forget(&mut self, reference: Option<&str>) {
        let command = Command::Forget {
            folder: "f".to_owned(),
            reference: reference.map(|reference| reference.parse().unwrap()),
        };
        self.writer
            .carry_out(command, Instant::now(), SystemTime::now());
    }

    fn read(&self, reference: &str, now: SystemTime) -> Option<StaleManifest> {
        let reference = reference.parse().unwrap();
        self.shelf.read("f", &reference, limits().max_age, now)
    }
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
    let content = kept.shelf.directory().join("f").join(hex);
    for broken in [
        &b""[..],
        b"x",
        b"a/manifest\nother bytes",
        b"a/b\r\n{\"schemaVersion\":2}",
    ] {
        std::fs::write(&content, broken).unwrap();
        assert_eq!(kept.read("1", now), None, "{broken:?}");
    }
    std::fs::write(kept.shelf.directory().join("f/tag.1"), "sha256:12\n").unwrap();
    assert_eq!(kept.read("1", now), None);
}

#[test]
fn a_denial_deletes() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    kept.keep("1", BODY, now);
    kept.keep("2", BODY, now);
    kept.forget(Some("1"));
    kept.forget(Some("never-kept"));
    assert_eq!(kept.read("1", now), None);
    assert!(kept.read("2", now).is_some());
    kept.forget(None);
    kept.forget(None);
    assert_eq!(kept.read("2", now), None);
    assert!(!kept.tainted.load(Ordering::Relaxed));
}

#[test]
fn a_disk_that_takes_nothing_costs_one_event_and_is_tried_again() {
    let (mut kept, now) = (Kept::new(), Instant::now());
    // No directory can be made where a file stands.
    std::fs::write(kept.shelf.directory(), "").unwrap();
    let whole = || Some((Bytes::from_static(BODY), MEDIA_TYPE.to_owned()));
    let at = SystemTime::now();
    for seconds in [0, 1, 599, 600, 700, 1_300] {
        let now = now + Duration::from_secs(seconds);
        kept.keep_as("1", BODY, whole(), limits(), now, at);
    }
    let events = kept.said.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].event, EventName::FilesNotWritable);
    std::fs::remove_file(kept.shelf.directory()).unwrap();
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
    let files = std::fs::read_dir(kept.shelf.directory().join("f"))
        .unwrap()
        .count();
    assert!(files <= 8, "{files} files");
    assert!(kept.read("t19", now).is_some());
    assert_eq!(kept.read("t0", now), None);
}

#[test]
fn what_is_evicted() {
    let now = SystemTime::now();
    let stored = |name: &str, days: u32, bytes: u64| Stored {
        at: now - days * DAY,
        bytes,
        file: name.into(),
    };
    let limits = config::Stale {
        max_bytes: 16 * 4096,
        ..limits()
    };
    // (files, who goes, blocks that stay)
    let table: [(Vec<Stored>, &[&str], u64); 4] = [
        (vec![], &[], 0),
        (vec![stored("a", 6, 1), stored("b", 1, 4097)], &[], 3),
        (vec![stored("a", 8, 1), stored("b", 1, 1)], &["a"], 1),
        (
            vec![
                stored("b", 1, 8 * 4096),
                stored("c", 3, 5 * 4096),
                stored("a", 2, 4 * 4096),
            ],
            &["c"],
            12,
        ),
    ];
    for (all, due, left) in table {
        let due: Vec<PathBuf> = due.iter().map(PathBuf::from).collect();
        assert_eq!(
            evicted(all.clone(), limits, now),
            (due, left * 4096),
            "{all:?}"
        );
    }
}

#[test]
fn only_what_the_client_takes_is_answered() {
    let table = [
        (MEDIA_TYPE, true),
        (
            "text/html, application/vnd.oci.image.manifest.v1+json;q=0.5",
            true,
        ),
        ("application/vnd.oci.image.index.v1+json, */*;q=0.1", true),
        ("application/vnd.oci.image.index.v1+json", false),
        ("", false),
    ];
    for (accept, due) in table {
        assert_eq!(is_accepted(accept, MEDIA_TYPE), due, "{accept}");
    }
}
