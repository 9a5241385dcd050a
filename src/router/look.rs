//! One search for the registry of an image: every registry with a project is asked for it by the normal path, for all clients that
//! wait for the same.

use super::breaker::Project;
use super::choice::{Answer, Choice, Decision};
use super::fan_out::FanOut;
use super::known;
use super::lookups::{Before, Looked, Lookups};
use super::mappings::{Freshness, Subject, Wanted};
use super::verdict::{self, Then};
use crate::config::Router;
use crate::lifecycle::deadline;
use crate::oci::{RawName, RegistryName};
use crate::relay::{
    AttemptLog, Cause, Context, Ended, FailedAttempt, Pull, Rules, Served, look_for_manifest,
    look_for_tags,
};
use crate::route::Route;
use crate::telemetry::{EventName, RequestId, StateChange};
use crate::topology::{Failure, SourceId};
use futures_util::FutureExt as _;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout_at};

/// What is looked for, and whose number goes along.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) parts: Arc<Context>,
    pub(super) lookups: Arc<Lookups>,
    pub(super) rules: Arc<Rules>,
    pub(super) router: Arc<Router>,
    pub(super) wanted: Wanted,
    pub(super) request_id: RequestId,
    /// Its address, where it is another machine's.
    pub(super) client: Option<IpAddr>,
}

/// The attempts of those who were asked, by place.
type Logs = Arc<Mutex<Vec<Vec<FailedAttempt>>>>;

/// What was tried, as a search's log.
pub(super) fn log_of(failed: &[FailedAttempt]) -> AttemptLog {
    AttemptLog {
        failed: failed.to_vec(),
        attempts: u32::try_from(failed.len()).unwrap_or(u32::MAX),
        ..AttemptLog::default()
    }
}

/// With an order a better-placed registry decides before the others; content with a digest proves itself.
pub(super) fn is_strict(router: &Router, wanted: &Wanted) -> bool {
    router.is_strict() && !wanted.is_proved()
}

// === impl Look ===

impl Look {
    /// One search for all who want the same.
    pub(super) async fn run(&self, before: Before) -> Looked {
        let (lookups, metrics) = (&self.lookups, &self.parts.sinks.metrics);
        if let Some(looked) = self.decided_already(&before) {
            return looked;
        }
        // Not part of the search, which others may join: they would wait for this client's place.
        let places = lookups.places(self.wanted.trust);
        let until = deadline(Instant::now(), self.parts.timeouts.total);
        let Ok(_place) = timeout_at(until, places.of_client(self.client)).await else {
            metrics.router_lookup("blocked");
            return Looked::Busy;
        };
        if let Some(looked) = self.decided_already(&before) {
            return looked;
        }
        let key = (self.rules.generation, self.wanted.clone(), before.clone());
        let search = || {
            let searched = self.clone().search(before.clone());
            searched.map(|looked| {
                let log = AttemptLog::default();
                let result = Ok(looked);
                Arc::new(Ended { result, log })
            })
        };
        let looked = match &lookups.searches.join(key, search).await.result {
            Ok(looked) => looked.clone(),
            // A bug, which the journal has by now.
            Err(_) => Looked::Busy,
        };
        metrics.router_lookup(match &looked {
            Looked::Found(_) => "found",
            Looked::Told(_) => "shared",
            Looked::Nowhere(_) => "nowhere",
            Looked::Blocked(..) | Looked::Busy => "blocked",
        });
        looked
    }

    /// What another search has found out, of which this one need not be.
    fn decided_already(&self, before: &Before) -> Option<Looked> {
        let (mappings, now) = (&self.lookups.mappings, Instant::now());
        let metrics = &self.parts.sinks.metrics;
        if mappings.was_nowhere(&self.wanted, &self.router, now) {
            metrics.router_lookup("negative");
            return Some(Looked::Nowhere(self.candidates(&Before::Nothing)));
        }
        let (registry, freshness) = mappings.place(&self.wanted, &self.router, now)?;
        let is_told = freshness == Freshness::Told;
        (before.allows(&registry) && self.can_ask(&registry, is_told)).then(|| {
            metrics.router_lookup("known");
            Looked::Told(registry)
        })
    }

    /// Whether it is still where it was found; only a definite no lets the others be asked.
    pub(super) async fn again(self, registry: RegistryName) {
        match self.ask(&registry, Then::Moved).await.0 {
            Answer::Has => {
                (self.lookups).found(&self.wanted, &registry, false, &self.router);
            }
            Answer::HasNot => {
                self.run(Before::GoneFrom(registry)).await;
            }
            Answer::Unknown => {}
        }
    }

    fn candidates(&self, before: &Before) -> Vec<RegistryName> {
        let config = &self.rules.config;
        let mut all = self.router.candidates(&config.registries, &config.tiers);
        all.retain(|registry| before.allows(registry));
        all
    }

