//! The disk as a plan sees it.

use super::HOSTS;
use crate::node::hosts_file::missing_of;
use crate::node::ledger::{Kind, Ledger, Original, ourselves};
use crate::node::write::{self, Standing};
use crate::node::{hosts_toml, registries_yaml};
use crate::printable::chain;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A new file of ours.
const MODE: u32 = 0o644;
/// One with a secret in it.
const SECRET_MODE: u32 = 0o600;

/// Files and directories at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Each file that was looked at, or why it cannot be read.
    pub(crate) files: BTreeMap<PathBuf, Result<Option<Standing>, String>>,
    /// What is in the directories of those files and in the ones above them, by name.
    pub(super) names: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Of each hosts.toml a certificate that it names and that is not there: containerd fails every pull by that file.
    pub(super) lacking: BTreeMap<PathBuf, PathBuf>,
    pub(super) ledger: Ledger,
}

/// Reads the files. Blocks on file I/O.
pub(crate) fn look(paths: &BTreeSet<PathBuf>, ledger: &Ledger) -> Disk {
    let mut disk = Disk {
        ledger: ledger.clone(),
        ..Disk::default()
    };
    for path in paths {
        let file = write::read(path).map_err(|error| chain(&error));
        disk.files.insert(path.clone(), file);
        for directory in path.ancestors().skip(1).take(3) {
            if !disk.names.contains_key(directory)
                && let Ok(entries) = std::fs::read_dir(directory)
            {
                let names = entries.flatten().map(|entry| entry.file_name());
                let names = names.filter_map(|name| name.into_string().ok());
                disk.names.insert(directory.to_owned(), names.collect());
            }
        }
        if path.ends_with(HOSTS)
            && let (Some(directory), Some(text)) = (path.parent(), disk.text(path))
            && let Some(missing) = missing_of(directory, &text).pop()
        {
            disk.lacking.insert(path.clone(), missing);
        }
    }
    disk
}

/// A content with the looks of what stands there.
pub(super) fn standing(bytes: Vec<u8>, like: Option<&Standing>, secret: bool) -> Standing {
    let (uid, gid) = ourselves();
    let mut new = match like {
        Some(like) => Standing {
            bytes,
            ..like.clone()
        },
        None => Standing {
            bytes,
            mode: MODE,
            uid,
            gid,
        },
    };
    if secret {
        new.mode &= SECRET_MODE;
    }
    new
}

impl Disk {
    /// A file as it stands.
    /// The error says why it cannot be read.
    pub(super) fn current(&self, path: &Path) -> Result<Option<Standing>, String> {
        self.files.get(path).cloned().unwrap_or(Ok(None))
    }

    /// The text of a file that can be read as one.
    pub(super) fn text(&self, path: &Path) -> Option<String> {
        let file = self.files.get(path)?.as_ref().ok()?.as_ref()?;
        String::from_utf8(file.bytes.clone()).ok()
    }

    /// A file as it stands, and as it would without us.
    /// The error says why that cannot be said: then the file is left alone.
    pub(super) fn current_and_base(
        &self,
        path: &Path,
        kind: Kind,
    ) -> Result<(Option<Standing>, Option<Standing>), String> {
        let current = self.current(path)?;
        let entry = self.ledger.files.get(path);
        if let Some(entry) = entry.filter(|entry| entry.is_ours(current.as_ref())) {
            // One that is not known is no dead end: our part is taken out of what is there.
            match entry.original.as_ref().map(Original::standing) {
                None => return Ok((current, None)),
                Some(Some(file)) => return Ok((current, Some(self.without_us(&file, kind)?))),
                Some(None) => {}
            }
        }
        let Some(mut file) = current.clone() else {
            return Ok((None, None));
        };
        let was_absent = entry.is_some_and(|entry| entry.original.is_none());
        // Who had a file there relies on no `server` of ours.
        if entry.is_some() && !was_absent && kind == Kind::Hosts {
            hosts_toml::take_server_out(&mut file.bytes);
        }
        let base = self.without_us(&file, kind)?;
        // As a start of k3s would have removed it, edits of others and all.
        let has_lapsed =
            hosts_toml::is_ours(&file.text()) && hosts_toml::is_generated(&base.text());
        let is_empty = base.bytes.iter().all(u8::is_ascii_whitespace);
        let is_absent = (was_absent && (has_lapsed || is_empty)) || (is_empty && base != file);
        Ok((current, (!is_absent).then_some(base)))
    }

    fn without_us(&self, file: &Standing, kind: Kind) -> Result<Standing, String> {
        let mut without = file.clone();
        if kind != Kind::Ca {
            let text = std::str::from_utf8(&file.bytes);
            let text = text.map_err(|_| "is not UTF-8 text; it is left alone".to_owned())?;
            without.bytes = take_out(kind, text, self.ledger.agent.as_deref())?.into_bytes();
        }
        Ok(without)
    }
}

/// A text without our part. `agent` is what k3s may have generated from our line in registries.yaml: without us it would
/// not have (design F9).
/// The error says why that cannot be done.
pub(super) fn take_out(kind: Kind, text: &str, agent: Option<&str>) -> Result<String, String> {
    match kind {
        Kind::Ca => Ok(text.to_owned()),
        Kind::Hosts => hosts_toml::base(text, agent).map_err(|refused| refused.to_string()),
        Kind::Registries => registries_yaml::remove(text).map_err(|refused| refused.to_string()),
    }
}
