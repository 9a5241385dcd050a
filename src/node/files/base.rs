//! What containerd would see of a registry without us, looked up as containerd looks it up (hosts.go: hostPaths and
//! loadHostDir; containerd-k3s-facts 1.3, 1.6): the directory that is read, and what is in force where that holds no
//! hosts.toml of others. Pure.

use super::{DEFAULT, Disk, HOSTS};
use crate::node::hosts_toml;
use crate::node::ledger::Ledger;
use std::path::{Path, PathBuf};

/// The directories in which containerd looks for a registry before `_default`, in its order.
pub(super) fn candidates(certs_d: &Path, registry: &str) -> Vec<PathBuf> {
    let mut names = Vec::new();
    if let Some((host, port)) = registry.rsplit_once(':') {
        names.push(format!("{host}_{port}_"));
    }
    names.push(registry.to_owned());
    names.iter().map(|name| certs_d.join(name)).collect()
}

/// The one that is read with a file of ours in it: the first that is there, else the registry's own.
pub(super) fn directory(certs_d: &Path, registry: &str, disk: &Disk) -> PathBuf {
    let candidates = candidates(certs_d, registry);
    let found = candidates.iter().find(|path| disk.names(path).is_some());
    let own = || certs_d.join(registry);
    found.cloned().unwrap_or_else(own)
}

/// The directories in which it looks where a registry has none below `certs_d`, in its order: there, and below the roots
/// of `config_path` that it comes to afterwards (containerd-k3s-facts 1.2, 1.3).
pub(super) fn behind(certs_d: &Path, registry: &str, roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut behind = vec![certs_d.join(DEFAULT)];
    let later = roots.iter().skip_while(|root| *root != certs_d).skip(1);
    for root in later {
        behind.extend(candidates(root, registry));
        behind.push(root.join(DEFAULT));
    }
    behind
}

/// What is in force where `directory` holds no hosts.toml of others: the text, and where it is from.
///
/// # Errors
/// Where containerd fails every pull by that.
pub(super) fn elsewhere(
    directory: &Path,
    behind: &[PathBuf],
    disk: &Disk,
    ledger: &Ledger,
) -> Result<Option<(String, PathBuf)>, String> {
    let from = |directory: &Path| Some((certificates(directory, disk)?, directory.to_owned()));
    if is_theirs(directory, disk, ledger) {
        return Ok(from(directory));
    }
    let mut behind = behind.iter();
    let Some(found) = behind.find(|directory| disk.names(directory).is_some()) else {
        return Ok(None);
    };
    let path = found.join(HOSTS);
    let text = disk.text(&path).filter(|text| !text.is_empty());
    // One that containerd cannot read is as none.
    let Some(text) = text.and_then(|text| hosts_toml::rebase(&text, found).ok()) else {
        return Ok(from(found));
    };
    match disk.lacks(&path) {
        None => Ok(Some((text, found.clone()))),
        Some(missing) => Err(format!(
            "{} holds for this registry and names {}, which is not there: every pull fails, with or without the agent; put it there, or take the line out",
            path.display(),
            missing.display()
        )),
    }
}

/// Whether the directory would be there without us. An empty one hides `_default`.
fn is_theirs(directory: &Path, disk: &Disk, ledger: &Ledger) -> bool {
    let Some(names) = disk.names(directory) else {
        return false;
    };
    let ours = |name: &String| name == HOSTS || name.starts_with("harbor-pilot-");
    if names.iter().any(|name| !ours(name)) {
        return true;
    }
    let known = ledger.files.contains_key(&directory.join(HOSTS));
    // What the ledger does not know and holds nothing but ours is from a lost one.
    !ledger.directories.contains(directory) && (known || !names.iter().any(|name| name == HOSTS))
}

/// Docker's layout of certificates, as containerd reads it beside no hosts.toml.
fn certificates(directory: &Path, disk: &Disk) -> Option<String> {
    let names = disk.names(directory)?;
    let path = |name: &str| hosts_toml::quoted(&directory.join(name).to_string_lossy());
    let ca = names.iter().filter(|name| name.ends_with(".crt"));
    let ca: Vec<String> = ca.map(|name| path(name)).collect();
    let pairs = names.iter().filter_map(|name| {
        let stem = name.strip_suffix(".cert")?;
        let key = format!("{stem}.key");
        Some((path(name), names.contains(&key).then(|| path(&key))))
    });
    let pairs: Vec<(String, Option<String>)> = pairs.collect();
    if ca.is_empty() && pairs.is_empty() {
        return None;
    }
    let mut text = String::new();
    if !ca.is_empty() {
        text.push_str(&format!("ca = [{}]\n", ca.join(", ")));
    }
    if !pairs.is_empty() {
        let pair = |(certificate, key): &(String, Option<String>)| match key {
            Some(key) => format!("[{certificate}, {key}]"),
            None => certificate.clone(),
        };
        let pairs: Vec<String> = pairs.iter().map(pair).collect();
        text.push_str(&format!("client = [{}]\n", pairs.join(", ")));
    }
    Some(text)
}