    async fn search(self, before: Before) -> Looked {
        let candidates = self.candidates(&before);
        if candidates.is_empty() && before == Before::Nothing {
            return Looked::Blocked(None, Vec::new());
        }
        let (began, parts) = (Instant::now(), self.parts.clone());
        let (lookups, until) = (self.lookups.clone(), deadline(began, parts.timeouts.total));
        let places = lookups.places(self.wanted.trust);
        // Who leaves gives its place in the queue up.
        let place = timeout_at(until, places.searches.acquire()).await;
        if place.is_err() {
            return Looked::Busy;
        }
        if let Some(registry) = self.told(&before).await {
            return Looked::Told(registry);
        }
        let logs: Logs = Arc::new(Mutex::new(vec![Vec::new(); candidates.len()]));
        let mut fan_out = self.fan_out(&candidates, &logs);
        let decision = fan_out.decide(until).await;
        drop(place);
        parts.sinks.metrics.router_fanout(began.elapsed());
        let looked = self.decided(decision, (&candidates, &logs), before);
        if !self.wanted.is_proved() {
            places.behind(async move {
                let holders = fan_out.holders().await;
                let holders = holders.iter().filter_map(|place| candidates.get(*place));
                let holders: Vec<&str> = holders.map(RegistryName::as_str).collect();
                if holders.len() > 1 {
                    self.say_ambiguous(&holders);
                }
            });
        }
        looked
    }

    /// Where another agent found it, but for where it is not.
    async fn told(&self, before: &Before) -> Option<RegistryName> {
        let registry = self.lookups.sharing.place(&self.wanted).await?;
        if !before.allows(&registry) || !self.can_ask(&registry, true) {
            return None;
        }
        let mappings = &self.lookups.mappings;
        let had_it = mappings.taken_over(&self.wanted, &registry, Instant::now());
        if let Some(had_it) = had_it.filter(|_| !self.wanted.is_proved()) {
            self.say_moved(&format!(
                "{registry} has it, as another agent found, and {had_it} had it before"
            ));
        }
        Some(registry)
    }

    fn can_ask(&self, registry: &RegistryName, is_told: bool) -> bool {
        let (from, wanted) = ((&*self.rules, &*self.router), &self.wanted);
        let (at, kind) = ((registry, is_told), wanted.subject.kind());
        known::can_ask(from, at, &wanted.repository, &kind)
    }

    /// What is learned from it.
    fn decided(
        &self,
        decision: Decision,
        (candidates, logs): (&[RegistryName], &Logs),
        before: Before,
    ) -> Looked {
        let moved = matches!(before, Before::GoneFrom(_));
        match (decision, before) {
            (Decision::Found(place), _) => {
                let Some(registry) = candidates.get(place).cloned() else {
                    return Looked::Busy;
                };
                let had_it = (self.lookups).found(&self.wanted, &registry, moved, &self.router);
                if let Some(had_it) = had_it.filter(|_| !self.wanted.is_proved()) {
                    self.say_moved(&format!("{registry} has it, and {had_it} had it before"));
                }
                Looked::Found(registry)
            }
            (Decision::Nowhere, Before::Nothing | Before::GoneFrom(_)) => {
                if moved {
                    self.lookups.sharing.gone(&self.wanted);
                }
                let mappings = &self.lookups.mappings;
                if let Some(had_it) = mappings.is_gone(&self.wanted, Instant::now()) {
                    self.say_moved(&format!("nobody has it, and {had_it} had it before"));
                }
                Looked::Nowhere(self.candidates(&Before::Nothing))
            }
            (Decision::Nowhere, Before::Unserved(known)) => {
                Looked::Blocked(Some(known), Vec::new())
            }
            (Decision::Blocked(place), _) => {
                let mut logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
                let failed = logs.get_mut(place).map(std::mem::take);
                Looked::Blocked(candidates.get(place).cloned(), failed.unwrap_or_default())
            }
        }
    }

    /// The questions to all of them.
    fn fan_out(
        &self,
        candidates: &[RegistryName],
        logs: &Logs,
    ) -> FanOut<impl Future<Output = Answer> + Send + use<>> {
        let router = &self.router;
        let is_strict = is_strict(router, &self.wanted);
        let choice = Choice::new(candidates.len(), is_strict, router.grace);
        let asks = candidates.iter().cloned().enumerate();
        let asks = asks.map(|(place, registry)| {
            let (logs, look) = (logs.clone(), self.clone());
            async move {
                let then = match look.wanted.subject {
                    Subject::Manifest(_) => Then::Elsewhere,
                    Subject::Tags => Then::OtherList,
                };
                let (answer, failed) = look.ask(&registry, then).await;
                let mut logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(log) = logs.get_mut(place) {
                    *log = failed;
                }
                answer
            }
        });
        FanOut::new(asks.collect(), router.max_fanout, choice)
    }

