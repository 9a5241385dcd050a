//! One search for the registry of an image: every registry with a project is asked for it by the normal path, for all clients that
//! wait for the same.

use super::verdict;
use crate::cache::Trust;
use crate::config::Router;
use crate::lifecycle;
use crate::oci::{RawName, RegistryName, ResourceKind};
use crate::relay::causes::Tried;
use crate::relay::context::{Context, Rules};
use crate::relay::fetched::Served;
use crate::relay::list;
use crate::relay::lookups::Looked;
use crate::relay::manifest;
use crate::relay::outcome::{AttemptLog, Ended};
use crate::relay::rules::Cause;
use crate::route::Route;
use crate::router::{Answer, Choice, Decision, Subject, Wanted, fan_out};
use crate::telemetry::{EventName, StateChange};
use crate::topology::{Failure, SourceId};
use futures_util::FutureExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What is looked for, and for whom.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) parts: Arc<Context>,
    pub(super) rules: Arc<Rules>,
    pub(super) router: Arc<Router>,
    pub(super) wanted: Wanted,
    pub(super) trust: Trust,
    pub(super) request_id: Arc<str>,
}

/// The attempts of those who were asked, by place.
type Logs = Arc<Mutex<Vec<Vec<Tried>>>>;

/// What was tried, as a search's log.
pub(super) fn log_of(tried: &[Tried]) -> AttemptLog {
    AttemptLog {
        tried: tried.to_vec(),
        attempts: u32::try_from(tried.len()).unwrap_or(u32::MAX),
        generation: 0,
    }
}

// === impl Look ===

impl Look {
    /// One search for all who want the same. `gone`: who had it and says that it has not.
    pub(super) async fn run(self, gone: Option<RegistryName>) -> Looked {
        let (lookups, metrics) = (&self.parts.lookups, &self.parts.sinks.metrics);
        let mappings = &lookups.mappings;
        if mappings.was_nowhere(&self.wanted, &self.router, Instant::now()) {
            metrics.router_lookup("negative");
            return Looked::Nowhere(self.candidates(None));
        }
        let generation = self.rules.generation;
        let key = (generation, self.wanted.clone(), gone.clone(), self.trust);
        let search = || {
            let searched = self.clone().search(gone.clone());
            searched.map(|looked| {
                let log = AttemptLog::default();
                Arc::new(Ended {
                    result: Ok(looked),
                    log,
                })
            })
        };
        let looked = match &lookups.searches.join(key, search).await.result {
            Ok(looked) => looked.clone(),
            // A bug, which the journal has by now.
            Err(_) => Looked::Blocked(None, Vec::new()),
        };
        metrics.router_lookup(match &looked {
            Looked::Found(_) => "found",
            Looked::Nowhere(_) => "nowhere",
            Looked::Blocked(..) => "blocked",
        });
        looked
    }

    /// Whether it still is where it was found; only a definite no lets the others be asked.
    pub(super) async fn again(self, registry: RegistryName) {
        let (answer, _) = self.ask(&registry).await;
        let now = Instant::now();
        match answer {
            Answer::Has => {
                let mappings = &self.parts.lookups.mappings;
                mappings.found(&self.wanted, &registry, self.trust, now);
            }
            Answer::HasNot => {
                self.run(Some(registry)).await;
            }
            Answer::Unknown => {}
        }
    }

    fn candidates(&self, without: Option<&RegistryName>) -> Vec<RegistryName> {
        let config = &self.rules.config;
        let mut all = self.router.candidates(&config.registries, &config.tiers);
        all.retain(|registry| Some(registry) != without);
        all
    }

    async fn search(self, gone: Option<RegistryName>) -> Looked {
        let candidates = Arc::new(self.candidates(gone.as_ref()));
        if candidates.is_empty() && gone.is_none() {
            return Looked::Blocked(None, Vec::new());
        }
        let began = Instant::now();
        let logs: Logs = Arc::new(Mutex::new(vec![Vec::new(); candidates.len()]));
        let (tell, told) = oneshot::channel();
        let asking = self.clone().ask_all(candidates.clone(), logs.clone(), tell);
        // Not cancelled with the last client: the rest of the answers tells who else has the image.
        lifecycle::spawn_detached("router", asking);
        let decision = told.await;
        self.parts.sinks.metrics.router_fanout(began.elapsed());
        let Ok(decision) = decision else {
            return Looked::Blocked(None, Vec::new());
        };
        let (mappings, now) = (&self.parts.lookups.mappings, Instant::now());
        match decision {
            Decision::Found(place) => {
                let Some(registry) = candidates.get(place).cloned() else {
                    return Looked::Blocked(None, Vec::new());
                };
                let before = mappings.found(&self.wanted, &registry, self.trust, now);
                if let Some(before) = before {
                    self.say_moved(&format!("{registry} has it, and {before} had it before"));
                }
                Looked::Found(registry)
            }
            Decision::Nowhere => {
                if let Some(before) = mappings.is_gone(&self.wanted, self.trust, now) {
                    self.say_moved(&format!("nobody has it, and {before} had it before"));
                }
                Looked::Nowhere(self.candidates(None))
            }
            Decision::Blocked(place) => {
                let mut logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
                let tried = logs.get_mut(place).map(std::mem::take);
                Looked::Blocked(candidates.get(place).cloned(), tried.unwrap_or_default())
            }
        }
    }

