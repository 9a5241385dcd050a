//! What should stand in containerd's host configuration, for each registry and each image name of a tier
//! (design F1–F4, F6). Pure: the situation comes in, the tables come out, each with the reasons.
//!
//! The chain is the agent, the tiers that containerd may be pointed at itself, the upstream, which is the file's
//! `server`: containerd tries that last, and would add the upstream by itself without one.

mod entry;

pub use entry::DesiredHost;
pub(crate) use entry::{CaFile, HostEntry, Known, Role};

use super::endpoint::{EndpointUrl, is_loopback};
use crate::config::{Config, Fallback, Server, Tier, TierKind};
use crate::oci::RegistryName;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The header that containerd sends on shared nodes (design S6).
pub(crate) const KEY_HEADER: &str = "x-harbor-pilot-key";
/// The `server` of a closed registry while the agent is out of the file: nobody can listen on port 0, so a pull fails
/// at once there. The agent's own address could belong to any program by then (design F0, F6).
pub const NOBODY: &str = "http://127.0.0.1:0";

/// What the files depend on, besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The agent's endpoint for containerd, as `agent_url` says.
    pub agent: &'a str,
    /// The agent's own port answers, and with our header (design F0). `false` is also the handover, when the agent has
    /// stopped for good (design F3), and a port that every user may bind (design S7).
    pub agent_alive: bool,
    /// The names of the tiers whose every current address is healthy, after hysteresis (design F1).
    pub whole_tiers: &'a BTreeSet<Arc<str>>,
}

/// Where containerd finds the agent: the first IPv4 loopback address of `[server] listen`, because 1.x cannot
/// read `[::1]` as a table's key; else what is there.
pub(crate) fn agent_url(server: &Server) -> Option<String> {
    let loopback = |ip: IpAddr| ip.is_ipv4() && (ip.is_loopback() || ip.is_unspecified());
    let listen = &server.listen;
    let address = listen.iter().find(|address| loopback(address.ip()));
    let mut address = *address.or(listen.first())?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Some(format!("http://{address}"))
}

/// What should stand for every configured registry, then for every image name of a tier, then for the names of `[router]`.
/// Nothing without a tier: then there is nothing that the agent adds (design F0).
#[must_use]
pub fn desired(config: &Config, situation: &Situation<'_>) -> Vec<DesiredHost> {
    let mut all: Vec<DesiredHost> = Vec::new();
    if config.tiers.is_empty() {
        return all;
    }
    for registry in &config.registries {
        let upstream = registry.upstream.to_string();
        let why = (!registry.direct).then_some("direct is off");
        let mut host = host(config, &registry.name, upstream, why, situation);
        if config.node.fallback == Fallback::Tiers {
            for tier in config.tiers.iter().filter(|tier| tier.in_file) {
                host.add_tier(tier, situation.whole_tiers);
            }
        }
        if !host.closed && host.server.url != host.upstream {
            host.say(format!(
                "without the agent containerd goes to {} by itself, or where the file says, not to {}",
                host.server.url, host.upstream
            ));
        }
        all.push(host);
    }
    for tier in &config.tiers {
        for name in &tier.names {
            // Two tiers may answer to one name: the first one is its upstream.
            if all.iter().all(|known| known.registry != *name) {
                let mut host = host(config, name, tier.url.to_string(), None, situation);
                host.say(format!("the images name the tier {} itself", tier.name));
                all.push(host);
            }
        }
    }
    for name in config.router.iter().flat_map(|router| &router.names) {
        // A tier of that name stays behind the agent, for its other projects.
        if all.iter().all(|known| known.registry != *name) {
            let why = Some("the agent looks for images of this name, and nobody else has them");
            let upstream = format!("https://{name}");
            all.push(host(config, name, upstream, why, situation));
        }
    }
    for host in &mut all {
        // As the `server` alone. Earlier versions of containerd 1 do not read the keys of a `server` (design S6).
        if host.closed && host.hosts == [host.server.clone()] && host.server.header.is_none() {
            host.hosts.clear();
        }
    }
    all
}

