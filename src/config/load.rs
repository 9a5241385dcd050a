//! Which files are read, in which order.

use super::document::{self, Table};
use super::files::is_home;
use super::interpret::{Loaded, interpret};
use super::merge::merge;
use super::model::{Config, Node};
use super::problem::{Problem, Wrong};
use super::registry::BUILT_IN;
use super::tables::default_state;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The directory whose configuration has drop-ins without being asked.
const HOME: &str = "/etc/harbor-pilot";

/// Reads a configuration, as often as wanted.
#[derive(Clone, Debug)]
pub struct Loader {
    /// `config.toml`
    pub config_file: PathBuf,
    /// The file was named by somebody (`--config`, HARBOR_PILOT_CONFIG): then it must exist. A default one
    /// may be missing; the agent runs without it.
    pub explicit: bool,
    /// Where drop-ins are; `None`: `config.d` beside a file in `/etc/harbor-pilot`, else nowhere.
    pub config_dir: Option<PathBuf>,
    /// For `proxy = "env"`, $CREDENTIALS_DIRECTORY and $STATE_DIRECTORY. The environment itself is never
    /// read here.
    pub environment: BTreeMap<String, String>,
    /// For reports made on a shell: a systemd credential, which only the unit can read, is a warning.
    pub outside_the_unit: bool,
}

// === impl Loader ===

impl Loader {
    /// `/etc/harbor-pilot/config.toml`, which may be missing.
    #[must_use]
    pub fn packaged(environment: BTreeMap<String, String>) -> Self {
        Self {
            config_file: Path::new(HOME).join("config.toml"),
            explicit: false,
            config_dir: None,
            environment,
            outside_the_unit: false,
        }
    }

    /// Reads, merges and checks everything, the files that it names included. Blocks on file I/O.
    ///
    /// # Errors
    /// All that is wrong, in the order of files and lines.
    pub fn load(&self) -> Result<Loaded, Vec<Problem>> {
        let mut problems = Vec::new();
        let merged = self.merged(&mut problems);
        interpret(merged, problems, &self.environment, self.outside_the_unit)
    }

    /// Where state is kept, as far as the files say it: also when they are wrong otherwise, so that the last
    /// accepted configuration is found.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        let merged = self.merged(&mut Vec::new());
        let written = written_path(&merged, "state", "directory");
        written.unwrap_or_else(|| default_state(&self.environment))
    }

    /// Where state is kept unless a file says otherwise: no file is read.
    #[must_use]
    pub fn default_state_directory(&self) -> PathBuf {
        default_state(&self.environment)
    }

    /// The places that `[node]` names, as far as the files say them: also when they are wrong otherwise, so that
    /// `restore` looks there.
    #[must_use]
    pub fn node_places(&self) -> Node {
        let merged = self.merged(&mut Vec::new());
        Node {
            data_dir: written_path(&merged, "node", "data_dir"),
            registries_yaml: written_path(&merged, "node", "registries_yaml"),
            certs_d: written_path(&merged, "node", "certs_d"),
            ..Config::built_in().node
        }
    }

    /// What decides about the files: a change in one of these places means "load again". Directories are
    /// named so that new drop-ins are seen.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        let drop_ins = self.drop_ins().map(|(directory, _)| directory);
        std::iter::once(self.config_file.clone())
            .chain(drop_ins)
            .collect()
    }

    fn merged(&self, problems: &mut Vec<Problem>) -> Table {
        let mut merged = built_in();
        let mut files = Vec::new();
        match std::fs::metadata(&self.config_file) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.explicit => {}
            _ => files.push(self.config_file.clone()),
        }
        files.extend(self.drop_in_files(problems));
        for file in files {
            match read(&file) {
                Ok(text) => {
                    let later = document::parse(&text, Some(&file), problems);
                    merge(&mut merged, later, problems);
                }
                Err(wrong) => problems.push(Problem::for_file(&file, wrong)),
            }
        }
        merged
    }

    /// The directory of drop-ins and whether it must exist.
    fn drop_ins(&self) -> Option<(PathBuf, bool)> {
        match &self.config_dir {
            Some(directory) => Some((directory.clone(), true)),
            None if self.config_file.parent() == Some(Path::new(HOME)) => {
                Some((Path::new(HOME).join("config.d"), false))
            }
            None => None,
        }
    }

    fn drop_in_files(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let Some((directory, required)) = self.drop_ins() else {
            return Vec::new();
        };
        let listed = std::fs::read_dir(&directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && !required => return Vec::new(),
            Err(error) => {
                let wrong = Wrong::new(
                    format!("cannot be listed: {error}"),
                    "name a directory that can be read",
                );
                problems.push(Problem::for_file(&directory, wrong));
                return Vec::new();
            }
        };
        let mut files: Vec<PathBuf> = entries
            .into_iter()
            .map(|entry| entry.path())
            // Editors' and dpkg's leftovers are hidden or end otherwise.
            .filter(|path| {
                let hidden = path
                    .file_name()
                    .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                !hidden
                    && path
                        .extension()
                        .is_some_and(|extension| extension == "toml")
            })
            .collect();
        files.sort();
        files
    }
}

fn read(file: &Path) -> Result<String, Wrong> {
    let bytes = std::fs::read(file).map_err(|error| {
        let instead = match error.kind() {
            ErrorKind::PermissionDenied if is_home(file) => {
                "put it into /etc/harbor-pilot: the unit sees nothing of /root, /home and /run/user (ProtectHome=)"
            }
            ErrorKind::NotFound => "create it (harbor-pilot init --output writes one), or correct the path",
            ErrorKind::PermissionDenied => "run as root, or correct the file's owner and mode",
            _ => "see that the file can be read",
        };
        Wrong::new(format!("cannot be read: {error}"), instead)
    })?;
    String::from_utf8(bytes).map_err(|_| Wrong::new("is not UTF-8 text", "save it in UTF-8"))
}

/// An absolute path that a table names, whatever is wrong otherwise.
fn written_path(merged: &Table, table: &str, key: &str) -> Option<PathBuf> {
    let path = merged.get(table)?.text(key)?;
    path.starts_with('/').then(|| path.into())
}

fn built_in() -> Table {
    document::parse(BUILT_IN, None, &mut Vec::new())
}

// === impl Config ===

impl Config {
    /// The configuration that one text makes, as if it stood in `config.toml`, with an empty environment and
    /// no drop-ins. For tests and for checking what `init` prints.
    ///
    /// # Errors
    /// All that is wrong, by line.
    pub fn from_toml(text: &str) -> Result<Self, Vec<Problem>> {
        let environment = BTreeMap::new();
        load_text(text, Path::new("config.toml"), &environment).map(|loaded| loaded.config)
    }

    /// The configuration of a node without any file: the built-in registries, straight from upstream.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "the built-in text is a constant, and a test reads it"
    )]
    pub fn built_in() -> Self {
        Self::from_toml("").expect("the built-in configuration is valid")
    }
}

/// As [`Config::from_toml`], with everything that is known about it.
pub(super) fn load_text(
    text: &str,
    file: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut merged = built_in();
    let later = document::parse(text, Some(file), &mut problems);
    merge(&mut merged, later, &mut problems);
    interpret(merged, problems, environment, false)
}
