//! Directories of our files that cannot be written, seen before a write fails there; and files that stay ours though nobody
//! keeps them.

use super::status::{Trouble, TroubleKind};
use crate::node::ledger::{Kind, Store};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The directories of these files that forbid writing. Blocks on file I/O.
pub(super) fn forbidden(files: &[PathBuf]) -> Vec<Trouble> {
    let directories: BTreeSet<&Path> = files.iter().filter_map(|path| path.parent()).collect();
    let troubles = directories.into_iter().filter_map(|directory| {
        let why = why(directory)?;
        let why = format!("it cannot be written: {why}; what stands there is served until then");
        Some(Trouble::new(directory, TroubleKind::NotWritable, why))
    });
    troubles.collect()
}

/// Why a directory cannot be written. Blocks on file I/O.
pub(super) fn why(directory: &Path) -> Option<&'static str> {
    match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ROFS) => Some("its file system is read-only"),
        Err(Errno::ACCESS | Errno::PERM) => Some("permission is denied"),
        // What is not there is made when it is needed.
        _ => None,
    }
}

/// Files that carry our part by the ledger and are there. Blocks on file I/O.
pub(super) fn left_behind(store: &Store) -> Vec<PathBuf> {
    let Ok(ledger) = store.load() else {
        return Vec::new();
    };
    let files = ledger.files.into_iter();
    let own = files.filter(|(path, entry)| entry.kind != Kind::Ca && path.exists());
    own.map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_can_be_written_or_is_not_there_is_no_trouble() {
        let home = tempfile::tempdir().unwrap();
        let files = [
            home.path().join("hosts.toml"),
            home.path().join("gone/hosts.toml"),
        ];
        assert_eq!(forbidden(&files), []);
    }

    #[test]
    fn a_directory_that_forbids_writing_is_seen_without_a_write() {
        // Nobody makes a file there, root included.
        let [trouble] = &forbidden(&["/proc/sys/fs/hosts.toml".into()])[..] else {
            panic!("one directory, one trouble");
        };
        assert_eq!(trouble.kind, TroubleKind::NotWritable);
        assert_eq!(trouble.path, Path::new("/proc/sys/fs"));
    }
}
