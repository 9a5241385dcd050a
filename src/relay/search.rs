//! The search for one good answer: carries out the timing machine's orders with real connections and exchanges, and
//! tells health what it learned. Decides nothing itself: `timing` says when, `rules` says what an answer means,
//! `candidates` says who is next.

mod ask;
mod dial;
mod events;
mod late;
mod reports;
mod running;
mod spec;

pub(crate) use reports::{report, unread};
pub(crate) use spec::{Again, FetchSpec};

use super::candidates::{Candidates, Pick, resolved};
use super::causes::{FailedAttempt, without_address};
use super::network::Network;
use super::outcome::{AttemptLog, Ended, Found, NotFound, Rejection};
use super::rules::{Authority, Cause};
use super::timing::{AttemptId, End, Machine, Order, Timing, Want};
use crate::cache::Trust;
use crate::lifecycle::contained;
use crate::relay::context::Context;
use crate::route::Route;
use crate::telemetry::{RequestId, RequestOutcome, Span, What};
use crate::topology::select::Candidate;
use crate::topology::{EndpointId, Failure, InFlight, Outcome, SourceId};
use crate::upstream;
use futures_util::FutureExt as _;
use reports::{rejected, report_success};
use running::{Work, next, work};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Why an attempt is left that is late, and what health is told of it where that is its address's.
const TIMEOUT: Cause = Cause::Failed(Failure::Timeout);
const HARD_TIMEOUT: Outcome = Outcome::Hard(Failure::Timeout);

enum Event<C, G> {
    Resolved,
    Connected(Result<C, upstream::Error>),
    Alive(Result<(), upstream::Error>),
    Examined {
        result: Result<G, Rejection>,
        took: Option<Duration>,
    },
}

struct Attempt<C, G> {
    source: SourceId,
    /// Which of its addresses; `None`: it is looked up.
    candidate: Option<Candidate>,
    connection: Option<C>,
    in_flight: Option<InFlight>,
    span: Option<Span>,
    /// What it waits for, to be given up or to go on without the search.
    work: Option<Work<C, G>>,
    /// Whether anybody is there, beside that; it runs on when the work is given up.
    liveness: Option<Work<C, G>>,
}

/// One search. Dropping its future cancels everything but connects, which run on and report.
pub(crate) struct Search<N: Network, S: FetchSpec<N::Body>> {
    network: N,
    parts: Arc<Context>,
    route: Arc<Route>,
    spec: Arc<S>,
    /// For whom it is.
    request_id: RequestId,
    machine: Machine,
    candidates: Candidates,
    attempts: Vec<Attempt<N::Connection, S::Good>>,
    failed: Vec<FailedAttempt>,
    /// What an authoritative source said.
    refusal: Option<NotFound>,
    /// Who was asked and has said nothing for as long as a stall takes.
    silent: Vec<EndpointId>,
}

// === impl Search ===

impl<N: Network, S: FetchSpec<N::Body>> Search<N, S> {
    pub(crate) fn new(
        network: &N,
        parts: &Arc<Context>,
        route: Arc<Route>,
        spec: Arc<S>,
        timing: Timing,
        request_id: &RequestId,
    ) -> Self {
        for target in &route.targets {
            network.touch(&target.source);
        }
        let (subject, first) = (spec.subject(&route), spec.first().cloned());
        let candidates = Candidates::new(parts, route.clone(), subject, first);
        let mut machine = Machine::new(timing, Instant::now());
        let mut sources = route.targets.iter().map(|target| &target.source);
        if !sources.any(|source| matches!(source, SourceId::Upstream(_))) {
            machine.forget_upstream();
        }
        Self {
            network: network.clone(),
            parts: parts.clone(),
            route,
            spec,
            request_id: request_id.clone(),
            machine,
            candidates,
            attempts: Vec::new(),
            failed: Vec::new(),
            refusal: None,
            silent: Vec::new(),
        }
    }

    /// An endpoint that is not to be asked: it broke this very body.
    pub(crate) fn without(mut self, endpoint: &EndpointId) -> Self {
        self.candidates.leaving().exclude_endpoint(endpoint);
        self
    }

