//! What was found on the node and in a registry's file, as reports show it: one shape, wherever it is printed. Fields
//! may be added, never changed; readers must ignore what they do not know.

use super::desired::{self, NOBODY, Role};
use super::detect::{Detected, Finding, Machine, detect, gather};
use super::endpoint::{EndpointUrl, Reader, same_endpoint};
use super::files::agent_of;
use super::hosts_file::HostsFile;
use super::ledger::Store;
use crate::config::Config;
use crate::oci::RegistryName;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What was found on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// `k3s server`, `k3s agent`, `rke2 server`, `rke2 agent`, `containerd` or `none`.
    pub runtime: String,
    /// Whether it runs now.
    pub running: bool,
    /// Such as `2.1.5`.
    pub containerd_version: Option<String>,
    /// Where k3s or rke2 keep their state.
    pub data_dir: Option<PathBuf>,
    /// The directories of host configurations that containerd's configuration names.
    pub config_path: Vec<PathBuf>,
    /// The one of them that is ours to write in.
    pub certs_d: Option<PathBuf>,
    /// What k3s or rke2 read at their start.
    pub registries_yaml: Option<PathBuf>,
    /// `--embedded-registry`
    pub embedded_registry: bool,
    /// `--disable-default-registry-endpoint`
    pub disable_default_registry_endpoint: bool,
    /// containerd reads no certs.d there (k3s before January 2024).
    pub without_certs_d: bool,
    /// Each start of the runtime empties certs.d (k3s before September 2024).
    pub cleans_certs_d: bool,
    /// Why the runtime's next start would bring something of another meaning.
    pub restart_pending: Option<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

/// The file that containerd reads for one registry on every pull, and what it does by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryFile {
    /// Whose images.
    pub registry: String,
    /// Where; also where it would be.
    pub path: PathBuf,
    /// It is there.
    pub exists: bool,
    /// containerd's configuration names its directory, or will when the runtime has made it.
    pub read: bool,
    /// Why containerd ignores it.
    pub error: Option<String>,
    /// Who is asked, in this order.
    pub hosts: Vec<FileHost>,
    /// The agent's place among them, from 1; `None`: it is not in the file.
    pub agent: Option<usize>,
    /// After them containerd asks the registry by itself: nothing in the file says so, and nothing keeps it from it.
    pub then_registry: bool,
    /// Certificates that the file names and that are not there: every pull of the registry fails.
    pub missing: Vec<PathBuf>,
}

/// One host of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHost {
    /// As written.
    pub url: String,
    /// Who is there.
    pub who: Who,
    /// The tier's name, if it is one.
    pub tier: Option<String>,
    /// It is the file's `server`, which is asked last.
    pub server: bool,
}

/// Who is at a host of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// This agent.
    Agent,
    /// A configured tier.
    Tier,
    /// The registry itself.
    Registry,
    /// k3s' embedded registry.
    Embedded,
    /// Nobody can be there: the registry may not be asked directly, and the agent does not answer.
    Nobody,
    /// An endpoint of the user's.
    Other,
}

/// Looks at the node, and at the file of one registry, without the daemon: what is configured decides which files are
/// meant, whether they are kept or not. Blocks on file I/O and on `containerd --version`.
#[must_use]
pub fn look(
    machine: &Machine,
    config: &Config,
    registry: &RegistryName,
) -> (NodeReport, Option<RegistryFile>) {
    // Only root may read it; without it a change of registries.yaml is told by its time.
    let ledger = Store::new(&config.state_directory).load().ok();
    let known = ledger.and_then(|ledger| ledger.generation);
    let detected = detect(&gather(machine, &config.node), &config.node, known.as_ref());
    let certs_d = detected.certs_d.as_ref();
    let certs_d = certs_d.filter(|_| !detected.without_certs_d);
    let file = certs_d.map(|certs_d| {
        let file = HostsFile::find(certs_d, registry.as_str());
        let agent = agent_of(config).map(|agent| machine.named_in_files(&agent));
        RegistryFile::of(&file, &detected, config, (registry, agent.as_deref()))
    });
    (NodeReport::of(&detected), file)
}

