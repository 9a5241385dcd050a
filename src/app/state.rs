//! The state directory at the start, and the configuration that was accepted last (design O2).

use super::Error;
use crate::config::{Loaded, Loader, Problem, load_accepted, store_accepted};
use crate::printable::chain;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Loads the configuration as design O2 says: the files; where they are bad, the last accepted one, degraded.
///
/// # Errors
/// [`Error::Config`]: the files are bad and no earlier configuration was accepted.
pub fn load(loader: &Loader) -> Result<(Loaded, Option<Vec<Problem>>), Error> {
    match loader.load() {
        Ok(loaded) => Ok((loaded, None)),
        Err(problems) => match load_accepted(&loader.state_directory(), &loader.environment) {
            Some(Ok(loaded)) => Ok((loaded, Some(problems))),
            _ => Err(Error::Config(problems)),
        },
    }
}

/// Makes the directory, its owner's alone; the daemon runs without it, and forgets.
pub(super) fn prepare_state(directory: &Path) {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    if let Err(error) = made {
        tracing::warn!(
            "cannot make the state directory {}: {error}; what was learned is lost at the next restart",
            directory.display()
        );
    }
}

/// Keeping it is for the next start with a bad file; without it this one is as good.
pub(super) fn keep_accepted(directory: &Path, loaded: &Loaded) {
    if let Err(error) = store_accepted(directory, loaded) {
        tracing::warn!("{}", chain(&error));
    }
}