    /// What one registry says, and who of its sources did not serve.
    async fn ask(&self, registry: &RegistryName, then: Then) -> (Answer, Vec<FailedAttempt>) {
        let name = RawName::from(&self.wanted.repository);
        let (routes, kind) = (&self.rules.routes, self.wanted.subject.kind());
        // What is private there, or may not be asked for, may exist there all the same.
        let Ok(whole) = routes.route(Some(registry.as_str()), &name, &kind) else {
            return (Answer::Unknown, Vec::new());
        };
        let Some(route) = self.without_failing(&whole, registry) else {
            return (Answer::Unknown, Vec::new());
        };
        let (number, trust) = (self.request_id.clone(), self.wanted.trust);
        let pull = Pull::new(&self.parts, &self.rules, route.clone(), number, trust);
        let (result, server, log) = match &self.wanted.subject {
            Subject::Manifest(reference) => {
                let ended = look_for_manifest(pull, reference.clone()).await;
                let (result, server) = match &ended.result {
                    Ok(Served::Whole(whole, _)) => (Ok(true), Some(whole.endpoint.source.clone())),
                    Ok(Served::Head(_, at, _)) => (Ok(true), Some(at.source.clone())),
                    Ok(Served::Stale(_)) => (Ok(false), None),
                    Err(nothing) => (Err(nothing.clone()), None),
                };
                (result, server, ended.log.clone())
            }
            Subject::Tags => {
                let ended = look_for_tags(pull).await;
                (ended.result.map(|()| true), None, ended.log)
            }
        };
        self.tell_breakers(&route, registry, server.as_ref(), &log.failed);
        let result = result.as_ref().map(|found| *found);
        let answer = verdict::from_search(result, (&log, &whole), (&self.parts, &self.rules), then);
        (answer, log.failed)
    }

    /// The route less projects that keep failing; `None`: no source is left.
    fn without_failing(&self, route: &Arc<Route>, registry: &RegistryName) -> Option<Arc<Route>> {
        let (breakers, now) = (&self.lookups.breakers, Instant::now());
        let may_ask = |source: &SourceId| match source {
            SourceId::Tier(tier) => breakers.may_ask(&self.project(tier, registry), now),
            SourceId::Upstream(_) => true,
        };
        let targets = route.targets.iter();
        let kept: Vec<_> = targets.filter(|one| may_ask(&one.source)).collect();
        if kept.len() == route.targets.len() {
            return Some(route.clone());
        }
        let targets: Vec<_> = kept.into_iter().cloned().collect();
        (!targets.is_empty()).then(|| {
            Arc::new(Route {
                targets,
                ..Route::clone(route)
            })
        })
    }

    fn project(&self, tier: &Arc<str>, registry: &RegistryName) -> Project {
        (tier.clone(), registry.clone(), self.wanted.trust)
    }

    fn tell_breakers(
        &self,
        route: &Route,
        registry: &RegistryName,
        server: Option<&SourceId>,
        failed: &[FailedAttempt],
    ) {
        let (breakers, now) = (&self.lookups.breakers, Instant::now());
        for target in &route.targets {
            let SourceId::Tier(tier) = &target.source else {
                continue;
            };
            let mut of_tier = failed.iter().filter(|failed| *failed.label == **tier);
            if server == Some(&target.source) {
                breakers.told(self.project(tier, registry), false, now);
            } else if let Some(first) = of_tier.next() {
                // One address that answers is enough.
                let failed = is_failure(first.cause) && of_tier.all(|one| is_failure(one.cause));
                breakers.told(self.project(tier, registry), failed, now);
            }
        }
    }

    fn say_moved(&self, what: &str) {
        self.say(EventName::MappingChanged, what);
    }

    fn say_ambiguous(&self, holders: &[&str]) {
        let (sinks, now) = (&self.parts.sinks, Instant::now());
        sinks.metrics.router_lookup("ambiguous");
        let mappings = &self.lookups.mappings;
        if mappings.is_news(&self.wanted, now) {
            let what = format!("{} have it", holders.join(", "));
            self.say(EventName::AmbiguousImage, &what);
        }
    }

    fn say(&self, event: EventName, what: &str) {
        let repository = &self.wanted.repository;
        let image = match &self.wanted.subject {
            Subject::Manifest(reference) => match reference.digest() {
                Some(digest) => format!("{repository}@{digest}"),
                None => format!("{repository}:{reference}"),
            },
            Subject::Tags => repository.to_string(),
        };
        self.parts.sinks.journal.event(StateChange {
            event,
            tier: None,
            endpoint: None,
            message: format!("{image}, an image without a registry: {what}"),
            reason: format!("{image}: {what}"),
        });
    }
}

/// Whether a project that ends so is likely to do so again: 4xx are answers.
fn is_failure(cause: Cause) -> bool {
    cause.is_outage()
        && !matches!(
            cause,
            Cause::TooManyRequests
                | Cause::UpstreamLimited
                | Cause::Html
                | Cause::Failed(Failure::TooManyRequests)
        )
}
