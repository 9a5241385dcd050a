//! The facts that detection works on, and their thin reader. Every path stands below a root, so that tests and
//! images have nodes of their own.

use super::Family;
use super::containerd;
use super::k3s;
use crate::config;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// Where units are, the first place wins (systemd.unit(5)).
const UNIT_PATHS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Only these are ever run, never what another process' command line names.
const CONTAINERD_PROGRAMS: [&str; 2] = ["/usr/bin/containerd", "/usr/local/bin/containerd"];

/// `containerd --version` is quick.
const VERSION_LIMIT: Duration = Duration::from_secs(2);

/// Everything that detection looks at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Below which all default places stand; `/` on a real node.
    pub root: PathBuf,
    /// Of root's processes those that may be runtimes.
    pub processes: Vec<Process>,
    /// The words of `ExecStart=` by unit.
    pub units: BTreeMap<String, Vec<String>>,
    /// k3s' and rke2's configuration files by name of the family, in the order in which they are read.
    pub configs: BTreeMap<&'static str, Vec<Text>>,
    /// Families with a configuration of their own.
    pub configured: Vec<&'static str>,
    /// Families with state in their data directory.
    pub has_state: Vec<&'static str>,
    /// containerd's config.toml: that of k3s or rke2 where one of them was found, else the stock one.
    pub containerd_config: Option<Text>,
    /// What the stock one imports.
    pub imports: Vec<Text>,
    /// A program of that name is installed.
    pub containerd_installed: bool,
    /// A user's template of k3s' config.toml.
    pub template: Option<PathBuf>,
    /// registries.yaml.
    pub registries: Option<Text>,
    /// Such as `2.1.5`.
    pub containerd_version: Option<String>,
}

/// The machine that is looked at: this one, or a tree below a directory with processes of its own.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    processes: Option<Vec<Process>>,
    /// What programs said of their version, by path and change time: asking starts a process.
    versions: Mutex<BTreeMap<(PathBuf, u64), Option<String>>>,
}

/// A text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// Seconds since 1970.
    pub modified: u64,
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command line.
    pub argv: Vec<String>,
    /// Seconds since 1970.
    pub started: u64,
}

// === impl Machine ===

impl Machine {
    /// The one that this runs on.
    #[must_use]
    pub fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
            processes: None,
            versions: Mutex::default(),
        }
    }

    /// A tree of files, with these processes running.
    #[must_use]
    pub fn below(root: &Path, processes: Vec<Process>) -> Self {
        Self {
            root: root.to_owned(),
            processes: Some(processes),
            versions: Mutex::default(),
        }
    }

    fn processes(&self) -> Vec<Process> {
        self.processes.clone().unwrap_or_else(running_processes)
    }

    fn version_of(&self, program: &Path) -> Option<String> {
        let changed = fs::metadata(program).ok()?.modified().ok()?;
        let changed = changed
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let versions = self.versions.lock();
        let mut versions = versions.unwrap_or_else(PoisonError::into_inner);
        let key = (program.to_owned(), changed);
        versions
            .entry(key)
            .or_insert_with(|| program_version(program))
            .clone()
    }
}

// === impl Facts ===

impl Facts {
    /// A default place below the root.
    pub(super) fn under_root(&self, path: &Path) -> PathBuf {
        under(&self.root, path)
    }

    pub(super) fn config_files(&self, family: &str) -> &[Text] {
        self.configs.get(family).map_or(&[], Vec::as_slice)
    }

    /// The stock configuration with its imports.
    pub(super) fn stock_config(&self) -> Vec<Text> {
        self.containerd_config
            .iter()
            .chain(&self.imports)
            .cloned()
            .collect()
    }
}

