//! The node's files (design F0–F8): `hosts.toml` in containerd's certs.d, and k3s' `registries.yaml`.
//!
//! `detect` finds out what runs and which files it reads; `files` compares what should be there with what is,
//! and makes a plan of steps; `ledger` keeps what a file would be without us, before it is touched; `write`
//! replaces one file whole; `task` does all of it continuously in the daemon. Editing itself is pure text in, text
//! out. Nothing is written unless `[node] manage = true` and a tier exists.

pub(crate) mod clients;
pub mod desired;
pub mod detect;
pub(crate) mod diff;
mod edited;
pub(crate) mod endpoint;
pub mod files;
pub(crate) mod hosts_file;
pub mod hosts_toml;
pub mod ledger;
mod marks;
pub(crate) mod privileged;
pub mod registries_yaml;
pub(crate) mod shown;
pub(crate) mod task;
pub mod write;

pub use task::{FilesState, NodeFilesStatus, Place, Trouble, TroubleKind, answers, start};
