//! k3s and rke2: which of them runs, and the flags that matter to us, from configuration files, the unit and the
//! running process.
//!
//! k3s overwrites its own command line with `k3s server` or `k3s agent`, so that flags are read from the files and
//! the unit; its containerd's command line names the data directory that is really in use.

use super::Family;
use super::facts::Facts;
use super::machine::{Process, arguments};
use crate::config;
use std::path::{Path, PathBuf};
use yaml_serde::{Mapping, Value};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) private_registry: Option<PathBuf>,
    pub(super) disable_default_endpoint: bool,
    pub(super) embedded_registry: bool,
    /// `--docker` or `--container-runtime-endpoint`: its containerd is not used.
    pub(super) other_runtime: Option<String>,
}

/// What runs; else what is installed.
pub(super) fn family(facts: &Facts) -> Option<Family> {
    let families = [Family::K3s, Family::Rke2];
    let mut running = families.iter();
    let running = running.find(|family| process(facts, **family).is_some());
    running.or_else(|| facts.installed.first()).copied()
}

/// With a control plane, as the process or else the unit says.
pub(super) fn is_server(facts: &Facts, family: Family) -> bool {
    if let Some(process) = process(facts, family) {
        return role(process, family) == Some(true);
    }
    let [server, agent] = family.units();
    facts.units.contains_key(server) || !facts.units.contains_key(agent)
}

pub(super) fn process(facts: &Facts, family: Family) -> Option<&Process> {
    let ours = |process: &&Process| role(process, family).is_some();
    // The first to start is the supervisor; shims and children come later.
    facts
        .processes
        .iter()
        .filter(ours)
        .min_by_key(|process| (process.started_at.as_secs(), process.pid))
}

/// `Some(true)` for a server, `Some(false)` for an agent, `None` for what is neither.
fn role(process: &Process, family: Family) -> Option<bool> {
    // Overwritten command lines are one word with spaces in it.
    let words: Vec<&str> = process
        .argv
        .iter()
        .flat_map(|word| word.split_whitespace())
        .collect();
    let (program, rest) = words.split_first()?;
    let program = program.rsplit('/').next().unwrap_or(program);
    let name = family.name();
    match program.strip_prefix(name)? {
        "" => match rest.first() {
            Some(&"server") => Some(true),
            Some(&"agent") => Some(false),
            _ => None,
        },
        "-server" => Some(true),
        "-agent" => Some(false),
        _ => None,
    }
}

/// Its flags, and where it keeps what matters to us.
pub(super) struct Layout {
    pub(super) flags: Flags,
    pub(super) data_dir: PathBuf,
    /// Of its containerd's configuration.
    pub(super) etc: PathBuf,
    pub(super) registries: PathBuf,
}

// === impl Layout ===

impl Layout {
    /// The data directory is as configured for us, as the running containerd shows, as the flags say, or the usual one.
    pub(super) fn new(facts: &Facts, node: &config::Node, family: Family) -> Self {
        let flags = flags(facts, family);
        let data_dir = node.data_dir.clone();
        let data_dir = data_dir
            .or_else(|| containerd_of(facts, family))
            .or_else(|| flags.data_dir.clone())
            .unwrap_or_else(|| facts.under_root(&family.data_dir()));
        let registries = node.registries_yaml.clone();
        let registries = registries
            .or_else(|| flags.private_registry.clone())
            .unwrap_or_else(|| facts.under_root(&family.etc().join("registries.yaml")));
        Self {
            etc: data_dir.join("agent/etc/containerd"),
            flags,
            data_dir,
            registries,
        }
    }
}

/// `containerd -c DATA_DIR/agent/etc/containerd/config.toml` is the child of k3s and rke2 alone.
fn containerd_of(facts: &Facts, family: Family) -> Option<PathBuf> {
    process(facts, family)?;
    let mut configs = facts
        .processes
        .iter()
        .filter_map(super::containerd::config_of);
    configs.find_map(|config| {
        let etc = config.parent()?;
        let is_its = config.ends_with("agent/etc/containerd/config.toml");
        let data_dir = etc.ancestors().nth(3);
        data_dir.filter(|_| is_its).map(Path::to_owned)
    })
}

