//! What is known against addresses and sources, as `/status` shows it: why one stands behind others.

use crate::admin::names::Names;
use crate::cache::Trust;
use crate::relay::{Reputation, ReputationRow};
use crate::telemetry::human_duration;
use crate::topology::SourceId;
use crate::topology::select::Effect;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// So many rows are shown.
const SHOWN: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReputationStatus {
    /// The tier's name, or the upstream's registry.
    pub source: String,
    /// It is an upstream.
    pub upstream: bool,
    /// Absent: all addresses of the source.
    pub address: Option<String>,
    /// For requests of this registry alone; absent: of all.
    pub registry: Option<String>,
    /// For this repository alone.
    pub repository: Option<String>,
    /// For this tag or digest alone.
    pub reference: Option<String>,
    /// `behind`, `last` or `never`.
    pub effect: String,
    /// The name of the row in docs/failure-table.md, such as `silent`.
    pub reason: String,
    /// The same for people.
    pub why: String,
    /// Seconds until it ends.
    pub seconds: u64,
    /// `all`, or `untrusted`: for the requests of untrusted clients alone.
    pub clients: String,
}

// === impl ReputationStatus ===

impl ReputationStatus {
    /// What is known now, what counts for most in front; and how many rows are left out because they name images.
    pub(super) fn all(reputation: &Reputation, names: Names, now: Instant) -> (Vec<Self>, usize) {
        let mut rows = reputation.rows(now);
        let known = rows.len();
        rows.retain(|row| {
            let (_, repository, reference) = row.scope.names();
            names == Names::Shown || (repository.is_none() && reference.is_none())
        });
        let hidden = known.saturating_sub(rows.len());
        let shown = rows.iter().take(SHOWN).map(|row| Self::new(row, now));
        (shown.collect(), hidden)
    }

    fn new(row: &ReputationRow, now: Instant) -> Self {
        let (source, upstream) = match &row.held.source {
            SourceId::Tier(name) => (name.to_string(), false),
            SourceId::Upstream(registry) => (registry.to_string(), true),
        };
        let (registry, repository, reference) = row.scope.names();
        Self {
            source,
            upstream,
            address: row.held.address.map(|address| address.to_string()),
            registry: registry.as_ref().map(ToString::to_string),
            repository: repository.as_ref().map(ToString::to_string),
            reference: reference.as_ref().map(ToString::to_string),
            effect: match row.held.effect {
                Effect::Behind => "behind",
                Effect::Last => "last",
                Effect::Never => "never",
            }
            .to_owned(),
            reason: row.reason.0.to_owned(),
            why: row.reason.1.to_owned(),
            seconds: row.until.saturating_duration_since(now).as_secs(),
            clients: match row.trust {
                Trust::Trusted => "all",
                Trust::Untrusted => "untrusted",
            }
            .to_owned(),
        }
    }

    /// What follows, for how long: `asked last for 25 s: it wanted fewer requests (too_many_requests)`.
    #[must_use]
    pub fn words(&self) -> String {
        let effect = match self.effect.as_str() {
            "behind" => "stands behind the others",
            "last" => "is asked last",
            "never" => "is not asked",
            other => other,
        };
        let left = human_duration(Duration::from_secs(self.seconds));
        format!("{effect} for {left}: {} ({})", self.why, self.reason)
    }
}

impl fmt::Display for ReputationStatus {
    /// `replica/203.0.113.7:443, docker.io/library/nginx: stands behind the others for 25 s: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.upstream {
            "upstream"
        } else {
            &self.source
        };
        write!(f, "{who}/{}", self.address.as_deref().unwrap_or("*"))?;
        let names = [&self.registry, &self.repository, &self.reference];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        if !names.is_empty() {
            write!(f, ", {}", names.join(" "))?;
        }
        let only = match self.clients.as_str() {
            "untrusted" => ", untrusted clients",
            _ => "",
        };
        write!(f, "{only}: {}", self.words())
    }
}
