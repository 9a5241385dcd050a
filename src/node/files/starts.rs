//! Starts of k3s and rke2: what the last one did not generate again would not be there without us (design F9).
//!
//! Their start writes config.toml and then the host configurations of the registries that registries.yaml lists, after it
//! has removed those that it generated before. A file of ours does not begin with their header, so that it survives, and
//! with it what was generated once.

use crate::node::detect::Detected;
use crate::node::hosts_toml;
use crate::node::ledger::{Generated, Kind, Ledger, Store};
use crate::node::write;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The host configurations follow config.toml within this.
const QUIET: Duration = Duration::from_millis(500);

/// The config.toml that such a runtime generates.
pub(super) fn config_of(detected: &Detected) -> Option<PathBuf> {
    let data_dir = detected.data_dir.as_ref();
    let data_dir = data_dir.filter(|_| detected.runtime.generates())?;
    Some(data_dir.join("agent/etc/containerd/config.toml"))
}

/// Takes from the ledger what lapsed with a start that was not seen yet. Blocks on file I/O, and for half a second where
/// a start is under way.
pub(super) fn lapse(ledger: &mut Ledger, store: &Store, config: Option<PathBuf>) {
    let known = ledger.generated.clone();
    let Some(path) = config.or_else(|| known.as_ref().map(|known| known.path.clone())) else {
        return;
    };
    let Ok(metadata) = fs::metadata(&path) else {
        return;
    };
    let now = generated(path, &metadata);
    if known.as_ref() == Some(&now) {
        return;
    }
    if known.is_some_and(|known| known.path == now.path) {
        let age = metadata.modified().ok();
        let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
        std::thread::sleep(QUIET.saturating_sub(age.unwrap_or(QUIET)));
        let entries = ledger.files.iter_mut();
        for (path, entry) in entries.filter(|(_, entry)| entry.kind == Kind::Hosts) {
            let original = entry.original.as_ref();
            let original = original.and_then(|original| store.original(original).ok());
            let was_generated = original.is_some_and(|file| is_generated(&file.bytes));
            if was_generated && !stands_generated(path) {
                entry.original = None;
            }
        }
    }
    ledger.generated = Some(now);
}

fn generated(path: PathBuf, metadata: &Metadata) -> Generated {
    Generated {
        path,
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        inode: metadata.ino(),
    }
}

fn stands_generated(path: &Path) -> bool {
    let file = write::read(path).ok().flatten();
    file.is_some_and(|file| is_generated(&file.bytes))
}

fn is_generated(bytes: &[u8]) -> bool {
    hosts_toml::is_generated(&String::from_utf8_lossy(bytes))
}
