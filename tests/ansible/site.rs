//! A site of two nodes: machines with a stand-in for k3s, an inventory, and the variables that the plays get.

use crate::lab::{Lab, Machine, Release};
use crate::package;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The file that k3s reads at its start.
pub(crate) const REGISTRIES: &str = "/etc/rancher/k3s/registries.yaml";
/// What k3s makes of it.
pub(crate) const CERTS_D: &str = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d";
/// When the stand-in began to start and was ready.
const MOMENTS: &str = "/var/log/k3s-moments";
/// A word that must never be printed.
pub(crate) const SECRET: &str = "sesame-open-wide";

/// What the site had before harbor-pilot came.
pub(crate) const BEFORE: &str = "# written by the site's own role\nmirrors:\n  docker.io:\n    endpoint:\n      - https://mirror.gcr.io   # ours\n";

/// Two nodes, and what Ansible is told about them.
pub(crate) struct Site {
    pub(crate) nodes: [Machine; 2],
    /// Of the package that is installed first.
    pub(crate) version: String,
    directory: PathBuf,
    inventory: PathBuf,
}

/// How a play ended.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) text: String,
    pub(crate) success: bool,
    hosts: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Site {
    /// Boots both machines; k3s has started on them.
    pub(crate) fn build(lab: &Lab) -> Self {
        let nodes = [0, 1].map(|number| lab.boot(number, Release::Bookworm));
        let directory = lab.scratch("ansible");
        for node in &nodes {
            node.copy(
                &own().join("k3s-stand-in.py"),
                "/usr/local/lib/k3s-stand-in.py",
            );
            node.copy(
                &own().join("k3s.service"),
                "/etc/systemd/system/k3s.service",
            );
            node.write(REGISTRIES, BEFORE);
            node.shell("systemctl enable --now k3s");
        }
        let mut inventory = "[harbor_pilot]\n".to_owned();
        for (name, node) in ["node-a", "node-b"].into_iter().zip(&nodes) {
            let leader = node.leader().expect("the machine is running");
            inventory.push_str(&format!(
                "{name} ansible_connection=machine ansible_nsenter_pid={leader} \
                 ansible_python_interpreter=/usr/bin/python3 ansible_become=false\n"
            ));
        }
        let package = package::find("first", &directory);
        let site = Self {
            nodes,
            version: package.version,
            inventory: directory.join("hosts"),
            directory,
        };
        fs::write(&site.inventory, inventory).unwrap();
        let ca = fs::read_to_string(lab.ca()).unwrap();
        let variables = serde_json::json!({
            "harbor_pilot_deb_file": package.path,
            "harbor_pilot_tiers": [
                { "name": "replica", "url": "https://replicas.lab.example", "project": "proxy-{registry_dashed}",
                  "cascade": true, "ca_file": "/etc/harbor-pilot/ca.crt",
                  "username": "robot$node", "password_file": "/etc/harbor-pilot/robot.secret" },
                { "name": "core", "url": "https://core.lab.example", "project": "proxy-{registry_dashed}",
                  "in_file": true, "ca_file": "/etc/harbor-pilot/ca.crt" },
            ],
            "harbor_pilot_files": [{ "name": "ca.crt", "content": ca }],
            "harbor_pilot_secrets": [{ "name": "robot.secret", "content": SECRET }],
            "harbor_pilot_serial": 2,
        });
        site.set_variables("site", &variables);
        site
    }

    /// Variables that all plays from now on get, besides those of other files.
    pub(crate) fn set_variables(&self, file: &str, variables: &serde_json::Value) {
        let path = self.directory.join(format!("{file}.json"));
        fs::write(path, variables.to_string()).unwrap();
    }

    /// Takes such a file back.
    pub(crate) fn forget_variables(&self, file: &str) {
        fs::remove_file(self.directory.join(format!("{file}.json"))).unwrap();
    }

    /// A place for files of the controller's.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a playbook of the repository's to its end, whatever that is.
    pub(crate) fn play(&self, playbook: &str, arguments: &[&str]) -> Play {
        let ansible = Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible");
        self.play_file(
            &ansible.join(format!("playbooks/{playbook}.yml")),
            arguments,
        )
    }

    /// The same with a playbook of the test's.
    pub(crate) fn play_file(&self, playbook: &Path, arguments: &[&str]) -> Play {
        let ansible = Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible");
        let mut command = Command::new("ansible-playbook");
        command
            .current_dir(ansible)
            .env("ANSIBLE_HOME", self.directory.join("home"))
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_FORKS", "2")
            .env("ANSIBLE_PIPELINING", "1")
            .env("ANSIBLE_CONNECTION_PLUGINS", own().join("connection"))
            .env("LC_ALL", "C.UTF-8")
            .arg("--inventory")
            .arg(&self.inventory);
        let mut files: Vec<PathBuf> = fs::read_dir(&self.directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .collect();
        // "site" first: later names win.
        files.sort_by_key(|path| (!path.ends_with("site.json"), path.clone()));
        for file in files {
            command.arg(format!("--extra-vars=@{}", file.display()));
        }
        let start = Instant::now();
        let output = command
            .arg(playbook)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("ansible-playbook: {error}; run `make deps` as root"));
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let play = Play {
            hosts: recap(&text),
            success: output.status.success(),
            text,
        };
        let name = playbook.file_stem().unwrap().display();
        let changed: Vec<u32> = play.hosts.values().map(|host| host["changed"]).collect();
        println!(
            "{name} {}: changed {changed:?}, {} s",
            arguments.join(" "),
            start.elapsed().as_secs()
        );
        assert!(
            !play.text.contains(SECRET),
            "the secret is in the log:\n{}",
            play.text
        );
        play
    }

    /// A value of systemd's about a unit, on each node.
    pub(crate) fn property(&self, unit: &str, name: &str) -> [String; 2] {
        self.each(|node| node.run("systemctl", &["show", "--property", name, "--value", unit]))
    }

    /// Asks both nodes.
    pub(crate) fn each<T>(&self, ask: impl Fn(&Machine) -> T) -> [T; 2] {
        [ask(&self.nodes[0]), ask(&self.nodes[1])]
    }

    /// The same text of a program's on each node.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> [String; 2] {
        self.each(|node| node.run(program, arguments))
    }

    /// A digest of everything below /etc/harbor-pilot, with modes and times of change.
    pub(crate) fn configuration(&self) -> [String; 2] {
        self.each(|node| {
            node.shell("cd /etc/harbor-pilot; find . -type f -exec stat -c '%n %a %U %Y' {} + | sort; find . -type f -exec sha256sum {} + | sort")
        })
    }

    /// What k3s reads and makes, with modes.
    pub(crate) fn node_files(&self) -> [String; 2] {
        self.each(|node| {
            node.shell(&format!(
                "find {REGISTRIES} {CERTS_D} -printf '%p %m %U\\n' | sort; find {REGISTRIES} {CERTS_D} -type f -exec sha256sum {{}} + | sort"
            ))
        })
    }

    /// Begin and end of each start of k3s, as (begin, ready or the time of failing), in seconds.
    pub(crate) fn k3s_starts(&self) -> [Vec<(f64, Option<f64>)>; 2] {
        self.each(|node| {
            let mut starts = Vec::new();
            for line in node.run("cat", &[MOMENTS]).lines() {
                let (what, moment) = line.split_once(' ').unwrap();
                let moment: f64 = moment.parse().unwrap();
                match what {
                    "starts" => starts.push((moment, None)),
                    _ => starts.last_mut().unwrap().1 = Some(moment),
                }
            }
            starts
        })
    }

    /// How often k3s has been started on each node.
    pub(crate) fn k3s_count(&self) -> [usize; 2] {
        self.k3s_starts().map(|starts| starts.len())
    }
}

