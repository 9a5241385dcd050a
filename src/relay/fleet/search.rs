//! One search of one node: the orders of the real timing machine, over the real candidates, carried out at modelled
//! addresses as `relay::search` carries them out at real ones. Like there, nothing is decided here.

use super::attempt::{Answer, detached};
use super::node::Node;
use super::site::{Line, Site};
use crate::cache::Trust;
use crate::lifecycle;
use crate::oci::Digest;
use crate::relay::candidates::{Candidate, Candidates, Pick};
use crate::relay::memory::Image;
use crate::relay::rules::{Asked, Scope};
use crate::relay::timing::{AttemptId, Late, Machine, Order, Role, Timing, Want};
use crate::route::Route;
use crate::topology::{EndpointId, Failure, InFlight, Outcome};
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What is searched for.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) route: Arc<Route>,
    pub(super) digest: Option<Digest>,
    pub(super) asked: Asked,
    pub(super) timing: Timing,
}

/// Who answered, and over what; the request counts until the guard is dropped.
pub(super) struct Found {
    pub(super) endpoint: EndpointId,
    pub(super) line: Line,
    pub(super) in_flight: InFlight,
}

enum Event {
    Connected(Result<Line, Failure>),
    Knocked(Result<(), Failure>),
    Answered(Answer),
}

type Running = Pin<Box<dyn Future<Output = (AttemptId, Option<Event>)> + Send>>;

struct Attempt {
    candidate: Candidate,
    line: Option<Line>,
    in_flight: Option<InFlight>,
    abort: AbortHandle,
}

pub(super) struct Search {
    node: Arc<Node>,
    wish: Wish,
    machine: Machine,
    candidates: Candidates,
    attempts: Vec<Attempt>,
    running: FuturesUnordered<Running>,
}

// === impl Wish ===

impl Wish {
    fn content(&self) -> Option<Image> {
        let (registry, repository) = (&self.route.registry_label, &self.route.repository);
        let digest = self.digest.clone()?;
        Some(Image::content(registry.clone(), repository.clone(), digest))
    }

    fn is_hedged(&self) -> bool {
        self.asked == Asked::Document
    }
}

// === impl Search ===

impl Search {
    pub(super) fn new(node: Arc<Node>, wish: Wish) -> Self {
        let candidates = Candidates::new(&node.parts, &wish.route, wish.content(), Trust::Trusted);
        let machine = Machine::new(wish.timing, candidates.has_upstream(), Instant::now());
        Self {
            node,
            wish,
            machine,
            candidates,
            attempts: Vec::new(),
            running: FuturesUnordered::new(),
        }
    }

    /// Without those who broke this body.
    pub(super) fn without(mut self, endpoints: &[EndpointId]) -> Self {
        for endpoint in endpoints {
            self.candidates.exclude_endpoint(endpoint);
        }
        self
    }

