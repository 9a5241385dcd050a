//! Files of the state directory: their owner's alone, whatever the umask is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Puts a file of mode 0600 in the place of what stands there: the old or the new content, never a part. It is on disk when this
/// returns.
///
/// # Errors
/// [`io::Error`]: the directory cannot be written.
pub fn replace_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = create_private(temporary.as_ref())?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// A new file of mode 0600. What stood there, left by a crash perhaps and with other permissions, goes.
///
/// # Errors
/// [`io::Error`]: the old file cannot be removed, or the new one cannot be created.
pub fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}