    /// Runs to its end. A panic of an attempt is that attempt's failure; one of the search itself ends it.
    pub(crate) fn run(mut self) -> impl Future<Output = Ended<Found<S::Good>>> + Send {
        // No async fn, which would keep it twice: it is moved about for every request.
        let searched = async move {
            self.candidates.wait_while_all_are_loaded(&self.parts).await;
            // Read anew after every wait; between two of them no time passes that matters.
            let mut now = Instant::now();
            loop {
                let more = self.candidates.more(&self.parts, now);
                self.machine.set_more(more);
                match self.machine.poll(now) {
                    Order::Start(want) => self.start(want, now),
                    Order::Send(attempt) => self.send(attempt, now),
                    Order::CheckLiveness(attempt) => self.check_liveness(attempt),
                    Order::TimedOut { attempt, late } => self.timed_out(attempt, late),
                    Order::End(end) => return self.end(end),
                    Order::WaitUntil(until) => {
                        tokio::select! {
                            biased;
                            // Cancel safe: what is not ready stays.
                            (attempt, event) = next(&mut self.attempts) => {
                                now = Instant::now();
                                if let Some((good, took)) = self.take(attempt, event) {
                                    return self.found(attempt, good, took, now);
                                }
                            }
                            // Cancel safe: a sleep holds nothing.
                            () = tokio::time::sleep_until(until) => now = Instant::now(),
                        }
                    }
                }
            }
        };
        let searched = contained("search", searched);
        searched.map(|ended| ended.unwrap_or_else(|panicked| Ended::broken(&panicked)))
    }

    fn start(&mut self, want: Want, now: Instant) {
        let trust = self.trust();
        if want == Want::Tier && !self.parts.hedging.may_send(trust) {
            return self.machine.none_left(want);
        }
        match self.candidates.pick(&self.parts, want, now) {
            Pick::Nobody => self.machine.none_left(want),
            Pick::Unresolved(source) => {
                let attempt = self.started(source.clone(), None, None, now);
                let (network, snapshots) = (self.network.clone(), self.parts.snapshots.clone());
                let what = || What::Dns {
                    source: source.shared_label(),
                };
                let span = self.request_id.begin(what);
                let resolved = resolved(network, snapshots, source);
                let resolved = resolved.map(|()| (drop(span), Event::Resolved).1);
                self.does(attempt, resolved);
            }
            Pick::Candidate(candidate) => {
                if want == Want::Tier {
                    self.parts.hedging.sent(trust);
                }
                let idle = self.network.idle(&candidate.endpoint);
                let (source, is_connected) = (candidate.endpoint.source.clone(), idle.is_some());
                let attempt = self.started(source, Some(candidate.clone()), idle, now);
                if !is_connected {
                    self.connect(attempt, candidate);
                }
            }
        }
    }

    /// Notes an attempt, for the machine as well.
    fn started(
        &mut self,
        source: SourceId,
        candidate: Option<Candidate>,
        connection: Option<N::Connection>,
        now: Instant,
    ) -> AttemptId {
        if let SourceId::Upstream(_) = source {
            self.machine.forget_upstream();
        }
        let (is_connected, asked) = (connection.is_some(), candidate.as_ref());
        let in_flight = asked.map(|asked| asked.gauges.enter(self.trust()));
        let span = asked.and_then(|asked| self.request_id.begin(|| (&asked.endpoint).into()));
        self.attempts.push(Attempt {
            source,
            candidate,
            connection,
            in_flight,
            span,
            work: None,
            liveness: None,
        });
        self.machine.started(is_connected, now)
    }

    /// Whom what the search learns of addresses is for.
    fn trust(&self) -> Trust {
        self.candidates.subject.trust
    }

    fn does(
        &mut self,
        attempt: AttemptId,
        what: impl Future<Output = Event<N::Connection, S::Good>> + Send + 'static,
    ) {
        if let Some(slot) = self.attempts.get_mut(attempt) {
            slot.work = work(what);
        }
    }

    /// Who is asked by an attempt, where that is known.
    fn candidate_of(&self, attempt: AttemptId) -> Option<Candidate> {
        self.attempts.get(attempt)?.candidate.clone()
    }

    fn connect(&mut self, attempt: AttemptId, candidate: Candidate) {
        let (network, at) = (self.network.clone(), candidate.clone());
        let connect = async move { network.connect(&at).await };
        let connected = dial::detached(&self.parts, self.trust(), candidate, connect, N::park);
        self.does(attempt, connected.map(Event::Connected));
    }

    /// Looks whether anybody is behind a connection that was kept alive, beside the request that runs over it.
    fn check_liveness(&mut self, attempt: AttemptId) {
        let Some(candidate) = self.candidate_of(attempt) else {
            return;
        };
        let (network, at) = (self.network.clone(), candidate.endpoint.clone());
        let connect = async move { network.liveness_connect(&at).await };
        let alive = dial::detached(&self.parts, self.trust(), candidate, connect, |()| {});
        if let Some(slot) = self.attempts.get_mut(attempt) {
            slot.liveness = work(alive.map(Event::Alive));
        }
    }

