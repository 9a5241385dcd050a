//! What is known of images without a registry, as `/status` shows it.

use crate::router::Lookups;
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::time::Instant;

/// What is known of images without a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Images whose registry is remembered.
    pub images: usize,
    /// Projects that keep failing and are not asked for a while, as `TIER/REGISTRY`.
    pub left_out: Vec<String>,
}

// === impl RouterStatus ===

impl RouterStatus {
    pub(super) fn new(lookups: &Lookups, now: Instant) -> Self {
        Self {
            images: lookups.images(),
            left_out: lookups.left_out(now),
        }
    }

    /// Whether there is anything to say.
    pub(crate) fn says_something(&self) -> bool {
        *self != Self::default()
    }
}

impl fmt::Display for RouterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registries of {} images are known", self.images)?;
        if !self.left_out.is_empty() {
            write!(f, "; not asked for a while: {}", self.left_out.join(", "))?;
        }
        Ok(())
    }
}
