//! Whether the agent keeps the node's files, and can. Facts in, findings out.

use super::{FilesFacts, Stand};
use crate::doctor::code::Code;
use crate::doctor::report::Check;
use std::path::{Path, PathBuf};

/// The agent adds nothing without a tier; what it has added stays.
pub(super) fn without_tiers(facts: &FilesFacts) -> Check {
    let said = "there is no tier, so that the agent belongs in no file";
    if facts.ours.is_empty() {
        return Check::not_applicable("files", said);
    }
    let mut check = Check::made("files", said);
    let ours: Vec<String> = facts
        .ours
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    check.warn(
        Code::FilesLeft,
        ours.join(", "),
        "they still lead to the agent, and nobody keeps them while the configuration has no tier",
        "harbor-pilot restore\nor configure a tier, if it is the configuration that is wrong",
    );
    check
}

/// Whether the agent keeps the files, and can.
pub(super) fn kept(check: &mut Check, facts: &FilesFacts) {
    let stands: Vec<Stand> = facts.hosts.iter().map(|file| facts.stand(file)).collect();
    if !facts.is_managed() {
        let without: Vec<&str> = facts
            .hosts
            .iter()
            .zip(&stands)
            .filter(|(_, stand)| **stand == Stand::Nowhere)
            .map(|(file, _)| file.registry.as_str())
            .collect();
        if without.len() == facts.hosts.len() {
            check.error(
                Code::FilesNotManaged,
                "containerd",
                "no hosts.toml names the agent and [node] manage is not true: no pull comes through it",
                "write manage = true under [node] and reload the agent (harbor-pilot plan shows the changes before), or write hosts.toml by hand (README)",
            );
        } else if !without.is_empty() {
            check.note(format!(
                "not through the agent, since no hosts.toml says so: {}",
                without.join(", ")
            ));
        }
        return;
    }
    if facts.released {
        check.error(
            Code::FilesReleased,
            "containerd",
            "harbor-pilot restore was run on this node: its files are not kept, and pulls go past the agent",
            "harbor-pilot apply takes them up again",
        );
        return;
    }
    if let Some(why) = &facts.ledger {
        check.error(
            Code::FileLeft,
            "the ledger",
            why,
            "docs/node-files.md, \"When something goes wrong\"",
        );
    }
    for left in &facts.left {
        let path = left.path.display().to_string();
        // Said where it is read.
        let unreadable = matches!(&facts.registries, Some((other, Err(_))) if *other == left.path)
            || facts
                .hosts
                .iter()
                .any(|file| file.path == left.path && matches!(file.view, Some(Err(_))));
        if left.waits {
            check.note(format!("{path}: {}", left.why));
        } else if !unreadable {
            check.error(
                Code::FileLeft,
                path,
                &left.why,
                "fix what is said, then: harbor-pilot apply",
            );
        }
    }
    for trouble in &facts.troubles {
        let mounted = facts.read_only.iter();
        let mounted =
            mounted.filter(|(directory, _)| Path::new(&trouble.path).starts_with(directory));
        let mounted = mounted.map(|(_, mount)| writable_again(mount)).next();
        let (code, instead) = match trouble.kind.as_str() {
            "not_writable" if mounted.is_some() => (
                Code::FilesNotWritable,
                mounted.as_deref().unwrap_or_default(),
            ),
            "not_writable" => (
                Code::FilesNotWritable,
                "systemctl edit harbor-pilot: ReadWritePaths= must name that directory; a path that was made after the agent's start needs its restart; files of another owner: harbor-pilot apply as root",
            ),
            // What the file shows is newer than what the daemon has said.
            "conflict" if !facts.changes.contains(&PathBuf::from(&trouble.path)) => continue,
            "conflict" => (
                Code::FilesConflict,
                "make the other program stop, or have it write the agent's entry too; then: harbor-pilot apply",
            ),
            "failed" => (
                Code::FileLeft,
                "see the reason (where there is no room: df -h); the agent tries again by itself",
            ),
            // The plan has said it.
            _ => continue,
        };
        check.error(code, &trouble.path, &trouble.why, instead);
    }
    for (directory, mount) in &facts.read_only {
        let is_said = facts.troubles.iter().any(|trouble| {
            trouble.kind == "not_writable" && Path::new(&trouble.path).starts_with(directory)
        });
        if !is_said {
            check.error(
                Code::FilesNotWritable,
                directory.display().to_string(),
                "its file system is read-only: what stands there cannot follow the tiers any more",
                writable_again(mount),
            );
        }
    }
    let said = |path: &PathBuf| {
        let is_of = |subject: &str| path.starts_with(subject);
        let mut cases = check.findings.iter().flat_map(|one| &one.cases);
        cases.any(|case| is_of(&case.subject))
    };
    let differ: Vec<String> = facts
        .changes
        .iter()
        .filter(|path| !said(path))
        .map(|path| path.display().to_string())
        .collect();
    // Without an agent it is out of the files, and that is as it should be.
    if facts.agent_alive && !differ.is_empty() {
        check.error(
            Code::FilesDiffer,
            differ.join(", "),
            "not as it should be, and the running agent has not changed it",
            "harbor-pilot plan shows the difference, harbor-pilot apply makes it; see whether the running agent has the same configuration",
        );
    }
}

fn writable_again(mount: &Path) -> String {
    format!(
        "mount -o remount,rw {}\nand see why it is read-only (dmesg): a disk with errors stays so",
        mount.display()
    )
}
