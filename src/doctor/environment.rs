//! The way out: proxies of the environment against those of the configuration, and upstreams that cannot be reached.
//! Facts in, findings out; and the reader of the places where a node's proxies are written down.

use super::code::Code;
use super::report::{Check, Severity};
use super::sources::SourceFacts;
use crate::config::{BaseUrl, Config, proxy_variable};
use crate::printable::counted;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Environment variables by name.
pub(crate) type Environment = BTreeMap<String, String>;

const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Units whose containerd pulls.
const UNITS: [&str; 5] = [
    "k3s",
    "k3s-agent",
    "rke2-server",
    "rke2-agent",
    "containerd",
];

/// A place where somebody wrote a proxy down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file that sets them, such as `/etc/systemd/system/k3s.service.env`, or whose environment it is.
    pub name: String,
    /// It is containerd's own environment, or its k3s's.
    pub of_runtime: bool,
    pub variables: Environment,
}

/// Where proxies are written down on a machine. Blocks on file I/O; what cannot be read is not there.
#[must_use]
pub(crate) fn places(root: &Path, here: &Environment) -> Vec<Place> {
    let mut places = Vec::new();
    let proxies = here
        .iter()
        .filter(|(name, _)| VARIABLES.contains(&name.as_str()));
    let variables: Environment = proxies
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    places.push(Place {
        name: "this shell's environment".to_owned(),
        of_runtime: false,
        variables,
    });
    let under = |path: &str| root.join(path.trim_start_matches('/'));
    let mut read = |path: PathBuf, of_runtime: bool| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        places.push(Place {
            name: path.display().to_string(),
            of_runtime,
            variables: variables_of(&text),
        });
    };
    read(under("/etc/environment"), false);
    for unit in UNITS {
        read(under(&format!("/etc/default/{unit}")), true);
        read(under(&format!("/etc/sysconfig/{unit}")), true);
        read(
            under(&format!("/etc/systemd/system/{unit}.service.env")),
            true,
        );
        read(under(&format!("/etc/systemd/system/{unit}.service")), true);
        let directory = under(&format!("/etc/systemd/system/{unit}.service.d"));
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            read(file, true);
        }
    }
    places.retain(|place| !place.variables.is_empty());
    places
}

/// The proxy variables of an environment file, or of the `Environment=` lines of a unit.
fn variables_of(text: &str) -> Environment {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', ';']));
    let words = lines.flat_map(|line| {
        let line = line.strip_prefix("Environment=").unwrap_or(line);
        // The next line goes on.
        let line = line.strip_suffix('\\').unwrap_or(line);
        shlex::split(line).unwrap_or_default()
    });
    let variables = words.filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        // That one is handed on (k3s 7.5).
        let name = name.strip_prefix("CONTAINERD_").unwrap_or(name);
        (VARIABLES.contains(&name) && !value.is_empty())
            .then(|| (name.to_owned(), value.to_owned()))
    });
    variables.collect()
}

pub(super) fn environment(
    sources: &[SourceFacts],
    places: &[Place],
    config: &Config,
    agent: Option<&BaseUrl>,
) -> Check {
    let upstreams: Vec<&SourceFacts> = sources.iter().filter(|one| !one.is_tier()).collect();
    let mut check = Check::made("environment", "");
    let proxied = upstreams
        .iter()
        .filter(|one| one.source.proxy.is_some())
        .count();
    let failing: Vec<&&SourceFacts> = upstreams.iter().filter(|one| !is_reached(one)).collect();
    let registries = |n: usize| counted(n as u64, "registry", "registries");
    check.said = match (upstreams.len(), proxied) {
        (0, _) => "no registry may be asked directly".to_owned(),
        (all, 0) => format!(
            "{} of {} reached directly, without a proxy",
            all.saturating_sub(failing.len()),
            registries(all)
        ),
        (all, some) => format!(
            "{} of {} reached directly, {some} through a proxy",
            all.saturating_sub(failing.len()),
            registries(all)
        ),
    };
    let severity = Severity::error_if(config.tiers.is_empty());
    let (through, without): (Vec<&SourceFacts>, Vec<&SourceFacts>) = failing
        .into_iter()
        .partition(|one| one.source.proxy.is_some());
    for one in &through {
        let proxy = one.source.dialled().authority();
        check.find(
            severity,
            Code::ProxyFails,
            one.name(),
            format!("it is not reached through the proxy {proxy}: {}", why(one)),
            "see that the proxy answers and lets this node ask for that host; NO_PROXY or proxy = \"none\" leave it out",
        );
    }
    // Those that somebody else on this node would reach through a proxy, by the place that says so.
    let mut missing: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    let mut unreachable: Vec<&SourceFacts> = Vec::new();
    for one in without {
        let named = places.iter().find_map(|place| {
            let (variable, url) = proxy_variable(&place.variables, &one.source.url)?;
            Some((place.name.as_str(), format!("{variable}={url}")))
        });
        match named {
            Some(place) => missing.entry(place).or_default().push(one.name()),
            // Without an address: `names` says so.
            None if one.dns.is_err() => {}
            None => unreachable.push(one),
        }
    }
    for ((place, variable), names) in missing {
        check.error(
            Code::ProxyMissing,
            names.join(", "),
            format!("not reached, and the agent uses no proxy, though {place} says {variable}"),
            "write that URL as proxy under [direct], or give the unit the variable (systemctl edit harbor-pilot: [Service] Environment=…), then: systemctl restart harbor-pilot",
        );
    }
    if let Some(first) = unreachable.first() {
        let names: Vec<String> = unreachable.iter().map(|one| one.name()).collect();
        check.find(
            severity,
            Code::UpstreamUnreachable,
            names.join(", "),
            format!("not reached: {}", why(first)),
            "let the node out to it, name a proxy under [direct], or write direct = false for a registry that is never asked ([direct] enabled = false for all)",
        );
    }
    catches(&mut check, places, agent);
    check
}

/// Go leaves loopback out of every proxy by itself, so this is about agents on other addresses.
fn catches(check: &mut Check, places: &[Place], agent: Option<&BaseUrl>) {
    let Some(agent) = agent else { return };
    for place in places.iter().filter(|place| place.of_runtime) {
        if let Some((variable, url)) = proxy_variable(&place.variables, agent) {
            check.error(
                Code::ProxyCatchesAgent,
                &place.name,
                format!(
                    "{variable}={url} there makes containerd ask that proxy for the agent at {}",
                    agent.authority()
                ),
                format!(
                    "add {} to NO_PROXY there and restart that service when it suits",
                    agent.host
                ),
            );
        }
    }
}

fn is_reached(one: &SourceFacts) -> bool {
    one.endpoints.iter().any(|endpoint| endpoint.shown.is_ok())
}

fn why(one: &SourceFacts) -> String {
    match (
        &one.dns,
        one.endpoints.first().map(|endpoint| &endpoint.shown),
    ) {
        (Err(why), _) => format!("no address for {}: {why}", one.source.dialled().host),
        (Ok(_), Some(Err(why))) => why.clone(),
        _ => "nobody answers".to_owned(),
    }
}

/// Whether an upstream without an address has its finding here, with the proxy that leads to it.
pub(super) fn explains(places: &[Place], sources: &[SourceFacts]) -> bool {
    sources
        .iter()
        .filter(|one| !one.is_tier() && one.dns.is_err())
        .all(|one| {
            one.source.proxy.is_some()
                || places
                    .iter()
                    .any(|place| proxy_variable(&place.variables, &one.source.url).is_some())
        })
}

#[cfg(test)]
mod tests;
