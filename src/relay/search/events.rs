//! What happened to an attempt, taken in: told to the timing machine, to the list of causes and to health.

use super::reports::{broken_here, report, report_success, told};
use super::{Event, FetchSpec, Search};
use crate::relay::causes::Tried;
use crate::relay::network::Network;
use crate::relay::outcome::{NotFound, Rejection};
use crate::relay::policy;
use crate::relay::reputation::Fault;
use crate::relay::rules::{Cause, FinalAnswer, Scope, Unfit};
use crate::relay::timing::{AttemptId, Late};
use crate::telemetry::Span;
use crate::topology::{EndpointId, Failure, Outcome, SourceKind};
use std::time::Duration;
use tokio::time::Instant;

impl<N: Network, S: FetchSpec<N::Body>> Search<N, S> {
    /// Takes an event in; a good answer comes back.
    pub(super) fn take(
        &mut self,
        attempt: AttemptId,
        event: Event<N::Connection, S::Good>,
        now: Instant,
    ) -> Option<(S::Good, Option<Duration>)> {
        match event {
            Event::Resolved => self.resolved(attempt),
            Event::Connected(Ok(connection)) => {
                if let Some(slot) = self.attempts.get_mut(attempt) {
                    slot.connection = Some(connection);
                }
                self.machine.connected(attempt);
            }
            Event::Alive(Ok(())) => self.machine.alive(attempt),
            Event::Connected(Err(error)) | Event::Alive(Err(error))
                if error.failure == Failure::Internal =>
            {
                self.abort(attempt);
                self.rejected(attempt, broken_here(error.detail()), None);
            }
            // Nobody was asked: it says nothing of the request that runs.
            Event::Alive(Err(error)) if !error.failure.is_the_endpoints() => {
                self.machine.alive(attempt);
            }
            // The dialling task has told health and metrics.
            Event::Connected(Err(error)) | Event::Alive(Err(error)) => {
                self.note(attempt, Cause::Failed(error.failure), error.detail());
                self.exclude(attempt, Scope::Address);
                self.abort(attempt);
                self.machine.ended(attempt);
            }
            Event::Examined {
                result: Ok(good),
                took,
            } => return Some((good, took)),
            Event::Examined {
                result: Err(rejection),
                took,
            } => self.rejected(attempt, rejection, took),
        }
        self.machine
            .set_more(self.candidates.more(&self.parts, now));
        None
    }

    fn resolved(&mut self, attempt: AttemptId) {
        let Some(slot) = self.attempts.get_mut(attempt) else {
            return;
        };
        let candidate = self.candidates.pick_of_target(&self.parts, slot.target);
        let Some(candidate) = candidate else {
            return self.has_no_address(attempt);
        };
        let trust = self.candidates.subject.trust;
        slot.in_flight = Some(candidate.gauges.enter(trust));
        slot.span = self.request_id.begin(|| (&candidate.endpoint).into());
        slot.candidate = Some(candidate);
        self.connect(attempt);
    }

    /// Nobody was found to ask: only DNS was waited for.
    fn has_no_address(&mut self, attempt: AttemptId) {
        if let Some(slot) = self.attempts.get(attempt) {
            self.candidates.leaving().exclude_target(slot.target);
        }
        self.machine.ended(attempt);
    }

