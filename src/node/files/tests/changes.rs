//! Files follow what they depend on; what others write stays theirs.

use super::*;

/// Who is asked for docker.io, in order.
fn chain(node: &Node, registry: &str) -> Vec<String> {
    let text = node.read(&node.hosts(registry)).unwrap();
    let view = hosts_toml::read(&text).unwrap();
    let hosts = view.hosts.into_iter().chain(view.server);
    hosts.map(|host| host.url).collect()
}

const CORE: &str = "https://core.example.com/v2/proxy-docker-io";
const HUB: &str = "https://registry-1.docker.io";

#[test]
fn the_chain_follows_the_agent_and_the_tiers() {
    let mut node = Node::new();
    let before = node.everything();
    let core: Arc<str> = "core".into();
    let table: [(bool, bool, &[&str]); 5] = [
        (true, false, &[AGENT, HUB]),
        (true, true, &[AGENT, CORE, HUB]),
        (false, true, &[CORE, HUB]),
        (false, false, &[HUB]),
        (true, true, &[AGENT, CORE, HUB]),
    ];
    for (alive, whole, expected) in table {
        node.agent_alive = alive;
        node.tiers.whole = whole.then(|| core.clone()).into_iter().collect();
        node.apply();
        assert_eq!(chain(&node, "docker.io"), expected);
    }
    // Nothing is known of tiers now: what was known last holds, also for the handover.
    node.tiers = Tiers {
        whole: BTreeSet::new(),
        unknown: BTreeSet::from([core]),
    };
    assert!(node.preview().plan.is_empty());
    node.hand_over();
    assert_eq!(chain(&node, "docker.io"), [CORE, HUB]);
    node.restore();
    assert_eq!(node.everything(), before);
}

#[test]
fn a_closed_registry_knows_the_agent_alone() {
    let node = Node::with(&format!("{CONFIG}fallback = \"none\"\n"));
    node.apply();
    assert_eq!(chain(&node, "docker.io"), [AGENT]);
    node.hand_over();
    assert_eq!(chain(&node, "docker.io"), [desired::NOBODY]);
}

#[test]
fn edits_of_the_user_survive_a_change_and_the_restore() {
    let mut node = Node::new();
    let path = node.hosts("docker.io");
    node.write(
        &path,
        "# mine\nserver = \"https://registry-1.docker.io\"\n[host.\"https://a.example\"]\n",
    );
    node.apply();
    let edited = node.read(&path).unwrap()
        + "\n[host.\"https://b.example\"]\n  skip_verify = true # mine too\n";
    node.write(&path, &edited);
    assert!(
        node.preview().plan.is_empty(),
        "an edit of the user's is no drift"
    );
    node.apply();
    node.tiers.whole.insert("core".into());
    assert!(
        node.apply().plan.drifted.is_empty(),
        "it stood as it should"
    );
    node.write(&path, &edited);
    assert_eq!(node.apply().plan.drifted, BTreeSet::from([path.clone()]));
    let text = node.read(&path).unwrap();
    assert!(
        text.contains("b.example") && text.contains("mine too") && text.contains(CORE),
        "{text}"
    );
    node.restore();
    assert_eq!(
        node.read(&path).unwrap(),
        "# mine\nserver = \"https://registry-1.docker.io\"\n[host.\"https://a.example\"]\n\n[host.\"https://b.example\"]\n  skip_verify = true # mine too\n"
    );
}

/// k3s' containerd ends with the hosts of a file that has no `server`. To who had a file there, if an empty one, that is so
/// with the agent as well.
#[test]
fn a_host_that_is_added_to_a_users_file_brings_no_server() {
    const ADDED: &str = "\n[host.\"https://b.example\"]\n";
    let node = Node::new();
    let path = node.hosts("ghcr.io");
    for before in ["", "# mine\n"] {
        node.write(&path, before);
        node.apply();
        let text = node.read(&path).unwrap();
        assert!(text.contains("server = \"https://ghcr.io\" # harbor-pilot"));
        node.write(&path, &(text + ADDED));
        node.apply();
        let text = node.read(&path).unwrap();
        assert!(
            text.contains("# harbor-pilot: agent") && !text.contains("server"),
            "{text}"
        );
        node.restore();
        assert_eq!(node.read(&path).unwrap(), before.to_owned() + ADDED);
    }
}

