//! New files of the state directory: their owner's alone, whatever the umask is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A new file of mode 0600. What stood there, left by a crash perhaps and with other permissions, goes.
///
/// # Errors
/// What stands there cannot be removed, or nothing can be created.
pub fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}
