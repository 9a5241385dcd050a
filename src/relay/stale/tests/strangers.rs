//! What untrusted clients and odd choices of kinds do to what is kept: nothing to anybody else's.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

/// Who takes no index gets one platform's manifest for a tag, or none: that is kept, and deleted, beside the index.
#[test]
fn a_tag_means_to_each_kind_of_client_what_it_was_told() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    let narrow_tag = image_for("library/app", "1", narrow());
    kept.keep("1", BODY, now);
    kept.keep_of(&narrow_tag, b"{}", Trust::Trusted, now);
    assert_eq!(kept.read("1", now).unwrap().body, BODY);
    assert_eq!(kept.read_of(&narrow_tag, now).unwrap().body, "{}");
    let by_digest = image(Digest::sha256(BODY).as_str());
    kept.forget(&narrow_tag, Some(narrow()));
    kept.forget(&by_digest, Some(narrow()));
    assert_eq!(kept.read_of(&narrow_tag, now), None);
    assert_eq!(kept.read("1", now).unwrap().body, BODY);
    assert!(kept.read_of(&by_digest, now).is_some());
    // Who takes everything is told of all of it.
    kept.keep_of(&narrow_tag, b"{}", Trust::Trusted, now);
    kept.keep("1.2", b"{}", now);
    kept.forget(&image("1"), Some(ALL));
    assert_eq!(kept.read_of(&narrow_tag, now), None);
    assert_eq!(kept.read("1", now), None);
    assert!(kept.read("1.2", now).is_some());
    kept.forget(&by_digest, Some(ALL));
    assert_eq!(kept.read_of(&by_digest, now), None);
}

#[test]
fn the_newest_word_counts_whoever_asked_and_nobody_elses_copy_goes_for_it() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    let at = |days: u32| now - days * DAY;
    kept.keep("1", BODY, at(5));
    kept.keep_of(&image("1"), b"{}", Trust::Untrusted, at(4));
    assert_eq!(kept.read("1", now).unwrap().body, "{}");
    // Its content gone, the trusted client's is as good as ever.
    std::fs::remove_dir_all(kept.store.directory().join("untrusted")).unwrap();
    assert_eq!(kept.read("1", now).unwrap().body, BODY);
    // The same again makes it younger, with a copy of their own and with none.
    kept.keep_of(&image("1"), BODY, Trust::Untrusted, at(2));
    assert_eq!(kept.read("1", now).unwrap().age, 2 * DAY);
    kept.forget(&image("1"), None);
    kept.keep("1", BODY, at(5));
    kept.keep_as_of(&image("1"), BODY, None, Trust::Untrusted, at(1));
    assert_eq!(kept.read("1", now).unwrap().age, DAY);
    let content = kept.read(Digest::sha256(BODY).as_str(), now).unwrap();
    assert_eq!(content.age, DAY);
    kept.forget(&image("1"), None);
    assert_eq!(kept.read("1", now), None);
}

/// A trusted client that is told of a manifest by HEAD alone takes over what another's pull has brought.
#[test]
fn what_a_trusted_client_is_told_of_is_its_own() {
    let (mut kept, now) = (Kept::new(), SystemTime::now());
    kept.keep_of(&image("1"), BODY, Trust::Untrusted, now);
    kept.keep_as("1", BODY, None, limits(), Instant::now(), now);
    std::fs::remove_dir_all(kept.store.directory().join("untrusted")).unwrap();
    assert_eq!(kept.read("1", now).unwrap().body, BODY);
}

/// Whatever the umask is and whatever an earlier version left.
#[test]
fn nobody_else_may_read_what_is_kept() {
    fn modes(path: &std::path::Path, found: &mut Vec<(PathBuf, u32)>) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        found.push((path.to_owned(), mode));
        for entry in std::fs::read_dir(path).into_iter().flatten() {
            modes(&entry.unwrap().path(), found);
        }
    }
    for leftover in [false, true] {
        let (mut kept, now) = (Kept::new(), SystemTime::now());
        let directory = kept.store.directory().to_owned();
        if leftover {
            std::fs::create_dir(&directory).unwrap();
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&directory, open).unwrap();
            std::fs::write(directory.join("unfinished"), "old").unwrap();
        }
        kept.keep("1", BODY, now);
        kept.keep_of(&image("2"), BODY, Trust::Untrusted, now);
        let mut found = Vec::new();
        modes(&directory, &mut found);
        assert!(found.len() > 5, "{found:?}");
        for (path, mode) in found {
            let due = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, due, "{}", path.display());
        }
    }
}

/// What finds no place in the queue, or no room in memory, is not looked for again with the next HEAD.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_kept_is_looked_for_ahead_once_a_minute() {
    let large = Bytes::from(vec![b' '; SMALL + 1]);
    for is_memory_full in [true, false] {
        let (journal, _) = Journal::capturing();
        let (commands, mut queue) = mpsc::channel(QUEUE + DENIALS);
        let (budget, of) = (Budget::new(1 << 20), image("1"));
        let held = budget.lease(crate::budget::Kind::Layers);
        let stale = Stale {
            commands,
            ..Stale::start("/nonexistent".into(), journal, budget)
        };
        let (body, trust) = match is_memory_full {
            true => (large.clone(), Trust::Trusted),
            false => (Bytes::from_static(BODY), Trust::Untrusted),
        };
        let keep = |of: &Image, body: &Bytes| {
            let of = Pulled {
                image: of.clone(),
                trust,
            };
            let digest = Digest::sha256(body);
            let is_due = stale.goes_ahead(&of, &digest);
            stale.keep(&of, &digest, Some((body, MEDIA_TYPE)), limits());
            is_due
        };
        match is_memory_full {
            true => held.add((1 << 19) + 1),
            false => {
                let mut others = (0..QUEUE / 4).map(|number| image(&format!("t{number}")));
                assert!(others.all(|other| keep(&other, &body)));
            }
        }
        let waiting = queue.len();
        assert!(keep(&of, &body));
        assert_eq!(queue.len(), waiting, "it is not kept");
        assert!(!keep(&of, &body));
        tokio::time::advance(AHEAD_EVERY).await;
        held.set(0);
        while queue.try_recv().is_ok() {}
        assert!(keep(&of, &body));
        assert_eq!(queue.len(), 1, "it is kept");
        tokio::time::advance(AHEAD_EVERY).await;
        assert!(!keep(&of, &body));
    }
}
