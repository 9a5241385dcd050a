//! The search for one good answer: carries out the timing machine's orders with real connections and exchanges, and
//! tells health what it learned. Decides nothing itself: `timing` says when, `rules` says what an answer means,
//! `candidates` says who is next.

mod ask;
mod dial;
mod events;
mod late;
mod reports;
mod running;

pub(crate) use reports::{report, unread};

use super::candidates::{Candidate, Candidates, Pick};
use super::causes::{Tried, without_addresses};
use super::memory::Image;
use super::outcome::{Ended, Found, NotFound, Rejection};
use super::rules::{Authority, Cause, FinalAnswer};
use super::timing::{AttemptId, End, Machine, Order, Role, Timing, Want};
use crate::cache::Trust;
use crate::exchange::{Answer, Ask};
use crate::lifecycle::contained;
use crate::relay::context::Context;
use crate::route::{Leg, Route};
use crate::topology::{EndpointId, Failure, InFlight, Source, SourceId};
use crate::upstream::{self, Connection};
use futures_util::FutureExt as _;
use reports::{rejected, report_success};
use running::Running;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Knows what to ask and what a good answer is.
pub(crate) trait Wanted: Send + Sync + 'static {
    /// What a good answer is turned into.
    type Good: Send + 'static;

    /// The request to one source.
    fn ask(&self, leg: &Leg, source: &Source) -> Ask;

    /// Looks at an answer, and into its body as far as that is needed before the status line.
    fn examine(
        &self,
        authority: Authority,
        endpoint: &EndpointId,
        answer: Answer,
    ) -> impl Future<Output = Result<Self::Good, Rejection>> + Send;

    /// The content, where the request names it by its digest.
    fn content(&self) -> Option<&Image>;

    /// Who asks: whom what the search learns of addresses is for.
    fn trust(&self) -> Trust;

    /// Whether a slow tier may be asked beside another (design P6: manifests, never blobs).
    fn is_hedged(&self) -> bool {
        false
    }

    /// Whether that answer to HEAD tells too little, so that the same address is asked by GET.
    fn is_too_little(&self, _answer_to_head: &Answer) -> bool {
        false
    }

    /// Whether that answer to HEAD leaves out in words why there is nothing, which the same address may say to GET at once.
    fn wants_words(&self, _endpoint: &EndpointId, _answer_to_head: &Answer) -> bool {
        false
    }

    /// Who is asked before everybody else, while it is well.
    fn first(&self) -> Option<&EndpointId> {
        None
    }

    /// Who is asked only when everybody else has failed.
    fn refuted(&self) -> &[EndpointId] {
        &[]
    }
}

enum Event<G> {
    Resolved,
    Connected(Result<Connection, upstream::Error>),
    Knocked(Result<(), upstream::Error>),
    Examined {
        result: Result<G, Rejection>,
        took: Option<Duration>,
    },
}

struct Attempt {
    candidate: Option<Candidate>,
    leg: usize,
    connection: Option<Connection>,
    in_flight: Option<InFlight>,
    /// Why it did not serve stands in the list.
    is_noted: bool,
}

/// One search. Dropping its future cancels everything but connects, which run on and report.
pub(crate) struct Search<W: Wanted> {
    parts: Arc<Context>,
    route: Arc<Route>,
    wanted: Arc<W>,
    machine: Machine,
    candidates: Candidates,
    attempts: Vec<Attempt>,
    running: Running<W::Good>,
    tried: Vec<Tried>,
    refusal: Option<(FinalAnswer, String, String)>,
    first_asked: Option<AttemptId>,
}

// === impl Search ===

impl<W: Wanted> Search<W> {
    pub(crate) fn new(
        parts: Arc<Context>,
        route: Arc<Route>,
        wanted: Arc<W>,
        timing: Timing,
    ) -> Self {
        let mut candidates =
            Candidates::new(&parts, &route, wanted.content().cloned(), wanted.trust());
        candidates.begin_with(wanted.first());
        candidates.leave_for_last(wanted.refuted());
        let machine = Machine::new(timing, candidates.has_upstream(), Instant::now());
        Self {
            parts,
            route,
            wanted,
            machine,
            candidates,
            attempts: Vec::new(),
            running: Running::new(),
            tried: Vec::new(),
            refusal: None,
            first_asked: None,
        }
    }

