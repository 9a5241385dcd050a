//! What containerd would see of a registry without us, looked up as containerd looks it up (hosts.go: hostPaths and
//! loadHostDir; containerd-k3s-facts 1.3, 1.6): the directory that is read, and what is in force where that holds no
//! hosts.toml of others. Pure.

use super::{DEFAULT, Disk, HOSTS};
use crate::node::detect::Version;
use crate::node::hosts_file::directories;
use crate::node::hosts_toml::{rebase, without_host};
use crate::node::marks::quoted;
use std::path::{Path, PathBuf};

/// The directories in which containerd looks where a registry has none below `certs_d`, in its order: there, and below the
/// roots of `config_path` that it comes to afterwards (containerd-k3s-facts 1.2, 1.3).
pub(super) fn behind(certs_d: &Path, registry: &str, roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut behind = vec![certs_d.join(DEFAULT)];
    let later = roots.iter().skip_while(|root| *root != certs_d).skip(1);
    for root in later {
        behind.extend(directories(root, registry));
        behind.push(root.join(DEFAULT));
    }
    behind
}

impl Disk {
    /// The directory that is read with a file of ours in it: the first that is there, else the registry's own.
    pub(super) fn directory(&self, certs_d: &Path, registry: &str) -> PathBuf {
        let mut directories = directories(certs_d, registry).into_iter();
        let found = directories.find(|path| self.names.contains_key(path));
        found.unwrap_or_else(|| certs_d.join(registry))
    }

    /// What is in force where `directory` holds no hosts.toml of others: the text, and where it is from.
    /// Fails where containerd fails every pull by that.
    pub(super) fn elsewhere(
        &self,
        directory: &Path,
        behind: &[PathBuf],
        version: Option<Version>,
    ) -> Result<Option<(String, PathBuf)>, String> {
        let from = |directory: &Path| Some((self.certificates(directory)?, directory.to_owned()));
        if self.is_theirs(directory) {
            return Ok(from(directory));
        }
        let mut behind = behind.iter();
        let Some(found) = behind.find(|directory| self.names.contains_key(*directory)) else {
            return Ok(None);
        };
        let path = found.join(HOSTS);
        let text = self.text(&path).filter(|text| !text.is_empty());
        // One that containerd does not read is as none.
        let text = text.filter(|text| without_host(text, version).is_none());
        let Some(text) = text.and_then(|text| rebase(&text, found).ok()) else {
            return Ok(from(found));
        };
        match self.lacking.get(&path) {
            None => Ok(Some((text, found.clone()))),
            Some(missing) => Err(format!(
                "{} holds for this registry and names {}, which is not there: every pull fails, with or without the agent; put it there, or take the line out",
                path.display(),
                missing.display()
            )),
        }
    }

    /// Whether the directory would be there without us. An empty one hides `_default`.
    fn is_theirs(&self, directory: &Path) -> bool {
        let Some(names) = self.names.get(directory) else {
            return false;
        };
        let ours = |name: &String| name == HOSTS || name.starts_with("harbor-pilot-");
        let is_known = self.ledger.files.contains_key(&directory.join(HOSTS));
        // What the ledger does not know and holds nothing but ours is from a lost one.
        let is_made =
            self.ledger.directories.contains(directory) || (!is_known && names.contains(HOSTS));
        names.iter().any(|name| !ours(name)) || !is_made
    }

    /// Docker's layout of certificates, as containerd reads it beside no hosts.toml.
    pub(super) fn certificates(&self, directory: &Path) -> Option<String> {
        let names = self.names.get(directory)?;
        let path = |name: &str| quoted(&directory.join(name).to_string_lossy());
        let ca = names.iter().filter(|name| name.ends_with(".crt"));
        let pairs = names.iter().filter_map(|name| {
            let key = format!("{}.key", name.strip_suffix(".cert")?);
            let pair = || format!("[{}, {}]", path(name), path(&key));
            Some(
                names
                    .contains(&key)
                    .then(pair)
                    .unwrap_or_else(|| path(name)),
            )
        });
        let lines = [
            ("ca", ca.map(|name| path(name)).collect::<Vec<_>>()),
            ("client", pairs.collect()),
        ];
        let lines = lines.iter().filter(|(_, files)| !files.is_empty());
        let text: String = lines
            .map(|(key, files)| format!("{key} = [{}]\n", files.join(", ")))
            .collect();
        // Without a `host` table not every containerd would read it.
        (!text.is_empty()).then(|| text + "[host]\n")
    }
}
