//! One file replaced whole or not at all (design F5): a temporary file in the same directory, fsync, rename,
//! fsync of the directory. Owner, mode and extended attributes stay; a symlink stays a link.
//!
//! Knows nothing of what is in the files. What it was asked to do has happened when it returns, or the old
//! file stands; a crash may leave a temporary file behind, which `sweep` takes away.

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// More than any host configuration, some ten thousand registries: what is larger is not read.
const MOST: u64 = 1 << 20;
/// `O_NONBLOCK`: opening a FIFO that stands where a file should must not wait for a writer.
const NONBLOCK: i32 = 0o4000;
/// The last part of names that only exist while something is written.
const NEW: &str = ".harbor-pilot-new";
/// Of a directory on its way out.
const OLD: &str = ".harbor-pilot-old";
/// As k3s makes the directories of registries (containerd-k3s-facts 7.3).
const DIRECTORY_MODE: u32 = 0o700;

/// A file as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// The owner's uid.
    pub uid: u32,
    /// The group's gid.
    pub gid: u32,
}

impl Standing {
    /// What is in it, as far as that is text.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would belong to somebody else afterwards: the daemon has no capability (design S3).
    #[error(
        "{path} belongs to uid {uid}, which only root itself can keep; run as root: harbor-pilot apply"
    )]
    ForeignOwner {
        /// The file that was to be written.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// A read-only file system, the unit's sandbox, permissions, an immutable file.
    #[error(
        "{path} cannot be written; see that it is not on a read-only file system and that the unit's ReadWritePaths= name its directory"
    )]
    NotWritable {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk or the quota is full.
    #[error("there is no room to write {path}; free some space: the old file stays until then")]
    NoRoom {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else that the system said, such as an I/O error.
    #[error("{doing} {path}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The file or directory to which it was done.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory, a socket, a device, or far too large.
    #[error("{0} is no regular file of at most 1 MiB; move it away")]
    NotAFile(PathBuf),
}

// === impl Error ===

impl Error {
    /// Sorts what the system said.
    fn from_io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoRoom { path, source },
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                Self::NotWritable { path, source }
            }
            _ => Self::System {
                doing,
                path,
                source,
            },
        }
    }

    /// Whether something on the way is not there (any more): a runtime's start removes its directories and makes them
    /// anew within a second.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == ErrorKind::NotFound)
    }

    /// Whether writing is forbidden here, as opposed to having failed.
    #[must_use]
    pub fn forbids(&self) -> bool {
        matches!(self, Self::NotWritable { .. } | Self::ForeignOwner { .. })
    }
}

