//! What was found on the node and in a registry's file, as reports show it: one shape, wherever it is printed. Fields
//! may be added, never changed; readers must ignore what they do not know.

use super::desired::{self, NOBODY, Role};
use super::detect::{Detected, Machine, detect, gather};
use super::endpoint::{EndpointUrl, Reader, same_endpoint};
use super::hosts_file::HostsFile;
use super::ledger::Store;
use crate::config::Config;
use crate::oci::RegistryName;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file that containerd reads for one registry on every pull, and what it does by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistryFile {
    pub(crate) registry: String,
    /// Where; also where it would be.
    pub(crate) path: PathBuf,
    pub(crate) exists: bool,
    /// containerd's configuration names its directory, or will when the runtime has made it.
    pub(crate) read: bool,
    /// Why containerd ignores it.
    pub(crate) error: Option<String>,
    /// Who is asked, in this order.
    pub(crate) hosts: Vec<FileHost>,
    /// The agent's place among them, from 1; `None`: it is not in the file.
    pub(crate) agent: Option<usize>,
    /// After them containerd asks the registry by itself: nothing in the file says so, and nothing keeps it from it.
    pub(crate) then_registry: bool,
    /// Certificates that the file names and that are not there: every pull of the registry fails.
    pub(crate) missing: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileHost {
    pub(crate) url: String,
    pub(crate) who: Who,
    /// The tier's name, if it is one.
    pub(crate) tier: Option<String>,
    /// It is the file's `server`, which is asked last.
    pub(crate) server: bool,
}

/// Who is at a host of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Who {
    Agent,
    Tier,
    Registry,
    Embedded,
    /// Nobody can be there: the registry may not be asked directly, and the agent does not answer.
    Nobody,
    Other,
}

/// Looks at the node, and at the file of one registry, without the daemon: what is configured decides which files are
/// meant, whether they are kept or not. Blocks on file I/O and on `containerd --version`.
pub(crate) fn look(
    machine: &Machine,
    config: &Config,
    registry: &RegistryName,
) -> (Detected, Option<RegistryFile>) {
    // Only root may read it; without it a change of registries.yaml is told by its time.
    let ledger = Store::new(&config.state_directory).load().ok();
    let known = ledger.and_then(|ledger| ledger.generation);
    let detected = detect(&gather(machine, &config.node), &config.node, known.as_ref());
    let certs_d = detected.certs_d.as_ref();
    let certs_d = certs_d.filter(|_| !detected.without_certs_d);
    let file = certs_d.map(|certs_d| {
        let agent = desired::agent_url(&config.server).map(|agent| machine.named_in_files(&agent));
        RegistryFile::new(certs_d, &detected, config, (registry, agent.as_deref()))
    });
    (detected, file)
}

/// What runs here, if it pulls past an agent at `agent` that keeps no files: no file of a registry names it. Blocks on file
/// I/O.
pub(super) fn bypassing(machine: &Machine, config: &Config, agent: &str) -> Option<Detected> {
    let detected = detect(&gather(machine, &config.node), &config.node, None);
    let certs_d = detected.certs_d.as_ref().filter(|_| detected.running)?;
    let agent = machine.named_in_files(agent);
    let names_agent = |registry: &RegistryName| {
        let file = RegistryFile::new(certs_d, &detected, config, (registry, Some(&agent)));
        file.agent.is_some()
    };
    let mut registries = config.registries.iter();
    if registries.any(|registry| names_agent(&registry.name)) {
        return None;
    }
    Some(detected)
}

// === impl RegistryFile ===

impl RegistryFile {
    fn new(
        certs_d: &Path,
        detected: &Detected,
        config: &Config,
        (registry, agent): (&RegistryName, Option<&str>),
    ) -> Self {
        let file = HostsFile::find(certs_d, registry.as_str(), detected.version());
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
            registry: file.registry,
            path: file.path,
            exists: file.view.is_some(),
            read,
            error,
            agent: agent.map(|at| at + 1),
            hosts,
            then_registry: then_registry || !read,
            missing: file.missing,
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
