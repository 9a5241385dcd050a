//! Design F9: what containerd would see without us is looked up as it looks it up, and taken over whole.

use super::*;

fn with_port() -> Node {
    Node::with(&format!(
        "{CONFIG}[[registry]]\nname = \"reg.example:5000\"\n"
    ))
}

/// Our hosts.toml would hide them.
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

/// It holds only where a registry has no directory of its own, and there whole.
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

/// containerd 2.2 reads two roots by itself, and one of ours in the first would hide the second.
#[test]
fn certificates_below_the_second_root_hold_behind_ours() {
    let node = Node::with(&format!("{CONFIG}runtime = \"containerd\"\n"));
    let (first, second) = (
        node.path("etc/containerd/certs.d"),
        node.path("etc/docker/certs.d"),
    );
    let config = format!(
        "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"{}:{}\"\n",
        first.display(),
        second.display()
    );
    node.write(&node.path("etc/containerd/config.toml"), &config);
    node.write(
        &first.join("ghcr.io/hosts.toml"),
        "server = \"https://ghcr.io\"\n[host]\n",
    );
    node.write(&second.join("ghcr.io/ca.crt"), "pem");
    node.write(&second.join("quay.io/ca.crt"), "pem");
    node.write(
        &second.join("_default/hosts.toml"),
        "[host.\"https://all.example\"]\n",
    );
    let before = node.everything();
    node.apply();
    let text = |registry: &str| node.read(&first.join(registry).join("hosts.toml")).unwrap();
    let ca = second.join("quay.io/ca.crt");
    assert!(
        text("quay.io").contains(&format!("ca = [{ca:?}]")),
        "{}",
        text("quay.io")
    );
    assert!(text("docker.io").contains("https://all.example"));
    assert!(!text("ghcr.io").contains("ca.crt"), "the first root has it");
    assert!(!second.join("quay.io/hosts.toml").exists());
    node.restore();
    assert_eq!(node.everything(), before);
}

#[test]
fn what_the_installed_containerd_ignores_is_left_alone() {
    let node = Node::new();
    let text = "[host.\"https://mirror.example\"]\n  capabilities = [\"pull\", \"referrers\"]\n";
    node.write(&node.hosts("ghcr.io"), text);
    let passed = node.try_apply().unwrap();
    assert!(
        passed.plan.left[0].why.contains("referrers"),
        "{:?}",
        passed.plan.left
    );
    assert_eq!(node.read(&node.hosts("ghcr.io")).unwrap(), text);
    let detected = Detected {
        containerd_version: Some("2.2.3-k3s1".to_owned()),
        ..passed.detected
    };
    let pass = Pass {
        detected: Some(&detected),
        ..node.pass()
    };
    run(&pass, LOCK, true, &mut Everything).unwrap();
    assert!(node.read(&node.hosts("ghcr.io")).unwrap().contains(AGENT));
}

/// containerd before 1.7.32 reads no file without a `host` table. With ours in it the user's `server` would count.
#[test]
fn what_an_older_containerd_does_not_read_does_not_begin_to_count() {
    let text =
        "# mine\nserver = \"https://mirror.example\"\nca = \"ca.pem\"\n\n[header]\nx = \"y\"";
    let server = "server = \"https://mirror.example\"";
    for (version, counts) in [
        (Some("1.6.20~ds1"), false),
        (Some("1.7.31-k3s1"), false),
        (Some("1.7.32"), true),
        (Some("2.1.9"), true),
        (None, true),
    ] {
        let node = Node::new();
        let (own, default) = (node.hosts("ghcr.io"), node.hosts("_default"));
        for path in [&own, &default] {
            node.write(path, text);
            fs::write(path.with_file_name("ca.pem"), certificate()).unwrap();
        }
        node.write(&node.hosts("quay.io"), text);
        node.write(
            &node.hosts("quay.io").with_file_name("other.crt"),
            &certificate(),
        );
        let before = node.everything();
        let detected = Detected {
            containerd_version: version.map(str::to_owned),
            ..node.preview().detected
        };
        let pass = Pass {
            detected: Some(&detected),
            ..node.pass()
        };
        let passed = run(&pass, LOCK, true, &mut Everything).unwrap();
        for (registry, own) in [("ghcr.io", true), ("docker.io", false)] {
            let now = node.read(&node.hosts(registry)).unwrap();
            let says = now.lines().any(|line| line == server);
            assert_eq!(says, counts, "{version:?}: {now}");
            assert!(now.contains(AGENT), "{version:?}: {now}");
            let aside = now.contains("aside# server") && now.ends_with("aside# x = \"y\"");
            assert_eq!(aside, own && !counts, "{version:?}: {now}");
        }
        // In its place containerd takes the certificates beside it: no line says both.
        let left: Vec<&Left> = passed.plan.left.iter().collect();
        assert_eq!(left.len(), usize::from(!counts), "{version:?}: {left:?}");
        assert!(
            left.iter()
                .all(|left| left.why.contains("without a [host] table"))
        );
        let again = run(&pass, LOCK, true, &mut Everything).unwrap();
        assert!(again.plan.is_empty(), "{version:?}: {:#?}", again.plan);
        node.hand_over();
        let now = node.read(&own).unwrap();
        let says = now.lines().any(|line| line == server);
        assert_eq!(says, counts, "{version:?}: {now}");
        node.restore();
        assert_eq!(node.everything(), before, "{version:?}");
    }
}

/// /etc/hosts must lead there, too.
#[test]
fn an_agent_on_the_ipv6_loopback_alone_is_localhost() {
    let node = Node::new();
    let pass = Pass {
        agent: Some("http://[::1]:290"),
        ..node.pass()
    };
    let before = node.everything();
    node.write(
        &node.path("etc/hosts"),
        "127.0.0.1 localhost\n::1 ip6-localhost # localhost\n",
    );
    let passed = run(&pass, LOCK, true, &mut Everything).unwrap();
    assert!(passed.plan.is_empty() && passed.plan.left[0].why.contains("127.0.0.1"));
    node.write(&node.path("etc/hosts"), "::1 ip6-localhost localhost\n");
    node.write(
        &node.path(REGISTRIES),
        "mirrors:\n  docker.io: {endpoint: [\"https://a.example\"]}\n",
    );
    run(&pass, LOCK, true, &mut Everything).unwrap();
    for path in [node.hosts("quay.io"), node.path(REGISTRIES)] {
        let text = node.read(&path).unwrap();
        assert!(
            text.contains("http://localhost:290") && !text.contains("::1"),
            "{text}"
        );
    }
    node.restore();
    fs::remove_file(node.path("etc/hosts")).unwrap();
    fs::remove_file(node.path(REGISTRIES)).unwrap();
    assert_eq!(node.everything(), before);
}

#[test]
fn an_ipv6_literal_is_in_no_file() {
    let node = Node::new();
    let pass = Pass {
        agent: Some("http://[::1]:290"),
        ..node.pass()
    };
    let before = node.everything();
    let passed = run(&pass, LOCK, true, &mut Everything).unwrap();
    assert!(
        passed.plan.left[0].why.contains("127.0.0.1"),
        "{:?}",
        passed.plan
    );
    assert_eq!(node.everything(), before);
}
