//! The projects that `[tier.discovery]` found: what the running agent says, else what it wrote down last.

use crate::admin::Status;
use crate::config::{Config, FoundProjects};
use crate::projects::{Certainty, last_found};
use crate::route::Route;
use crate::topology::SourceId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found, with those of it that are guessed.
#[derive(Debug, Default)]
pub(in crate::cli) struct Found {
    paths: FoundProjects,
    guessed: Vec<(Arc<str>, String)>,
}

/// The configuration with what was found.
pub(in crate::cli) fn in_force(config: Config, status: Option<&Status>) -> (Config, Found) {
    if config.tiers.iter().all(|tier| tier.discovery.is_none()) {
        return (config, Found::default());
    }
    let mut found = Found::default();
    match status {
        Some(status) => found.take_from_agent(&config, status),
        None => found.take_from_disk(&config),
    }
    let config = config.with_projects(&found.paths);
    (config, found)
}

// === impl Found ===

impl Found {
    fn take_from_agent(&mut self, config: &Config, status: &Status) {
        for tier in &config.tiers {
            let said = status.tiers.iter().find(|said| *said.name == *tier.name);
            let said = said.filter(|said| said.url == tier.url.to_string());
            let Some(projects) = said.and_then(|said| said.projects.as_ref()) else {
                continue;
            };
            let mut paths = BTreeMap::new();
            for (registry, found) in &projects.found {
                let Ok(registry) = registry.parse() else {
                    continue;
                };
                paths.insert(registry, found.project.clone());
                if found.guessed {
                    self.guessed
                        .push((tier.name.clone(), found.project.clone()));
                }
            }
            self.paths.insert(tier.name.clone(), paths);
        }
    }

    fn take_from_disk(&mut self, config: &Config) {
        for (tier, projects) in last_found(config) {
            let mut paths = BTreeMap::new();
            for (registry, found) in projects.projects {
                if found.certainty == Certainty::Guessed {
                    self.guessed.push((tier.clone(), found.path.clone()));
                }
                paths.insert(registry, found.path);
            }
            self.paths.insert(tier, paths);
        }
    }

    /// A sentence for each tier of the route whose project was found.
    pub(super) fn reasons(&self, route: &Route) -> Vec<String> {
        let Some(registry) = &route.registry else {
            return Vec::new();
        };
        let sources = route.targets.iter().map(|target| &target.source);
        let reasons = sources.filter_map(|source| {
            let SourceId::Tier(tier) = source else {
                return None;
            };
            let path = self.paths.get(tier)?.get(registry)?;
            let is_guessed = self
                .guessed
                .iter()
                .any(|(of, guessed)| of == tier && guessed == path);
            let how = match is_guessed {
                true => "guessed by its name",
                false => "known from Harbor's registries",
            };
            Some(format!(
                "tier {tier}: project {path} was found by [tier.discovery] ({how})"
            ))
        });
        reasons.collect()
    }
}
