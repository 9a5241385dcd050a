//! The `hosts.toml` that containerd reads for one registry: which one it is, and what it says. Writes nothing.

use super::detect::Version;
use super::hosts_toml::{self, View};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The hosts.toml that containerd reads for one registry.
#[derive(Clone, Debug)]
pub(crate) struct HostsFile {
    pub(crate) registry: String,
    pub(crate) path: PathBuf,
    /// What containerd sees, or why it ignores the file; `None`: there is none.
    pub(crate) view: Option<Result<View, String>>,
    /// Certificates that it names and that are not there.
    pub(crate) missing: Vec<PathBuf>,
}

impl HostsFile {
    /// The file of the registry's own directory, else of `_default`, as the containerd of that version reads it. Blocks on
    /// file I/O.
    pub(crate) fn find(certs_d: &Path, registry: &str, version: Option<Version>) -> Self {
        let mut directories = directories(certs_d, registry);
        directories.push(certs_d.join("_default"));
        let found = directories.into_iter().find(|path| path.is_dir());
        let path = found
            .unwrap_or_else(|| certs_d.join(registry))
            .join("hosts.toml");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => Some(read.map_err(|error| error.to_string())),
        };
        let missing = text.iter().flatten();
        let missing = missing.flat_map(|text| missing_of(path.parent().unwrap_or(&path), text));
        let missing = missing.collect();
        let read = |text: String| match hosts_toml::without_host(&text, version) {
            Some(why) => Err(why),
            None => hosts_toml::read(&text).map_err(|refused| refused.to_string()),
        };
        let view = text.map(|text| text.and_then(read));
        Self {
            registry: registry.to_owned(),
            missing,
            path,
            view,
        }
    }
}

/// The directories in which containerd looks for a registry before `_default`, in its order (containerd-k3s-facts 1.3).
pub(super) fn directories(certs_d: &Path, registry: &str) -> Vec<PathBuf> {
    let by_containerd = registry.rsplit_once(':');
    let by_containerd = by_containerd.map(|(host, port)| certs_d.join(format!("{host}_{port}_")));
    by_containerd
        .into_iter()
        .chain([certs_d.join(registry)])
        .collect()
}

/// Certificates that a text in `directory` names and that are not there. Blocks on file I/O.
pub(super) fn missing_of(directory: &Path, text: &str) -> Vec<PathBuf> {
    let named = hosts_toml::referenced_files(text).unwrap_or_default();
    let files = named.into_iter().map(|file| directory.join(file));
    // What may not be looked at may be there.
    let is_gone = |file: &PathBuf| matches!(file.try_exists(), Ok(false));
    files.filter(is_gone).collect()
}
