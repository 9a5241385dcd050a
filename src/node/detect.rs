//! What runs on this node and which files it reads: pure, from gathered [`Facts`].
//!
//! k3s and rke2 generate certs.d and containerd's config.toml themselves (containerd-k3s-facts 7.3); a stock
//! containerd reads certs.d only if its config.toml says so (1.3). config.toml is never edited: what is missing
//! there is said, with the lines to add.

mod containerd;
mod facts;
mod k3s;
mod meaning;

pub use facts::{Facts, Machine, Process, Text, gather};
pub(super) use meaning::meaning;

use super::ledger::ReadAtStart;
use crate::config;
use containerd::ConfigPath;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where stock containerd's host configurations are by convention.
const CERTS_D: &str = "/etc/containerd/certs.d";

/// The containerd that came with the first k3s that leaves other directories of certs.d alone (k3s#10823; by its
/// releases' dates).
const KEEPS_OTHERS: (u32, u32, u32) = (1, 7, 21);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// Which runtime.
    pub runtime: Found,
    /// Whether it runs now.
    pub running: bool,
    /// Since when, in seconds since 1970.
    pub started: Option<u64>,
    /// Where k3s or rke2 keep their state.
    pub data_dir: Option<PathBuf>,
    /// The directory of host configurations that containerd reads on every pull.
    pub certs_d: Option<PathBuf>,
    /// k3s' and rke2's own file, read at their start.
    pub registries_yaml: Option<PathBuf>,
    /// Such as `2.1.5`.
    pub containerd_version: Option<String>,
    /// `--embedded-registry`
    pub embedded_registry: bool,
    /// `--disable-default-registry-endpoint`
    pub disable_default_endpoint: bool,
    /// k3s before January 2024: containerd reads no certs.d there, only what registries.yaml says at a start.
    pub without_certs_d: bool,
    /// k3s before September 2024: its start deletes every host configuration that it does not generate itself.
    pub cleans_certs_d: bool,
    /// Why the runtime's next start would bring something of another meaning (design F2).
    pub restart_pending: Option<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// What the runtime read at its start, to be remembered.
    #[serde(skip)]
    pub read_at_start: Option<ReadAtStart>,
}

/// A runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// k3s with a control plane.
    K3sServer,
    /// k3s without one.
    K3sAgent,
    /// rke2 with a control plane.
    Rke2Server,
    /// rke2 without one.
    Rke2Agent,
    /// containerd by itself.
    Containerd,
    /// Nothing whose files we know.
    None,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub instead: String,
    /// Pulls do not reach the agent because of it.
    pub degraded: bool,
}

/// The two relatives that generate containerd's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    K3s,
    Rke2,
}

// === impl Found ===

impl Found {
    /// The word for metrics and people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::K3sServer | Self::K3sAgent => "k3s",
            Self::Rke2Server | Self::Rke2Agent => "rke2",
            Self::Containerd => "containerd",
            Self::None => "none",
        }
    }

    /// Whether it generates its host configurations from registries.yaml, and its containerd is the patched one.
    #[must_use]
    pub fn generates(self) -> bool {
        self.family().is_some()
    }

    fn family(self) -> Option<Family> {
        match self {
            Self::K3sServer | Self::K3sAgent => Some(Family::K3s),
            Self::Rke2Server | Self::Rke2Agent => Some(Family::Rke2),
            Self::Containerd | Self::None => None,
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::K3sServer => "k3s server",
            Self::K3sAgent => "k3s agent",
            Self::Rke2Server => "rke2 server",
            Self::Rke2Agent => "rke2 agent",
            Self::Containerd => "containerd",
            Self::None => "none",
        })
    }
}

// === impl Family ===

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
        }
    }

    fn data_dir(self) -> &'static str {
        match self {
            Self::K3s => "/var/lib/rancher/k3s",
            Self::Rke2 => "/var/lib/rancher/rke2",
        }
    }

    fn etc(self) -> &'static str {
        match self {
            Self::K3s => "/etc/rancher/k3s",
            Self::Rke2 => "/etc/rancher/rke2",
        }
    }

    /// The unit's name, server first.
    fn units(self) -> [&'static str; 2] {
        match self {
            Self::K3s => ["k3s.service", "k3s-agent.service"],
            Self::Rke2 => ["rke2-server.service", "rke2-agent.service"],
        }
    }

    fn found(self, server: bool) -> Found {
        match (self, server) {
            (Self::K3s, true) => Found::K3sServer,
            (Self::K3s, false) => Found::K3sAgent,
            (Self::Rke2, true) => Found::Rke2Server,
            (Self::Rke2, false) => Found::Rke2Agent,
        }
    }
}

