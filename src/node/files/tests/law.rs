//! Design F9: what containerd would see without us is looked up as it looks it up, and taken over whole.

use super::*;

fn with_port() -> Node {
    Node::with(&format!(
        "{CONFIG}[[registry]]\nname = \"reg.example:5000\"\n"
    ))
}

/// Issue 14, case 3 (faults/01): our hosts.toml would hide them.
#[test]
fn certificates_as_docker_has_them_hold_behind_ours() {
    let node = Node::new();
    let directory = node.hosts("quay.io").with_file_name("");
    fs::create_dir(&directory).unwrap();
    for name in ["b.crt", "a.crt", "c.cert", "c.key", "d.cert"] {
        fs::write(directory.join(name), "pem").unwrap();
    }
    let before = node.everything();
    node.apply();
    let text = node.read(&node.hosts("quay.io")).unwrap();
    let at = |name: &str| format!("{:?}", directory.join(name));
    let ca = format!("ca = [{}, {}]\n", at("a.crt"), at("b.crt"));
    let client = format!(
        "client = [[{}, {}], {}]\n",
        at("c.cert"),
        at("c.key"),
        at("d.cert")
    );
    let server = "server = \"https://quay.io\" # harbor-pilot\n";
    for part in [&ca, &client, server] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    // One that comes later is followed.
    fs::remove_file(directory.join("b.crt")).unwrap();
    node.apply();
    assert!(!node.read(&node.hosts("quay.io")).unwrap().contains("b.crt"));
    fs::write(directory.join("b.crt"), "pem").unwrap();
    node.restore();
    assert_eq!(node.everything(), before);
}

/// Issue 14, case 2 (faults/02): it holds only where a registry has no directory of its own, and there whole.
#[test]
fn the_default_is_copied_whole_and_not_into_a_file_of_its_own() {
    let node = Node::new();
    let default = "[host.\"https://all.example\"]\n  ca = \"all.pem\"\n  dial_timeout = \"3s\"\n[host.\"https://all.example\".header]\n  x = \"y\"\n";
    node.write(&node.hosts("_default"), default);
    fs::write(node.hosts("_default").with_file_name("all.pem"), "pem").unwrap();
    let own = "server = \"https://quay.io\"\n[host.\"https://mine.example\"]\n";
    node.write(&node.hosts("quay.io"), own);
    fs::create_dir(node.hosts("gcr.io").parent().unwrap()).unwrap();
    let before = node.everything();
    node.apply();
    for (registry, has) in [("docker.io", true), ("quay.io", false), ("gcr.io", false)] {
        let text = node.read(&node.hosts(registry)).unwrap();
        assert_eq!(text.contains("https://all.example"), has, "{text}");
        assert!(text.contains(AGENT), "{text}");
    }
    let copy = node.read(&node.hosts("docker.io")).unwrap();
    let ca = node.hosts("_default").with_file_name("all.pem");
    for part in [
        &*format!("ca = {ca:?}"),
        "dial_timeout = \"3s\"",
        "x = \"y\"",
    ] {
        assert!(copy.contains(part), "{part}\nis not in\n{copy}");
    }
    assert!(!copy.contains("server ="), "{copy}");
    // It follows its source until somebody edits it; then it is the user's own.
    node.write(&node.hosts("_default"), &default.replace("3s", "4s"));
    node.apply();
    let copy = node.read(&node.hosts("docker.io")).unwrap();
    assert!(copy.contains("dial_timeout = \"4s\""), "{copy}");
    node.write(&node.hosts("_default"), default);
    node.apply();
    node.restore();
    assert_eq!(node.everything(), before);
}

/// Issue 14, case 4 (faults/03).
#[test]
fn the_directory_that_containerd_reads_first_is_written() {
    let node = with_port();
    let read = node.hosts("reg.example_5000_");
    node.write(&read, "server = \"https://reg.example:5000\"\n[host]\n");
    node.write(
        &node.hosts("reg.example:5000"),
        "server = \"https://other\"\n[host]\n",
    );
    let before = node.everything();
    node.apply();
    assert!(node.read(&read).unwrap().contains(AGENT));
    let second = node.read(&node.hosts("reg.example:5000")).unwrap();
    assert!(!second.contains(AGENT), "{second}");
    node.restore();
    assert_eq!(node.everything(), before);
}

fn starts(node: &Node, second: i64) {
    let config = node.path("var/lib/rancher/k3s/agent/etc/containerd/config.toml");
    let certs_d = node.path(CERTS_D);
    let text = format!(
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = {certs_d:?}\n# {second}\n"
    );
    node.write(&config, &text);
    let past = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(config).unwrap();
    file.set_modified(past + Duration::from_secs(u64::try_from(second).unwrap()))
        .unwrap();
}

/// Issue 14, case 1 (registries_yaml/removed-later-*).
#[test]
fn what_a_start_of_k3s_did_not_generate_again_has_lapsed() {
    let node = Node::new();
    starts(&node, 1);
    let path = node.hosts("docker.io");
    let user = node.hosts("ghcr.io");
    node.write(&path, GENERATED);
    node.write(
        &user,
        "server = \"https://ghcr.io\"\n[host.\"https://mine.example\"]\n",
    );
    node.apply();
    let is_in = |word: &str| node.read(&path).unwrap().contains(word);
    assert!(is_in("mirror.gcr.io"));
    // A start that lists it generates it anew.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    node.write(&path, &GENERATED.replace("mirror.gcr.io", "second.example"));
    starts(&node, 2);
    node.apply();
    assert!(is_in("second.example"));
    // One that does not list it leaves ours, which does not begin with k3s' header. The agent may be down meanwhile.
    starts(&node, 3);
    node.apply();
    assert!(!is_in("second.example") && is_in(AGENT));
    // What the user wrote is no matter of k3s.
    assert!(node.read(&user).unwrap().contains("mine.example"));
    node.restore();
    assert!(!path.exists() && user.exists());
}

#[test]
fn a_start_that_only_restore_sees_counts_as_well() {
    let node = Node::new();
    starts(&node, 1);
    let path = node.hosts("docker.io");
    node.write(&path, GENERATED);
    node.apply();
    starts(&node, 2);
    node.restore();
    assert!(!path.exists());
}

/// Issue 14, case 6 (containerd-k3s-facts 13.7).
#[test]
fn an_ipv6_literal_is_in_no_file() {
    let node = Node::new();
    let pass = Pass {
        agent: Some("http://[::1]:290"),
        ..node.pass()
    };
    let before = node.everything();
    let passed = run(&pass, Duration::ZERO, true, &mut Everything).unwrap();
    assert!(
        passed.plan.left[0].why.contains("127.0.0.1"),
        "{:?}",
        passed.plan
    );
    assert_eq!(node.everything(), before);
}
