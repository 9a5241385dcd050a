//! What is wrong with a configuration, where, and what to write instead.

use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One thing that is wrong (or, among the warnings, doubtful).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
pub struct Problem {
    /// The file that says so; `None` where no file does (the environment, a default).
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The key path: `tier.replica.projects."docker.io"`.
    pub key: String,
    /// The mistake, in one sentence.
    pub what: String,
    /// What to write or do instead.
    pub instead: String,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    file: Arc<Path>,
    line: usize,
}

/// What is wrong with one value, before anybody knows where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(super) what: String,
    pub(super) instead: String,
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(origin: Option<&Origin>, key: impl Into<String>, wrong: Wrong) -> Self {
        Self {
            file: origin.map(|origin| origin.file.to_path_buf()),
            line: origin.map(|origin| origin.line),
            key: key.into(),
            what: wrong.what,
            instead: wrong.instead,
        }
    }

    /// A problem of a whole file.
    pub(super) fn for_file(file: &Path, wrong: Wrong) -> Self {
        Self {
            file: Some(file.to_path_buf()),
            line: None,
            key: String::new(),
            what: wrong.what,
            instead: wrong.instead,
        }
    }
}

impl fmt::Display for Problem {
    /// `/etc/harbor-pilot/config.toml:7: tier.replica.url: …; write …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.instead)
    }
}

// === impl Origin ===

impl Origin {
    pub(super) fn new(file: Arc<Path>, line: usize) -> Self {
        Self { file, line }
    }

    /// The file that holds the mistake.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line in it, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

// === impl Wrong ===

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            instead: instead.into(),
        }
    }
}
