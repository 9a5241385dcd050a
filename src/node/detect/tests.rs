//! Nodes as they are found, each a small tree of files below a root of its own.

mod stock;

use super::*;
use crate::config::Config;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::{TempDir, tempdir};

/// The node that detection is told of.
struct Tree {
    root: TempDir,
    processes: Vec<Process>,
    node: config::Node,
}

const K3S_UNIT: &str = "[Unit]\nDescription=Lightweight Kubernetes\n[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--disable' \\\n\t'traefik' \\\n\n";

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self {
            root: tempdir().unwrap(),
            processes: Vec::new(),
            node: Config::built_in().node,
        };
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            path,
            text.replace("ROOT", self.root.path().to_str().unwrap()),
        )
        .unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// `ROOT` stands for the root.
    fn runs(mut self, argv: &[&str], started: u64) -> Self {
        let root = self.root.path().to_str().unwrap();
        self.processes.push(Process {
            pid: 100,
            argv: argv.iter().map(|word| word.replace("ROOT", root)).collect(),
            started_at: Duration::from_secs(started),
        });
        self
    }

    fn facts(&self) -> Facts {
        gather(
            &Machine::below(self.root.path(), self.processes.clone()),
            &self.node,
        )
    }

    fn detect(&self) -> Detected {
        detect(&self.facts(), &self.node, None)
    }
}

/// What was found, in one line: runtime, certs.d and registries.yaml below the root, and how many findings degrade.
fn line(tree: &Tree) -> String {
    let found = tree.detect();
    let below = |path: &Option<PathBuf>| match path {
        Some(path) => path
            .strip_prefix(tree.root.path())
            .unwrap_or(path)
            .display()
            .to_string(),
        None => "-".to_owned(),
    };
    let degraded = found
        .findings
        .iter()
        .filter(|finding| finding.degraded)
        .count();
    format!(
        "{} | {} | {} | {degraded} | {}{}{}",
        found.runtime,
        below(&found.certs_d),
        below(&found.registries_yaml),
        if found.running { "running " } else { "" },
        if found.embedded_registry {
            "embedded "
        } else {
            ""
        },
        if found.disable_default_registry_endpoint {
            "no-default "
        } else {
            ""
        },
    )
    .trim_end()
    .to_owned()
}

const K3S: &str =
    "var/lib/rancher/k3s/agent/etc/containerd/certs.d | etc/rancher/k3s/registries.yaml";
const RKE2: &str =
    "var/lib/rancher/rke2/agent/etc/containerd/certs.d | etc/rancher/rke2/registries.yaml";

