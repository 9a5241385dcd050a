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

/// As the start of k3s does: clean-up, then the files of what is listed; before it config.toml.
fn generate(node: &Node, second: i64, listed: &[(&str, &str)]) {
    starts(node, second);
    clean(node, listed);
    for (registry, text) in listed {
        node.write(&node.hosts(registry), text);
    }
}

fn clean(node: &Node, listed: &[(&str, &str)]) {
    for entry in fs::read_dir(node.path(CERTS_D)).unwrap() {
        let directory = entry.unwrap().path();
        let text = node.read(&directory.join(HOSTS)).unwrap_or_default();
        let is_listed = listed.iter().any(|(name, _)| directory.ends_with(name));
        if is_listed || hosts_toml::is_generated(&text) {
            fs::remove_dir_all(directory).unwrap();
        }
    }
}

const OTHER: &str = "# File generated by k3s. DO NOT EDIT.\nserver = \"https://quay.io/v2\"\n[host]\n\n[host.\"https://q.example/v2\"]\n";

#[test]
fn a_start_that_only_restore_sees_counts_as_well() {
    let node = Node::new();
    starts(&node, 1);
    let path = node.hosts("docker.io");
    node.write(&path, GENERATED);
    node.apply();
    starts(&node, 2);
    node.restore();
    // An empty directory would hide `_default`.
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn the_agent_is_down_for_two_starts_and_a_registry_is_removed_between_them() {
    let node = Node::new();
    let listed = [("docker.io", GENERATED), ("quay.io", OTHER)];
    generate(&node, 1, &listed);
    node.apply();
    let second = GENERATED.replace("mirror.gcr.io", "second.example");
    generate(&node, 2, &[("docker.io", &second), ("quay.io", OTHER)]);
    generate(&node, 3, &[("docker.io", &second)]);
    let without = [node.read(&node.hosts("docker.io")), None];
    node.apply();
    let quay = node.read(&node.hosts("quay.io")).unwrap();
    assert!(
        quay.contains(AGENT) && !quay.contains("q.example"),
        "{quay}"
    );
    let hub = node.read(&node.hosts("docker.io")).unwrap();
    assert!(
        hub.contains(AGENT) && hub.contains("second.example"),
        "{hub}"
    );
    node.restore();
    assert_eq!(
        ["docker.io", "quay.io"].map(|name| node.read(&node.hosts(name))),
        without
    );
}

/// The same where the second start found our file, and the agent never saw a start.
#[test]
fn what_lapsed_while_the_agent_was_down_lapses_for_restore_too() {
    let node = Node::new();
    generate(&node, 1, &[("docker.io", GENERATED), ("quay.io", OTHER)]);
    node.apply();
    generate(&node, 2, &[]);
    node.restore();
    assert_eq!(fs::read_dir(node.path(CERTS_D)).unwrap().count(), 0);
}

#[test]
fn a_crash_between_the_clean_up_of_k3s_and_its_write() {
    let node = Node::new();
    let listed = [("docker.io", GENERATED), ("quay.io", OTHER)];
    generate(&node, 1, &listed);
    node.apply();
    // Only the first one is gone by then, and nothing is written.
    starts(&node, 2);
    clean(&node, &listed[..1]);
    node.apply();
    for registry in ["docker.io", "quay.io"] {
        let text = node.read(&node.hosts(registry)).unwrap();
        assert!(text.contains(AGENT), "{text}");
        assert!(
            !text.contains("mirror.gcr.io") && !text.contains("q.example"),
            "{text}"
        );
    }
    // The start after it brings all of them back.
    generate(&node, 3, &listed);
    node.apply();
    let text = node.read(&node.hosts("quay.io")).unwrap();
    assert!(text.contains(AGENT) && text.contains("q.example"), "{text}");
    node.restore();
    for (registry, text) in listed {
        assert_eq!(node.read(&node.hosts(registry)).unwrap(), text);
    }
}

#[test]
fn the_state_directory_is_lost_while_our_file_stands() {
    let listed = [("docker.io", GENERATED), ("quay.io", OTHER)];
    // Lost: before the start that did not list quay.io, with the daemon or with `restore` alone afterwards.
    for (restarts, applies) in [(false, true), (false, false), (true, true), (true, false)] {
        let node = Node::new();
        generate(&node, 1, &listed);
        node.apply();
        fs::remove_dir_all(node.path("state")).unwrap();
        if restarts {
            starts(&node, 2);
            let config = node.path(CERTS_D).with_file_name("config.toml");
            fs::File::options()
                .write(true)
                .open(config)
                .unwrap()
                .set_modified(std::time::SystemTime::now())
                .unwrap();
            clean(&node, &listed[..1]);
            node.write(&node.hosts("docker.io"), GENERATED);
        }
        if applies {
            node.apply();
            let quay = node.read(&node.hosts("quay.io")).unwrap();
            assert_eq!(quay.contains("q.example"), !restarts, "{quay}");
        }
        node.restore();
        assert_eq!(node.read(&node.hosts("docker.io")).unwrap(), GENERATED);
        let quay = node.read(&node.hosts("quay.io"));
        assert_eq!(quay.as_deref(), (!restarts).then_some(OTHER), "{applies}");
    }
}

/// An agent-role k3s waits for its server first: registries.yaml may change meanwhile.
#[test]
fn a_generation_minutes_after_the_process_began() {
    let mut node = Node::new();
    let process = |started| Process {
        pid: 7,
        argv: vec!["/usr/local/bin/k3s agent".to_owned()],
        started,
        started_at: Duration::from_secs(started),
    };
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    generate(&node, 1, &[("docker.io", GENERATED), ("quay.io", OTHER)]);
    node.apply();
    node.machine = Machine::below(node.root.path(), vec![process(now - 600)]);
    let yaml = "mirrors:\n  docker.io:\n    endpoint: [\"https://mirror.gcr.io\"]\n";
    node.write(&node.path(REGISTRIES), yaml);
    let passed = node.apply();
    assert_eq!(
        passed.detected.restart_pending, None,
        "it has yet to be read"
    );
    assert!(
        node.read(&node.hosts("quay.io"))
            .unwrap()
            .contains("q.example")
    );
    generate(&node, 2, &[("docker.io", GENERATED)]);
    let config = node.path(CERTS_D).with_file_name("config.toml");
    fs::File::options()
        .write(true)
        .open(config)
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    let passed = node.apply();
    assert!(passed.plan.is_start);
    assert_eq!(passed.detected.restart_pending, None);
    assert!(
        !node
            .read(&node.hosts("quay.io"))
            .unwrap()
            .contains("q.example")
    );
    assert!(!node.apply().plan.is_start);
}

/// Issue 14, case 5: k3s generated from our line in registries.yaml, and the agent was down.
#[test]
fn what_k3s_made_of_our_line_goes_with_us() {
    let with_agent = GENERATED.replace(
        "[host]\n",
        &format!("[host]\n\n[host.\"{AGENT}/v2\"]\n  capabilities = [\"pull\", \"resolve\"]\n"),
    );
    let tier = "\n[host.\"https://core.example.com/v2/proxy-docker-io\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n";
    let (with_agent, without) = (format!("{with_agent}{tier}"), format!("{GENERATED}{tier}"));
    for (is_known, is_lost, is_disabled) in [
        (true, false, false),
        (false, false, false),
        (false, true, false),
        (true, false, true),
    ] {
        let mut node = Node::new();
        if is_known {
            generate(&node, 1, &[("docker.io", GENERATED)]);
        }
        node.apply();
        if !is_known {
            // Listed since.
            node.write(&node.path("state/ledger.json"), &{
                let mut ledger = node.store.load().unwrap();
                ledger.files.remove(&node.hosts("docker.io"));
                serde_json::to_string(&ledger).unwrap()
            });
        }
        generate(&node, 2, &[("docker.io", &with_agent)]);
        if is_lost {
            fs::remove_dir_all(node.path("state")).unwrap();
        }
        if is_disabled {
            let disabled = "[[registry]]\nname = \"docker.io\"\nenabled = false\n";
            node.config = Config::from_toml(&format!("{CONFIG}{disabled}")).unwrap();
            node.apply();
            assert_eq!(node.read(&node.hosts("docker.io")).unwrap(), without);
        }
        // The adopted tier is back at once as well.
        node.restore();
        assert_eq!(
            node.read(&node.hosts("docker.io")).unwrap(),
            without,
            "{is_known} {is_lost}"
        );
    }
}

/// Issue 14, case 3: containerd 2.2 reads two roots by itself, and one of ours in the first would hide the second.
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

/// Issue 14, case 6.
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
    run(&pass, Duration::ZERO, true, &mut Everything).unwrap();
    assert!(node.read(&node.hosts("ghcr.io")).unwrap().contains(AGENT));
}

/// Issue 14, case 6: and /etc/hosts must lead there.
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
    let passed = run(&pass, Duration::ZERO, true, &mut Everything).unwrap();
    assert!(passed.plan.is_empty() && passed.plan.left[0].why.contains("127.0.0.1"));
    node.write(&node.path("etc/hosts"), "::1 ip6-localhost localhost\n");
    node.write(
        &node.path(REGISTRIES),
        "mirrors:\n  docker.io: {endpoint: [\"https://a.example\"]}\n",
    );
    run(&pass, Duration::ZERO, true, &mut Everything).unwrap();
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
