//! The ledger (design F5): which files of the node were changed, what they would be without us, and what was
//! written last. It is on disk before a file is renamed, so that after a crash at any moment each file is either
//! as it was or as the ledger says, and `restore` needs nothing else.
//!
//! In the state directory: `ledger.json`, `files.lock` which the daemon and the commands hold while they work.

use super::write::{self, Standing};
use crate::oci::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Of the file's layout. A later one is refused: it may know more than we would keep.
const VERSION: u32 = 1;
const NAME: &str = "ledger.json";
const LOCK: &str = "files.lock";
/// Between two tries for the lock.
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of the files that were changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// `restore` was run: hands off until `apply` (design F0).
    pub(crate) released: bool,
    /// Tiers that may stand in the files, as the daemon knew them last: what `handover` leaves behind.
    pub(crate) tiers: BTreeSet<Arc<str>>,
    /// The agent's own endpoint, as it was put in last: k3s may have made it part of what it generates.
    pub(crate) agent: Option<Arc<str>>,
    /// The start of k3s or rke2 that was seen last.
    pub(crate) generation: Option<Generation>,
    /// Directories that were made for our files, and go with them.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// By the file's absolute path.
    pub files: BTreeMap<PathBuf, Entry>,
}

/// A start of k3s or rke2, told by the config.toml that it generated. The process may be minutes older: an agent waits for
/// its server before it reads and writes anything (containerd-k3s-facts 13.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generation {
    pub(crate) config: PathBuf,
    /// When it was written, since 1970.
    pub(crate) modified: Duration,
    pub(crate) inode: u64,
    /// What registries.yaml meant then; `None`: it was changed before anybody looked.
    pub(crate) registries: Option<String>,
}

/// A file that was changed, and how to undo that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub(crate) kind: Kind,
    /// What it would be without us; `None`: it would not be there.
    pub(crate) original: Option<Original>,
    /// Contents that are ours: the one written last, and during a write also the one before. `None`: no file.
    pub(crate) written: Vec<Option<String>>,
}

/// What sort of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A CA certificate beside a hosts.toml. First in order: it must be there before it is named.
    Ca,
    /// A hosts.toml in certs.d.
    Hosts,
    /// registries.yaml of k3s or rke2.
    Registries,
}

/// How a file was. A file that is no text is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Original {
    /// Earlier versions kept the bytes in a file of this name, and read no ledger without it.
    sha256: String,
    /// What was in it; `None`: an earlier version wrote this.
    #[serde(default)]
    text: Option<String>,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// The ledger in its directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// Held while files are read and changed; given back when dropped, by the kernel at the latest.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the ledger cannot be used. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(
        "the ledger of changed files in {directory} cannot be {doing}; see that the directory can be written and has room"
    )]
    Unusable {
        /// read, written, locked
        doing: &'static str,
        /// The ledger's directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of it could not be written.
    #[error("the ledger of changed files could not be kept, so that nothing was changed")]
    Write(#[source] write::Error),
    /// It is not a ledger that can be read.
    #[error("{path} is damaged: {what}; move it away")]
    Damaged {
        /// The file of the ledger.
        path: PathBuf,
        /// What the parser refused.
        what: String,
    },
    /// It is from another version.
    #[error("{path} is of version {found}, this program knows {VERSION}; use the newer program")]
    Version {
        /// The file of the ledger.
        path: PathBuf,
        /// The version that stands in it.
        found: u32,
    },
    /// Somebody else holds the lock.
    #[error("another harbor-pilot works on the node's files ({0} is locked); try again")]
    Locked(PathBuf),
}

// === impl Generation ===

impl Generation {
    /// What a config.toml tells; `None`: it cannot be looked at. Blocks on file I/O.
    pub(crate) fn read(config: &Path) -> Option<Self> {
        let metadata = fs::metadata(config).ok()?;
        let modified = metadata.modified().ok()?;
        Some(Self {
            config: config.to_owned(),
            modified: modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
            inode: metadata.ino(),
            registries: None,
        })
    }

    /// Whether both are the same start.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (&self.config, self.modified, self.inode) == (&other.config, other.modified, other.inode)
    }
}