/// What runs here, if it pulls past an agent at `agent` that keeps no files: no file of a registry names it. Blocks on file
/// I/O.
pub(super) fn bypassing(machine: &Machine, config: &Config, agent: &str) -> Option<Detected> {
    let detected = detect(&gather(machine, &config.node), &config.node, None);
    let certs_d = detected.certs_d.as_ref().filter(|_| detected.running)?;
    let agent = machine.named_in_files(agent);
    let names_agent = |registry: &RegistryName| {
        let file = HostsFile::find(certs_d, registry.as_str());
        let file = RegistryFile::of(&file, &detected, config, (registry, Some(&agent)));
        file.agent.is_some()
    };
    let mut registries = config.registries.iter();
    if registries.any(|registry| names_agent(&registry.name)) {
        return None;
    }
    Some(detected)
}

// === impl NodeReport ===

impl NodeReport {
    /// Of what was found.
    #[must_use]
    pub fn of(detected: &Detected) -> Self {
        Self {
            runtime: detected.runtime.to_string(),
            running: detected.running,
            containerd_version: detected.containerd_version.clone(),
            data_dir: detected.data_dir.clone(),
            config_path: detected.config_path.clone(),
            certs_d: detected.certs_d.clone(),
            registries_yaml: detected.registries_yaml.clone(),
            embedded_registry: detected.embedded_registry,
            disable_default_registry_endpoint: detected.disable_default_endpoint,
            without_certs_d: detected.without_certs_d,
            cleans_certs_d: detected.cleans_certs_d,
            restart_pending: detected.restart_pending.clone(),
            findings: detected.findings.clone(),
        }
    }
}

// === impl RegistryFile ===

impl RegistryFile {
    fn of(
        file: &HostsFile,
        detected: &Detected,
        config: &Config,
        (registry, agent): (&RegistryName, Option<&str>),
    ) -> Self {
        let known = desired::known_of(config, registry);
        let host = |url: &str, server: bool| {
            let (who, tier) = who(url, agent, &known);
            FileHost {
                url: url.to_owned(),
                who,
                tier,
                server,
            }
        };
        let mut hosts = Vec::new();
        let mut error = None;
        // A file that is not read is as none.
        let mut then_registry = true;
        match &file.view {
            Some(Ok(view)) => {
                hosts.extend(view.hosts.iter().map(|seen| host(&seen.url, false)));
                // An empty one, as k3s writes for its wildcard, stands for the registry (containerd-k3s-facts 1.4).
                let server = view.server.as_ref().filter(|seen| !seen.url.is_empty());
                hosts.extend(server.map(|seen| host(&seen.url, true)));
                then_registry = match &view.server {
                    Some(_) => server.is_none(),
                    // k3s' containerd asks nobody whom a file with hosts does not name.
                    None => !detected.runtime.generates() || view.hosts.is_empty(),
                };
            }
            Some(Err(why)) => error = Some(why.clone()),
            None => {}
        }
        let agent = hosts.iter().position(|host| host.who == Who::Agent);
        let read = is_read(detected);
        Self {
            registry: file.registry.clone(),
            path: file.path.clone(),
            exists: file.view.is_some(),
            read,
            error,
            agent: agent.map(|at| at + 1),
            hosts,
            then_registry: then_registry || !read,
            missing: file.missing.clone(),
        }
    }
}

/// Before its first start there is nothing that k3s' containerd could read, and afterwards it reads what is ours.
fn is_read(detected: &Detected) -> bool {
    let certs_d = detected.certs_d.as_ref();
    let named = certs_d.is_some_and(|certs_d| detected.config_path.contains(certs_d));
    named || (detected.runtime.generates() && detected.config_path.is_empty())
}

fn who(url: &str, agent: Option<&str>, known: &[desired::Known]) -> (Who, Option<String>) {
    if agent.is_some_and(|agent| same_endpoint(agent, url)) {
        return (Who::Agent, None);
    }
    if same_endpoint(url, NOBODY) {
        return (Who::Nobody, None);
    }
    let Some(parsed) = EndpointUrl::parse(url, Reader::Containerd) else {
        return (Who::Other, None);
    };
    let found = known.iter().find(|known| known.url.same_server(&parsed));
    match found.map(|known| &known.role) {
        Some(Role::Tier(name)) => (Who::Tier, Some(name.to_string())),
        Some(Role::Upstream) => (Who::Registry, None),
        _ if parsed.https && parsed.is_loopback() => (Who::Embedded, None),
        _ => (Who::Other, None),
    }
}

#[cfg(test)]
mod tests;
