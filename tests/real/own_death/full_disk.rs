//! The agent's state and containerd's files on a full disk.

use super::{AGENT, CORE, Node, PATIENCE, UPSTREAM, Who};
use crate::lab::{Fault, Place, run, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in the place of a directory.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        let mut mount = Command::new("mount");
        run(mount
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(at));
        Self(at.to_owned())
    }

    fn fill(&self) {
        let mut bytes = 256 << 10;
        let mut number = 0;
        while bytes >= 4096 {
            let filler = self.0.join(format!("filler-{number}"));
            number += 1;
            if fs::write(&filler, vec![0; bytes]).is_err() {
                drop(fs::remove_file(&filler));
                bytes /= 2;
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).output());
    }
}

#[test]
fn a_full_disk_stops_no_pull() {
    let mut disks = Vec::new();
    let mut node = Node::start("", |certs_d, state| {
        disks.extend([certs_d, state].map(Disk::mount));
    });
    // Unmounted before the laboratory's directory goes.
    let disks = disks;
    node.names("CORE is in the file", &[AGENT, CORE, UPSTREAM]);
    disks.iter().for_each(Disk::fill);
    let before = fs::read(node.file()).unwrap();
    node.pull_well("a full disk");
    node.assert_by_the_agent();
    node.unit.kill_and_hold();
    node.pull_well("a full disk and a killed agent");
    node.assert_by_core_alone();
    node.unit.release();
    wait_until("the agent serves with a full disk", PATIENCE, || {
        node.pull_well("an agent that was started with a full disk");
        match node.who_asked(&[Place::ReplicaA, Place::ReplicaB]) {
            Who::Agent => Ok(()),
            who => Err(format!("{who:?}")),
        }
    });
    // The file cannot follow; it stays whole, that is said, and the agent stands before what is dead.
    node.lab.set_fault(Place::Core, Fault::Refused);
    wait_until("it is said", PATIENCE, || {
        let log = node.unit.log();
        if log.contains("there is no room") || log.contains("ledger") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(fs::read(node.file()).unwrap(), before);
    node.pull_well("a full disk and a dead tier in the file");
    node.assert_by_the_agent();
    disks.iter().for_each(Disk::free);
    let took = node.names("CORE has left the file", &[AGENT, UPSTREAM]);
    println!(
        "with room again the file follows after {:.2} s",
        took.as_secs_f32()
    );
}
