//! Projects that fail again and again are not asked for a while, so that the search for an image does not wait for them each time.
//! Pure but for its lock. It is about the questions of the router alone: an image whose registry is known is pulled as ever.

#[cfg(test)]
mod tests;

use crate::cache::Trust;
use crate::lifecycle::deadline;
use crate::oci::RegistryName;
use foldhash::HashMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which a project is left out.
const FAILURES: u32 = 5;
/// For so long; then one request tries it again.
const OPEN: Duration = Duration::from_secs(30);

/// A tier's project for a registry, as such clients find it: what untrusted ones ask for may be what fails.
pub(crate) type Project = (Arc<str>, RegistryName, Trust);

/// What is known of the projects that have failed.
#[derive(Debug, Default)]
pub(crate) struct Breakers(Mutex<HashMap<Project, Failing>>);

#[derive(Clone, Copy, Debug, Default)]
struct Failing {
    in_a_row: u32,
    /// The project is not asked before this moment.
    until: Option<Instant>,
}

// === impl Breakers ===

impl Breakers {
    /// Whether the project may be asked now. Who hears yes of one that was left out is its trial, and asks.
    pub(crate) fn may_ask(&self, project: &Project, now: Instant) -> bool {
        let mut projects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failing) = projects.get_mut(project) else {
            return true;
        };
        match failing.until {
            Some(until) if now < until => false,
            Some(_) => {
                // A trial that never tells how it went blocks nobody for ever.
                failing.until = Some(deadline(now, OPEN));
                true
            }
            None => true,
        }
    }

    /// How a question went.
    pub(crate) fn told(&self, project: Project, failed: bool, now: Instant) {
        let mut projects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            projects.remove(&project);
            return;
        }
        let failing = projects.entry(project).or_default();
        failing.in_a_row = failing.in_a_row.saturating_add(1);
        if failing.in_a_row >= FAILURES {
            failing.until = Some(deadline(now, OPEN));
        }
    }

    /// Those that are left out now, as `TIER/REGISTRY`.
    pub(crate) fn open(&self, now: Instant) -> Vec<String> {
        let projects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = projects
            .iter()
            .filter(|(_, failing)| failing.until.is_some_and(|until| now < until));
        let open = open.map(|((tier, registry, _), _)| format!("{tier}/{registry}"));
        let open: BTreeSet<String> = open.collect();
        open.into_iter().collect()
    }
}