#[test]
fn runtimes_are_told_apart() {
    let unit = "/etc/systemd/system/k3s.service";
    let agent = "/etc/systemd/system/k3s-agent.service";
    let agent_unit = "[Service]\nExecStart=/usr/local/bin/k3s agent\n";
    let table: [(Tree, String); 16] = [
        (Tree::new(&[]), "none | - | - | 0 |".into()),
        // The directories of our own package say nothing.
        (Tree::new(&[("/etc/rancher/.keep", ""), ("/var/lib/rancher/.keep", ""), ("/etc/containerd/.keep", "")]), "none | - | - | 0 |".into()),
        (Tree::new(&[(unit, K3S_UNIT)]), format!("k3s server | {K3S} | 0 |")),
        (Tree::new(&[(agent, agent_unit)]), format!("k3s agent | {K3S} | 0 |")),
        (Tree::new(&[("/etc/rancher/k3s/registries.yaml", "")]), format!("k3s server | {K3S} | 0 |")),
        (Tree::new(&[("/var/lib/rancher/rke2/agent/x", "")]), format!("rke2 server | {RKE2} | 0 |")),
        (
            Tree::new(&[(unit, K3S_UNIT)]).runs(&["/usr/local/bin/k3s server"], 50),
            format!("k3s server | {K3S} | 0 | running"),
        ),
        (
            Tree::new(&[(unit, K3S_UNIT)]).runs(&["/usr/local/bin/k3s agent"], 50),
            format!("k3s agent | {K3S} | 0 | running"),
        ),
        // What runs wins over what is installed.
        (
            Tree::new(&[(unit, K3S_UNIT)]).runs(&["/usr/local/bin/rke2 agent"], 50),
            format!("rke2 agent | {RKE2} | 0 | running"),
        ),
        // The child's command line names the data directory that is in use.
        (
            Tree::new(&[(unit, K3S_UNIT)])
                .runs(&["/usr/local/bin/k3s server"], 50)
                .runs(&["containerd", "-c", "ROOT/data/k3s/agent/etc/containerd/config.toml", "-a", "/run/k3s/containerd/containerd.sock"], 51),
            "k3s server | data/k3s/agent/etc/containerd/certs.d | etc/rancher/k3s/registries.yaml | 0 | running".into(),
        ),
        // Files, drop-ins of files, and the unit over them.
        (
            Tree::new(&[
                ("/etc/rancher/k3s/config.yaml", "data-dir: /one\nembedded-registry: true\nprivate-registry: /etc/mine.yaml\n"),
                ("/etc/rancher/k3s/config.yaml.d/10-x.yaml", "data-dir: \"/two\"\ndisable-default-registry-endpoint: true\n"),
                ("/etc/rancher/k3s/config.yaml.d/note.txt", "data-dir: /never\n"),
            ]),
            "k3s server | two/agent/etc/containerd/certs.d | etc/mine.yaml | 0 | embedded no-default".into(),
        ),
        (
            Tree::new(&[
                ("/etc/rancher/k3s/config.yaml", "data-dir: /one\nembedded-registry: true\n"),
                (unit, "[Service]\nExecStart=/usr/local/bin/k3s server --data-dir /three --embedded-registry=false\n"),
            ]),
            "k3s server | three/agent/etc/containerd/certs.d | etc/rancher/k3s/registries.yaml | 0 |".into(),
        ),
        // A drop-in of the unit replaces its command; --config names another file.
        (
            Tree::new(&[
                (unit, K3S_UNIT),
                ("/etc/systemd/system/k3s.service.d/override.conf", "[Service]\nExecStart=\nExecStart=/usr/local/bin/k3s server -c /etc/k3s.yaml --disable-default-registry-endpoint\n"),
                ("/etc/k3s.yaml", "data-dir: /four\n"),
            ]),
            "k3s server | four/agent/etc/containerd/certs.d | etc/rancher/k3s/registries.yaml | 0 | no-default".into(),
        ),
        // Its own containerd does not pull.
        (
            Tree::new(&[(unit, "[Service]\nExecStart=/usr/local/bin/k3s server --docker\n")]),
            format!("k3s server | {K3S} | 1 |"),
        ),
        // A broken file of the user's is no reason to fail.
        (
            Tree::new(&[(unit, K3S_UNIT), ("/etc/rancher/k3s/config.yaml", "a: [\n\tb")]),
            format!("k3s server | {K3S} | 0 |"),
        ),
        (
            Tree::new(&[("/etc/containerd/config.toml", "version = 2\n")]).runs(&["/usr/bin/containerd"], 9_000_000_000),
            "containerd | etc/containerd/certs.d | - | 1 | running".into(),
        ),
    ];
    for (row, (tree, expected)) in table.into_iter().enumerate() {
        assert_eq!(line(&tree), expected, "row {row}");
    }
}

#[test]
fn the_configuration_overrules() {
    let mut tree = Tree::new(&[("/etc/systemd/system/k3s.service", K3S_UNIT)]);
    tree.node.runtime = config::Runtime::Rke2;
    assert_eq!(line(&tree), format!("rke2 server | {RKE2} | 0 |"));
    tree.node.data_dir = Some("/mnt/rke2".into());
    assert_eq!(
        line(&tree),
        "rke2 server | /mnt/rke2/agent/etc/containerd/certs.d | etc/rancher/rke2/registries.yaml | 0 |"
    );
    tree.node.certs_d = Some("/certs".into());
    tree.node.registries_yaml = Some("/r.yaml".into());
    assert_eq!(line(&tree), "rke2 server | /certs | /r.yaml | 0 |");
    tree.node.runtime = config::Runtime::None;
    assert_eq!(line(&tree), "none | - | - | 0 |");
}

