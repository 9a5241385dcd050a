//! `[node]` as it is checked.

use crate::printable::words;
use std::path::PathBuf;

/// `[node]`: the files of the container runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Whether files of the node are written.
    pub manage: bool,
    /// The container runtime whose files are kept.
    pub runtime: Runtime,
    /// Which hosts follow the agent in a file.
    pub fallback: Fallback,
    /// What happens to a user's entries that are a tier or the upstream.
    pub existing: Existing,
    /// The agent stands in the files behind a port that every user of the node may bind.
    pub allow_unprivileged_port: bool,
    /// Data directory of k3s or rke2, where it is not the default one.
    pub data_dir: Option<PathBuf>,
    /// Path of registries.yaml, where it is not the default one.
    pub registries_yaml: Option<PathBuf>,
    /// Directory of hosts.toml files, where it is not the default one.
    pub certs_d: Option<PathBuf>,
}

words! {
    /// `runtime`: the container runtime of the node.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Runtime {
        /// Found by what runs and which files are there.
        Auto = "auto",
        /// k3s, server or agent.
        K3s = "k3s",
        /// rke2, server or agent.
        Rke2 = "rke2",
        /// containerd by itself, with `config_path` in its config.toml.
        Containerd = "containerd",
        /// No runtime: no file is written.
        None = "none",
    }
}

words! {
    /// `fallback`: which hosts follow the agent in a file.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fallback {
        /// Tiers with `in_file`, while healthy, then upstream.
        Tiers = "tiers",
        /// The real registry alone.
        Upstream = "upstream",
        /// No host: without the agent nothing serves the registry.
        None = "none",
    }
}

words! {
    /// `existing`: what happens to a user's entries that are a tier or the upstream.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Existing {
        /// Taken out, recorded, put back by restore.
        Adopt = "adopt",
        /// They stay where they are.
        Keep = "keep",
        /// A file that has one is left alone.
        Refuse = "refuse",
    }
}
