//! What `status` says of the node's files.

use crate::node::detect::Detected;
use crate::node::write;
use crate::printable::words;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The node's files as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeFilesStatus {
    /// The state after the newest pass.
    pub state: FilesState,
    /// In one sentence; empty where the word says all.
    pub reason: String,
    /// What runs here; `None`: nobody has looked.
    pub detected: Option<Detected>,
    /// Files that carry our part, also where they are not managed any more.
    pub files: Vec<PathBuf>,
    /// Files that are not as they should be.
    pub troubles: Vec<Trouble>,
}

words! {
    /// The state in one word, as `/status` and the metric `node_files_state` say it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum FilesState {
        /// Nobody has looked yet.
        #[default]
        Unknown = "unknown",
        /// `[node] manage` is not set, or there is no tier.
        NotManaged = "not_managed",
        /// `restore` was run: hands off until `apply`.
        Released = "released",
        /// Nothing runs here whose files we know, or its directories are not there yet.
        Waiting = "waiting",
        /// Everything stands as it should.
        Current = "current",
        /// See the troubles and what was found.
        Degraded = "degraded",
    }
}

/// A file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The file's absolute path.
    pub path: PathBuf,
    /// Its sort, as `status` and /status show it.
    pub kind: TroubleKind,
    /// Why, and what to do.
    pub why: String,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// It cannot be read or understood, or the user's entries forbid it.
    Left,
    /// Writing failed; it is tried again.
    Failed,
    /// The daemon has no right to write it: `harbor-pilot apply` as root does.
    NotWritable,
    /// Somebody else keeps writing it.
    Conflict,
    /// Another agent keeps the files below it.
    SecondAgent,
}

// === impl Trouble ===

impl Trouble {
    pub(super) fn new(path: &Path, kind: TroubleKind, why: String) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            why,
        }
    }
}

// === impl TroubleKind ===

impl TroubleKind {
    pub(super) fn from_error(error: &write::Error) -> Self {
        match error.forbids() {
            true => Self::NotWritable,
            false => Self::Failed,
        }
    }
}

// === impl NodeFilesStatus ===

impl NodeFilesStatus {
    /// Of an agent without an address for containerd.
    pub(crate) fn unheard() -> Self {
        Self {
            state: FilesState::NotManaged,
            reason: "[server] listen is empty".to_owned(),
            ..Self::default()
        }
    }
}
