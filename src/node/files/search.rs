//! Files that carry our marks, searched for in every place where they may be: a ledger may be lost, damaged, or another
//! one than was written with.

use super::HOSTS;
use super::look::take_out;
use crate::config::{Node, Runtime};
use crate::node::detect::{
    CERTS_D, DOCKER_CERTS_D, Machine, default_places, detect, gather, sorted,
};
use crate::node::hosts_toml;
use crate::node::ledger::{Kind, Ledger};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the agent's part may stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Directories of host configurations.
    pub certs_d: BTreeSet<PathBuf>,
    /// Files that k3s and rke2 read.
    pub registries: BTreeSet<PathBuf>,
}

impl Places {
    /// The usual places of every runtime on this machine, those in use, and those that `node` names. Blocks on file
    /// I/O, and up to a few seconds on programs that are asked for their version.
    #[must_use]
    pub fn find(machine: &Machine, node: &Node) -> Self {
        let mut places = Self::default();
        let below = |path: &Path| {
            let path = path.strip_prefix("/").unwrap_or(path);
            machine.root().join(path)
        };
        places.certs_d.insert(below(Path::new(CERTS_D)));
        places.certs_d.insert(below(Path::new(DOCKER_CERTS_D)));
        for (data_dir, registries) in default_places() {
            places.add_data_dir(&below(&data_dir));
            places.registries.insert(below(&registries));
        }
        for runtime in [Runtime::K3s, Runtime::Rke2, Runtime::Containerd] {
            let node = Node {
                runtime,
                ..node.clone()
            };
            let detected = detect(&gather(machine, &node), &node, None);
            if let Some(data_dir) = &detected.data_dir {
                places.add_data_dir(data_dir);
            }
            places.certs_d.extend(detected.certs_d);
            places.certs_d.extend(detected.config_path);
            places.registries.extend(detected.registries_yaml);
        }
        places
    }

    fn add_data_dir(&mut self, data_dir: &Path) {
        self.certs_d
            .insert(data_dir.join("agent/etc/containerd/certs.d"));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Path> {
        let all = self.certs_d.iter().chain(&self.registries);
        all.map(PathBuf::as_path)
    }

    /// The files there that hold lines of ours, or what k3s generated of them, and the certificates that came with them. A
    /// ledger that does not know the agent's endpoint learns it from them. Blocks on file I/O.
    pub(crate) fn marked(&self, ledger: &mut Ledger) -> BTreeMap<PathBuf, Kind> {
        let directories = self.certs_d.iter().flat_map(|certs_d| sorted(certs_d));
        let directories: Vec<PathBuf> = directories.collect();
        if ledger.agent.is_none() {
            let texts = directories
                .iter()
                .map(|directory| text(&directory.join(HOSTS)));
            ledger.agent = texts.filter_map(|text| hosts_toml::agent_of(&text)).next();
        }
        let is_marked = |path: &Path, kind| {
            let text = text(path);
            let without = take_out(kind, &text, ledger.agent.as_deref());
            // Also where it cannot be taken out.
            without.map_or(true, |without| without != text)
        };
        let registries = self.registries.iter();
        let registries = registries.filter(|path| is_marked(path, Kind::Registries));
        let mut marked: BTreeMap<PathBuf, Kind> = registries
            .map(|path| (path.clone(), Kind::Registries))
            .collect();
        let hosts = directories.iter().map(|directory| directory.join(HOSTS));
        for hosts in hosts.filter(|hosts| is_marked(hosts, Kind::Hosts)) {
            let beside = hosts.parent().map(sorted).unwrap_or_default();
            let ours = beside.into_iter().filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with("harbor-pilot-") && name.ends_with(".pem"))
            });
            marked.extend(ours.map(|path| (path, Kind::Ca)));
            marked.insert(hosts, Kind::Hosts);
        }
        marked
    }
}

/// Those of the marked files that `known` does not name, under no name: a link or a mount may give a file several.
pub(super) fn besides<'k>(
    known: impl Iterator<Item = &'k PathBuf>,
    marked: BTreeMap<PathBuf, Kind>,
) -> BTreeMap<PathBuf, Kind> {
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let mut seen: BTreeSet<(u64, u64)> = known.filter_map(|path| identity(path)).collect();
    let new = |(path, _): &(PathBuf, Kind)| identity(path).is_none_or(|file| seen.insert(file));
    marked.into_iter().filter(new).collect()
}

fn text(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}
