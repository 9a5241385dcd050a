//! The projects that `[tier.discovery]` found: what the running agent says, else what it wrote down last.

use crate::admin::Status;
use crate::config::{Config, FoundProjects};
use crate::oci::RegistryName;
use crate::projects::{Certainty, FoundProject, last_found};
use crate::route::Route;
use crate::topology::SourceId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found, by tier and registry.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Found(BTreeMap<Arc<str>, BTreeMap<RegistryName, FoundProject>>);

/// The configuration with what was found.
pub(in crate::cli) fn in_force(config: Config, status: Option<&Status>) -> (Config, Found) {
    if config.tiers.iter().all(|tier| tier.discovery.is_none()) {
        return (config, Found::default());
    }
    let found = match status {
        Some(status) => Found::from_agent(&config, status),
        None => Found::from_disk(&config),
    };
    let config = config.with_projects(&found.paths());
    (config, found)
}

// === impl Found ===

impl Found {
    fn from_agent(config: &Config, status: &Status) -> Self {
        let tiers = config.tiers.iter().filter_map(|tier| {
            let mut said = status.tiers.iter();
            let said = said.find(|said| *said.name == *tier.name)?;
            let said = Some(said).filter(|said| said.url == tier.url.to_string())?;
            let found = said.projects.as_ref()?.found.iter();
            let found = found.filter_map(|(registry, found)| {
                let certainty = match found.guessed {
                    true => Certainty::Guessed,
                    false => Certainty::Known,
                };
                let path = found.project.clone();
                Some((registry.parse().ok()?, FoundProject { path, certainty }))
            });
            Some((tier.name.clone(), found.collect()))
        });
        Self(tiers.collect())
    }

    fn from_disk(config: &Config) -> Self {
        let tiers = last_found(config).into_iter();
        Self(tiers.map(|(tier, found)| (tier, found.projects)).collect())
    }

    fn paths(&self) -> FoundProjects {
        let path = |(registry, found): (&RegistryName, &FoundProject)| {
            (registry.clone(), found.path.clone())
        };
        let tiers = self.0.iter();
        tiers
            .map(|(tier, found)| (tier.clone(), found.iter().map(path).collect()))
            .collect()
    }

    /// A sentence for each tier of the route whose project was found.
    pub(super) fn reasons(&self, route: &Route) -> Vec<String> {
        let sources = route.targets.iter().map(|target| &target.source);
        let reasons = sources.filter_map(|source| {
            let SourceId::Tier(tier) = source else {
                return None;
            };
            let found = self.0.get(tier)?.get(route.registry.as_ref()?)?;
            let how = match found.certainty {
                Certainty::Guessed => "guessed by its name",
                Certainty::Known => "known from Harbor's registries",
            };
            let path = &found.path;
            Some(format!(
                "tier {tier}: project {path} was found by [tier.discovery] ({how})"
            ))
        });
        reasons.collect()
    }
}
