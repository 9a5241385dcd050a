//! The last accepted configuration, kept for a start with a bad file (design O2): the merged text, which
//! names the files of passwords and certificates but never holds what is in them.

use super::document::{Table, Value, to_toml};
use super::interpret::Loaded;
use super::load::load_text;
use super::problem::Problem;
use crate::lifecycle::replace_private;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Its name in the state directory.
const NAME: &str = "accepted.toml";

/// Why the accepted configuration could not be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot keep the accepted configuration in {path}; see that the directory exists and has room"
)]
pub struct StoreError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Keeps a configuration that has come into force. Atomic, mode 0600, on disk when it returns. Blocks on
/// file I/O.
///
/// # Errors
/// Where the directory cannot be written.
pub fn store_accepted(directory: &Path, loaded: &Loaded) -> Result<(), StoreError> {
    let path = directory.join(NAME);
    let text = format!(
        "# The configuration that harbor-pilot accepted last, all files merged. Used at a start with a\n\
         # bad configuration; written by the daemon, not to be edited.\n\n{}",
        to_toml(&written(&loaded.document))
    );
    replace_private(&path, text.as_bytes()).map_err(|source| StoreError { path, source })
}

/// The configuration that was accepted last; `None` if there never was one. Its own files (passwords,
/// certificates) are read anew, so that it too can be refused.
///
/// # Errors
/// All that is wrong with it now.
#[must_use]
pub fn load_accepted(
    directory: &Path,
    environment: &BTreeMap<String, String>,
) -> Option<Result<Loaded, Vec<Problem>>> {
    let path = directory.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(load_text(&text, &path, environment)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            let wrong = super::problem::Wrong::new(
                format!("cannot be read: {error}"),
                "see that the daemon can read its state directory",
            );
            Some(Err(vec![Problem::for_file(&path, wrong)]))
        }
    }
}

/// Without what is built in: that belongs to the version that runs, not to the one that ran.
fn written(document: &Table) -> Table {
    let mut written = document.clone();
    prune(&mut written);
    written
}

fn prune(table: &mut Table) {
    table.retain(|key, node| match &mut node.value {
        Value::Table(below) => {
            prune(below);
            node.origin.is_some() || !below.is_empty()
        }
        Value::Array(entries) if key == "registry" || key == "tier" => {
            entries.retain_mut(|entry| {
                let Value::Table(below) = &mut entry.value else {
                    return false;
                };
                let name = below.get("name").cloned();
                prune(below);
                let says_something = !below.is_empty();
                if let (true, Some(name)) = (says_something, name) {
                    below.insert("name".to_owned(), name);
                }
                says_something
            });
            !entries.is_empty()
        }
        _ => node.origin.is_some(),
    });
}
