//! The ledger keeps what it was given, refuses what it does not know, and lets one at a time work.

use super::*;
use tempfile::tempdir;

fn standing(text: &str) -> Standing {
    Standing {
        bytes: text.as_bytes().to_vec(),
        mode: 0o644,
        uid: 7,
        gid: 8,
    }
}

fn entry(original: Option<Original>, written: &[Option<&Standing>]) -> Entry {
    Entry {
        kind: Kind::Hosts,
        original,
        written: written.iter().map(|one| fingerprint(*one)).collect(),
    }
}

#[test]
fn what_is_kept_comes_back() {
    let directory = tempdir().unwrap();
    let store = Store::new(&directory.path().join("state"));
    let _lock = store.lock(Duration::ZERO).unwrap();
    assert_eq!(store.load().unwrap(), Ledger::default());
    let before = standing("theirs\u{0}\r\n镜像");
    let after = standing("ours");
    let original = Original::new(&before);
    let mut ledger = Ledger {
        released: true,
        ..Ledger::default()
    };
    ledger.tiers.insert("core".into());
    ledger.files.insert(
        "/a".into(),
        entry(Some(original.clone()), &[Some(&before), Some(&after)]),
    );
    ledger.files.insert("/b".into(), entry(None, &[None]));
    store.save(&ledger).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded, ledger);
    assert_eq!(original.standing(), Some(before.clone()));
    let a = &loaded.files[Path::new("/a")];
    assert!(a.is_ours(Some(&before)) && a.is_ours(Some(&after)));
    assert!(!a.is_ours(Some(&standing("else"))) && !a.is_ours(None));
    assert!(loaded.files[Path::new("/b")].is_ours(None));
}

/// The ledger of 0.1.0 named a file with the bytes. By the marks our part is taken out without it.
#[test]
fn an_earlier_ledger_is_read() {
    let directory = tempdir().unwrap();
    let store = Store::new(directory.path());
    let text = "{\"version\": 1, \"files\": {\"/a\": {\"kind\": \"hosts\", \"original\": {\"sha256\": \"00\", \"mode\": 420, \"uid\": 7, \"gid\": 8}, \"written\": [\"ff\"]}}}";
    fs::write(directory.path().join("ledger.json"), text).unwrap();
    let ledger = store.load().unwrap();
    let original = ledger.files[Path::new("/a")].original.as_ref().unwrap();
    assert_eq!(original.standing(), None);
}

#[test]
fn a_damaged_or_newer_ledger_is_refused() {
    let directory = tempdir().unwrap();
    let store = Store::new(directory.path());
    let path = directory.path().join("ledger.json");
    for (text, words) in [
        ("", "damaged"),
        ("{\"version\": 1, \"files\": 3}", "damaged"),
        ("{\"version\": 2, \"files\": []}", "version 2"),
    ] {
        fs::write(&path, text).unwrap();
        let error = store.load().unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn one_at_a_time() {
    let directory = tempdir().unwrap();
    let store = Store::new(directory.path());
    let held = store.lock(Duration::ZERO).unwrap();
    assert!(matches!(
        store.lock(Duration::from_millis(40)),
        Err(Error::Locked(_))
    ));
    drop(held);
    store.lock(Duration::ZERO).unwrap();
}