    /// An endpoint that is not to be asked: it broke this very body.
    pub(crate) fn without(mut self, endpoint: &EndpointId) -> Self {
        self.candidates.exclude_endpoint(endpoint);
        self
    }

    /// Runs to its end. A panic of an attempt is that attempt's failure; one of the search itself ends it.
    pub(crate) fn run(self) -> impl Future<Output = Ended<Found<W::Good>>> + Send {
        let search = contained("search", self.searched());
        search.map(|ended| ended.unwrap_or_else(|panicked| Ended::broken(&panicked)))
    }

    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and this one is moved about for every request"
    )]
    fn searched(mut self) -> impl Future<Output = Ended<Found<W::Good>>> + Send {
        async move {
            self.candidates.wait_while_all_are_loaded(&self.parts).await;
            // Read anew after every wait; between two of them no time passes that matters.
            let mut now = Instant::now();
            loop {
                match self.machine.poll(now) {
                    Order::Start(want) => self.start(want, now),
                    Order::Send(attempt) => self.send(attempt, now),
                    Order::Knock(attempt) => self.knock(attempt),
                    Order::Overdue { attempt, late } => self.overdue(attempt, late),
                    Order::End(end) => return self.end(end),
                    Order::WaitUntil(until) => {
                        tokio::select! {
                            biased;
                            // Cancel safe: what is not ready stays.
                            (attempt, event) = self.running.next() => {
                                now = Instant::now();
                                if let Some((good, took)) = self.take(attempt, event, now) {
                                    return self.found(attempt, good, took, now);
                                }
                            }
                            // Cancel safe: a sleep holds nothing.
                            () = tokio::time::sleep_until(until) => now = Instant::now(),
                        }
                    }
                }
            }
        }
    }

    fn start(&mut self, want: Want, now: Instant) {
        let (hedging, trust) = (&self.parts.hedging, self.wanted.trust());
        if want == Want::Tier && !hedging.pay(trust) {
            return self.machine.none_left(want);
        }
        let pick = self.candidates.pick(&self.parts, want, now);
        if want == Want::Tier && !matches!(pick, Pick::Candidate(_)) {
            self.parts.hedging.give_back(trust);
        }
        let more = self.candidates.more(&self.parts, now);
        match pick {
            Pick::Nobody => self.machine.none_left(want),
            Pick::Unresolved(leg) => {
                let role = match self.route.legs.get(leg).map(|leg| &leg.source) {
                    Some(SourceId::Tier(_)) => Role::Tier,
                    _ => Role::Upstream,
                };
                let attempt = self.machine.started(role, false, more, now);
                let resolved = self.candidates.resolved(&self.parts, leg);
                self.push(None, leg, None);
                self.running.push(attempt, async move {
                    resolved.await;
                    Event::Resolved
                });
            }
            Pick::Candidate(candidate) => {
                let role = if candidate.is_upstream() {
                    Role::Upstream
                } else {
                    Role::Tier
                };
                let idle = self.parts.client.idle(&candidate.endpoint);
                let attempt = self.machine.started(role, idle.is_some(), more, now);
                let connecting = idle
                    .is_none()
                    .then(|| dial::connect(&self.parts, &candidate, self.wanted.trust()));
                let leg = candidate.leg;
                self.push(Some(candidate), leg, idle);
                if let Some(connecting) = connecting {
                    self.await_connection(attempt, connecting);
                }
            }
        }
    }

    fn push(&mut self, candidate: Option<Candidate>, leg: usize, connection: Option<Connection>) {
        let trust = self.wanted.trust();
        let in_flight = candidate
            .as_ref()
            .map(|candidate| candidate.gauges.enter(trust));
        self.attempts.push(Attempt {
            candidate,
            leg,
            connection,
            in_flight,
            is_noted: false,
        });
    }

    /// Who is asked by an attempt, where that is known.
    fn candidate_of(&self, attempt: AttemptId) -> Option<Candidate> {
        self.attempts.get(attempt)?.candidate.clone()
    }

    fn await_connection(
        &mut self,
        attempt: AttemptId,
        connecting: impl Future<Output = Result<Connection, upstream::Error>> + Send + 'static,
    ) {
        self.running
            .push(attempt, async move { Event::Connected(connecting.await) });
    }

    /// Looks whether anybody is behind a connection that was kept alive, beside the request that runs over it.
    fn knock(&mut self, attempt: AttemptId) {
        if let Some(candidate) = self.candidate_of(attempt) {
            let knocking = dial::knock(&self.parts, &candidate, self.wanted.trust());
            let knock = async move { Event::Knocked(knocking.await) };
            self.running.push_knock(attempt, knock);
        }
    }

    fn send(&mut self, attempt: AttemptId, now: Instant) {
        self.first_asked.get_or_insert(attempt);
        let Some(slot) = self.attempts.get_mut(attempt) else {
            return;
        };
        let (Some(connection), Some(candidate)) = (slot.connection.take(), slot.candidate.clone())
        else {
            self.machine.ended(attempt);
            return;
        };
        let Some(leg) = self.route.legs.get(slot.leg) else {
            self.machine.ended(attempt);
            return;
        };
        let may_hedge = self.wanted.is_hedged() && !candidate.is_upstream();
        let hedging = &self.parts.hedging;
        let delay = may_hedge.then(|| hedging.delay(&leg.source, now));
        self.machine.hedge_after(delay);
        let authority = if leg.authoritative {
            Authority::Final
        } else {
            Authority::Tier
        };
        let ask = self.wanted.ask(leg, &candidate.source);
        let (parts, wanted) = (self.parts.clone(), self.wanted.clone());
        self.running.push(attempt, async move {
            let (answer, took) = ask::ask(&parts, &*wanted, &candidate, connection, ask).await;
            let result = match answer {
                Ok(answer) => wanted.examine(authority, &candidate.endpoint, answer).await,
                Err(error) => Err(rejected(error, authority)),
            };
            Event::Examined { result, took }
        });
    }

    fn found(
        &mut self,
        attempt: AttemptId,
        good: W::Good,
        took: Option<Duration>,
        now: Instant,
    ) -> Ended<Found<W::Good>> {
        let slot = self.attempts.get_mut(attempt);
        let taken = slot.and_then(|slot| Some((slot.candidate.take()?, slot.in_flight.take()?)));
        let Some((candidate, in_flight)) = taken else {
            return self.end(End::Exhausted);
        };
        self.parts
            .sinks
            .metrics
            .attempt(candidate.endpoint.source.label(), "ok");
        report_success(&self.parts, &candidate, took, String::new());
        self.time(&candidate, took, now);
        self.watch_the_late(Some(attempt), now);
        let first_choice = attempt == 0 && self.tried.is_empty();
        if let Some(first) = self.tried.first()
            && !first_choice
        {
            let to = candidate.endpoint.source.label();
            self.parts
                .sinks
                .metrics
                .failover(&first.label, to, first.cause.word());
        }
        let found = Found {
            good,
            endpoint: candidate.endpoint,
            in_flight,
            first_choice,
        };
        self.ended(Ok(found))
    }

    fn end(&mut self, end: End) -> Ended<Found<W::Good>> {
        let snapshot = self.parts.snapshots.borrow().clone();
        self.tried.extend(without_addresses(&self.route, &snapshot));
        if end == End::OutOfTime {
            let waiting: Vec<AttemptId> = (0..self.attempts.len()).collect();
            for attempt in waiting {
                let unfinished = self
                    .attempts
                    .get(attempt)
                    .is_some_and(|slot| slot.in_flight.is_some() && !slot.is_noted);
                if unfinished {
                    self.note(
                        attempt,
                        Cause::Failed(Failure::Timeout),
                        "out of time".to_owned(),
                    );
                }
            }
        }
        self.watch_the_late(None, Instant::now());
        let result = match self.refusal.take() {
            Some((answer, by, detail)) => NotFound::Final { answer, by, detail },
            None => NotFound::Failed,
        };
        self.ended(Err(result))
    }

    fn ended(&mut self, result: Result<Found<W::Good>, NotFound>) -> Ended<Found<W::Good>> {
        Ended {
            result,
            tried: std::mem::take(&mut self.tried),
            attempts: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX),
            generation: self.candidates.generation(),
        }
    }
}

#[cfg(test)]
mod tests;
