//! The ledger is lost, damaged or another one: our part is found by its marks.

use super::*;

const YAML: &str =
    "# Ansible\nmirrors:\n  docker.io:\n    endpoint:\n      - https://core.example.com/v2/x\n";
const GHCR: &str = "server = \"https://ghcr.io\"\n[host.\"https://mirror.example\"]\n";

/// Each file with its mode and its bytes.
type Files = Vec<(PathBuf, u32, Option<Vec<u8>>)>;

/// A node with our part in everything that the agent writes.
fn applied() -> (Node, Files) {
    let mut node = Node::new();
    let ca = node.path("ca.crt");
    fs::write(&ca, certificate()).unwrap();
    let with_ca = format!("ca_file = {:?}\nin_file", ca.to_str().unwrap());
    node.config = Config::from_toml(&CONFIG.replace("in_file", &with_ca)).unwrap();
    node.tiers.whole.insert("core".into());
    node.write(&node.hosts("docker.io"), GENERATED);
    node.write(&node.hosts("ghcr.io"), GHCR);
    node.write(&node.path(REGISTRIES), YAML);
    let before = node.everything();
    node.apply();
    let marked = Places::find(&node.machine, &node.config.node).marked(&mut Ledger::default());
    assert!(marked.len() > 9, "{marked:?}");
    (node, before)
}

fn released(node: &Node, store: &Store) -> Released {
    let places = Places::find(&node.machine, &node.config.node);
    let released = release(store, &places, LOCK).unwrap();
    assert!(released.marked.is_empty(), "{:?}", released.marked);
    for done in &released.done {
        assert!(matches!(done.outcome, Outcome::Written), "{done:?}");
    }
    assert!(released.plan.left.is_empty(), "{:?}", released.plan.left);
    released
}

#[test]
fn a_deleted_or_renamed_state_directory_leaves_nothing_behind() {
    let (node, before) = applied();
    fs::remove_dir_all(node.path("state")).unwrap();
    released(&node, &node.store);
    assert_eq!(node.everything(), before);

    let (node, before) = applied();
    let renamed = Store::new(&node.path("elsewhere"));
    let without = released(&node, &renamed).without_ledger;
    assert!(without.is_none());
    assert!(renamed.load().unwrap().released);
    fs::remove_dir_all(node.path("elsewhere")).unwrap();
    assert_eq!(node.everything(), before);
}

#[test]
fn a_damaged_ledger_leaves_nothing_behind_and_is_said() {
    let (node, before) = applied();
    node.write(&node.path("state/ledger.json"), "{");
    let without = released(&node, &node.store).without_ledger;
    assert!(without.unwrap().to_string().contains("damaged"));
    assert_eq!(node.everything(), before);
}

#[test]
fn a_state_directory_that_cannot_be_written_keeps_no_mark_in() {
    let (node, before) = applied();
    fs::create_dir_all(node.path("state/.ledger.json.harbor-pilot-new/x")).unwrap();
    let without = released(&node, &node.store).without_ledger;
    assert!(without.is_some());
    assert_eq!(node.everything(), before);
}

#[test]
fn what_others_put_beside_ours_stays() {
    let (node, _) = applied();
    fs::remove_dir_all(node.path("state")).unwrap();
    let theirs = node.hosts("quay.io").with_file_name("theirs.crt");
    fs::write(&theirs, "pem").unwrap();
    released(&node, &node.store);
    assert!(theirs.exists() && !node.hosts("quay.io").exists());
}

/// A link, a mount or a data directory that is a link give a file another name in a place that is searched as well.
#[test]
fn a_file_of_two_names_is_changed_once() {
    let link = |node: &Node| {
        fs::create_dir_all(node.path("etc/containerd")).unwrap();
        let other = node.path("etc/containerd/certs.d");
        std::os::unix::fs::symlink(node.path(CERTS_D), &other).unwrap();
        let marked = Places::find(&node.machine, &node.config.node).marked(&mut Ledger::default());
        assert!(marked.contains_key(&other.join("docker.io/hosts.toml")));
    };
    let (node, _) = applied();
    link(&node);
    node.hand_over();
    assert!(!node.read(&node.hosts("docker.io")).unwrap().contains(AGENT));
    released(&node, &node.store);

    // Without a ledger both names are found by the search.
    let (node, _) = applied();
    link(&node);
    fs::remove_dir_all(node.path("state")).unwrap();
    node.hand_over();
    released(&node, &node.store);
}

/// A change of the source writes the copy; whose the directory is, is known afterwards.
#[test]
fn a_copy_follows_its_source_after_the_ledger_was_lost() {
    let node = Node::new();
    let source = node.hosts("_default");
    node.write(&source, "[host.\"https://b.example\"]\n");
    let before = node.everything();
    node.write(&source, "[host.\"https://a.example\"]\n");
    node.apply();
    fs::remove_dir_all(node.path("state")).unwrap();
    node.write(&source, "[host.\"https://b.example\"]\n");
    node.apply();
    let copy = node.read(&node.hosts("quay.io")).unwrap();
    assert!(copy.contains("https://b.example"), "{copy}");
    node.restore();
    assert_eq!(node.everything(), before);
}