// === impl Entry ===

impl Entry {
    /// A file that would be `base` without us, and whose contents `ours` are ours.
    pub(super) fn new(kind: Kind, base: Option<&Standing>, ours: &[&Option<Standing>]) -> Self {
        let ours = ours.iter().map(|file| fingerprint(file.as_ref()));
        Self {
            kind,
            original: base.map(Original::new),
            written: ours.collect(),
        }
    }

    /// Whether this is what was written last, or the state before a write that a crash cut short.
    #[must_use]
    pub fn is_ours(&self, standing: Option<&Standing>) -> bool {
        self.written.contains(&fingerprint(standing))
    }
}

// === impl Original ===

impl Original {
    pub(crate) fn new(standing: &Standing) -> Self {
        Self {
            sha256: hex(&standing.bytes),
            text: String::from_utf8(standing.bytes.clone()).ok(),
            mode: standing.mode,
            uid: standing.uid,
            gid: standing.gid,
        }
    }

    /// How it was; `None`: that is not known.
    pub(crate) fn standing(&self) -> Option<Standing> {
        Some(Standing {
            bytes: self.text.clone()?.into_bytes(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
        })
    }
}

/// What `written` holds for a content.
pub(crate) fn fingerprint(standing: Option<&Standing>) -> Option<String> {
    standing.map(|file| hex(&file.bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digest = Digest::sha256(bytes);
    digest.as_str().trim_start_matches("sha256:").to_owned()
}

// === impl Store ===

impl Store {
    /// The ledger in this state directory.
    #[must_use]
    pub fn new(state_directory: &Path) -> Self {
        Self {
            directory: state_directory.to_owned(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The ledger's own file: a change of it means "look again".
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Takes the lock, which daemon and commands share; waits for it at most `wait`. Makes the directory. Blocks.
    /// Fails where somebody else keeps it, or the directory cannot be written.
    pub(crate) fn lock(&self, wait: Duration) -> Result<Lock, Error> {
        let path = self.directory.join(LOCK);
        let unusable = |source| self.unusable("locked", source);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(unusable)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        let mut left = wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if left.is_zero() => return Err(Error::Locked(path)),
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(PAUSE);
                    left = left.saturating_sub(PAUSE);
                }
                Err(TryLockError::Error(source)) => return Err(unusable(source)),
            }
        }
    }

    /// The ledger; a new one if there is none. Blocks on file I/O.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::Damaged`], [`Error::Version`].
    pub fn load(&self) -> Result<Ledger, Error> {
        let path = self.file();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ledger::default()),
            Err(source) => return Err(self.unusable("read", source)),
        };
        let damaged = |error: serde_json::Error| Error::Damaged {
            path: path.clone(),
            what: error.to_string(),
        };
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        // The version first: the rest may have another shape.
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version > VERSION {
            let found = version;
            return Err(Error::Version { path, found });
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// Puts the ledger on disk. Writes nothing where the same is there: a try that fails again and again costs the disk nothing.
    /// Blocks on file I/O.
    /// On an error: the old ledger stands then.
    pub(crate) fn save(&self, ledger: &Ledger) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            version: u32,
            #[serde(flatten)]
            ledger: &'a Ledger,
        }
        let version = VERSION;
        // Maps with text keys, texts and numbers.
        let text =
            serde_json::to_string_pretty(&Versioned { version, ledger }).unwrap_or_default() + "\n";
        let path = self.file();
        if fs::read(&path).is_ok_and(|standing| standing == text.as_bytes()) {
            return Ok(());
        }
        let (uid, gid) = ourselves();
        let new = Standing {
            bytes: text.into_bytes(),
            mode: 0o600,
            uid,
            gid,
        };
        write::replace(&path, &new).map_err(Error::Write)
    }

    fn unusable(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Unusable {
            doing,
            directory: self.directory.clone(),
            source,
        }
    }
}

pub(super) fn ourselves() -> (u32, u32) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (uid.as_raw(), gid.as_raw())
}

#[cfg(test)]
mod tests;
