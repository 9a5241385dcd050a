//! What should stand in containerd's host configuration, for each registry and each image name of a tier
//! (design F1–F4, F6). Pure: the situation comes in, the tables come out, each with the reasons.
//!
//! The chain is the agent, the tiers that containerd may be pointed at itself, the upstream, which is the file's
//! `server`: containerd tries that last, and would add the upstream by itself without one.

mod entry;

pub use entry::{CaFile, DesiredHost, HostEntry, Known, Role};

use super::endpoint::EndpointUrl;
use crate::config::{Config, Fallback, Registry, Server, Tier, TierKind};
use crate::oci::RegistryName;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The header that containerd sends on shared nodes (design S6).
pub const KEY_HEADER: &str = "x-harbor-pilot-key";
/// How long containerd may wait for a tier's connect (design F3); 1.6 and 1.7 do not know the key.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The `server` of a closed registry while the agent is out of the file: nobody can listen on port 0, so a pull fails
/// at once there. The agent's own address could belong to any program by then (design F0, F6).
pub const NOBODY: &str = "http://127.0.0.1:0";
/// What a mirror may be asked.
const PULL: [&str; 2] = ["pull", "resolve"];

/// What the files depend on, besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The agent's endpoint for containerd, as [`agent_url`] says.
    pub agent: &'a str,
    /// The agent's own port answers, and with our header (design F0). `false` is also the handover, when the agent has
    /// stopped for good (design F3), and a port that every user may bind (design S7).
    pub agent_alive: bool,
    /// The names of the tiers whose every current address is healthy, after hysteresis (design F1).
    pub whole_tiers: &'a BTreeSet<Arc<str>>,
}

/// Where containerd finds the agent: the first IPv4 loopback address of `[server] listen`, because 1.x cannot
/// read `[::1]` as a table's key; else what is there.
#[must_use]
pub fn agent_url(server: &Server) -> Option<String> {
    let loopback = |ip: IpAddr| ip.is_ipv4() && (ip.is_loopback() || ip.is_unspecified());
    let listen = &server.listen;
    let address = listen.iter().find(|address| loopback(address.ip()));
    let mut address = *address.or(listen.first())?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Some(format!("http://{address}"))
}

/// What should stand for every configured registry, then for every image name of a tier. Nothing without a
/// tier: then there is nothing that the agent adds (design F0).
#[must_use]
pub fn desired(config: &Config, situation: &Situation<'_>) -> Vec<DesiredHost> {
    if config.tiers.is_empty() {
        return Vec::new();
    }
    let registries = config.registries.iter();
    let mut all: Vec<DesiredHost> = registries
        .map(|registry| for_registry(config, registry, situation))
        .collect();
    for tier in &config.tiers {
        for name in &tier.names {
            // Two tiers may answer to one name: the first one is its `server`.
            if all.iter().all(|known| known.registry != *name) {
                all.push(for_tier_name(config, tier, name, situation));
            }
        }
    }
    all
}

fn for_registry(config: &Config, registry: &Registry, situation: &Situation<'_>) -> DesiredHost {
    let fallback = config.node.fallback;
    let closed = !registry.direct || fallback == Fallback::None;
    let mut chain = Chain::new(config, situation);
    if fallback == Fallback::Tiers {
        for tier in config.tiers.iter().filter(|tier| tier.in_file) {
            chain.tier(tier, &registry.name, situation);
        }
    }
    if closed {
        let why = if registry.direct {
            "fallback is none"
        } else {
            "direct is off"
        };
        chain.say(format!("{why}: the upstream is in no place of the file"));
    } else {
        let own = own_server(&registry.name);
        let configured = registry.upstream.to_string();
        if own.url != configured {
            chain.say(format!(
                "without the agent containerd goes to {} by itself, or where the file says, not to {configured}",
                own.url
            ));
        }
        chain.entry((own, None));
    }
    chain.known.extend(known_for(config, registry));
    let upstream = registry.upstream.to_string();
    chain.finish(registry.name.clone(), upstream, closed)
}