/// The agent in front of `name`, whose images are the upstream's; `closed_for`: why the upstream may not be asked. Without a `server` containerd would add the registry by
/// itself, so that where it may not be asked the agent is the `server` as well, and while it is out nobody (design F6).
fn host(
    config: &Config,
    name: &RegistryName,
    upstream: String,
    closed_for: Option<&str>,
    situation: &Situation<'_>,
) -> DesiredHost {
    let agent = HostEntry {
        header: config.server.require_header.clone(),
        ..HostEntry::new(Role::Agent, situation.agent.to_owned())
    };
    let closed = closed_for.is_some() || config.node.fallback == Fallback::None;
    let mut host = DesiredHost {
        registry: name.clone(),
        upstream,
        agent_url: situation.agent.to_owned(),
        agent_alive: situation.agent_alive,
        server: match (closed, situation.agent_alive) {
            (false, _) => own_server(name),
            (true, true) => agent.clone(),
            (true, false) => HostEntry::new(Role::Nobody, NOBODY.to_owned()),
        },
        hosts: Vec::new(),
        closed,
        known: known_of(config, name),
        reasons: Vec::new(),
    };
    if situation.agent_alive {
        host.hosts.push(agent);
    } else {
        host.say("the agent is left out: it has stopped, does not answer, or every user may bind its port");
    }
    if closed {
        let why = closed_for.unwrap_or("fallback is none");
        host.say(format!("{why}: the upstream is in no place of the file"));
    }
    host
}

/// Where containerd goes by itself for a registry without a file: `ConfigureHosts`, and IsLocalhost for those of this
/// machine, which it asks by HTTPS first and without verification (containerd-k3s-facts 1.4, 6).
fn own_server(name: &RegistryName) -> HostEntry {
    let name = name.as_str();
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let port = name.rsplit_once(':').map(|(_, port)| port);
    let is_local = is_loopback(host);
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

/// The servers that are configured here and that a file of `name`, a registry's or a tier's, may point at.
pub(crate) fn known_of(config: &Config, name: &RegistryName) -> Vec<Known> {
    let known = |role, url: &str, override_path| {
        let url = EndpointUrl::root(url, override_path)?;
        Some(Known { role, url })
    };
    let registry = config.registries.iter().find(|known| known.name == *name);
    let Some(registry) = registry else {
        // The registry whose images are named after a tier is that tier.
        let tiers = config.tiers.iter();
        let named = tiers.filter(|tier| tier.names.contains(name));
        let known = |tier: &Arc<Tier>| known(Role::Upstream, &tier.url.to_string(), false);
        return named.filter_map(known).collect();
    };
    let serving = config.tiers.iter().filter_map(|tier| {
        let role = Role::Tier(tier.name.clone());
        known(role, &tier_url(tier, name)?, overrides(tier))
    });
    let upstream = known(Role::Upstream, &registry.upstream.to_string(), false);
    upstream.into_iter().chain(serving).collect()
}

/// Whether the tier's URL in a file is the API's root.
fn overrides(tier: &Tier) -> bool {
    tier.kind != TierKind::Mirror
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

impl DesiredHost {
    fn say(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// A tier with `in_file`, or the reason why not.
    fn add_tier(&mut self, tier: &Tier, whole: &BTreeSet<Arc<str>>) {
        let name = &tier.name;
        let Some(url) = tier_url(tier, &self.registry) else {
            return self.say(format!("tier {name} does not serve {}", self.registry));
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
        } else if !whole.contains(name) {
            "has an address that is not healthy, and a dead one costs containerd 30 s per request"
        } else {
            ""
        };
        if !against.is_empty() {
            return self.say(format!("tier {name} is left out: it {against}"));
        }
        self.say(format!(
            "tier {name} stands behind the agent: in_file is set and every address of it is healthy"
        ));
        self.hosts.push(HostEntry {
            ca: tier.tls.ca.clone().map(|pem| CaFile {
                name: format!("harbor-pilot-{name}.pem").into(),
                pem,
            }),
            skip_verify: tier.url.https && tier.tls.insecure_skip_verify,
            override_path: overrides(tier),
            ..HostEntry::new(Role::Tier(name.clone()), url)
        });
    }
}

#[cfg(test)]
mod tests;
