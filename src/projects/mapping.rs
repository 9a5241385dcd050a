//! Which of a Harbor's projects holds which registry. Pure: from what Harbor lists and what is configured.

#[cfg(test)]
mod tests;

use super::listing::{Endpoint, Listing, Project};
use super::provider::{Cached, cached};
use crate::config::{BaseUrl, Config, Tier};
use crate::oci::{RegistryName, Repository};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How sure a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Harbor says what the project caches.
    Known,
    /// By the project's name.
    Guessed,
}

// === impl Certainty ===

impl Certainty {
    /// The word in status and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Guessed => "guessed",
        }
    }
}

/// A project that was found for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProject {
    /// As it stands in a path: the project's name, or the name twice where the Harbor in front of another one wants that.
    pub path: String,
    /// Whether the registry is known or guessed.
    pub certainty: Certainty,
}

/// What was found at one tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierProjects {
    /// By registry. A written project is not in it.
    pub projects: BTreeMap<RegistryName, FoundProject>,
    /// Proxy-cache projects that are not used, with the reason.
    pub unused: BTreeMap<String, String>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

/// The project names of the layouts that are met (docs/layouts.md), beside those that are made of the registry's name.
const LAYOUT_NAMES: &[(&str, &str)] = &[
    ("docker-hub", "docker.io"),
    ("dockerhub", "docker.io"),
    ("proxy-docker-hub", "docker.io"),
];

/// A project with the registry that it stands for.
struct Claim<'l> {
    project: &'l Project,
    registry: RegistryName,
    certainty: Certainty,
}

/// The mapping of every tier that was listed. A Harbor that caches another one is read after the one that it caches, where that is
/// a configured tier.
pub(super) fn map_all(
    config: &Config,
    listings: &BTreeMap<Arc<str>, Listing>,
) -> BTreeMap<Arc<str>, TierProjects> {
    let mut found: BTreeMap<Arc<str>, TierProjects> = BTreeMap::new();
    // Each round knows one more Harbor of a chain; chains are as long as there are tiers at most.
    for _ in &config.tiers {
        let next: BTreeMap<_, _> = listings
            .iter()
            .filter_map(|(name, listing)| {
                let tier = config.tiers.iter().find(|tier| tier.name == *name)?;
                let mapped = map(config, tier, listing, &found);
                Some((name.clone(), mapped))
            })
            .collect();
        if next == found {
            break;
        }
        found = next;
    }
    found
}

fn map(
    config: &Config,
    tier: &Tier,
    listing: &Listing,
    others: &BTreeMap<Arc<str>, TierProjects>,
) -> TierProjects {
    let mut mapped = TierProjects::default();
    let mut claims: BTreeMap<RegistryName, Vec<Claim<'_>>> = BTreeMap::new();
    for project in &listing.projects {
        match claim(config, tier, listing, project, others) {
            Ok(claim) => claims
                .entry(claim.registry.clone())
                .or_default()
                .push(claim),
            Err(why) => {
                mapped.unused.insert(project.name.clone(), why);
            }
        }
    }
    for (registry, mut of_registry) in claims {
        of_registry.sort_by_key(|claim| {
            let project = claim.project;
            (!project.is_public, claim.certainty, project.name.clone())
        });
        if let Some(written) = tier.projects.get(&registry) {
            for claim in &of_registry {
                let name = &claim.project.name;
                let is_written = written == name || *written == path_of(listing, claim.project);
                if !is_written {
                    let why = format!("[tier.projects] writes {written} for {registry}");
                    mapped.unused.insert(name.clone(), why);
                }
            }
            continue;
        }
        let mut of_registry = of_registry.into_iter();
        let Some(chosen) = of_registry.next() else {
            continue;
        };
        for other in of_registry {
            let (chosen, name) = (&chosen.project.name, &other.project.name);
            let why = format!("{chosen} is used for {registry}");
            mapped.unused.insert(name.clone(), why);
            mapped.warnings.push(format!(
                "projects {chosen} and {name} both cache {registry}; {chosen} is used. Write the one to use below [tier.projects]"
            ));
        }
        let found = FoundProject {
            path: path_of(listing, chosen.project),
            certainty: chosen.certainty,
        };
        mapped.projects.insert(registry, found);
    }
    mapped
}