/// Where containerd goes by itself for a registry without a file: `ConfigureHosts`, and IsLocalhost for those of this
/// machine, which it asks by HTTPS first and without verification (containerd-k3s-facts 1.4, 6).
fn own_server(name: &RegistryName) -> HostEntry {
    let name = name.as_str();
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let port = name.rsplit_once(':').map(|(_, port)| port);
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let is_local =
        host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let scheme = match port {
        Some(port) if is_local && port != "443" => "http",
        _ => "https",
    };
    let name = if name == "docker.io" {
        "registry-1.docker.io"
    } else {
        name
    };
    HostEntry {
        skip_verify: is_local && port != Some("80"),
        ..HostEntry::new(Role::Upstream, format!("{scheme}://{name}"))
    }
}

/// Images that name a tier come from it anyway: it is their upstream.
fn for_tier_name(
    config: &Config,
    tier: &Tier,
    name: &RegistryName,
    situation: &Situation<'_>,
) -> DesiredHost {
    let closed = config.node.fallback == Fallback::None;
    let mut chain = Chain::new(config, situation);
    if closed {
        chain.say("fallback is none: the tier is asked by the agent alone".to_owned());
    } else {
        chain.say(format!("the images name the tier {} itself", tier.name));
        chain.entry((own_server(name), None));
    }
    chain.known.extend(as_upstream(tier));
    chain.finish(name.clone(), tier.url.to_string(), closed)
}

/// The servers that are configured here and that a file of `name`, a registry's or a tier's, may point at.
#[must_use]
pub fn known_of(config: &Config, name: &RegistryName) -> Vec<Known> {
    let registry = config.registries.iter().find(|known| known.name == *name);
    if let Some(registry) = registry {
        return known_for(config, registry);
    }
    let tiers = config.tiers.iter();
    let named = tiers.filter(|tier| tier.names.contains(name));
    named.filter_map(|tier| as_upstream(tier)).collect()
}

fn known_for(config: &Config, registry: &Registry) -> Vec<Known> {
    let serving = config.tiers.iter().filter_map(|tier| {
        let url = tier_url(tier, &registry.name)?;
        known(Role::Tier(tier.name.clone()), &url, overrides(tier))
    });
    let upstream = known(Role::Upstream, &registry.upstream.to_string(), false);
    upstream.into_iter().chain(serving).collect()
}

/// The registry whose images are named after a tier is that tier.
fn as_upstream(tier: &Tier) -> Option<Known> {
    known(Role::Upstream, &tier.url.to_string(), false)
}

fn known(role: Role, url: &str, override_path: bool) -> Option<Known> {
    let url = EndpointUrl::root(url, override_path)?;
    Some(Known { role, url })
}

/// Whether the tier's URL in a file is the API's root.
fn overrides(tier: &Tier) -> bool {
    tier.kind != TierKind::Mirror
}

fn ca_copy(tier: &Tier) -> Option<CaFile> {
    tier.tls.ca.clone().map(|pem| CaFile {
        name: format!("harbor-pilot-{}.pem", tier.name).into(),
        pem,
    })
}

struct Chain {
    agent: HostEntry,
    agent_alive: bool,
    entries: Vec<HostEntry>,
    ca_files: Vec<CaFile>,
    known: Vec<Known>,
    reasons: Vec<String>,
}

// === impl Chain ===

impl Chain {
    fn new(config: &Config, situation: &Situation<'_>) -> Self {
        let agent = HostEntry {
            capabilities: PULL.to_vec(),
            header: config
                .server
                .require_header
                .clone()
                .map(|value| (KEY_HEADER.to_owned(), value)),
            ..HostEntry::new(Role::Agent, situation.agent.to_owned())
        };
        let mut chain = Self {
            entries: Vec::new(),
            ca_files: Vec::new(),
            known: Vec::new(),
            reasons: Vec::new(),
            agent_alive: situation.agent_alive,
            agent,
        };
        if situation.agent_alive {
            chain.entries.push(chain.agent.clone());
        } else {
            chain.say("the agent is left out: it has stopped, does not answer, or every user may bind its port".to_owned());
        }
        chain
    }

