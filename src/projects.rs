//! Which projects the Harbors have (`[tier.discovery]`): asked for, mapped to registries, published (harbor-facts 4).
//!
//! One task asks and owns what is known; `mapping` and `cached` decide, and are pure. What is written in `[tier.projects]` wins.

mod ask;
mod kept;
mod listing;
mod mapping;
mod others;
mod provider;
mod robots;
mod spread;
mod task;

pub use mapping::{Certainty, FoundProject, TierProjects};
pub use others::SharedListing;
pub use robots::{RobotAccount, RobotAccounts};

use crate::config::{Config, FoundProjects};
use crate::exchange::Exchanger;
use crate::lifecycle::{Random, Tasks};
use crate::metrics::Metrics;
use crate::oci::RegistryName;
use crate::telemetry::Journal;
use crate::topology::{EndpointId, Snapshot, Source, SourceId};
use crate::upstream::Client;
use ask::{AskHarbor as _, Asker};
use kept::Kept;
use others::Others;
use robots::Looks;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use task::{Inputs, Outputs, Task};
use tokio::sync::{mpsc, watch};

/// What is known of all tiers with `[tier.discovery]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projects {
    /// By the tier's name in the configuration.
    pub tiers: BTreeMap<Arc<str>, TierState>,
}

/// What is known of one tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierState {
    /// The mapping in force.
    pub found: TierProjects,
    /// When Harbor was last asked with success, in seconds since 1970; `None`: never.
    pub asked_at: Option<u64>,
    /// The account may not read Harbor's registries: every mapping is a guess.
    pub is_guessed: bool,
    /// Why the last discovery failed.
    pub error: Option<String>,
}

/// Harbor did not say which projects it has.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unanswered(Box<ask::Error>);

/// Asks the task, and reads what it publishes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProjectDiscovery {
    projects: watch::Receiver<Arc<Projects>>,
    robots: watch::Receiver<Arc<RobotAccounts>>,
    refreshes: mpsc::Sender<()>,
}

// === impl Projects ===

impl Projects {
    /// The paths alone, as the configuration takes them.
    #[must_use]
    pub fn paths(&self) -> FoundProjects {
        let of_tier = |state: &TierState| {
            let projects = state.found.projects.iter();
            let paths = projects.map(|(registry, found)| (registry.clone(), found.path.clone()));
            paths.collect()
        };
        self.tiers
            .iter()
            .map(|(name, state)| (name.clone(), of_tier(state)))
            .collect()
    }
}

// === impl ProjectDiscovery ===

impl ProjectDiscovery {
    /// Starts the task. It follows `config` as it is written; what was found last is read from `state_directory` at once. `missing`:
    /// Harbors that say that they have not got a project, which are asked again with back-off.
    #[must_use]
    #[allow(
        clippy::too_many_arguments,
        reason = "the composition root hands over what it built, once"
    )]
    pub fn start(
        config: watch::Receiver<Arc<Config>>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        missing: mpsc::Receiver<SourceId>,
        client: Client,
        exchanger: Exchanger,
        others: mpsc::Sender<SharedListing>,
        state_directory: &Path,
        journal: Journal,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
        seed: u64,
    ) -> Self {
        let (refreshes, inbox) = mpsc::channel(1);
        let (publish, projects) = watch::channel(Arc::default());
        let inputs = Inputs {
            config,
            snapshot,
            refreshes: inbox,
            missing,
        };
        let outputs = Outputs {
            projects: publish,
            others: Others(others),
            journal,
            metrics,
        };
        let asker = Asker::new(client, exchanger);
        let (accounts, robots) = watch::channel(Arc::default());
        let looks = Looks {
            asker: asker.clone(),
            snapshot: inputs.snapshot.clone(),
            accounts,
            journal: outputs.journal.clone(),
            random: Random::from_seed(seed.rotate_left(17)),
        };
        tasks.spawn("robot accounts", looks.run());
        let mut task = Task::new(asker, inputs, outputs, state_directory, seed);
        task.take_config();
        tasks.spawn("project discovery", task.run());
        Self {
            projects,
            robots,
            refreshes,
        }
    }

    /// Changes whenever a discovery or its result changes.
    #[must_use]
    pub fn projects(&self) -> watch::Receiver<Arc<Projects>> {
        self.projects.clone()
    }

    /// The robot accounts of tiers, as far as they can be read.
    #[must_use]
    pub fn robots(&self) -> watch::Receiver<Arc<RobotAccounts>> {
        self.robots.clone()
    }

    /// Asks every Harbor now.
    pub fn refresh(&self) {
        // Full: somebody else has asked.
        let _ = self.refreshes.try_send(());
    }
}

/// Asks one tier's Harbor once: for `init --discover`. `endpoints` are the tier's addresses, asked in turn.
///
/// # Errors
/// [`Unanswered`]: no address answers, or Harbor refuses the account.
pub async fn ask_once(
    config: &Config,
    client: Client,
    exchanger: Exchanger,
    source: &Arc<Source>,
    endpoints: &[EndpointId],
) -> Result<TierProjects, Unanswered> {
    let asker = Asker::new(client, exchanger);
    let asked = asker.ask(source, endpoints).await;
    let listing = asked.map_err(|error| Unanswered(Box::new(error)))?;
    let SourceId::Tier(tier) = &source.id else {
        return Ok(TierProjects::default());
    };
    let listings = BTreeMap::from([(tier.clone(), listing)]);
    let mut mapped = mapping::map_all(config, &listings);
    Ok(mapped.remove(tier).unwrap_or_default())
}

/// What was found last, as it stands in the state directory: for commands beside the agent. Empty where there is nothing, or
/// nothing that may be read.
#[must_use]
pub fn last_found(config: &Config) -> BTreeMap<Arc<str>, TierProjects> {
    let kept = Kept::load(&config.state_directory.join(kept::FILE));
    mapping::map_all(config, &kept.listings(config))
}

/// What changed between two mappings, one text each.
fn changes(
    before: &BTreeMap<RegistryName, FoundProject>,
    now: &BTreeMap<RegistryName, FoundProject>,
) -> Vec<String> {
    let mut changes = Vec::new();
    for (registry, found) in now {
        match before.get(registry) {
            None => changes.push(format!("{registry} is at {}", found.path)),
            Some(old) if old.path != found.path => {
                changes.push(format!(
                    "{registry} is at {}, and was at {}",
                    found.path, old.path
                ));
            }
            Some(_) => {}
        }
    }
    for (registry, old) in before {
        if !now.contains_key(registry) {
            changes.push(format!(
                "{registry} is no longer found, and was at {}",
                old.path
            ));
        }
    }
    changes
}