// === impl Detected ===

impl Detected {
    /// Nothing whose files we know.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            runtime: Found::None,
            running: false,
            started: None,
            data_dir: None,
            certs_d: None,
            registries_yaml: None,
            containerd_version: None,
            embedded_registry: false,
            disable_default_endpoint: false,
            without_certs_d: false,
            cleans_certs_d: false,
            restart_pending: None,
            findings: Vec::new(),
            read_at_start: None,
        }
    }

    fn degrade(&mut self, what: impl Into<String>, instead: impl Into<String>) {
        self.find(true, what, instead);
    }

    fn remark(&mut self, what: impl Into<String>, instead: impl Into<String>) {
        self.find(false, what, instead);
    }

    fn find(&mut self, degraded: bool, what: impl Into<String>, instead: impl Into<String>) {
        self.findings.push(Finding {
            what: what.into(),
            instead: instead.into(),
            degraded,
        });
    }
}

/// What the facts mean. `known` is what the runtime read at its start, as remembered from an earlier look.
#[must_use]
pub fn detect(facts: &Facts, node: &config::Node, known: Option<&ReadAtStart>) -> Detected {
    let runtime = match node.runtime {
        config::Runtime::Auto => k3s::runtime(facts).unwrap_or_else(|| containerd::runtime(facts)),
        config::Runtime::K3s => Family::K3s.found(k3s::is_server(facts, Family::K3s)),
        config::Runtime::Rke2 => Family::Rke2.found(k3s::is_server(facts, Family::Rke2)),
        config::Runtime::Containerd => Found::Containerd,
        config::Runtime::None => Found::None,
    };
    let mut detected = Detected {
        runtime,
        containerd_version: facts.containerd_version.clone(),
        ..Detected::nothing()
    };
    match runtime.family() {
        Some(family) => generated(&mut detected, facts, node, family, known),
        None if runtime == Found::Containerd => stock(&mut detected, facts, node),
        None => {}
    }
    detected
}

/// Places that the configuration sets are taken as they are; others stand below the root.
fn place(facts: &Facts, path: &Path) -> PathBuf {
    facts.under_root(path)
}

/// k3s or rke2.
fn generated(
    detected: &mut Detected,
    facts: &Facts,
    node: &config::Node,
    family: Family,
    known: Option<&ReadAtStart>,
) {
    let process = k3s::process(facts, family);
    detected.running = process.is_some();
    detected.started = process.map(|process| process.started);
    let flags = k3s::flags(facts, family);
    let data_dir = k3s::data_dir(facts, node, family, &flags);
    detected.embedded_registry = flags.embedded_registry;
    detected.disable_default_endpoint = flags.disable_default_endpoint;
    detected.cleans_certs_d = detected
        .containerd_version
        .as_deref()
        .and_then(containerd::numbers)
        .is_some_and(|version| version < KEEPS_OTHERS);
    let etc = data_dir.join("agent/etc/containerd");
    let certs_d = node.certs_d.clone();
    let certs_d = certs_d.unwrap_or_else(|| etc.join("certs.d"));
    let registries = node.registries_yaml.clone().or(flags.private_registry);
    let registries = registries
        .unwrap_or_else(|| place(facts, &Path::new(family.etc()).join("registries.yaml")));
    if let Some(other) = &flags.other_runtime {
        detected.degrade(
            format!("{} runs with {other}: its own containerd does not pull", family.name()),
            "set runtime = \"containerd\" under [node] if that runtime is containerd, else runtime = \"none\" and see: harbor-pilot plan --for docker",
        );
    }
    if let Some(config) = facts.containerd_config.as_ref() {
        match containerd::config_path(std::slice::from_ref(config)) {
            Ok(ConfigPath { roots, .. }) if roots.contains(&certs_d) => {}
            Ok(ConfigPath { roots, .. }) => {
                let template = facts.template.as_ref();
                detected.without_certs_d = roots.is_empty() && template.is_none();
                let path = config.path.display();
                if let Some(template) = template {
                    let shown = template.display();
                    detected.degrade(
                        format!("{path} does not read {}: the template {shown} lacks it", certs_d.display()),
                        format!("put config_path = \"{}\" into the registry part of the template and restart {} when it suits", certs_d.display(), family.name()),
                    );
                } else if !roots.is_empty() {
                    detected.degrade(
                        format!(
                            "{path} reads other host configurations than {}",
                            certs_d.display()
                        ),
                        "correct data_dir or certs_d under [node]",
                    );
                }
            }
            Err(wrong) => detected.remark(
                wrong,
                "see what wrote it; it is made anew at the next start",
            ),
        }
    }
    pending_registries(detected, facts, family, &registries, known);
    detected.certs_d = Some(certs_d);
    detected.registries_yaml = Some(registries);
    detected.data_dir = Some(data_dir);
}

