//! What is shown of nodes, each a small tree of files below a root of its own.

use super::*;
use crate::node::detect::{Found, Process};
use std::fs;
use tempfile::{TempDir, tempdir};

const CONFIG: &str = r#"
[[tier]]
name = "core"
url = "https://core.example.com"
project = "proxy-{registry_dashed}"
names = ["core.example.com"]
[state]
directory = "ROOT/state"
"#;
const HOSTS: &str = r#"server = "https://registry-1.docker.io"
[host."https://127.0.0.1:6443/v2"]
[host."http://127.0.0.1:290"]
[host."https://core.example.com/v2/proxy-docker-io"]
[host."https://mirror.example.com"]
"#;
const K3S: &str = "var/lib/rancher/k3s/agent/etc/containerd";
const STOCK: &str = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"ROOT/etc/containerd/certs.d\"\n";

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, at(&root, text)).unwrap();
    }
    root
}

fn at(root: &TempDir, text: &str) -> String {
    text.replace("ROOT", root.path().to_str().unwrap())
}

fn shown(root: &TempDir, argv: &str, registry: &str) -> (Detected, Option<RegistryFile>) {
    let process = Process {
        pid: 1,
        argv: vec![argv.to_owned()],
        started_at: std::time::Duration::from_secs(4_000_000_000),
    };
    let processes = [process].into_iter().filter(|_| !argv.is_empty());
    let machine = Machine::below(root.path(), processes.collect());
    let config = Config::from_toml(&at(root, CONFIG)).unwrap();
    look(&machine, &config, &registry.parse().unwrap())
}

/// `agent`, `tier core`, `registry (server)`, …
fn chain(file: &RegistryFile) -> Vec<String> {
    let hosts = file.hosts.iter().map(|host| {
        let who = serde_json::to_value(host.who).unwrap();
        let tier = host.tier.as_ref().map(|name| format!(" {name}"));
        let server = if host.server { " (server)" } else { "" };
        let who = who.as_str().unwrap();
        format!("{who}{}{server}", tier.unwrap_or_default())
    });
    hosts.collect()
}

#[test]
fn a_node_with_k3s_says_what_it_reads_and_who_stands_in_it() {
    let config = format!(
        "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"ROOT/{K3S}/certs.d\"\n"
    );
    let root = tree(&[
        (&format!("{K3S}/config.toml"), &config),
        (&format!("{K3S}/certs.d/docker.io/hosts.toml"), HOSTS),
        (
            "etc/rancher/k3s/config.yaml",
            "embedded-registry: true\ndisable-default-registry-endpoint: true\n",
        ),
    ]);
    let (node, file) = shown(&root, "k3s agent", "docker.io");
    let certs_d = root.path().join(K3S).join("certs.d");
    assert_eq!((node.runtime, node.running), (Found::K3sAgent, true));
    assert_eq!(node.data_dir, Some(root.path().join("var/lib/rancher/k3s")));
    assert_eq!(node.config_path, std::slice::from_ref(&certs_d));
    assert_eq!(node.certs_d.as_ref(), Some(&certs_d));
    assert!(node.embedded_registry && node.disable_default_registry_endpoint);
    let file = file.unwrap();
    assert_eq!(file.path, certs_d.join("docker.io/hosts.toml"));
    assert!(file.exists && file.read && !file.then_registry);
    assert_eq!(file.agent, Some(2));
    let expected = [
        "embedded",
        "agent",
        "tier core",
        "other",
        "registry (server)",
    ];
    assert_eq!(chain(&file), expected);
    assert!(!root.path().join("state").exists(), "nothing is written");
}

#[test]
fn a_runtime_that_runs_and_names_the_agent_nowhere_goes_past_it() {
    let hosts = format!("{K3S}/certs.d/quay.io/hosts.toml");
    let other = "server = \"https://quay.io\"\n[host.\"https://mirror.example.com\"]\n";
    for (text, argv, past) in [
        (other, "k3s agent", true),
        (HOSTS, "k3s agent", false),
        (other, "", false),
    ] {
        let root = tree(&[(&hosts, text)]);
        let process = Process {
            pid: 1,
            argv: vec![argv.to_owned()],
            started_at: std::time::Duration::from_secs(4_000_000_000),
        };
        let processes = [process].into_iter().filter(|_| !argv.is_empty());
        let machine = Machine::below(root.path(), processes.collect());
        let config = Config::from_toml(&at(&root, CONFIG)).unwrap();
        let found = bypassing(&machine, &config, "http://127.0.0.1:290");
        assert_eq!(found.is_some(), past, "{text} {argv}");
    }
}

