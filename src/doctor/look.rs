//! Gathers what the node's files say, with the daemon's own functions: what runs, what would be changed, what
//! containerd would read for each registry. Writes nothing.

use super::files::FilesFacts;
use crate::config::Config;
use crate::node::desired::{Situation, agent_url, desired};
use crate::node::detect::{Machine, detect, gather};
use crate::node::files::{self, Pass, Tiers};
use crate::node::hosts_file::HostsFile;
use crate::node::hosts_toml;
use crate::node::ledger::Store;
use crate::node::registries_yaml;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug)]
pub(super) struct Looked<'a> {
    pub(super) machine: &'a Machine,
    pub(super) config: &'a Config,
    /// The agent's own port answers.
    pub(super) agent_alive: bool,
    pub(super) tiers: &'a Tiers,
}

/// Looks. Blocks on file I/O and on `containerd --version`.
pub(super) fn look(looked: Looked<'_>) -> FilesFacts {
    let Looked {
        machine,
        config,
        agent_alive,
        tiers,
    } = looked;
    let agent = agent_url(&config.server);
    let named = agent.as_deref().map(|agent| machine.named_in_files(agent));
    let store = Store::new(&config.state_directory);
    let pass = Pass {
        machine,
        store: &store,
        config,
        agent: agent.as_deref(),
        agent_alive,
        tiers,
        detected: None,
    };
    let mut facts = FilesFacts {
        manage: config.node.manage,
        has_tiers: !config.tiers.is_empty(),
        agent_url: named.clone(),
        agent_alive,
        ..FilesFacts::default()
    };
    match files::preview(&pass) {
        Ok(passed) => {
            facts.unprivileged = passed.unprivileged;
            facts.detected = passed.detected;
            facts.released = passed.released;
            facts.changes = passed
                .plan
                .steps
                .iter()
                .map(|step| step.path.clone())
                .collect();
            facts.left = passed.plan.left;
            facts.ours = passed.managed;
            facts.ours.retain(|path| path.exists());
        }
        Err(error) => {
            match store.load() {
                Err(_) if is_hidden(store.directory()) => facts.hidden.push(format!(
                    "what the agent has written ({} cannot be read)",
                    store.directory().display()
                )),
                _ => facts.ledger = Some(error.to_string()),
            }
            facts.detected = detect(&gather(machine, &config.node), &config.node, None);
        }
    }
    let none = BTreeSet::new();
    let situation = Situation {
        agent: named.as_deref().unwrap_or_default(),
        agent_alive: true,
        whole_tiers: &none,
    };
    let wanted = desired(config, &situation);
    facts.closed = wanted
        .iter()
        .filter(|host| host.closed)
        .map(|host| host.registry.to_string())
        .collect();
    if let Some(certs_d) = facts
        .detected
        .certs_d
        .as_deref()
        .filter(|_| !facts.detected.without_certs_d)
    {
        let names = wanted.iter().map(|host| host.registry.as_str());
        let version = facts.detected.version();
        let files = names.map(|name| HostsFile::find(certs_d, name, version));
        facts.hosts = files.collect();
        facts.hosts.retain(|file| {
            let hidden = is_hidden(&file.path);
            if hidden {
                let path = file.path.display();
                facts.hidden.push(format!(
                    "what containerd reads for {} ({path} cannot be read)",
                    file.registry
                ));
            }
            !hidden
        });
        let shared = facts.hosts.iter().filter(|file| says_of_others(&file.path));
        facts.shared = shared.map(|file| file.registry.clone()).collect();
    }
    let registries = facts.detected.registries_yaml.as_ref();
    if let Some(path) = registries.filter(|path| is_hidden(path)) {
        let path = path.display();
        facts.hidden.push(format!(
            "what k3s reads at its start ({path} cannot be read)"
        ));
    }
    let directories = facts.ours.iter().filter_map(|path| path.parent());
    let directories: BTreeSet<&Path> = directories.collect();
    let read_only = directories
        .into_iter()
        .filter(|directory| access(*directory, Access::WRITE_OK) == Err(Errno::ROFS));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    facts.read_only = read_only
        .map(|directory| (directory.to_owned(), mount_of(&mounts, directory)))
        .collect();
    facts.registries = facts.detected.registries_yaml.as_ref().and_then(|path| {
        let text = fs::read_to_string(path).ok()?;
        let read = registries_yaml::read(&text).map_err(|refused| refused.to_string());
        Some((path.clone(), read))
    });
    facts
}

/// It is there, and whoever runs doctor may not read it.
fn is_hidden(path: &Path) -> bool {
    let denied = |kind| kind == ErrorKind::PermissionDenied;
    match fs::metadata(path) {
        Err(error) => denied(error.kind()),
        Ok(data) if data.is_dir() => fs::read_dir(path).is_err_and(|error| denied(error.kind())),
        Ok(_) => fs::File::open(path).is_err_and(|error| denied(error.kind())),
    }
}

/// There is something in the file besides our part.
fn says_of_others(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    hosts_toml::remove(&text).is_ok_and(|rest| !rest.trim().is_empty())
}

/// Where the file system of a path is mounted, by /proc/self/mountinfo.
fn mount_of(mounts: &str, path: &Path) -> PathBuf {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // Spaces stand there as octal numbers; such places are rare, and their parent is named.
    let within = places
        .map(Path::new)
        .filter(|place| path.starts_with(place));
    let deepest = within.max_by_key(|place| place.components().count());
    deepest.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_above_a_path_is_its_own() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      23 22 0:5 / /etc/containerd ro - tmpfs tmpfs ro\n\
                      24 22 0:6 / /etc/containerd/certs.d/x rw - tmpfs tmpfs rw\n";
        let of = |path: &str| mount_of(mounts, Path::new(path));
        assert_eq!(
            of("/etc/containerd/certs.d/docker.io"),
            Path::new("/etc/containerd")
        );
        assert_eq!(of("/etc/containerd2"), Path::new("/"));
    }
}
