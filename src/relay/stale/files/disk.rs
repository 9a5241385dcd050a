//! Files and directories that are their owner's alone, and what they take of the disk.

use crate::budget::{Budget, Buffer, Kind};
use bytes::Bytes;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Larger than any manifest that is let through, with its media type.
const LONGEST: u64 = 8 * 1024 * 1024;

/// Makes a folder of a tree, the directories above it included, all of mode 0700. The directory of all, which an earlier version
/// may have made for everybody to read, is closed.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut made = DirBuilder::new();
    made.recursive(true).mode(0o700).create(folder)?;
    let top = folder.ancestors().nth(2).unwrap_or(folder);
    fs::set_permissions(top, Permissions::from_mode(0o700))
}

/// A source has given it again: it is young. `false`: it is not there.
pub(super) fn touch(path: &Path, now: SystemTime) -> io::Result<bool> {
    match File::options().append(true).open(path) {
        Ok(file) => file.set_modified(now).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file with its age; an error where there is no memory for it.
pub(super) fn read(path: &Path, budget: &Budget, now: SystemTime) -> io::Result<(Bytes, Duration)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // A clock that was set back makes nothing older.
    let age = now.duration_since(metadata.modified()?);
    let length = usize::try_from(metadata.len().min(LONGEST)).unwrap_or(usize::MAX);
    let buffer = Buffer::try_new(budget, Kind::Manifests, length);
    let mut buffer = buffer.ok_or(ErrorKind::OutOfMemory)?;
    buffer.fill(&mut file)?;
    Ok((buffer.finish(), age.unwrap_or_default()))
}

/// What a file or directory takes of the disk: its blocks, which are of 512 bytes here whatever the file system's are (stat(2)).
/// Some file systems count them later; so it is its length at least.
pub(super) fn on_disk(path: &Path) -> u64 {
    let metadata = fs::symlink_metadata(path);
    metadata.map_or(0, |metadata| {
        metadata.blocks().saturating_mul(512).max(metadata.len())
    })
}

/// What is in a directory; nothing where there is none.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(directory) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    found.map(|entry| Ok(entry?.path())).collect()
}

/// What is not there any more is as good as done.
pub(super) fn is_absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(())
        }
        done => done,
    }
}