#[test]
fn what_containerd_does_without_a_word_in_the_file() {
    let agent = "[host.\"http://127.0.0.1:290\"]\n";
    // (text, who is asked, then the registry under k3s, then the registry under stock containerd)
    let table = [
        (None, &[][..], true, true),
        (Some("server = \n"), &[], true, true),
        (Some(agent), &["agent"], false, true),
        (Some("[host]\n"), &[], true, true),
        (Some("server = \"\"\n[host]\n"), &[], true, true),
        (
            Some("server = \"http://127.0.0.1:290\"\n[host]\n"),
            &["agent (server)"],
            false,
            false,
        ),
        (
            Some("server = \"http://127.0.0.1:0\"\n[host]\n"),
            &["nobody (server)"],
            false,
            false,
        ),
    ];
    for (text, expected, under_k3s, under_stock) in table {
        for (certs_d, argv, then) in [
            (format!("{K3S}/certs.d"), "k3s server", under_k3s),
            (
                "etc/containerd/certs.d".to_owned(),
                "containerd",
                under_stock,
            ),
        ] {
            let mut files = vec![("etc/containerd/config.toml", STOCK)];
            let path = format!("{certs_d}/ghcr.io/hosts.toml");
            files.extend(text.map(|text| (path.as_str(), text)));
            let root = tree(&files);
            let (_, file) = shown(&root, argv, "ghcr.io");
            let file = file.unwrap();
            assert_eq!(chain(&file), expected, "{argv}: {text:?}");
            assert_eq!(file.then_registry, then, "{argv}: {text:?}");
            assert_eq!(file.exists, text.is_some());
            assert_eq!(file.error.is_some(), text == Some("server = \n"));
        }
    }
}

#[test]
fn a_stock_containerd_that_reads_another_directory_reads_no_file_of_ours() {
    let root = tree(&[
        ("etc/containerd/config.toml", "version = 2\n"),
        ("etc/containerd/certs.d/docker.io/hosts.toml", HOSTS),
    ]);
    let (node, file) = shown(&root, "containerd", "docker.io");
    assert!(node.config_path.is_empty());
    assert!(node.findings.iter().any(|finding| finding.degraded));
    let file = file.unwrap();
    assert!(file.exists && !file.read && file.then_registry);
}

#[test]
fn the_file_of_a_tiers_name_and_of_a_port_and_of_all() {
    let certs_d = "etc/containerd/certs.d";
    let server = "server = \"https://core.example.com\"\n[host.\"http://127.0.0.1:290\"]\n";
    let root = tree(&[
        ("etc/containerd/config.toml", STOCK),
        (&format!("{certs_d}/core.example.com/hosts.toml"), server),
        (&format!("{certs_d}/r.example_5000_/hosts.toml"), "[host]\n"),
        (&format!("{certs_d}/r.example:5000/hosts.toml"), "[host]\n"),
        (&format!("{certs_d}/_default/hosts.toml"), "[host]\n"),
    ]);
    let of = |registry: &str| shown(&root, "", registry).1.unwrap();
    assert_eq!(
        chain(&of("core.example.com")),
        ["agent", "registry (server)"]
    );
    for (registry, directory) in [
        ("r.example:5000", "r.example_5000_"),
        ("other.example", "_default"),
    ] {
        let path = root.path().join(certs_d).join(directory);
        assert_eq!(of(registry).path, path.join("hosts.toml"));
    }
}

#[test]
fn nothing_on_the_node_is_said_too() {
    let (node, file) = shown(&tree(&[]), "", "docker.io");
    assert_eq!((node.runtime, node.running), (Found::None, false));
    assert!(file.is_none() && node.certs_d.is_none());
}