    fn say(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    fn entry(&mut self, (entry, ca_file): (HostEntry, Option<CaFile>)) {
        self.entries.push(entry);
        self.ca_files.extend(ca_file);
    }

    /// A tier with `in_file`, or the reason why not.
    fn tier(&mut self, tier: &Tier, registry: &RegistryName, situation: &Situation<'_>) {
        let name = &tier.name;
        let Some(url) = tier_url(tier, registry) else {
            return self.say(format!("tier {name} does not serve {registry}"));
        };
        // What the configuration refuses is refused here again: a pod's secret would be the price.
        let against = if tier.cascade {
            "is a cascade"
        } else if tier.credential.is_some() {
            "wants a credential, which containerd does not have"
        } else if tier.tls.client.is_some() {
            "wants a client certificate, which is not copied into a place that others read"
        } else if tier.url.host.contains(':') {
            "is named by an IPv6 literal, with which containerd 1.6 and 1.7 ignore the whole file"
        } else if tier.proxy.is_some() {
            "is behind a proxy, which the file cannot name"
        } else if !situation.whole_tiers.contains(name) {
            "has an address that is not healthy, and a dead one costs containerd 30 s per request"
        } else {
            ""
        };
        if !against.is_empty() {
            return self.say(format!("tier {name} is left out: it {against}"));
        }
        let ca_file = ca_copy(tier);
        let mut entry = HostEntry {
            ca: ca_file.as_ref().map(|file| file.name.clone()),
            capabilities: PULL.to_vec(),
            override_path: overrides(tier),
            ..HostEntry::new(Role::Tier(name.clone()), url)
        };
        entry.skip_verify = tier.url.https && tier.tls.insecure_skip_verify;
        // On an http host containerd 2.0.7–2.0.11 would try TLS first.
        entry.dial_timeout = tier.url.https.then_some(DIAL_TIMEOUT);
        self.say(format!(
            "tier {name} stands behind the agent: in_file is set and every address of it is healthy"
        ));
        self.entry((entry, ca_file));
    }

    /// The last one is the `server`, which where the upstream may not be asked is the agent again: an earlier
    /// containerd 1 does not read the keys of a `server`, and a tier needs its own (design F6). Without a `server`
    /// containerd would add the upstream by itself, so that an agent that is out has to be replaced by nobody.
    fn finish(mut self, registry: RegistryName, upstream: String, closed: bool) -> DesiredHost {
        let last = if closed { None } else { self.entries.pop() };
        let server = match last {
            Some(last) => last,
            None if self.agent_alive => self.agent.clone(),
            None => HostEntry::new(Role::Nobody, NOBODY.to_owned()),
        };
        let alone = closed && self.entries == [self.agent.clone()];
        if alone && self.agent.header.is_none() {
            self.entries.clear();
        }
        DesiredHost {
            registry,
            upstream,
            agent_url: self.agent.url,
            agent_alive: self.agent_alive,
            server,
            hosts: self.entries,
            ca_files: self.ca_files,
            closed,
            known: self.known,
            reasons: self.reasons,
        }
    }
}

/// Where containerd itself would find a registry's images at a tier.
fn tier_url(tier: &Tier, registry: &RegistryName) -> Option<String> {
    match tier.kind {
        TierKind::Mirror => tier.serves(registry).then(|| tier.url.to_string()),
        TierKind::Harbor | TierKind::Path => {
            let project = tier.projects.get(registry)?;
            Some(format!("{}/v2/{project}", tier.url))
        }
    }
}

#[cfg(test)]
mod tests;