    fn send(&mut self, attempt: AttemptId, now: Instant) {
        let slot = self.attempts.get_mut(attempt);
        let ready = slot.and_then(|slot| {
            let candidate = slot.candidate.clone()?;
            let target = self.route.targets.get(candidate.target)?;
            let connection = slot.connection.take()?;
            Some((connection, candidate, target, slot.span.clone()))
        });
        let Some((connection, candidate, target, span)) = ready else {
            return self.machine.ended(attempt);
        };
        let may_hedge = self.spec.is_hedged() && !candidate.is_upstream();
        let hedging = &self.parts.hedging;
        let delay = may_hedge.then(|| hedging.delay(&target.source, now));
        self.machine.hedge_after(delay);
        let authority = match target.authoritative {
            true => Authority::Final,
            false => Authority::Tier,
        };
        let mut request = self.spec.request(target, &candidate.source);
        request.span = span;
        let (network, spec) = (self.network.clone(), self.spec.clone());
        self.does(attempt, async move {
            let answer = ask::ask(&network, &*spec, &candidate, connection, request).await;
            let took = answer.as_ref().ok().map(|answer| answer.took);
            let result = match answer {
                Ok(answer) => spec.examine(authority, &candidate.endpoint, answer).await,
                Err(error) => Err(rejected(error, authority)),
            };
            Event::Examined { result, took }
        });
    }

    fn found(
        &mut self,
        attempt: AttemptId,
        good: S::Good,
        took: Option<Duration>,
        now: Instant,
    ) -> Ended<Found<S::Good>> {
        let slot = self.attempts.get_mut(attempt);
        let taken = slot.and_then(|slot| {
            Span::end(&mut slot.span, None);
            Some((slot.candidate.take()?, slot.in_flight.take()?))
        });
        let Some((candidate, in_flight)) = taken else {
            return self.end(End::Exhausted);
        };
        let (source, metrics) = (&candidate.endpoint.source, &self.parts.sinks.metrics);
        metrics.attempt(source.label(), "ok");
        if let Some(first) = self.failed.first() {
            metrics.failover(&first.label, source.label(), first.cause.word());
        }
        report_success(&self.parts, &candidate, took, String::new());
        if let (true, Some(took)) = (self.spec.is_hedged(), took) {
            self.parts.hedging.answered(source, took, now);
        }
        self.machine.ended(attempt);
        self.watch_the_late(Some(source), now);
        candidate.gauges.serves(now);
        let found = Found {
            good,
            outcome: self.outcome(source, attempt == 0 && self.failed.is_empty()),
            endpoint: candidate.endpoint,
            in_flight,
        };
        self.ended(Ok(found))
    }

    fn end(&mut self, end: End) -> Ended<Found<S::Good>> {
        let snapshot = self.parts.snapshots.borrow().clone();
        self.failed.extend(without_address(&self.route, &snapshot));
        if end == End::OutOfTime {
            for attempt in 0..self.attempts.len() {
                let slot = self.attempts.get(attempt);
                if slot.is_some_and(|slot| slot.in_flight.is_some()) {
                    self.note(attempt, TIMEOUT, "out of time".to_owned());
                }
            }
        }
        self.watch_the_late(None, Instant::now());
        let nothing = self.refusal.take().unwrap_or(NotFound::Failed);
        self.ended(Err(nothing))
    }

    /// How a request that this source serves is called (docs/observability.md, OUTCOME): `failover` where a later source or a later
    /// try of the first one served.
    fn outcome(&self, source: &SourceId, is_first: bool) -> RequestOutcome {
        let first = self.route.targets.first();
        match source {
            _ if !is_first || first.is_none_or(|first| first.source != *source) => {
                RequestOutcome::Failover
            }
            SourceId::Upstream(_) => RequestOutcome::Direct,
            SourceId::Tier(_) => RequestOutcome::Served,
        }
    }

    fn ended(&mut self, result: Result<Found<S::Good>, NotFound>) -> Ended<Found<S::Good>> {
        Ended {
            result,
            log: AttemptLog {
                failed: std::mem::take(&mut self.failed),
                attempts: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX),
                generation: self.candidates.snapshot.generation,
                asked_by: self.request_id.trace().map(|trace| trace.own),
            },
        }
    }
}

#[cfg(test)]
mod tests;
