//! Which repository of which registry a request means (design P1).

use super::{Refusal, RouteTable};
use crate::config::{Registry, Tier};
use crate::oci::{RawName, RegistryName, Repository};

/// Docker Hub's official images live below this.
const LIBRARY: &str = "library";
/// Where a name without a registry belongs.
const DEFAULT_REGISTRY: &str = "docker.io";
/// How much of a name that is refused is shown again, in characters.
const SHOWN: usize = 80;

pub(super) enum Meaning<'c> {
    Repository {
        registry: &'c Registry,
        repository: Repository,
    },
    /// A project of a tier's own name that no registry is mapped to.
    TierOnly {
        tier: &'c Tier,
        image_name: RegistryName,
        repository: Repository,
    },
}

// === impl RouteTable ===

impl RouteTable {
    pub(super) fn meaning(
        &self,
        ns: Option<&str>,
        name: &RawName,
        reasons: &mut Vec<String>,
    ) -> Result<Meaning<'_>, Refusal> {
        match ns {
            Some(ns) => self.meaning_of_ns(ns, name, reasons),
            None => self.meaning_of_path(name, reasons),
        }
    }

    /// With `ns` the path is a repository and nothing else. A client that knows mirrors by a path of their own (regctl) says the
    /// registry there once more; that counts once, and only where both are the same.
    fn meaning_of_ns(
        &self,
        ns: &str,
        name: &RawName,
        reasons: &mut Vec<String>,
    ) -> Result<Meaning<'_>, Refusal> {
        let asked: RegistryName = ns.parse().map_err(|_| not_configured(ns))?;
        let repeated = name.split_registry().filter(|(named, _)| *named == asked);
        let repository = match repeated {
            Some((_, repository)) => repository,
            None => name.repository().ok_or(Refusal::InvalidName)?,
        };
        if let Some(registry) = self.config.registry(&asked) {
            reasons.push(format!("ns={asked} is a configured registry"));
            return in_registry(registry, repository, reasons);
        }
        self.in_tier(asked, repository, reasons)
    }

    /// Without it, the first component routes if it is a configured name; a plain name is Docker Hub's.
    fn meaning_of_path(
        &self,
        name: &RawName,
        reasons: &mut Vec<String>,
    ) -> Result<Meaning<'_>, Refusal> {
        let first = name.first_component();
        if let Some((asked, repository)) = name.split_registry() {
            if let Some(registry) = self.config.registry(&asked) {
                reasons.push(format!(
                    "the path begins with the configured registry {asked}"
                ));
                return in_registry(registry, repository, reasons);
            }
            if self.tiers_named(&asked).next().is_some() {
                return self.in_tier(asked, repository, reasons);
            }
        }
        if first.contains(['.', ':']) {
            return Err(not_configured(first));
        }
        let repository = name.repository().ok_or(Refusal::InvalidName)?;
        let registry = DEFAULT_REGISTRY
            .parse()
            .ok()
            .and_then(|hub| self.config.registry(&hub))
            .ok_or_else(|| not_configured(DEFAULT_REGISTRY))?;
        reasons.push("a name without a registry is Docker Hub's".to_owned());
        in_registry(registry, repository, reasons)
    }

    fn tiers_named(&self, asked: &RegistryName) -> impl Iterator<Item = &Tier> {
        let tiers = self.config.tiers.iter().map(AsRef::as_ref);
        tiers.filter(move |tier| tier.names.contains(asked))
    }

    /// An image named after a tier: its project says which registry is meant. The longest project wins, as
    /// one may lie below another.
    fn in_tier(
        &self,
        asked: RegistryName,
        repository: Repository,
        reasons: &mut Vec<String>,
    ) -> Result<Meaning<'_>, Refusal> {
        let first = self
            .tiers_named(&asked)
            .next()
            .ok_or_else(|| not_configured(asked.as_str()))?;
        let projects = self.tiers_named(&asked).flat_map(|tier| &tier.projects);
        let mapped = projects
            .filter_map(|(registry, project)| {
                let rest = repository.as_str().strip_prefix(project.as_str())?;
                let rest: Repository = rest.strip_prefix('/')?.parse().ok()?;
                let registry = self.config.registry(registry)?;
                Some((project, registry, rest))
            })
            .max_by_key(|(project, ..)| project.len());
        let Some((project, registry, rest)) = mapped else {
            reasons.push(format!(
                "{asked} is the tier {} itself, and no registry is mapped to this project: only that tier has it",
                first.name
            ));
            return Ok(Meaning::TierOnly {
                tier: first,
                image_name: asked,
                repository,
            });
        };
        reasons.push(format!(
            "{asked} is a tier's own name, and its project {project} stands for {}",
            registry.name
        ));
        in_registry(registry, rest, reasons)
    }
}

fn in_registry<'c>(
    registry: &'c Registry,
    repository: Repository,
    reasons: &mut Vec<String>,
) -> Result<Meaning<'c>, Refusal> {
    let single = !repository.as_str().contains('/');
    if !single || registry.name.as_str() != DEFAULT_REGISTRY {
        return Ok(Meaning::Repository {
            registry,
            repository,
        });
    }
    // containerd sends library/ itself; other clients may not, and Harbor does not add it for registries of
    // type docker-registry (harbor-facts 3.1).
    let official: Repository = format!("{LIBRARY}/{repository}")
        .parse()
        .map_err(|_| Refusal::InvalidName)?;
    reasons.push(format!("{repository} is the official image {official}"));
    Ok(Meaning::Repository {
        registry,
        repository: official,
    })
}

/// What was asked for may be anything: it is shown without control characters and not at length.
fn not_configured(asked: &str) -> Refusal {
    if asked.is_empty() {
        return Refusal::NotConfigured("the empty name".to_owned());
    }
    let shown: String = asked
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .take(SHOWN)
        .collect();
    Refusal::NotConfigured(shown)
}