    fn rejected(&mut self, attempt: AttemptId, rejection: Rejection, took: Option<Duration>) {
        let Some(candidate) = self.candidate_of(attempt) else {
            return self.has_no_address(attempt);
        };
        let (label, metrics) = (candidate.endpoint.source.label(), &self.parts.sinks.metrics);
        let Rejection { means, detail } = rejection;
        match means {
            Unfit::Leave {
                scope,
                outcome,
                cause,
            } => {
                metrics.attempt(label, cause.word());
                if cause == Cause::Policy {
                    metrics.policy_denial(label, policy::reason(&detail));
                }
                if let Outcome::CoolDown(wait) = outcome {
                    let is_harbor = candidate.source.kind == SourceKind::Harbor;
                    let fault = match cause {
                        Cause::UpstreamLimited if is_harbor => Fault::UpstreamLimited(wait),
                        _ => Fault::TooManyRequests(wait),
                    };
                    self.saw(&fault, &candidate.endpoint);
                }
                let outcome = told(outcome, self.trust());
                report(&self.parts, &candidate.endpoint, outcome, detail.clone());
                self.note(attempt, cause, detail);
                self.exclude(attempt, scope);
                self.machine.ended(attempt);
            }
            Unfit::End { answer, outcome } => {
                metrics.attempt(label, "final");
                if let Some(slot) = self.attempts.get_mut(attempt) {
                    Span::end(&mut slot.span, Some(("final", &detail)));
                }
                if outcome == Outcome::Success {
                    report_success(&self.parts, &candidate, took, detail.clone());
                }
                match answer {
                    FinalAnswer::Policy => {
                        metrics.policy_denial(label, policy::reason(&detail));
                        self.note(attempt, Cause::Policy, detail.clone());
                    }
                    FinalAnswer::NoMemory => self.note(attempt, Cause::NoMemory, detail.clone()),
                    _ => {}
                }
                let by = candidate.endpoint.to_string();
                let may_differ = !matches!(answer, FinalAnswer::NoMemory | FinalAnswer::Policy);
                if may_differ && self.candidates.are_held_back(&self.parts) {
                    // What is known against somebody changes the order. It makes no "no" of what would have been served without it:
                    // upstream denies what a tier has a credential for, and tags that it has deleted.
                    let (route, trust) = (&self.route, self.trust());
                    self.parts.keep_denial(route, trust, answer, &detail);
                    self.candidates.leaving().exclude_target(candidate.target);
                    self.exclude(attempt, Scope::Address);
                    self.machine.ended(attempt);
                } else {
                    self.machine.refused(attempt);
                }
                self.refusal = Some(NotFound::Final { answer, by, detail });
            }
        }
    }

    pub(super) fn timed_out(&mut self, attempt: AttemptId, late: Late) {
        let Some(candidate) = self.candidate_of(attempt) else {
            return;
        };
        let detail = match late {
            Late::FirstByte => {
                let limit = self.parts.timeouts.first_byte;
                let detail = format!("no first byte within {} s", limit.as_secs_f32());
                let outcome = Outcome::Hard(Failure::Timeout);
                report(&self.parts, &candidate.endpoint, outcome, detail.clone());
                detail
            }
            Late::Liveness => "silent on an open connection, and no answer to a new one".to_owned(),
        };
        let metrics = &self.parts.sinks.metrics;
        let label = candidate.endpoint.source.label();
        metrics.attempt(label, Failure::Timeout.word());
        self.saw(&Fault::Silent, &candidate.endpoint);
        // A dead connection is soon known, and says nothing of the tier's other addresses.
        if late == Late::FirstByte {
            self.silent.push(candidate.endpoint.clone());
        }
        self.candidates
            .leaving()
            .exclude_endpoint(&candidate.endpoint);
        self.note(attempt, Cause::Failed(Failure::Timeout), detail);
        let more = self.candidates.more(&self.parts, Instant::now());
        self.machine.set_more(more);
    }

    /// An address did that, asked for what is wanted.
    pub(super) fn saw(&self, fault: &Fault, endpoint: &EndpointId) {
        let (reputation, now) = (&self.parts.reputation, Instant::now());
        reputation.saw(fault, endpoint, &self.candidates.subject, now);
    }

    fn abort(&mut self, attempt: AttemptId) {
        if let Some(slot) = self.attempts.get_mut(attempt) {
            (slot.work, slot.in_flight) = (None, None);
        }
    }

    fn exclude(&mut self, attempt: AttemptId, scope: Scope) {
        if let Some(slot) = self.attempts.get_mut(attempt) {
            slot.in_flight = None;
            if let Some(candidate) = &slot.candidate {
                self.candidates.leaving().exclude(candidate, scope);
            }
        }
    }

    pub(super) fn note(&mut self, attempt: AttemptId, cause: Cause, detail: String) {
        if let Some(slot) = self.attempts.get_mut(attempt)
            && let Some(candidate) = slot.candidate.as_ref()
            && !std::mem::replace(&mut slot.is_noted, true)
        {
            let tried = Tried::at(&candidate.endpoint, cause, detail);
            Span::end(&mut slot.span, Some((cause.word(), &tried.detail)));
            self.tried.push(tried);
        }
    }
}