/// The file at `path`, symlinks followed; `None` if there is none. Blocks on file I/O.
///
/// # Errors
/// [`Error::System`] and its relatives: something is there that is no file, or cannot be read.
pub fn read(path: &Path) -> Result<Option<Standing>, Error> {
    let cannot = |source| Error::from_io("cannot read", path, source);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(cannot(error)),
    };
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() || metadata.len() > MOST {
        return Err(Error::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(Some(Standing {
        bytes,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    }))
}

/// Puts `new` in the place of whatever is at `path`. On disk when it returns. Blocks on file I/O.
/// On an error: the old file stands then, whole.
pub(crate) fn replace(path: &Path, new: &Standing) -> Result<(), Error> {
    let path = &target(path)?;
    let (directory, temporary) = beside(path, NEW)?;
    let written = write_new(&temporary, new, Some(path)).and_then(|()| {
        fs::rename(&temporary, path).map_err(|e| Error::from_io("cannot replace", path, e))
    });
    if written.is_err() {
        // It has failed already; a rest is swept at the next start.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory(directory)
}

/// Takes the file at `path` away; of a symlink the link. A missing one is no error.
/// On an error: the file stands then.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::from_io("cannot remove", path, error)),
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes a directory with files in it that appears whole: an empty directory of a registry would shadow
/// containerd's `_default` (containerd-k3s-facts 1.3). The parent must exist.
/// On an error: there is no such directory then, or it was there already.
pub(crate) fn create_directory(
    directory: &Path,
    files: &[(OsString, Standing)],
) -> Result<(), Error> {
    let (parent, temporary) = beside(directory, NEW)?;
    let cannot = |source| Error::from_io("cannot create", directory, source);
    gone(fs::remove_dir_all(&temporary)).map_err(cannot)?;
    let filled = (|| {
        DirBuilder::new()
            .mode(DIRECTORY_MODE)
            .create(&temporary)
            .map_err(cannot)?;
        for (name, file) in files {
            write_new(&temporary.join(name), file, None)?;
        }
        sync_directory(&temporary)?;
        fs::rename(&temporary, directory).map_err(cannot)
    })();
    if filled.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    filled?;
    sync_directory(parent)
}

/// Takes a directory away that holds nothing but `ours`; says whether it did. It vanishes whole, for the reason
/// that [`create_directory`] gives.
/// Fails where the directory cannot be read or moved.
pub(crate) fn remove_directory(directory: &Path, ours: &[OsString]) -> Result<bool, Error> {
    let cannot = |source| Error::from_io("cannot remove", directory, source);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(cannot(error)),
    };
    for entry in entries {
        if !ours.contains(&entry.map_err(cannot)?.file_name()) {
            return Ok(false);
        }
    }
    let (parent, temporary) = beside(directory, OLD)?;
    gone(fs::remove_dir_all(&temporary)).map_err(cannot)?;
    fs::rename(directory, &temporary).map_err(cannot)?;
    sync_directory(parent)?;
    fs::remove_dir_all(&temporary).map_err(cannot)?;
    Ok(true)
}

/// Takes away what a crash may have left of earlier writes to `path` and of its directory.
pub(crate) fn sweep(path: &Path) {
    let file = target(path).and_then(|path| beside(&path, NEW).map(|(_, rest)| rest));
    if let Ok(rest) = file {
        // Nothing there is what is expected; anything else fails again, loudly, at the next write.
        let _ = fs::remove_file(rest);
    }
    for mark in [NEW, OLD] {
        let rest = path.parent().map(|directory| beside(directory, mark));
        if let Some(Ok((_, rest))) = rest {
            let _ = fs::remove_dir_all(rest);
        }
    }
}

/// What is not there is gone.
fn gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// Where a symlink leads, also when nothing is there yet.
fn target(path: &Path) -> Result<PathBuf, Error> {
    let Ok(next) = fs::read_link(path) else {
        return Ok(path.to_owned());
    };
    fs::canonicalize(path).or_else(|error| match error.kind() {
        // A link to nowhere: one step is enough for what people write.
        ErrorKind::NotFound => Ok(path.parent().unwrap_or(Path::new("/")).join(next)),
        _ => Err(Error::from_io("cannot follow", path, error)),
    })
}

/// The directory of a path, and a name in it that nobody else uses.
fn beside<'p>(path: &'p Path, mark: &str) -> Result<(&'p Path, PathBuf), Error> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::NotAFile(path.to_owned()));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(mark);
    Ok((directory, directory.join(hidden)))
}

/// Writes a file that was not there, as it shall look; `like` lends its extended attributes.
fn write_new(path: &Path, new: &Standing, like: Option<&Path>) -> Result<(), Error> {
    let shown = like.unwrap_or(path);
    let cannot = |source| Error::from_io("cannot write", shown, source);
    gone(fs::remove_file(path)).map_err(cannot)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        // Nobody else's while it is half done; the mode that is wanted comes last.
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    file.write_all(&new.bytes).map_err(cannot)?;
    let made = file.metadata().map_err(cannot)?;
    if (made.uid(), made.gid()) != (new.uid, new.gid) {
        std::os::unix::fs::fchown(&file, Some(new.uid), Some(new.gid)).map_err(
            |error| match error.kind() {
                ErrorKind::PermissionDenied => Error::ForeignOwner {
                    path: shown.to_owned(),
                    uid: new.uid,
                },
                _ => cannot(error),
            },
        )?;
    }
    if let Some(like) = like {
        copy_attributes(like, &file).map_err(cannot)?;
    }
    // After the owner, which would clear set-id bits, and after the attributes: an ACL is one and changes the mode.
    file.set_permissions(fs::Permissions::from_mode(new.mode))
        .map_err(cannot)?;
    file.sync_all().map_err(cannot)
}

/// Extended attributes (SELinux labels, ACLs, user attributes) go over to the new file.
fn copy_attributes(from: &Path, to: &File) -> io::Result<()> {
    let mut names = Vec::with_capacity(4096);
    match rustix::fs::listxattr(from, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        // No file, or a file system without attributes: nothing to keep.
        Err(Errno::NOENT | Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = Vec::with_capacity(64 << 10);
        rustix::fs::getxattr(from, name, rustix::buffer::spare_capacity(&mut value))?;
        match rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty()) {
            Ok(()) => {}
            // What the kernel sets itself (a label by policy, a capability) is not ours to set.
            Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP) if !name.starts_with(b"user.") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A rename is on disk when its directory is.
fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::from_io("cannot sync", directory, error))
}

#[cfg(test)]
mod tests;