/// A restart is pending if registries.yaml means something else now than when the runtime read it.
fn pending_registries(
    detected: &mut Detected,
    facts: &Facts,
    family: Family,
    path: &Path,
    known: Option<&ReadAtStart>,
) {
    let Some(started) = detected.started else {
        return;
    };
    let text = facts.registries.as_ref();
    let now = meaning(text.map_or("", |text| &text.text));
    let pending = match (known, text) {
        (Some(known), _) if known.started == started => {
            detected.read_at_start = Some(known.clone());
            known.meaning != now
        }
        // Not seen at its start, and changed since: what it read is not known.
        (_, Some(text)) if text.modified > started => true,
        _ => {
            detected.read_at_start = Some(ReadAtStart {
                started,
                meaning: now,
            });
            false
        }
    };
    detected.restart_pending = pending.then(|| {
        format!(
            "{} has changed since {} started and takes effect at its next start; until then the live host configurations hold",
            path.display(),
            family.name()
        )
    });
}

/// containerd by itself.
fn stock(detected: &mut Detected, facts: &Facts, node: &config::Node) {
    let process = containerd::process(facts);
    detected.running = process.is_some();
    detected.started = process.map(|process| process.started);
    let texts = facts.stock_config();
    let read = match containerd::config_path(&texts) {
        Ok(read) => read,
        Err(wrong) => {
            detected.degrade(wrong, "correct the file: containerd will not start with it");
            ConfigPath::default()
        }
    };
    let by_default = containerd::default_roots(&read, detected.containerd_version.as_deref());
    let roots: Vec<PathBuf> = if read.roots.is_empty() {
        by_default.iter().map(|root| place(facts, root)).collect()
    } else {
        read.roots.clone()
    };
    let wanted = node.certs_d.clone().or_else(|| roots.first().cloned());
    let wanted = wanted.unwrap_or_else(|| place(facts, Path::new(CERTS_D)));
    if !roots.contains(&wanted) {
        let lines = containerd::lines_to_add(read.version, &wanted);
        let beside = if read.has_mirrors {
            " and take the registry.mirrors and registry.configs tables out, which may not stand beside it,"
        } else {
            ""
        };
        detected.degrade(
            format!("containerd does not read {}", wanted.display()),
            format!(
                "add to {}:\n{lines}\n{beside} then restart containerd when it suits",
                containerd::CONFIG
            ),
        );
    } else if roots.len() > 1 && !read.local_pull {
        detected.degrade_or_remark(&wanted, read.version);
    }
    let modified = texts.iter().map(|text| text.modified).max();
    if let (Some(started), Some(modified)) = (detected.started, modified)
        && modified > started
    {
        detected.restart_pending = Some(format!(
            "{} has changed since containerd started",
            containerd::CONFIG
        ));
    }
    detected.certs_d = Some(wanted);
}

// === impl Detected ===

impl Detected {
    /// Several roots: pulls through the transfer service, from 2.1 on, take the list for one path and silently go
    /// upstream (containerd-k3s-facts 1.3, containerd#12808).
    fn degrade_or_remark(&mut self, wanted: &Path, version: u32) {
        let affected = self
            .containerd_version
            .as_deref()
            .and_then(containerd::major_minor);
        let what = "containerd's config_path lists several directories";
        let instead = format!(
            "from 2.1 on containerd takes the list for one path and reads none of them; name one:\n{}",
            containerd::lines_to_add(version, wanted)
        );
        match affected {
            Some(version) if version < (2, 1) => self.remark(what, instead),
            _ => self.degrade(what, instead),
        }
    }
}

#[cfg(test)]
mod tests;
