//! The tables of a `hosts.toml` as values: who is asked, how, and what is known of the endpoints around.

use crate::config::Secret;
use crate::node::endpoint::EndpointUrl;
use crate::oci::RegistryName;
use std::path::PathBuf;
use std::sync::Arc;

/// Who stands behind an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Agent,
    Tier(Arc<str>),
    Upstream,
    /// An address at which nobody can be: the last resort of a registry that has none.
    Nobody,
}

/// One host table, or the `server` with its keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostEntry {
    pub(crate) role: Role,
    pub(crate) url: String,
    /// Trusted beside the system's authorities.
    pub(crate) ca: Option<CaFile>,
    /// No verification at all.
    pub(crate) skip_verify: bool,
    /// The path of the URL is the API's root.
    pub(crate) override_path: bool,
    /// The value of the header that is sent with each request.
    pub(crate) header: Option<Secret>,
}

/// A certificate that an entry refers to. It must stand beside the file before the file says so: a missing one
/// fails every pull of the registry (design F5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaFile {
    /// Relative to the directory of the file.
    pub(crate) name: PathBuf,
    pub(crate) pem: Arc<[u8]>,
}

/// What should stand in one `hosts.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredHost {
    /// The registry of the images; also the directory's name.
    pub registry: RegistryName,
    /// Where the agent itself gets what no tier has; clients that know nothing of the registry are told this one.
    pub(crate) upstream: String,
    /// The agent's endpoint, whether it is part of the file or not.
    pub(crate) agent_url: String,
    pub(crate) agent_alive: bool,
    pub(crate) server: HostEntry,
    /// In the order in which they are tried.
    pub(crate) hosts: Vec<HostEntry>,
    /// The upstream may not be asked by this node (design F6).
    pub(crate) closed: bool,
    /// Servers that are configured here: an entry of the user's for one of them is adopted (design F4).
    pub(crate) known: Vec<Known>,
    /// Why it is as it is, a sentence each.
    pub(crate) reasons: Vec<String>,
}

/// A server that an existing entry may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) role: Role,
    /// Where, with the path at which it is asked.
    pub(crate) url: EndpointUrl,
}

// === impl HostEntry ===

impl HostEntry {
    /// An entry with nothing but its URL.
    pub(crate) fn new(role: Role, url: String) -> Self {
        Self {
            role,
            url,
            ca: None,
            skip_verify: false,
            override_path: false,
            header: None,
        }
    }
}

// === impl DesiredHost ===

impl DesiredHost {
    /// Who of ours is asked at that URL: scheme, host, port and path are the same.
    pub(crate) fn role_of(&self, root: &EndpointUrl) -> Option<&Role> {
        let known = self.known.iter().find(|known| known.url == *root);
        known.map(|known| &known.role)
    }

    /// To be written beside the file, before it.
    pub(crate) fn ca_files(&self) -> impl Iterator<Item = &CaFile> {
        self.hosts.iter().filter_map(|host| host.ca.as_ref())
    }
}