    /// Runs to its end; `None`: nobody could answer.
    pub(super) async fn run(mut self) -> Option<Found> {
        let node = self.node.clone();
        self.candidates.wait_while_all_are_loaded(&node.parts).await;
        loop {
            let now = Instant::now();
            match self.machine.poll(now) {
                Order::Start(want) => self.start(want, now),
                Order::Send(attempt) => self.send(attempt),
                Order::Knock(attempt) => self.knock(attempt),
                Order::Overdue { attempt, late } => self.overdue(attempt, late),
                Order::End(_) => {
                    self.watch_the_late(None);
                    return None;
                }
                Order::WaitUntil(until) => tokio::select! {
                    biased;
                    event = self.running.next(), if !self.running.is_empty() => {
                        if let Some((attempt, Some(event))) = event
                            && let Some(line) = self.take(attempt, event)
                        {
                            return Some(self.found(attempt, line));
                        }
                    }
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    fn start(&mut self, want: Want, now: Instant) {
        let parts = self.node.parts.clone();
        if want == Want::Tier && !parts.hedging.pay(Trust::Trusted) {
            return self.machine.none_left(want);
        }
        let pick = self.candidates.pick(&parts, want, Instant::now());
        let more = self.candidates.more(&parts, Instant::now());
        match pick {
            Pick::Nobody => {
                if want == Want::Tier {
                    parts.hedging.give_back(Trust::Trusted);
                }
                self.machine.none_left(want);
            }
            Pick::Unresolved(leg) => panic!("all addresses are known, but leg {leg} has none"),
            Pick::Candidate(candidate) => {
                let role = match candidate.is_upstream() {
                    true => Role::Upstream,
                    false => Role::Tier,
                };
                let idle = self.node.idle(&candidate.endpoint);
                let attempt = self.machine.started(role, idle.is_some(), more, now);
                let (abort, _) = AbortHandle::new_pair();
                let dial = idle.is_none().then(|| self.dial(&candidate));
                self.attempts.push(Attempt {
                    in_flight: Some(candidate.gauges.enter(Trust::Trusted)),
                    candidate,
                    line: idle,
                    abort,
                });
                if let Some(dial) = dial {
                    self.spawn(attempt, async move { Event::Connected(dial.await) });
                }
            }
        }
    }

    fn dial(
        &self,
        candidate: &Candidate,
    ) -> impl Future<Output = Result<Line, Failure>> + Send + 'static + use<> {
        let (node, endpoint) = (self.node.clone(), candidate.endpoint.clone());
        let (site, limit) = (self.site(candidate), node.parts.timeouts.connect);
        let park = node.clone();
        detached(
            &node,
            candidate,
            async move { site.dial(limit).await },
            move |line| park.park(&endpoint, line),
        )
    }

    fn knock(&mut self, attempt: AttemptId) {
        let candidate = self.attempts[attempt].candidate.clone();
        let (site, limit) = (self.site(&candidate), self.node.parts.timeouts.connect);
        let knock = async move { site.knock(limit).await };
        let knocking = detached(&self.node, &candidate, knock, |()| {});
        self.running.push(Box::pin(async move {
            (attempt, Some(Event::Knocked(knocking.await)))
        }));
    }

    fn spawn(&mut self, attempt: AttemptId, work: impl Future<Output = Event> + Send + 'static) {
        let (abort, registration) = AbortHandle::new_pair();
        self.attempts[attempt].abort = abort;
        let work = Abortable::new(work, registration);
        self.running
            .push(Box::pin(async move { (attempt, work.await.ok()) }));
    }

    fn site(&self, candidate: &Candidate) -> Arc<Site> {
        self.node.world.site(&candidate.endpoint)
    }

    fn send(&mut self, attempt: AttemptId) {
        let candidate = self.attempts[attempt].candidate.clone();
        let line = self.attempts[attempt].line.take().expect("it is connected");
        let parts = &self.node.parts;
        let may_hedge = self.wish.is_hedged() && !candidate.is_upstream();
        let source = &candidate.endpoint.source;
        let delay = may_hedge.then(|| parts.hedging.delay(source, Instant::now()));
        self.machine.hedge_after(delay);
        let (site, limit) = (self.site(&candidate), parts.timeouts.connect);
        self.spawn(attempt, async move {
            let (mut began, mut line) = (Instant::now(), line);
            let mut status = site.ask(&line).await;
            // As the exchange does it: a kept connection that had died is worth one more try.
            if status.is_none() {
                line = match site.dial(limit).await {
                    Ok(line) => line,
                    Err(failure) => return Event::Answered(Answer::new(Err(failure), began)),
                };
                began = Instant::now();
                status = site.ask(&line).await;
            }
            let head = status.map(|status| (status, line)).ok_or(Failure::Reset);
            Event::Answered(Answer::new(head, began))
        });
    }

    /// Takes an event in; the connection of a good answer comes back.
    fn take(&mut self, attempt: AttemptId, event: Event) -> Option<Line> {
        match event {
            Event::Connected(Ok(line)) => {
                self.attempts[attempt].line = Some(line);
                self.machine.connected(attempt);
            }
            Event::Knocked(Ok(())) => self.machine.knocked(attempt),
            // The dialling task has told health.
            Event::Connected(Err(_)) | Event::Knocked(Err(_)) => {
                self.exclude(attempt, Scope::Address);
                self.abort(attempt);
                self.machine.ended(attempt);
            }
            Event::Answered(answer) => {
                let candidate = self.attempts[attempt].candidate.clone();
                match answer.verdict(self.wish.asked, &candidate) {
                    Ok(()) => {
                        self.node.report_success(&candidate.endpoint, answer.took);
                        self.time(&candidate, answer.took);
                        return answer.head.ok().map(|(_, line)| line);
                    }
                    Err((scope, outcome)) => {
                        self.node.report(&candidate.endpoint, outcome);
                        self.exclude(attempt, scope);
                        self.machine.ended(attempt);
                    }
                }
            }
        }
        let more = self.candidates.more(&self.node.parts, Instant::now());
        self.machine.set_more(more);
        None
    }

    fn time(&self, candidate: &Candidate, took: Duration) {
        if self.wish.is_hedged() && !candidate.is_upstream() {
            let source = &candidate.endpoint.source;
            let hedging = &self.node.parts.hedging;
            hedging.answered(source, took, Instant::now());
        }
    }

    fn overdue(&mut self, attempt: AttemptId, late: Late) {
        let endpoint = self.attempts[attempt].candidate.endpoint.clone();
        if late == Late::FirstByte {
            self.node.report(&endpoint, Outcome::Hard(Failure::Timeout));
        }
        let silent = &self.node.parts.memories.silent;
        silent.put(&endpoint, Trust::Trusted, Instant::now());
        self.candidates.exclude_endpoint(&endpoint);
        let more = self.candidates.more(&self.node.parts, Instant::now());
        self.machine.set_more(more);
    }

    fn abort(&mut self, attempt: AttemptId) {
        self.attempts[attempt].abort.abort();
        self.attempts[attempt].in_flight = None;
    }

    fn exclude(&mut self, attempt: AttemptId, scope: Scope) {
        self.attempts[attempt].in_flight = None;
        let candidate = self.attempts[attempt].candidate.clone();
        self.candidates.exclude(&candidate, scope);
    }

    fn found(mut self, attempt: AttemptId, line: Line) -> Found {
        let in_flight = self.attempts[attempt].in_flight.take();
        let endpoint = self.attempts[attempt].candidate.endpoint.clone();
        self.watch_the_late(Some(attempt));
        Found {
            endpoint,
            line,
            in_flight: in_flight.expect("it was asked"),
        }
    }

    /// Lets the requests run on that nobody has answered, to the limit of a first byte.
    fn watch_the_late(&mut self, winner: Option<AttemptId>) {
        let unanswered: Vec<_> = self.machine.unanswered().collect();
        let patience = self.machine.patience().unwrap_or_default();
        let mut late = Vec::new();
        for (attempt, since) in unanswered {
            if Some(attempt) != winner && Instant::now() >= since + patience {
                let slot = &mut self.attempts[attempt];
                let silent = &self.node.parts.memories.silent;
                silent.put(&slot.candidate.endpoint, Trust::Trusted, Instant::now());
                late.push((
                    attempt,
                    slot.candidate.clone(),
                    since,
                    slot.in_flight.take(),
                ));
            }
        }
        for (attempt, slot) in self.attempts.iter().enumerate() {
            if !late.iter().any(|(late, ..)| *late == attempt) {
                slot.abort.abort();
            }
        }
        if late.is_empty() {
            return;
        }
        let (node, wish) = (self.node.clone(), self.wish.clone());
        let mut running = std::mem::take(&mut self.running);
        lifecycle::spawn_detached("late answers", async move {
            let limit = node.parts.timeouts.first_byte;
            while let Some(until) = late.iter().map(|(_, _, since, _)| *since + limit).min() {
                tokio::select! {
                    biased;
                    ended = running.next(), if !running.is_empty() => {
                        if let Some((attempt, Some(Event::Answered(answer)))) = ended
                            && let Some(at) = late.iter().position(|(late, ..)| *late == attempt)
                        {
                            let (_, candidate, ..) = late.swap_remove(at);
                            match answer.verdict(wish.asked, &candidate) {
                                Ok(()) => {
                                    let silent = &node.parts.memories.silent;
                                    silent.forget(&candidate.endpoint, Trust::Trusted);
                                    node.report_success(&candidate.endpoint, answer.took);
                                }
                                Err((_, outcome)) => node.report(&candidate.endpoint, outcome),
                            }
                        }
                    }
                    () = sleep_until(until) => late.retain(|(_, candidate, since, _)| {
                        let is_silent = Instant::now() >= *since + limit;
                        if is_silent {
                            node.report(&candidate.endpoint, Outcome::Hard(Failure::Timeout));
                        }
                        !is_silent
                    }),
                }
            }
        });
    }
}
