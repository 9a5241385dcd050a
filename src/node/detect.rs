//! What runs on this node and which files it reads: pure, from gathered `Facts`.
//!
//! k3s and rke2 generate certs.d and containerd's config.toml themselves (containerd-k3s-facts 7.3); a stock
//! containerd reads certs.d only if its config.toml says so (1.3). config.toml is never edited: what is missing
//! there is said, with the lines to add.

mod config_toml;
mod containerd;
mod facts;
mod gather;
mod generated;
mod k3s;
mod machine;
mod meaning;
mod running;
mod stock;
mod units;

pub(crate) use facts::Facts;
pub(super) use facts::sorted;
pub(crate) use gather::gather;
pub use machine::{Machine, Process};
pub(crate) use stock::with_config_path;

use super::ledger::Generation;
use crate::config;
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where stock containerd's host configurations are by convention.
pub(super) const CERTS_D: &str = "/etc/containerd/certs.d";
/// The other place that containerd reads by itself from 2.2 on (containerd-k3s-facts 1.2).
pub(super) const DOCKER_CERTS_D: &str = "/etc/docker/certs.d";

/// What was found, also as reports show it: fields may be added, never changed, and readers must ignore what they do not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detected {
    /// Which runtime; of a version that knows another one: none.
    #[serde(deserialize_with = "known_or_none")]
    pub runtime: Found,
    /// Whether it runs now.
    pub running: bool,
    /// Since when, as precisely as the kernel says, to compare with a file's time.
    #[serde(skip)]
    pub started_at: Option<Duration>,
    /// As containerd itself says it, such as `2.1.5`; `None`: unknown.
    pub containerd_version: Option<String>,
    /// Where k3s or rke2 keep their state.
    pub data_dir: Option<PathBuf>,
    /// The directories of host configurations that containerd's own configuration names; empty: none, or it could not
    /// be read.
    pub config_path: Vec<PathBuf>,
    /// The directory of host configurations that containerd reads on every pull.
    pub certs_d: Option<PathBuf>,
    /// k3s' and rke2's own file, read at their start.
    pub registries_yaml: Option<PathBuf>,
    /// `--embedded-registry`
    pub embedded_registry: bool,
    /// `--disable-default-registry-endpoint`
    pub disable_default_registry_endpoint: bool,
    /// k3s before January 2024: containerd reads no certs.d there, only what registries.yaml says at a start.
    pub without_certs_d: bool,
    /// k3s before September 2024: its start deletes every host configuration that it does not generate itself.
    pub cleans_certs_d: bool,
    /// Why the runtime's next start would bring something of another meaning (design F2).
    pub restart_pending: Option<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// Files and sockets that were looked at: a change of one is a reason to look again.
    #[serde(skip)]
    pub looked_at: BTreeSet<PathBuf>,
    /// The runtime's last start, to be remembered.
    #[serde(skip)]
    pub(crate) generation: Option<Generation>,
}

/// Major, minor and patch of a containerd.
pub(crate) type Version = (u32, u32, u32);

/// The container runtime of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// k3s with a control plane.
    #[serde(rename = "k3s server")]
    K3sServer,
    /// k3s without a control plane.
    #[serde(rename = "k3s agent")]
    K3sAgent,
    /// rke2 with a control plane.
    #[serde(rename = "rke2 server")]
    Rke2Server,
    /// rke2 without a control plane.
    #[serde(rename = "rke2 agent")]
    Rke2Agent,
    /// containerd that neither k3s nor rke2 started.
    Containerd,
    /// Nothing whose files we know.
    #[default]
    None,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The fact, in words.
    pub what: String,
    /// What to do about it.
    pub instead: String,
    /// Pulls do not reach the agent because of it.
    pub degraded: bool,
}

/// The two relatives that generate containerd's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    K3s,
    Rke2,
}

fn known_or_none<'d, D: Deserializer<'d>>(from: D) -> Result<Found, D::Error> {
    let word = String::deserialize(from)?;
    let known: Result<Found, serde::de::value::Error> =
        Found::deserialize(word.into_deserializer());
    Ok(known.unwrap_or_default())
}

// === impl Found ===

impl Found {
    /// The word for metrics and people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::K3sServer | Self::K3sAgent => "k3s",
            Self::Rke2Server | Self::Rke2Agent => "rke2",
            Self::Containerd => "containerd",
            Self::None => "none",
        }
    }

    /// Whether it generates its host configurations from registries.yaml, and its containerd is the patched one.
    pub(crate) fn generates(self) -> bool {
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
        f.write_str(self.word())?;
        match self {
            Self::K3sServer | Self::Rke2Server => f.write_str(" server"),
            Self::K3sAgent | Self::Rke2Agent => f.write_str(" agent"),
            Self::Containerd | Self::None => Ok(()),
        }
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

    fn data_dir(self) -> PathBuf {
        Path::new("/var/lib/rancher").join(self.name())
    }

    fn etc(self) -> PathBuf {
        Path::new("/etc/rancher").join(self.name())
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

/// Where k3s and rke2 keep their state and read registries.yaml by default.
pub(super) fn default_places() -> [(PathBuf, PathBuf); 2] {
    [Family::K3s, Family::Rke2]
        .map(|family| (family.data_dir(), family.etc().join("registries.yaml")))
}

// === impl Detected ===

impl Detected {
    /// The version of its containerd, where it could be asked.
    pub(crate) fn version(&self) -> Option<Version> {
        let version = self.containerd_version.as_deref();
        version.and_then(containerd::numbers)
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

/// What is configured, else what runs, else what is installed.
fn runtime(facts: &Facts, node: &config::Node) -> Found {
    let of = |family: Family| family.found(k3s::is_server(facts, family));
    let stock = containerd::process(facts).is_some() || facts.containerd_installed;
    match node.runtime {
        config::Runtime::K3s => of(Family::K3s),
        config::Runtime::Rke2 => of(Family::Rke2),
        config::Runtime::Containerd => Found::Containerd,
        config::Runtime::None => Found::None,
        config::Runtime::Auto => match k3s::family(facts) {
            Some(family) => of(family),
            None if stock => Found::Containerd,
            None => Found::None,
        },
    }
}

/// What the facts mean. `known` is the runtime's last start, as remembered from an earlier look.
pub(crate) fn detect(facts: &Facts, node: &config::Node, known: Option<&Generation>) -> Detected {
    let runtime = runtime(facts, node);
    let mut detected = Detected {
        runtime,
        containerd_version: facts.containerd_version.clone(),
        ..Detected::default()
    };
    match runtime.family() {
        Some(family) => generated::read(&mut detected, facts, node, family, known),
        None if runtime == Found::Containerd => stock::read(&mut detected, facts, node),
        None => {}
    }
    detected
}

#[cfg(test)]
mod tests;
