//! I/O errors, as a dying disk gives them: ext4 in a file on another ext4, whose end the kernel is told to simulate
//! (`xfs_io -c shutdown`). From then on the inner one cannot write, and what is not in memory cannot be read.

use super::{BEFORE, Node, run};
use harbor_pilot::node::files::{self, Outcome};
use harbor_pilot::node::ledger;
use harbor_pilot::node::write;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{TempDir, tempdir};

const EIO: i32 = 5;
const INNER: &str = "inner.img";

/// The inner file system, mounted at `at`.
struct Dying {
    at: PathBuf,
    place: TempDir,
}

impl Dying {
    fn new(at: &Path) -> Self {
        let disk = Self {
            at: at.to_owned(),
            place: tempdir().unwrap(),
        };
        make(&disk.image(1), 48 << 20);
        let outer = disk.mount_outer(1);
        make(&outer.join(INNER), 16 << 20);
        disk.mount_inner(&outer);
        disk
    }

    fn image(&self, number: u8) -> PathBuf {
        self.place.path().join(format!("image-{number}"))
    }

    fn outer(&self, number: u8) -> PathBuf {
        self.place.path().join(format!("outer-{number}"))
    }

    fn mount_outer(&self, number: u8) -> PathBuf {
        let outer = self.outer(number);
        fs::create_dir(&outer).unwrap();
        run(
            "mount",
            &["-o", "loop", text(&self.image(number)), text(&outer)],
        );
        outer
    }

    fn mount_inner(&self, outer: &Path) {
        run(
            "mount",
            &["-o", "loop", text(&outer.join(INNER)), text(&self.at)],
        );
    }

    /// What was written until now is on disk; nothing that comes later.
    fn dies(&self) {
        run("sync", &["-f", text(&self.at)]);
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.outer(1))]);
    }

    /// Not even what is in memory can be read.
    fn dies_itself(&self) {
        run("sync", &["-f", text(&self.at)]);
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.at)]);
    }

    /// Another disk with what the old one had, mounted over it: the old one may be held by mount namespaces that
    /// others made meanwhile.
    fn is_replaced(&self) {
        fs::copy(self.image(1), self.image(2)).unwrap();
        self.mount_inner(&self.mount_outer(2));
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        for at in [&self.at, &self.at, &self.outer(1), &self.outer(2)] {
            drop(Command::new("umount").arg("-l").arg(at).output());
        }
    }
}

fn make(image: &Path, bytes: u64) {
    File::create(image).unwrap().set_len(bytes).unwrap();
    run("mkfs.ext4", &["-q", "-F", text(image)]);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An I/O error somewhere behind it.
fn is_io_error(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.raw_os_error() == Some(EIO)) {
            return true;
        }
        next = error.source();
    }
    false
}

#[test]
fn a_disk_that_dies_under_the_write_keeps_the_old_files() {
    let mut node = Node::on("k3s", Dying::new);
    node.mount.dies();
    let passed = node.apply().unwrap();
    let failed: Vec<&write::Error> = passed
        .done
        .iter()
        .map(|done| match &done.outcome {
            Outcome::Failed(error) => error,
            other => panic!("{}: {other:?}", done.path.display()),
        })
        .collect();
    // The first one meets the error; ext4 goes read-only then.
    assert!(is_io_error(failed[0]), "{failed:?}");
    assert!(matches!(failed[0], write::Error::System { .. }) && !failed[0].forbids());
    assert!(
        failed
            .iter()
            .all(|error| is_io_error(*error) || error.forbids()),
        "{failed:?}"
    );
    assert_eq!(node.text(), BEFORE);
    node.mount.is_replaced();
    assert_eq!(node.text(), BEFORE);
    node.apply().unwrap();
    assert!(node.is_in());
    files::release(&node.store, &files::Places::default(), crate::LOCK).unwrap();
    assert_eq!(node.text(), BEFORE);
}

#[test]
fn a_disk_that_dies_with_our_part_in_the_file_gives_it_back_later() {
    let mut node = Node::on("k3s", Dying::new);
    node.apply().unwrap();
    let ours = node.text();
    node.mount.dies();
    let done = files::release(&node.store, &files::Places::default(), crate::LOCK)
        .unwrap()
        .done;
    let failed = |done: &files::Done| matches!(&done.outcome, Outcome::Failed(error) if is_io_error(error) || error.forbids());
    assert!(!done.is_empty() && done.iter().all(failed), "{done:?}");
    node.mount.is_replaced();
    assert_eq!(node.text(), ours);
    let done = files::release(&node.store, &files::Places::default(), crate::LOCK)
        .unwrap()
        .done;
    assert!(
        done.iter()
            .all(|done| matches!(done.outcome, Outcome::Written)),
        "{done:?}"
    );
    assert_eq!(node.text(), BEFORE);
}

#[test]
fn files_that_cannot_be_read_are_left_and_named() {
    let mut node = Node::on("k3s", Dying::new);
    node.mount.dies_itself();
    assert_eq!(
        fs::read(node.hosts()).unwrap_err().raw_os_error(),
        Some(EIO)
    );
    let passed = node.apply().unwrap();
    let left = passed
        .plan
        .left
        .iter()
        .find(|left| left.path == node.hosts());
    let left = left.unwrap_or_else(|| panic!("{:?}", passed.plan.left));
    assert!(
        left.why.contains("Input/output error") && !left.waits,
        "{}",
        left.why
    );
    assert_eq!(passed.changed(), 0);
    node.mount.is_replaced();
    assert_eq!(node.text(), BEFORE);
    node.apply().unwrap();
    assert!(node.is_in());
}

#[test]
fn without_a_disk_for_the_ledger_no_file_is_touched() {
    let mut node = Node::on("state", Dying::new);
    node.mount.dies();
    let error: ledger::Error = node.apply().unwrap_err();
    assert!(is_io_error(&error), "{error:?}");
    assert_eq!(node.text(), BEFORE);
    node.mount.is_replaced();
    node.apply().unwrap();
    assert!(node.is_in());
}
