//! The thin reader of the facts.

use super::Family;
use super::containerd;
use super::facts::{Facts, Text, sorted};
use super::k3s::Layout;
use super::machine::{Machine, config_file};
use super::running;
use super::units::exec_start;
use crate::config;
use crate::node::ledger::Generation;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Only these are ever run, never what another process' command line names.
const CONTAINERD_PROGRAMS: [&str; 2] = ["/usr/bin/containerd", "/usr/local/bin/containerd"];

/// Reads everything. Never fails: what cannot be read is not there. Blocks on file I/O.
pub(crate) fn gather(machine: &Machine, node: &config::Node) -> Facts {
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
    match super::runtime(&facts, node).family() {
        Some(family) => read_generated(&mut facts, machine, node, family),
        None => read_stock(&mut facts, machine),
    }
    facts
}

fn read_family(facts: &mut Facts, family: Family) {
    for unit in family.units() {
        if let Some(words) = exec_start(facts, unit) {
            facts.units.insert(unit.to_owned(), words);
        }
    }
    let named = family
        .units()
        .iter()
        .find_map(|unit| config_file(facts.units.get(*unit)?));
    let main = named.unwrap_or_else(|| family.etc().join("config.yaml"));
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
    let units = family.units();
    let has_unit = units.iter().any(|unit| facts.units.contains_key(*unit));
    let exists = |path: &Path| facts.under_root(path).exists();
    if has_unit
        || !texts.is_empty()
        || exists(&family.etc().join("registries.yaml"))
        || exists(&family.data_dir().join("agent"))
    {
        facts.installed.push(family);
    }
    facts.configs.insert(family, texts);
}

fn read_generated(facts: &mut Facts, machine: &Machine, node: &config::Node, family: Family) {
    let Layout {
        data_dir,
        etc,
        registries,
        ..
    } = Layout::new(facts, node, family);
    facts.containerd_config = text(&etc.join("config.toml")).into_iter().collect();
    facts.generation = Generation::read(&etc.join("config.toml"));
    facts.template = ["config-v3.toml.tmpl", "config.toml.tmpl"]
        .iter()
        .map(|name| etc.join(name))
        .find(|path| path.exists());
    facts.registries = text(&registries);
    let program = data_dir.join(match family {
        Family::K3s => "data/current/bin/containerd",
        // A link to the newest of `data/VERSION/bin`.
        Family::Rke2 => "bin/containerd",
    });
    facts.containerd_version = machine.version_of(&program);
}

fn read_stock(facts: &mut Facts, machine: &Machine) {
    if let Some(main) = text(&facts.under_root(Path::new(containerd::CONFIG))) {
        let imports = containerd::imports(&main).into_iter();
        let imports = imports.flat_map(|pattern| matching(&facts.under_root(&pattern)));
        let imports: Vec<Text> = imports.filter_map(|path| text(&path)).collect();
        facts.containerd_config = [vec![main], imports].concat();
    }
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
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let wanted = name(pattern).unwrap_or_default();
    let Some((head, tail)) = wanted.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let fits = |path: &PathBuf| {
        let rest = name(path).and_then(|name| Some(name.strip_prefix(head)?.to_owned()));
        rest.is_some_and(|rest| rest.ends_with(tail))
    };
    let beside = pattern.parent().map(sorted).unwrap_or_default();
    beside.into_iter().filter(fits).collect()
}

fn text(path: &Path) -> Option<Text> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Some(Text {
        path: path.to_owned(),
        text: fs::read_to_string(path).ok()?,
        modified: modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
    })
}