fn under(root: &Path, path: &Path) -> PathBuf {
    // What is below it already came from a process or a file of that root.
    if path.starts_with(root) {
        return path.to_owned();
    }
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Of root's processes those that may be runtimes. Anybody can start a process that is called `k3s`; what it says
/// would decide where files are written. Blocks on reading /proc.
fn running_processes() -> Vec<Process> {
    let Ok(mut system) = System::new() else {
        return Vec::new();
    };
    let what = ProcessRefreshKind::nothing()
        .with_cmd(UpdateKind::Always)
        .with_user(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let processes = system.processes().values();
    let of_root =
        processes.filter(|process| process.effective_user_id().is_some_and(|id| **id == 0));
    let found = of_root.map(|process| Process {
        pid: process.pid().as_u32(),
        argv: process
            .cmd()
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        started: process.start_time(),
    });
    let may_be = |process: &Process| {
        let program = process
            .argv
            .first()
            .and_then(|word| word.split_whitespace().next());
        let program = program.and_then(|program| program.rsplit('/').next());
        program.is_some_and(|program| {
            ["k3s", "rke2", "containerd"]
                .iter()
                .any(|name| program.starts_with(name))
        })
    };
    found.filter(may_be).collect()
}

/// Reads everything. Never fails: what cannot be read is not there. Blocks on file I/O.
#[must_use]
pub fn gather(machine: &Machine, node: &config::Node) -> Facts {
    let mut facts = Facts {
        root: machine.root.clone(),
        processes: machine.processes(),
        ..Facts::default()
    };
    for family in [Family::K3s, Family::Rke2] {
        read_family(&mut facts, family);
    }
    facts.containerd_installed = CONTAINERD_PROGRAMS
        .iter()
        .any(|program| facts.under_root(Path::new(program)).exists())
        || facts.under_root(Path::new(containerd::CONFIG)).exists();
    let family = match node.runtime {
        config::Runtime::Auto => k3s::runtime(&facts).and_then(super::Found::family),
        config::Runtime::K3s => Some(Family::K3s),
        config::Runtime::Rke2 => Some(Family::Rke2),
        config::Runtime::Containerd | config::Runtime::None => None,
    };
    match family {
        Some(family) => read_generated(&mut facts, machine, node, family),
        None => read_stock(&mut facts, machine),
    }
    facts
}

fn read_family(facts: &mut Facts, family: Family) {
    let name = family.name();
    for unit in family.units() {
        if let Some(words) = exec_start(&facts.root, unit) {
            facts.units.insert(unit.to_owned(), words);
        }
    }
    let named = family
        .units()
        .iter()
        .find_map(|unit| k3s::config_file(facts.units.get(*unit)?));
    let main = named.unwrap_or_else(|| Path::new(family.etc()).join("config.yaml"));
    let main = facts.under_root(&main);
    let mut drop_ins = main.clone().into_os_string();
    drop_ins.push(".d");
    let mut texts: Vec<Text> = text(&main).into_iter().collect();
    texts.extend(
        sorted(Path::new(&drop_ins))
            .iter()
            .filter(|path| {
                path.extension()
                    .is_some_and(|kind| kind == "yaml" || kind == "yml")
            })
            .filter_map(|path| text(path)),
    );
    let registries = facts.under_root(&Path::new(family.etc()).join("registries.yaml"));
    if !texts.is_empty() || registries.exists() {
        facts.configured.push(name);
    }
    facts.configs.insert(name, texts);
    if facts
        .under_root(&Path::new(family.data_dir()).join("agent"))
        .exists()
    {
        facts.has_state.push(name);
    }
}

fn read_generated(facts: &mut Facts, machine: &Machine, node: &config::Node, family: Family) {
    let flags = k3s::flags(facts, family);
    let data_dir = k3s::data_dir(facts, node, family, &flags);
    let etc = data_dir.join("agent/etc/containerd");
    facts.containerd_config = text(&etc.join("config.toml"));
    facts.template = ["config-v3.toml.tmpl", "config.toml.tmpl"]
        .iter()
        .map(|name| etc.join(name))
        .find(|path| path.exists());
    let registries = node.registries_yaml.clone().or(flags.private_registry);
    let registries = registries
        .unwrap_or_else(|| facts.under_root(&Path::new(family.etc()).join("registries.yaml")));
    facts.registries = text(&registries);
    let program = data_dir.join(match family {
        Family::K3s => "data/current/bin/containerd",
        // A link to the newest of `data/VERSION/bin`.
        Family::Rke2 => "bin/containerd",
    });
    facts.containerd_version = machine.version_of(&program);
}

fn read_stock(facts: &mut Facts, machine: &Machine) {
    let main = text(&facts.under_root(Path::new(containerd::CONFIG)));
    let imports = main.as_ref().map(|main| containerd::imports(&main.text));
    for pattern in imports.unwrap_or_default() {
        let pattern = facts.under_root(&pattern);
        facts
            .imports
            .extend(matching(&pattern).iter().filter_map(|path| text(path)));
    }
    facts.containerd_config = main;
    let programs = CONTAINERD_PROGRAMS
        .iter()
        .map(|program| facts.under_root(Path::new(program)));
    facts.containerd_version = programs
        .filter(|path| path.exists())
        .find_map(|path| machine.version_of(&path));
}

/// The files that a pattern with `*` in its last part names.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (
        pattern.parent(),
        pattern.file_name().and_then(|name| name.to_str()),
    ) else {
        return Vec::new();
    };
    let Some((head, tail)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        })
    };
    sorted(directory).into_iter().filter(fits).collect()
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn text(path: &Path) -> Option<Text> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Some(Text {
        path: path.to_owned(),
        text: fs::read_to_string(path).ok()?,
        modified: modified
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    })
}

