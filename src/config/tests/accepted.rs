//! The last accepted configuration, kept and found again.

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn what_was_accepted_comes_back_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("robot");
    std::fs::write(&secret, "pa55word").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "{TIER}username = \"robot$node\"\npassword_file = {secret:?}\npriority = 5\n[tier.projects]\n\"quay.io\" = \"quay\"\n\
         [tier.health]\ninterval = \"2m\"\n[[registry]]\nname = \"docker.io\"\nbypass = []\n\
         [[registry]]\nname = \"gcr.io\"\nenabled = false\n[[registry]]\nname = \"nvcr.io\"\n[node]\nmanage = true\n"
    );
    let loaded = good(&text);
    store_accepted(directory.path(), &loaded).unwrap();
    let file = directory.path().join("accepted.toml");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("pa55word"), "{kept}");
    assert!(
        !kept.contains("registry.k8s.io"),
        "what is built in is not written: {kept}"
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = load_accepted(directory.path(), &BTreeMap::new())
        .unwrap()
        .unwrap();
    assert_eq!(again.config, loaded.config);
    // Kept again, it is the same text: nothing is lost from one start to the next.
    store_accepted(directory.path(), &again).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
}

#[test]
fn the_built_in_configuration_can_be_kept_too() {
    let directory = tempfile::tempdir().unwrap();
    store_accepted(directory.path(), &good("")).unwrap();
    let again = load_accepted(directory.path(), &BTreeMap::new())
        .unwrap()
        .unwrap();
    assert_eq!(again.config, Config::built_in());
}

#[test]
fn without_one_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(load_accepted(directory.path(), &BTreeMap::new()).is_none());
}

#[test]
fn a_kept_one_whose_files_are_gone_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{TIER}ca_file = \"/nonexistent/ca.crt\"\n");
    std::fs::write(directory.path().join("accepted.toml"), text).unwrap();
    let found = load_accepted(directory.path(), &BTreeMap::new())
        .unwrap()
        .unwrap_err();
    assert_eq!(found[0].key, "tier.t.ca_file");
    assert!(found[0].file.as_ref().unwrap().ends_with("accepted.toml"));
}

#[test]
fn a_leftover_of_a_crash_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let leftover = directory.path().join("accepted.toml.new");
    std::fs::write(&leftover, "half").unwrap();
    std::fs::set_permissions(&leftover, std::fs::Permissions::from_mode(0o644)).unwrap();
    store_accepted(directory.path(), &good(TIER)).unwrap();
    let file = directory.path().join("accepted.toml");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!leftover.exists());
}

#[test]
fn where_nothing_can_be_written_the_error_says_where() {
    let error = store_accepted(Path::new("/nonexistent"), &good("")).unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent/accepted.toml"),
        "{error}"
    );
}
