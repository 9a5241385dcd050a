//! When the robot accounts of tiers expire: each tier's own is looked for twice a day, as far as it may read itself
//! (harbor-facts 4). An account that cannot be read is nobody's fault, and nothing is said of it.

#[cfg(test)]
mod tests;

use super::ask::LookAtRobot;
use super::spread::endpoints_of;
use crate::lifecycle::{Random, contained, deadline};
use crate::telemetry::{EventName, Journal, StateChange, expires_soon};
use crate::topology::{Snapshot, Source, SourceId, SourceKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Between two looks, before jitter.
const INTERVAL: Duration = Duration::from_secs(12 * 3600);
/// After a failure, and while the tier's addresses are not known.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// The first look after the start, spread over a fleet that restarts.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// What is known of the account of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RobotAccount {
    /// `None`: it does not expire.
    pub expires_at: Option<SystemTime>,
    /// Harbor refuses the account.
    pub is_disabled: bool,
}

/// By the tier's name.
pub type RobotAccounts = BTreeMap<Arc<str>, RobotAccount>;

/// The task that looks at the robot accounts.
pub(super) struct Looks<A> {
    pub(super) asker: A,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(super) accounts: watch::Sender<Arc<RobotAccounts>>,
    pub(super) journal: Journal,
    pub(super) random: Random,
}

impl<A: LookAtRobot> Looks<A> {
    /// Runs until whoever sends snapshots is gone. One tier after the other: nothing here is in a hurry.
    pub(super) async fn run(mut self) {
        let mut due: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
        loop {
            let now = Instant::now();
            let sources = self.sources();
            due.retain(|tier, _| sources.contains_key(tier));
            self.publish(|accounts| accounts.retain(|tier, _| sources.contains_key(tier)));
            for tier in sources.keys() {
                let first = FIRST_WITHIN.mul_f64(self.random.fraction());
                due.entry(tier.clone())
                    .or_insert_with(|| deadline(now, first));
            }
            let next = due.iter().min_by_key(|(_, at)| **at);
            let next = next.map(|(tier, at)| (tier.clone(), *at));
            let at = next.as_ref().map_or(now, |(_, at)| *at);
            // Both are cancel safe: `changed` says so, and time is computed anew.
            tokio::select! {
                changed = self.snapshot.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
                () = sleep_until(at), if next.is_some() => {}
            }
            if let Some((tier, _)) = next
                && let Some(source) = sources.get(&tier)
            {
                let wait = match self.look(&tier, source).await {
                    true => INTERVAL,
                    false => AGAIN,
                };
                let spread = 0.5 + self.random.fraction();
                due.insert(tier, deadline(Instant::now(), wait.mul_f64(spread)));
            }
        }
    }

    /// The tiers whose account may be a robot.
    fn sources(&mut self) -> BTreeMap<Arc<str>, Arc<Source>> {
        let snapshot = self.snapshot.borrow_and_update();
        let sources = snapshot.sources.iter().map(|state| &state.source);
        let tiers = sources.filter_map(|source| match &source.id {
            SourceId::Tier(name)
                if source.kind == SourceKind::Harbor && source.credential.is_some() =>
            {
                Some((name.clone(), source.clone()))
            }
            _ => None,
        });
        tiers.collect()
    }

    fn publish(&self, change: impl FnOnce(&mut RobotAccounts)) {
        self.accounts.send_if_modified(|accounts| {
            let mut next = RobotAccounts::clone(accounts);
            change(&mut next);
            let changed = next != **accounts;
            *accounts = Arc::new(next);
            changed
        });
    }

    /// Looks at one tier's account; false: it has to be tried again.
    async fn look(&self, tier: &Arc<str>, source: &Arc<Source>) -> bool {
        let endpoints = endpoints_of(&self.snapshot.borrow(), &source.id);
        let asked = contained("robot account", self.asker.robot(source, &endpoints)).await;
        let Ok(Ok(robot)) = asked else {
            return false;
        };
        let account = robot.map(|robot| RobotAccount {
            expires_at: u64::try_from(robot.expires_at)
                .ok()
                .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
            is_disabled: robot.disable,
        });
        self.publish(|accounts| {
            match account {
                Some(account) => accounts.insert(tier.clone(), account),
                None => accounts.remove(tier),
            };
        });
        // Looked at twice a day: said as often.
        if let Some(account) = account
            && let Some(what) = account.trouble(SystemTime::now())
        {
            let user = source.credential.as_ref();
            let user = user.map_or_else(String::new, |one| one.username.clone());
            self.journal.event(StateChange {
                event: EventName::CredentialExpiring,
                tier: Some(tier.to_string()),
                endpoint: None,
                message: format!(
                    "the robot account {user} of tier {tier} {what}; renew it in Harbor, and write its new secret into the password file if it has one"
                ),
                reason: what,
            });
        }
        true
    }
}

// === impl RobotAccount ===

impl RobotAccount {
    /// What is wrong with it, or soon will be: `expires in 13 days`.
    #[must_use]
    pub fn trouble(&self, now: SystemTime) -> Option<String> {
        if self.is_disabled {
            return Some("is disabled".to_owned());
        }
        expires_soon(self.expires_at?, now)
    }
}
