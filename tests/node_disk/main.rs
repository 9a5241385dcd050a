//! The node's files on file systems that are full, read-only or dying, and where the daemon has no right to them (design
//! F5, S3): the old file stays, the error says which it is, and what was not possible is done as soon as it is. Real
//! file systems, so it needs root to mount them: `cargo test --test node_disk`; a plain `cargo test` leaves it out.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers end the test"
)]

mod dying;
mod owner;

use harbor_pilot::config::Config;
use harbor_pilot::node::detect::{Machine, Process};
use harbor_pilot::node::files::{self, Everything, Outcome, Pass, Passed, Tiers};
use harbor_pilot::node::ledger::{self, Store};
use harbor_pilot::node::write::Error;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

/// A child of another test keeps a copy of the open lock until it has become another program.
const LOCK: Duration = Duration::from_secs(5);

/// A small file system of its own, unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, kilobytes: u32) -> Self {
        let options = format!("size={kilobytes}k,nr_inodes=200");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs", at.to_str().unwrap()],
        );
        Self(at.to_owned())
    }

    fn set(&self, option: &str) {
        let option = format!("remount,{option}");
        run("mount", &["-o", &option, self.0.to_str().unwrap()]);
    }

    /// Leaves no block free.
    fn fill(&self) {
        let mut bytes = 1 << 20;
        let mut number = 0;
        // The kernel counts free pages for each processor, so that the last ones show after several tries.
        let mut refused = 0;
        while refused < 50 {
            let filler = self.0.join(format!("filler-{number}"));
            number += 1;
            if fs::write(&filler, vec![0; bytes]).is_err() {
                let _ = fs::remove_file(&filler);
                bytes = (bytes / 2).max(4096);
                refused += 1;
            } else {
                refused = 0;
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.0).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("filler")
            {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: are you root?");
}

struct Node<M> {
    // In the order of dropping: unmounted first.
    mount: M,
    machine: Machine,
    store: Store,
    config: Config,
    root: TempDir,
}

const BEFORE: &str =
    "# mine\nserver = \"https://registry-1.docker.io\"\n[host.\"https://a.example\"]\n";

impl Node<Mount> {
    fn new(mounted: &str) -> Self {
        Self::on(mounted, |place| Mount::new(place, 256))
    }
}

impl<M> Node<M> {
    /// With the file system at `mounted`: k3s' directory or our state.
    fn on(mounted: &str, mount: impl FnOnce(&Path) -> M) -> Self {
        let root = tempdir().unwrap();
        let place = root.path().join(mounted);
        fs::create_dir_all(&place).unwrap();
        let mount = mount(&place);
        let process = Process {
            pid: 1,
            argv: vec!["k3s server".to_owned()],
            started_at: Duration::from_secs(4_000_000_000),
        };
        let node = Self {
            machine: Machine::below(root.path(), vec![process]),
            store: Store::new(&root.path().join("state")),
            config: Config::from_toml("[[tier]]\nname = \"t\"\nurl = \"https://t.example.com\"\nproject = \"proxy-{registry_dashed}\"\n[node]\nmanage = true\n").unwrap(),
            mount,
            root,
        };
        fs::create_dir_all(node.hosts().parent().unwrap()).unwrap();
        fs::write(node.hosts(), BEFORE).unwrap();
        node
    }

    fn hosts(&self) -> PathBuf {
        self.root
            .path()
            .join("k3s/agent/etc/containerd/certs.d/docker.io/hosts.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.hosts()).unwrap()
    }

    fn apply(&mut self) -> Result<Passed, ledger::Error> {
        self.config.node.data_dir = Some(self.root.path().join("k3s"));
        let pass = Pass {
            machine: &self.machine,
            store: &self.store,
            config: &self.config,
            agent: Some("http://127.0.0.1:290"),
            agent_alive: true,
            tiers: &Tiers {
                whole: BTreeSet::new(),
                unknown: BTreeSet::new(),
            },
            detected: None,
        };
        files::run(&pass, LOCK, true, &mut Everything)
    }

    fn is_in(&self) -> bool {
        self.text().contains("127.0.0.1:290")
    }
}

fn all_failed(passed: &Passed, is: impl Fn(&Error) -> bool) {
    assert!(!passed.done.is_empty());
    for done in &passed.done {
        match &done.outcome {
            Outcome::Failed(error) => assert!(is(error), "{error}: {error:?}"),
            other => panic!("{}: {other:?}", done.path.display()),
        }
    }
}

#[test]
fn a_full_disk_keeps_the_old_files() {
    let mut node = Node::new("k3s");
    node.mount.fill();
    let passed = node.apply().unwrap();
    all_failed(&passed, |error| matches!(error, Error::NoRoom { .. }));
    assert_eq!(node.text(), BEFORE);
    let beside = fs::read_dir(node.hosts().parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(beside, 1, "nothing is left beside it");
    node.mount.free();
    node.apply().unwrap();
    assert!(node.is_in());
    node.mount.fill();
    // The way back needs room for one file, and says so.
    let done = files::release(&node.store, &files::Places::default(), LOCK)
        .unwrap()
        .done;
    let full = |done: &&files::Done| matches!(done.outcome, Outcome::Failed(Error::NoRoom { .. }));
    assert_eq!(done.iter().filter(full).count(), 1);
    assert!(node.is_in());
    node.mount.free();
    files::release(&node.store, &files::Places::default(), LOCK).unwrap();
    assert_eq!(node.text(), BEFORE);
}

#[test]
fn a_read_only_file_system_is_named_as_such() {
    let mut node = Node::new("k3s");
    node.mount.set("ro");
    let passed = node.apply().unwrap();
    all_failed(&passed, |error| {
        matches!(error, Error::NotWritable { .. }) && error.forbids()
    });
    assert_eq!(node.text(), BEFORE);
    node.mount.set("rw");
    node.apply().unwrap();
    assert!(node.is_in());
    files::release(&node.store, &files::Places::default(), LOCK).unwrap();
    assert_eq!(node.text(), BEFORE);
}

#[test]
fn without_room_for_the_ledger_no_file_is_touched() {
    let mut node = Node::new("state");
    for trouble in ["full", "ro"] {
        if trouble == "full" {
            node.mount.fill();
        } else {
            node.mount.set("ro");
        }
        let error = node.apply().unwrap_err();
        assert!(error.to_string().contains("ledger"), "{error}");
        assert_eq!(node.text(), BEFORE, "{trouble}");
        if trouble == "full" {
            node.mount.free();
        } else {
            node.mount.set("rw");
        }
        node.apply().unwrap();
        assert!(node.is_in());
        files::release(&node.store, &files::Places::default(), LOCK).unwrap();
        assert_eq!(node.text(), BEFORE);
    }
}