    /// Asks everybody, and tells the decision as soon as there is one.
    async fn ask_all(
        self,
        candidates: Arc<Vec<RegistryName>>,
        logs: Logs,
        tell: oneshot::Sender<Decision>,
    ) {
        // Closed never.
        let _place = self.parts.lookups.places(self.trust).acquire().await;
        let router = &self.router;
        let choice = Choice::new(candidates.len(), router.is_strict(), router.grace);
        let at_once = usize::try_from(router.max_fanout).unwrap_or(usize::MAX);
        let asks: Vec<_> = (candidates.iter().enumerate())
            .map(|(place, registry)| {
                let (logs, look) = (&logs, &self);
                async move {
                    let (answer, tried) = look.ask(registry).await;
                    let mut logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(log) = logs.get_mut(place) {
                        *log = tried;
                    }
                    answer
                }
            })
            .collect();
        // Nobody may be waiting any more.
        let holders = fan_out(asks, at_once, choice, |decision| {
            let _ = tell.send(decision);
        });
        let holders = holders.await;
        let holders = holders.iter().filter_map(|place| candidates.get(*place));
        let holders: Vec<&str> = holders.map(RegistryName::as_str).collect();
        if holders.len() > 1 {
            self.say_ambiguous(&holders);
        }
    }

    /// What one registry says, and who of its sources did not serve.
    async fn ask(&self, registry: &RegistryName) -> (Answer, Vec<Tried>) {
        let name = RawName::from(&self.wanted.repository);
        let kind = match &self.wanted.subject {
            Subject::Manifest(reference) => ResourceKind::Manifest(reference.clone()),
            Subject::Tags => ResourceKind::Tags,
        };
        let routes = &self.rules.routes;
        // What is private there, or may not be asked for, may exist there all the same.
        let Ok(route) = routes.route(Some(registry.as_str()), &name, &kind) else {
            return (Answer::Unknown, Vec::new());
        };
        let Some(route) = self.without_failing(route, registry) else {
            return (Answer::Unknown, Vec::new());
        };
        let for_whom = (self.request_id.clone(), self.trust);
        let (result, server, log) = match &self.wanted.subject {
            Subject::Manifest(reference) => {
                let of = (&self.parts, &self.rules, route.clone(), reference.clone());
                let ended = manifest::look(of, for_whom).await;
                let (result, server) = match &ended.result {
                    Ok(Served::Whole(whole, _)) => (Ok(true), Some(whole.endpoint.source.clone())),
                    Ok(Served::Head(_, at, _)) => (Ok(true), Some(at.source.clone())),
                    Ok(Served::Stale(_)) => (Ok(false), None),
                    Err(nothing) => (Err(nothing.clone()), None),
                };
                (result, server, ended.log.clone())
            }
            Subject::Tags => {
                let of = (&self.parts, &*self.rules, route.clone());
                let ended = list::look(of, for_whom).await;
                (ended.result.map(|()| true), None, ended.log)
            }
        };
        self.tell_breakers(&route, registry, server.as_ref(), &log.tried);
        let result = result.as_ref().map(|found| *found);
        let answer = verdict::of(result, (&log, &route), (&self.parts, &self.rules));
        (answer, log.tried)
    }

    /// The route less projects that keep failing; `None`: nobody is left.
    fn without_failing(&self, route: Arc<Route>, registry: &RegistryName) -> Option<Arc<Route>> {
        let (breakers, now) = (&self.parts.lookups.breakers, Instant::now());
        let may_ask = |source: &SourceId| match source {
            SourceId::Tier(tier) => breakers.may_ask(tier, registry, now),
            SourceId::Upstream(_) => true,
        };
        let targets = route.targets.iter();
        let kept: Vec<_> = targets.filter(|one| may_ask(&one.source)).collect();
        if kept.len() == route.targets.len() {
            return Some(route);
        }
        let targets: Vec<_> = kept.into_iter().cloned().collect();
        (!targets.is_empty()).then(|| {
            Arc::new(Route {
                targets,
                ..Route::clone(&route)
            })
        })
    }

    fn tell_breakers(
        &self,
        route: &Route,
        registry: &RegistryName,
        server: Option<&SourceId>,
        tried: &[Tried],
    ) {
        let (breakers, now) = (&self.parts.lookups.breakers, Instant::now());
        for target in &route.targets {
            let SourceId::Tier(tier) = &target.source else {
                continue;
            };
            let mut of_tier = tried.iter().filter(|tried| *tried.label == **tier);
            if server == Some(&target.source) {
                breakers.told(tier, registry, false, now);
            } else if let Some(first) = of_tier.next() {
                // One address that answers is enough.
                let failed = is_failure(first.cause) && of_tier.all(|one| is_failure(one.cause));
                breakers.told(tier, registry, failed, now);
            }
        }
    }

    fn say_moved(&self, what: &str) {
        self.say(EventName::MappingChanged, what);
    }

    fn say_ambiguous(&self, holders: &[&str]) {
        let (sinks, now) = (&self.parts.sinks, Instant::now());
        sinks.metrics.router_lookup("ambiguous");
        let mappings = &self.parts.lookups.mappings;
        if mappings.is_news(&self.wanted.repository, self.trust, now) {
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
