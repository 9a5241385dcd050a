//! What happened to an attempt, taken in: told to the timing machine, to the list of causes and to health.

use super::reports::{broken_here, failed, report_success, told};
use super::{Event, FetchSpec, HARD_TIMEOUT, Search, TIMEOUT};
use crate::relay::causes::FailedAttempt;
use crate::relay::network::Network;
use crate::relay::outcome::{NotFound, Rejection};
use crate::relay::policy;
use crate::relay::reputation::Fault;
use crate::relay::rules::{Cause, FinalAnswer, Scope, Unfit};
use crate::relay::timing::{AttemptId, Late};
use crate::telemetry::Span;
use crate::topology::select::Candidate;
use crate::topology::{EndpointId, Failure, Outcome, SourceKind};
use std::time::Duration;
use tokio::time::Instant;

impl<N: Network, S: FetchSpec<N::Body>> Search<N, S> {
    /// Takes an event in; a good answer comes back.
    pub(super) fn take(
        &mut self,
        attempt: AttemptId,
        event: Event<N::Connection, S::Good>,
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
                self.rejected(attempt, broken_here(error.detail()), None);
            }
            // Nobody was asked: it says nothing of the request that runs.
            Event::Alive(Err(error)) if !error.failure.is_the_endpoints() => {
                self.machine.alive(attempt);
            }
            // The dialling task has told health and metrics.
            Event::Connected(Err(error)) | Event::Alive(Err(error)) => {
                self.note(attempt, Cause::Failed(error.failure), error.detail());
                self.leave(attempt, Scope::Address);
            }
            Event::Examined { result, took } => match result {
                Ok(good) => return Some((good, took)),
                Err(rejection) => self.rejected(attempt, rejection, took),
            },
        }
        None
    }

    fn resolved(&mut self, attempt: AttemptId) {
        let Some(slot) = self.attempts.get_mut(attempt) else {
            return;
        };
        let candidate = self.candidates.pick_of(&self.parts, &slot.source);
        let Some(candidate) = candidate else {
            return self.leave(attempt, Scope::Address);
        };
        let trust = self.candidates.subject.trust;
        slot.in_flight = Some(candidate.gauges.enter(trust));
        slot.span = self.request_id.begin(|| (&candidate.endpoint).into());
        slot.candidate = Some(candidate.clone());
        self.connect(attempt, candidate);
    }

    fn rejected(&mut self, attempt: AttemptId, rejection: Rejection, took: Option<Duration>) {
        let Some(candidate) = self.candidate_of(attempt) else {
            return self.leave(attempt, Scope::Address);
        };
        let (label, metrics) = (candidate.endpoint.source.label(), &self.parts.sinks.metrics);
        let Rejection { means, detail } = rejection;
        match means {
            Unfit::Leave {
                scope,
                outcome,
                cause,
            } => {
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
                let (parts, endpoint) = (&self.parts, &candidate.endpoint);
                failed(parts, endpoint, cause, outcome, detail.clone());
                self.note(attempt, cause, detail);
                self.leave(attempt, scope);
            }
            Unfit::End { answer, outcome } => {
                metrics.attempt(label, "final");
                if let Some(slot) = self.attempts.get_mut(attempt) {
                    Span::end(&mut slot.span, Some("final"));
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
                let source = &candidate.endpoint.source;
                let until = match answer {
                    FinalAnswer::NotFound | FinalAnswer::Denied | FinalAnswer::Withheld => {
                        self.candidates.left_until(&self.parts, source)
                    }
                    _ => None,
                };
                let by = candidate.endpoint.to_string();
                (self.parts).keep_denial(&self.route, self.trust(), answer, &detail);
                self.leave(attempt, Scope::Address);
                self.machine.refused(until);
                (self.refusal).get_or_insert(NotFound::Final { answer, by, detail });
            }
        }
    }

    pub(super) fn timed_out(&mut self, attempt: AttemptId, late: Late) {
        let Some(candidate) = self.candidate_of(attempt) else {
            return;
        };
        let endpoint = &candidate.endpoint;
        let (outcome, detail) = match late {
            Late::FirstByte => {
                self.silent.push(endpoint.clone());
                let limit = self.parts.timeouts.first_byte.as_secs_f32();
                (HARD_TIMEOUT, format!("no first byte within {limit} s"))
            }
            // Its liveness connect tells health. A dead connection is soon known, and says nothing of the tier's other addresses.
            Late::Liveness => {
                let detail = "silent on an open connection, and no answer to a new one";
                (Outcome::Neutral, detail.to_owned())
            }
        };
        failed(&self.parts, endpoint, TIMEOUT, outcome, detail.clone());
        self.saw(&Fault::Silent, endpoint);
        self.candidates.leaving().exclude_endpoint(endpoint);
        self.note(attempt, TIMEOUT, detail);
    }

    /// An address did that, asked for what is wanted.
    pub(super) fn saw(&self, fault: &Fault, endpoint: &EndpointId) {
        let (reputation, now) = (&self.parts.reputation, Instant::now());
        reputation.saw(fault, endpoint, &self.candidates.subject, now);
    }

    /// An attempt is over: whom it asked is left, as far as the answer says.
    fn leave(&mut self, attempt: AttemptId, scope: Scope) {
        if let Some(slot) = self.attempts.get_mut(attempt) {
            (slot.work, slot.in_flight) = (None, None);
            let pool = self.candidates.leaving();
            match &slot.candidate {
                Some(candidate) => pool.exclude(candidate, scope),
                // Nobody was found to ask: only DNS was waited for.
                None => pool.exclude_source(&slot.source),
            }
        }
        self.machine.ended(attempt);
    }

    /// Why an address did not serve; the first reason counts.
    pub(super) fn note(&mut self, attempt: AttemptId, cause: Cause, detail: String) {
        if let Some(slot) = self.attempts.get_mut(attempt)
            && let Some(Candidate { endpoint, .. }) = &slot.candidate
            && !(self.failed.iter()).any(|failed| failed.endpoint.as_ref() == Some(endpoint))
        {
            Span::end(&mut slot.span, Some(cause.word()));
            self.failed.push(FailedAttempt::at(endpoint, cause, detail));
        }
    }
}
