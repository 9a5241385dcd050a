//! `[tier.discovery]`: what is found at a Harbor, put into the configuration beside what is written.

use super::model::{Config, RegistrySet, Tier};
use crate::oci::RegistryName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found: by tier, the project path of each registry.
pub type FoundProjects = BTreeMap<Arc<str>, BTreeMap<RegistryName, String>>;

// === impl Config ===

impl Config {
    /// The same configuration with the projects that were found at tiers with `[tier.discovery]`. Written projects win, and so
    /// does a written project's name: it stands for one registry alone.
    #[must_use]
    pub fn with_projects(&self, found: &FoundProjects) -> Self {
        let with = |tier: &Arc<Tier>| match (&tier.discovery, found.get(&tier.name)) {
            (Some(_), Some(found)) => Arc::new(tier.with_projects(found)),
            _ => tier.clone(),
        };
        Self {
            tiers: self.tiers.iter().map(with).collect(),
            ..self.clone()
        }
    }
}

// === impl Tier ===

impl Tier {
    fn with_projects(&self, found: &BTreeMap<RegistryName, String>) -> Self {
        let mut projects = self.projects.clone();
        for (registry, project) in found {
            let is_taken = self.projects.values().any(|written| written == project);
            if !is_taken && !projects.contains_key(registry) {
                projects.insert(registry.clone(), project.clone());
            }
        }
        Self {
            registries: RegistrySet::Some(projects.keys().cloned().collect()),
            projects,
            ..self.clone()
        }
    }
}
