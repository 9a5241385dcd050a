//! Those who were asked and had not answered when the search ended: their requests run on, like connects, to the limit of
//! a first byte, so that health learns who is silent. Until that is known they stand behind the others.

use super::reports::{report, report_success, told};
use super::running::Running;
use super::{Event, FetchSpec, Search};
use crate::cache::Trust;
use crate::lifecycle::{self, deadline};
use crate::relay::context::Context;
use crate::relay::network::Network;
use crate::relay::outcome::Rejection;
use crate::relay::reputation::Fault;
use crate::relay::timing::AttemptId;
use crate::topology::select::Candidate;
use crate::topology::{Failure, InFlight, Outcome, SourceId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One request without an answer.
struct Unanswered {
    attempt: AttemptId,
    candidate: Candidate,
    since: Instant,
    /// It is a request at that address as long as it runs.
    _in_flight: Option<InFlight>,
}

impl<N: Network, S: FetchSpec<N::Body>> Search<N, S> {
    /// Another source answered: the tiers of those who have not are not waited for again by what follows of the same pull.
    fn tiers_were_silent(&self, winner: &SourceId) {
        let others = self.silent.iter().filter(|silent| silent.source != *winner);
        others.for_each(|silent| self.saw(&Fault::TierSilent, silent));
    }

    /// Lets the requests run on that nobody has answered; everybody else's are dropped with the search.
    pub(super) fn watch_the_late(&mut self, winner: Option<(AttemptId, &SourceId)>, now: Instant) {
        let late = self.unanswered(winner.map(|(attempt, _)| attempt), now);
        for Unanswered {
            candidate, since, ..
        } in &late
        {
            self.saw(&Fault::Silent, &candidate.endpoint);
            if now >= deadline(*since, self.parts.timeouts.stall) {
                self.silent.push(candidate.endpoint.clone());
            }
        }
        // Before anybody waits for a late answer, which lifts what is written here.
        if let Some((_, source)) = winner {
            self.tiers_were_silent(source);
        }
        if late.is_empty() {
            return;
        }
        let mut running = std::mem::replace(&mut self.running, Running::new());
        running.keep(|attempt| late.iter().any(|late| late.attempt == attempt));
        let parts = self.parts.clone();
        let asks = (self.spec.is_hedged(), self.spec.trust());
        lifecycle::spawn_detached("late answers", watch(parts, running, late, asks));
    }

    /// The requests that nobody has answered for some time.
    fn unanswered(&mut self, winner: Option<AttemptId>, now: Instant) -> Vec<Unanswered> {
        // Who was asked a moment ago because another was silent is not silent yet.
        let patience = self.machine.patience().unwrap_or_default();
        let unanswered = self.machine.unanswered();
        let late: Vec<_> = unanswered
            .filter(|(attempt, since)| {
                Some(*attempt) != winner && now >= deadline(*since, patience)
            })
            .collect();
        let late = late.into_iter().filter_map(|(attempt, since)| {
            let slot = self.attempts.get_mut(attempt)?;
            Some(Unanswered {
                attempt,
                candidate: slot.candidate.clone()?,
                since,
                _in_flight: slot.in_flight.take(),
            })
        });
        late.collect()
    }
}

async fn watch<C: 'static, G: 'static>(
    parts: Arc<Context>,
    mut running: Running<C, G>,
    mut late: Vec<Unanswered>,
    (hedged, trust): (bool, Trust),
) {
    let limit = parts.timeouts.first_byte;
    while let Some(until) = late.iter().map(|late| deadline(late.since, limit)).min() {
        tokio::select! {
            biased;
            // Cancel safe: what is not ready stays.
            (attempt, event) = running.next() => {
                if let Event::Examined { result, took } = event
                    && let Some(at) = late.iter().position(|late| late.attempt == attempt)
                {
                    let candidate = late.swap_remove(at).candidate;
                    answered((&parts, trust), &candidate, result, took.filter(|_| hedged));
                }
            }
            // Cancel safe: a sleep holds nothing.
            () = tokio::time::sleep_until(until) => {
                let now = Instant::now();
                late.retain(|late| {
                    let silent = now >= deadline(late.since, limit);
                    if silent {
                        is_silent(&parts, &late.candidate);
                    }
                    !silent
                });
            }
        }
    }
}

/// It was only slow.
fn answered<G>(
    (parts, trust): (&Context, Trust),
    candidate: &Candidate,
    result: Result<G, Rejection>,
    took: Option<Duration>,
) {
    let endpoint = &candidate.endpoint;
    let label = endpoint.source.label();
    if let Some(took) = took {
        parts
            .hedging
            .answered(&endpoint.source, took, Instant::now());
    }
    match result {
        Err(Rejection::Leave {
            outcome,
            cause,
            detail,
            ..
        }) => {
            parts.sinks.metrics.attempt(label, cause.word());
            report(parts, endpoint, told(outcome, trust), detail);
        }
        good_or_final => {
            parts.reputation.has_answered(endpoint, trust);
            parts.sinks.metrics.attempt(label, "late");
            let outcome = match good_or_final {
                Err(Rejection::End { outcome, .. }) => outcome,
                _ => Outcome::Success,
            };
            if outcome == Outcome::Success {
                report_success(parts, candidate, took, String::new());
            }
        }
    }
}

fn is_silent(parts: &Context, candidate: &Candidate) {
    let endpoint = &candidate.endpoint;
    let limit = parts.timeouts.first_byte.as_secs_f32();
    let failure = Failure::Timeout;
    parts
        .sinks
        .metrics
        .attempt(endpoint.source.label(), failure.word());
    let detail = format!("no first byte within {limit} s; another source answered");
    report(parts, endpoint, Outcome::Hard(failure), detail);
}