#[test]
fn the_users_edit_is_restored_also_without_a_further_change() {
    let node = Node::new();
    let path = node.path(REGISTRIES);
    let yaml = "mirrors:\n  docker.io:\n    endpoint:\n      - https://mirror.gcr.io\n";
    node.write(&path, yaml);
    node.apply();
    let edited = node.read(&path).unwrap() + "  quay.io:\n    endpoint: [https://q.example]\n";
    node.write(&path, &edited);
    node.restore();
    assert_eq!(
        node.read(&path).unwrap(),
        format!("{yaml}  quay.io:\n    endpoint: [https://q.example]\n")
    );
}

#[test]
fn what_the_runtime_generates_anew_is_the_new_original() {
    let node = Node::new();
    let path = node.hosts("docker.io");
    node.write(&path, "server = \"https://first.example\"\n[host]\n");
    node.apply();
    // k3s' start: the directory goes, the file comes anew.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    node.write(&path, GENERATED);
    assert_eq!(node.apply().changed(), 1);
    assert_eq!(
        chain(&node, "docker.io").first().map(String::as_str),
        Some(AGENT)
    );
    node.restore();
    assert_eq!(node.read(&path).unwrap(), GENERATED);
}

#[test]
fn a_file_that_somebody_deletes_comes_back_and_has_no_original() {
    let node = Node::new();
    let path = node.hosts("docker.io");
    node.write(&path, GENERATED);
    node.apply();
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(node.apply().changed(), 1);
    node.restore();
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn a_registry_that_leaves_the_configuration_leaves_the_files() {
    let mut node = Node::new();
    node.write(
        &node.hosts("quay.io"),
        "server = \"https://quay.io\"\n[host]\n",
    );
    node.apply();
    node.config = Config::from_toml(&format!(
        "{CONFIG}[[registry]]\nname = \"quay.io\"\nenabled = false\n[[registry]]\nname = \"gcr.io\"\nenabled = false\n"
    ))
    .unwrap();
    assert_eq!(node.apply().changed(), 2);
    assert_eq!(
        node.read(&node.hosts("quay.io")).unwrap(),
        "server = \"https://quay.io\"\n[host]\n"
    );
    assert!(!node.hosts("gcr.io").parent().unwrap().exists());
    // Without any tier all of it goes.
    node.config = Config::from_toml("[node]\nmanage = true\n").unwrap();
    node.apply();
    assert!(!node.hosts("docker.io").exists());
    assert!(node.store.load().unwrap().files.is_empty());
}

#[test]
fn registries_yaml_is_stable_and_changes_on_enable_and_disable_only() {
    let mut node = Node::new();
    let path = node.path(REGISTRIES);
    let yaml = "mirrors:\n  docker.io:\n  quay.io:\n    endpoint: [\"https://q.example\"]\n";
    node.write(&path, yaml);
    node.agent_alive = false;
    node.apply();
    assert_eq!(
        node.read(&path).unwrap(),
        yaml,
        "not before the agent has answered"
    );
    node.agent_alive = true;
    node.apply();
    let with = node.read(&path).unwrap();
    assert!(with.contains(AGENT));
    node.agent_alive = false;
    node.tiers.whole.insert("core".into());
    node.apply();
    assert_eq!(node.read(&path).unwrap(), with, "a crash is no reason");
    node.hand_over();
    assert_eq!(node.read(&path).unwrap(), yaml, "a stop for good is one");
    node.agent_alive = true;
    node.apply();
    assert_eq!(node.read(&path).unwrap(), with);
    node.restore();
    assert_eq!(node.read(&path).unwrap(), yaml);
}
