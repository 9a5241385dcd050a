//! Tests of discovery/memory.

use super::*;

fn memory() -> Memory {
    let remembered = Remembered {
        host: "replica.example".to_owned(),
        addresses: vec![
            "203.0.113.1".parse().unwrap(),
            "2001:db8::1".parse().unwrap(),
        ],
    };
    Memory {
        tiers: BTreeMap::from([("replica".to_owned(), remembered)]),
    }
}

#[tokio::test]
async fn what_was_stored_is_loaded() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE);
    assert_eq!(Memory::load(&file).await, Memory::default());
    Memory::default().store(&file).await.unwrap();
    memory().store(&file).await.unwrap();
    let loaded = Memory::load(&file).await;
    assert_eq!(loaded, memory());
    assert_eq!(loaded.addresses("replica", "replica.example").len(), 2);
    assert!(loaded.addresses("replica", "moved.example").is_empty());
    assert!(loaded.addresses("core", "replica.example").is_empty());
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "no temporary file stays");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_broken_file_is_no_reason_not_to_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE);
    for broken in [
        "",
        "{",
        "[]",
        r#"{"tiers":{"replica":{"host":1}}}"#,
        "\u{0}",
    ] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(Memory::load(&file).await, Memory::default());
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("absent").join(FILE);
    assert!(memory().store(&file).await.is_err());
}