#[test]
fn k3s_without_certs_d_is_recognised() {
    let config = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
    let reads = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"ROOT/var/lib/rancher/k3s/agent/etc/containerd/certs.d\"\n";
    let table: [(&str, Option<&str>, bool, usize); 4] = [
        (reads, None, false, 0),
        ("version = 2\n", None, true, 0),
        // A template of the user's that lacks it disables everything (rke2#5084).
        ("version = 2\n", Some("config.toml.tmpl"), false, 1),
        (reads, Some("config-v3.toml.tmpl"), false, 0),
    ];
    for (text, template, without, degraded) in table {
        let tree = Tree::new(&[(config, text)]);
        if let Some(template) = template {
            tree.write(
                &format!("/var/lib/rancher/k3s/agent/etc/containerd/{template}"),
                "",
            );
        }
        let found = tree.detect();
        assert_eq!(found.without_certs_d, without, "{text}");
        let count = found
            .findings
            .iter()
            .filter(|finding| finding.degraded)
            .count();
        assert_eq!(count, degraded, "{text}: {:?}", found.findings);
    }
}

/// What counts is when k3s read the file, a moment before it wrote its config.toml.
#[test]
fn a_restart_is_pending_when_it_would_mean_something_else() {
    const STARTED: u64 = 1_700_000_000;
    let path = "/etc/rancher/k3s/registries.yaml";
    let config = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
    let text = "mirrors:\n  docker.io:\n    endpoint: [http://a]\n";
    let tree = Tree::new(&[(path, text)]).runs(&["/usr/local/bin/k3s agent"], STARTED);
    let age = |path: &str, seconds: i64| {
        let at = UNIX_EPOCH + Duration::from_secs(STARTED.checked_add_signed(seconds).unwrap());
        let file = fs::File::options()
            .write(true)
            .open(tree.path(path))
            .unwrap();
        file.set_modified(at).unwrap();
    };
    let look = |known: Option<&Generation>| detect(&tree.facts(), &tree.node, known);

    // An agent that waits for its server has not read it yet.
    age(path, 60);
    assert_eq!(look(None).restart_pending, None);
    tree.write(config, "version = 2\n");
    age(config, -3600);
    assert_eq!(
        look(None).restart_pending,
        None,
        "the start before wrote it"
    );
    let older = look(None).generation;
    age(config, 90);
    assert_eq!(look(older.as_ref()).restart_pending, None);

    // Changed after it was read, before we looked: it is not known what was read.
    age(path, 120);
    let unknown = look(None);
    assert!(unknown.restart_pending.is_some());
    assert_eq!(unknown.generation.unwrap().registries, None);

    age(path, 60);
    let first = look(None);
    assert_eq!(first.restart_pending, None);
    let known = first.generation.unwrap();
    assert!(known.registries.is_some());

    // A comment is no meaning; an endpoint is.
    tree.write(
        path,
        "# mine\nmirrors: {docker.io: {endpoint: [\"http://a\"]}}\n",
    );
    assert_eq!(look(Some(&known)).restart_pending, None);
    tree.write(path, "mirrors: {docker.io: {endpoint: [\"http://b\"]}}\n");
    let pending = look(Some(&known));
    assert!(pending.restart_pending.is_some());
    assert_eq!(pending.generation.as_ref(), Some(&known));

    // The next start has read it.
    age(path, 180);
    age(config, 190);
    let restarted = look(Some(&known));
    assert_eq!(restarted.restart_pending, None);
    assert_ne!(restarted.generation.unwrap().registries, known.registries);
}