/// `containerd --version`, of a program that belongs to root and nobody else may write.
fn program_version(program: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(program).ok()?;
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return None;
    }
    let mut child = std::process::Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .ok()?;
    let mut waited = Duration::ZERO;
    let pause = Duration::from_millis(10);
    while child.try_wait().ok()?.is_none() {
        if waited > VERSION_LIMIT {
            // It hangs: nothing of it is needed.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(pause);
        waited += pause;
    }
    let output = child.wait_with_output().ok()?;
    containerd::version(&String::from_utf8_lossy(&output.stdout))
}

/// The words of a unit's effective `ExecStart=`, its drop-ins applied.
fn exec_start(root: &Path, unit: &str) -> Option<Vec<String>> {
    let directories = UNIT_PATHS.iter().map(|path| under(root, Path::new(path)));
    let base = directories
        .clone()
        .find_map(|directory| fs::read_to_string(directory.join(unit)).ok())?;
    let mut drop_ins: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for directory in directories.rev() {
        for path in sorted(&directory.join(format!("{unit}.d"))) {
            if let Some(name) = path
                .file_name()
                .filter(|_| path.extension().is_some_and(|kind| kind == "conf"))
            {
                drop_ins.insert(name.to_owned(), path);
            }
        }
    }
    let texts = drop_ins
        .values()
        .filter_map(|path| fs::read_to_string(path).ok());
    let mut words = Vec::new();
    for text in std::iter::once(base).chain(texts) {
        for line in text.replace("\\\n", " ").lines() {
            if let Some(command) = line.trim().strip_prefix("ExecStart=") {
                words = split(command);
            }
        }
    }
    Some(words)
}

/// Words with quotes, as systemd takes them apart; specifiers and variables stay as they are.
fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_systemd_does() {
        let table: [(&str, &[&str]); 4] = [
            (
                "/usr/local/bin/k3s      server  \t'--disable'  'traefik' ",
                &["/usr/local/bin/k3s", "server", "--disable", "traefik"],
            ),
            (
                r#"a "b c" d\ e '' "f\"g""#,
                &["a", "b c", "d e", "", "f\"g"],
            ),
            ("", &[]),
            ("a'b'c", &["abc"]),
        ];
        for (command, expected) in table {
            assert_eq!(split(command), expected, "{command}");
        }
    }
}