impl Play {
    /// The play went well on both nodes, and changed as much on each.
    #[track_caller]
    pub(crate) fn changed(&self) -> u32 {
        assert!(self.success, "the play failed:\n{}", self.text);
        let [a, b] = ["node-a", "node-b"].map(|host| self.count(host, "changed"));
        assert_eq!(a, b, "the nodes differ:\n{}", self.text);
        a
    }

    /// The play failed.
    #[track_caller]
    pub(crate) fn refused(&self) -> &str {
        assert!(!self.success, "the play went through:\n{}", self.text);
        &self.text
    }

    /// One figure of the recap; 0 for a host that the play did not come to.
    pub(crate) fn count(&self, host: &str, what: &str) -> u32 {
        let host = self.hosts.get(host);
        host.map_or(0, |host| host[what])
    }
}

/// The files of this test.
fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ansible")
}

/// `node-a : ok=3 changed=0 unreachable=0 …`
fn recap(text: &str) -> BTreeMap<String, BTreeMap<String, u32>> {
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("PLAY RECAP"));
    let hosts = lines.skip(1).filter_map(|line| line.split_once(" : "));
    hosts
        .map(|(host, figures)| {
            let figures = figures
                .split_whitespace()
                .filter_map(|word| word.split_once('='));
            let figures = figures.map(|(what, count)| (what.to_owned(), count.parse().unwrap()));
            (host.trim().to_owned(), figures.collect())
        })
        .collect()
}