/// Files first, the unit's arguments over them, as k3s does.
fn flags(facts: &Facts, family: Family) -> Flags {
    let unit = family
        .units()
        .into_iter()
        .find_map(|unit| facts.units.get(unit));
    let files = facts.configs.get(&family).into_iter().flatten();
    let said = files
        .flat_map(|text| settings(&text.text))
        .chain(arguments(unit.map_or(&[], Vec::as_slice)));
    let mut flags = Flags::default();
    for (name, value) in said {
        set(&mut flags, &name, value.as_deref());
    }
    for path in [&mut flags.data_dir, &mut flags.private_registry] {
        *path = path.take().map(|path| facts.under_root(&path));
    }
    flags
}

fn settings(text: &str) -> Vec<(String, Option<String>)> {
    let map: Mapping = yaml_serde::from_str(text).unwrap_or_default();
    let settings = map.into_iter().filter_map(|(key, value)| {
        let value = match value {
            Value::String(text) => Some(text),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        };
        Some((key.as_str()?.to_owned(), value))
    });
    settings.collect()
}

fn set(flags: &mut Flags, name: &str, value: Option<&str>) {
    // Go's flag package: a boolean without a value is true.
    let truth = || !matches!(value, Some("false" | "0" | "f" | "F" | "FALSE" | "False"));
    let path = || {
        value
            .filter(|value| value.starts_with('/'))
            .map(PathBuf::from)
    };
    match name {
        "data-dir" | "d" => flags.data_dir = path().or(flags.data_dir.take()),
        "private-registry" => {
            flags.private_registry = path().or(flags.private_registry.take());
        }
        "disable-default-registry-endpoint" => flags.disable_default_endpoint = truth(),
        "embedded-registry" => flags.embedded_registry = truth(),
        "docker" if truth() => flags.other_runtime = Some("--docker".to_owned()),
        "container-runtime-endpoint" => {
            let endpoint = value.unwrap_or_default();
            flags.other_runtime = Some(format!("--container-runtime-endpoint {endpoint}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_apart() {
        let words: Vec<String> = [
            "/usr/local/bin/k3s",
            "server",
            "--disable",
            "traefik",
            "--data-dir=/d",
            "-c",
            "/c",
            "--embedded-registry",
            "--docker=false",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect();
        let mut flags = Flags::default();
        for (name, value) in arguments(&words) {
            set(&mut flags, &name, value.as_deref());
        }
        assert_eq!(flags.data_dir, Some("/d".into()));
        assert!(flags.embedded_registry && flags.other_runtime.is_none());
        assert_eq!(
            super::super::machine::config_file(&words),
            Some("/c".into())
        );
    }

    #[test]
    fn roles_are_read_from_command_lines() {
        let table: [(&[&str], Family, Option<bool>); 9] = [
            (&["/usr/local/bin/k3s server"], Family::K3s, Some(true)),
            (
                &["/usr/local/bin/k3s", "agent", "--server", "x"],
                Family::K3s,
                Some(false),
            ),
            (&["k3s-server"], Family::K3s, Some(true)),
            (
                &["/var/lib/rancher/k3s/data/current/bin/k3s-agent"],
                Family::K3s,
                Some(false),
            ),
            (&["/usr/local/bin/rke2 agent"], Family::Rke2, Some(false)),
            (
                &["/usr/local/bin/k3s", "kubectl", "get", "pods"],
                Family::K3s,
                None,
            ),
            (&["/usr/local/bin/rke2", "server"], Family::K3s, None),
            (&["vim", "k3s", "server"], Family::K3s, None),
            (&[], Family::K3s, None),
        ];
        for (argv, family, expected) in table {
            let process = Process {
                pid: 1,
                argv: argv.iter().map(|word| (*word).to_owned()).collect(),
                started_at: std::time::Duration::ZERO,
            };
            assert_eq!(role(&process, family), expected, "{argv:?}");
        }
    }
}
