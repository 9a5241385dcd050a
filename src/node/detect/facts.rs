//! The facts that detection works on. Every path stands below a root, so that tests and images have nodes of their own.

use super::Family;
use super::machine::Process;
use super::running::Running;
use crate::node::ledger::Generation;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Below which all default places stand; `/` on a real node.
    pub(crate) root: PathBuf,
    /// Of root's processes those that may be runtimes.
    pub(crate) processes: Vec<Process>,
    /// The words of `ExecStart=` by unit.
    pub(crate) units: BTreeMap<String, Vec<String>>,
    /// k3s' and rke2's configuration files, in the order in which they are read.
    pub(super) configs: BTreeMap<Family, Vec<Text>>,
    /// Those of them with a unit, a configuration or state in the data directory. The empty parents of these places, which
    /// our own package makes, do not tell.
    pub(super) installed: Vec<Family>,
    /// containerd's config.toml: that of k3s or rke2 where one of them was found, else the stock one with what it imports.
    pub(crate) containerd_config: Vec<Text>,
    /// What the one of k3s or rke2 tells of its last start.
    pub(crate) generation: Option<Generation>,
    /// What a running stock one says of itself.
    pub(crate) running_containerd: Option<Running>,
    /// A program of that name is installed.
    pub(crate) containerd_installed: bool,
    /// A user's template of k3s' config.toml.
    pub(crate) template: Option<PathBuf>,
    pub(crate) registries: Option<Text>,
    pub(crate) containerd_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// When it was written, since 1970, as precisely as the file system says.
    pub(crate) modified: Duration,
}

// === impl Facts ===

impl Facts {
    /// A default place below the root.
    pub(super) fn under_root(&self, path: &Path) -> PathBuf {
        // What is below it already came from a process or a file of that root.
        if path.starts_with(&self.root) {
            return path.to_owned();
        }
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

pub(in crate::node) fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
