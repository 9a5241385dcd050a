//! What is said of a node, and the one that other tests show.

use super::*;
use crate::node::detect::Finding;

/// A k3s agent whose registries.yaml has changed, and Docker Hub's file there.
pub(in crate::cli) fn found() -> (Detected, Option<RegistryFile>) {
    let node = Detected {
        runtime: Found::K3sAgent,
        containerd_version: Some("2.1.5-k3s1".to_owned()),
        data_dir: Some("/data".into()),
        config_path: vec!["/data/certs.d".into()],
        certs_d: Some("/data/certs.d".into()),
        registries_yaml: Some("/etc/rancher/k3s/registries.yaml".into()),
        embedded_registry: true,
        restart_pending: Some("registries.yaml has changed".to_owned()),
        ..Detected::default()
    };
    let host = |url: &str, who, tier: Option<&str>, server| FileHost {
        url: url.to_owned(),
        who,
        tier: tier.map(ToOwned::to_owned),
        server,
    };
    let file = RegistryFile {
        registry: "docker.io".to_owned(),
        path: "/data/certs.d/docker.io/hosts.toml".into(),
        exists: true,
        read: true,
        error: None,
        hosts: vec![
            host("https://127.0.0.1:6443/v2", Who::Embedded, None, false),
            host("http://127.0.0.1:290", Who::Agent, None, false),
            host("https://core.example.com", Who::Tier, Some("core"), false),
            host("https://registry-1.docker.io", Who::Registry, None, true),
        ],
        agent: Some(2),
        then_registry: false,
        missing: Vec::new(),
    };
    (node, Some(file))
}

#[test]
fn what_was_found_for_people() {
    let mut node = found().0;
    node.findings = vec![Finding {
        what: "containerd does not read /c".to_owned(),
        instead: "add to /etc/containerd/config.toml:\n[plugins]\n  config_path = \"/c\""
            .to_owned(),
        degraded: true,
    }];
    let mut page = Page {
        text: String::new(),
        color: false,
    };
    page.node(&node).unwrap();
    let expected = "    \
    runtime       k3s agent, not running, containerd 2.1.5-k3s1
    data-dir      /data
    config_path   /data/certs.d
    at its start  /etc/rancher/k3s/registries.yaml
    flags         --embedded-registry
    containerd does not read /c
      add to /etc/containerd/config.toml:
      [plugins]
        config_path = \"/c\"
";
    assert_eq!(page.text, expected);
}
