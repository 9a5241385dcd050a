//! One agent per directory of host configurations: a second one would undo every write of the first, for ever.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A lock on the directory itself: it needs no file, holds whatever the state directories of the two are, and the kernel
/// takes it back when the process ends.
#[derive(Debug, Default)]
pub(super) struct Claim(Option<File>);

impl Claim {
    /// Whether the directory is ours, which it is once nobody else holds it. One that is not there is nobody's. Blocks
    /// on file I/O.
    pub(super) fn is_ours(&mut self, directory: &Path) -> bool {
        let Ok(opened) = File::open(directory) else {
            return true;
        };
        let identity = |file: &File| file.metadata().ok().map(|found| (found.dev(), found.ino()));
        let held = self.0.as_ref().and_then(identity);
        if held.is_some() && held == identity(&opened) {
            return true;
        }
        // A runtime's start may have made it anew.
        self.0 = None;
        match opened.try_lock() {
            Ok(()) => self.0 = Some(opened),
            Err(TryLockError::WouldBlock) => return false,
            Err(TryLockError::Error(error)) => {
                tracing::debug!("{} cannot be locked: {error}", directory.display());
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn one_of_two_has_the_directory_until_it_lets_go() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("certs.d");
        let (mut first, mut second) = (Claim::default(), Claim::default());
        assert!(first.is_ours(&directory) && second.is_ours(&directory));
        fs::create_dir(&directory).unwrap();
        assert!(first.is_ours(&directory) && !second.is_ours(&directory));
        assert!(first.is_ours(&directory));
        fs::rename(&directory, root.path().join("old")).unwrap();
        fs::create_dir(&directory).unwrap();
        assert!(second.is_ours(&directory) && !first.is_ours(&directory));
        drop(second);
        assert!(first.is_ours(&directory));
    }
}
