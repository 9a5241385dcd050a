//! The facts that detection works on, and their thin reader. Every path stands below a root, so that tests and
//! images have nodes of their own.

use super::Family;
use super::containerd;
use super::k3s;
use super::machine::{Machine, Process};
use super::running::{self, Running};
use super::units::exec_start;
use crate::config;
use crate::node::ledger::Generation;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Only these are ever run, never what another process' command line names.
const CONTAINERD_PROGRAMS: [&str; 2] = ["/usr/bin/containerd", "/usr/local/bin/containerd"];

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
    /// What the one of k3s or rke2 tells of its last start.
    pub generation: Option<Generation>,
    /// What the stock one imports.
    pub imports: Vec<Text>,
    /// What a running stock one says of itself.
    pub running_containerd: Option<Running>,
    /// A program of that name is installed.
    pub containerd_installed: bool,
    /// A user's template of k3s' config.toml.
    pub template: Option<PathBuf>,
    /// registries.yaml.
    pub registries: Option<Text>,
    /// Such as `2.1.5`.
    pub containerd_version: Option<String>,
}

/// A text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// When it was written, since 1970, as precisely as the file system says.
    pub modified: Duration,
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

pub(super) fn under(root: &Path, path: &Path) -> PathBuf {
    // What is below it already came from a process or a file of that root.
    if path.starts_with(root) {
        return path.to_owned();
    }
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Reads everything. Never fails: what cannot be read is not there. Blocks on file I/O.
#[must_use]
pub fn gather(machine: &Machine, node: &config::Node) -> Facts {
    let mut facts = Facts {
        root: machine.root().to_owned(),
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
    facts.generation = Generation::of(&etc.join("config.toml"));
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
    let imports = main.as_ref().map(containerd::imports);
    for pattern in imports.unwrap_or_default() {
        let pattern = facts.under_root(&pattern);
        facts
            .imports
            .extend(matching(&pattern).iter().filter_map(|path| text(path)));
    }
    facts.containerd_config = main;
    if containerd::process(facts).is_some() {
        facts.running_containerd = running::ask(&facts.under_root(Path::new(containerd::SOCKET)));
    }
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

pub(super) fn sorted(directory: &Path) -> Vec<PathBuf> {
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
        modified: modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
    })
}
