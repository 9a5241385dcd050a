//! What a tier with `[tier.discovery]` has, as `/status` shows it.

use crate::projects::{Certainty, TierState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The projects of a tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectsStatus {
    /// Since Harbor was last asked with success; absent: it never was.
    pub asked_seconds_ago: Option<u64>,
    /// Why the last discovery failed.
    pub error: Option<String>,
    /// The account may not read Harbor's registries, so that projects are guessed by their names.
    pub registries_unreadable: bool,
    /// Proxy-cache projects in use, by the registry that they cache.
    pub found: BTreeMap<String, ProjectStatus>,
    /// Proxy-cache projects that are not used, with the reason.
    pub unused: BTreeMap<String, String>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

/// A project that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectStatus {
    /// As it stands in a path.
    pub project: String,
    /// By its name alone: Harbor has not said which registry it caches.
    pub guessed: bool,
}

// === impl ProjectsStatus ===

impl ProjectsStatus {
    pub(super) fn new(state: &TierState, now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let found = state.found.projects.iter().map(|(registry, found)| {
            let project = ProjectStatus {
                project: found.path.clone(),
                guessed: found.certainty == Certainty::Guessed,
            };
            (registry.to_string(), project)
        });
        Self {
            asked_seconds_ago: state.asked_at.map(|at| seconds.saturating_sub(at)),
            error: state.error.clone(),
            registries_unreadable: state.is_guessed,
            found: found.collect(),
            unused: state.found.unused.clone(),
            warnings: state.found.warnings.clone(),
        }
    }
}