/// The registry of a project, or why there is none.
fn claim<'l>(
    config: &Config,
    tier: &Tier,
    listing: &'l Listing,
    project: &'l Project,
    others: &BTreeMap<Arc<str>, TierProjects>,
) -> Result<Claim<'l>, String> {
    let guessed = || {
        let registry = by_layout(config, &project.name);
        registry.map(|registry| (registry, Certainty::Guessed))
    };
    let known = |registry| (registry, Certainty::Known);
    let endpoint = listing.endpoints.as_ref().map(|endpoints| {
        let of_project = |endpoint: &&Endpoint| endpoint.id == project.registry_id;
        endpoints.iter().find(of_project)
    });
    let (registry, certainty) = match endpoint {
        None => guessed().ok_or_else(|| {
            "the account may not read registries, and the name fits no layout".to_owned()
        })?,
        Some(None) => guessed()
            .ok_or_else(|| "its registry endpoint is not listed, and the name fits no layout".to_owned())?,
        Some(Some(endpoint)) => match cached(endpoint) {
            Cached::Registry(host) => known(configured(config, &host).ok_or_else(|| {
                format!("it caches {host}, which is not a configured registry")
            })?),
            Cached::Harbor(host) => at_next_harbor(config, others, &host, &project.name)
                .map(known)
                .or_else(guessed)
                .ok_or_else(|| {
                    format!("it caches the Harbor at {host}, and neither that Harbor's projects nor the name says which registry")
                })?,
            Cached::Unknown(why) => guessed().ok_or(why)?,
        },
    };
    if project.name.parse::<Repository>().is_err() {
        return Err("its name is no part of a path".to_owned());
    }
    let wanted = tier.discovery.as_ref().map(|found| &found.registries);
    if wanted.is_some_and(|wanted| !wanted.contains(&registry)) {
        return Err(format!("registries of the tier leaves {registry} out"));
    }
    Ok(Claim {
        project,
        registry,
        certainty,
    })
}

/// What a project of the same name holds at the Harbor that is cached, where that is a configured tier.
fn at_next_harbor(
    config: &Config,
    others: &BTreeMap<Arc<str>, TierProjects>,
    host: &str,
    project: &str,
) -> Option<RegistryName> {
    let at_host = config.tiers.iter().filter(|tier| tier.url.host == host);
    for tier in at_host {
        let written = tier.projects.iter();
        let written = written.map(|(registry, path)| (registry, path.as_str()));
        let found = others.get(&tier.name).into_iter();
        let found = found.flat_map(|tier| &tier.projects);
        let found = found.map(|(registry, found)| (registry, found.path.as_str()));
        for (registry, path) in written.chain(found) {
            let name = path.split('/').next().unwrap_or(path);
            if name == project {
                return Some(registry.clone());
            }
        }
    }
    None
}

/// The configured registry at a host: by its name, or by where its upstream is, if that is one registry's alone.
fn configured(config: &Config, host: &str) -> Option<RegistryName> {
    let mut registries = config.registries.iter();
    if let Ok(name) = host.parse::<RegistryName>()
        && registries.clone().any(|registry| registry.name == name)
    {
        return Some(name);
    }
    let is_there = |upstream: &BaseUrl| upstream.authority() + &upstream.prefix == host;
    let mut there = registries.by_ref().filter(|one| is_there(&one.upstream));
    match (there.next(), there.next()) {
        (Some(one), None) => Some(one.name.clone()),
        _ => None,
    }
}

/// The configured registry that a project's name stands for by a layout: `proxy-docker-io`, `proxy.docker.io`, `docker-io`,
/// `docker.io`, `docker-hub`.
fn by_layout(config: &Config, project: &str) -> Option<RegistryName> {
    let named = LAYOUT_NAMES.iter().find(|(name, _)| *name == project);
    let named = named.and_then(|(_, registry)| configured(config, registry));
    named.or_else(|| {
        let fits = |name: &RegistryName| {
            let (plain, dashed) = (name.as_str().to_owned(), name.dashed());
            [
                format!("proxy-{dashed}"),
                format!("proxy.{plain}"),
                dashed,
                plain,
            ]
            .iter()
            .any(|layout| layout == project)
        };
        let registries = config.registries.iter().map(|registry| &registry.name);
        let mut fitting = registries.filter(|name| fits(name));
        fitting.next().cloned()
    })
}

fn path_of(listing: &Listing, project: &Project) -> String {
    let name = &project.name;
    let is_doubled = listing.doubled.iter().any(|(of, is)| of == name && *is);
    match is_doubled {
        true => format!("{name}/{name}"),
        false => name.clone(),
    }
}

/// Projects of a type that caches another Harbor: whether their paths hold the name twice has to be tried.
pub(super) fn of_another_harbor(listing: &Listing) -> impl Iterator<Item = &Project> {
    let endpoints = listing.endpoints.as_deref().unwrap_or_default();
    listing.projects.iter().filter(move |project| {
        let endpoint = endpoints.iter().find(|one| one.id == project.registry_id);
        endpoint.is_some_and(|one| matches!(cached(one), Cached::Harbor(_)))
    })
}
