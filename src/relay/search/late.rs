//! Those who were asked and had not answered when the search ended: their requests run on, like connects, to the limit of
//! a first byte, so that health learns who is silent. Until that is known they stand behind the others.

use super::reports::{failed, report_success, told};
use super::{Event, FetchSpec, HARD_TIMEOUT, Search, TIMEOUT};
use crate::cache::Trust;
use crate::lifecycle::{self, deadline};
use crate::relay::context::Context;
use crate::relay::network::Network;
use crate::relay::outcome::Rejection;
use crate::relay::reputation::Fault;
use crate::relay::rules::Unfit;
use crate::topology::select::Candidate;
use crate::topology::{Outcome, SourceId};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

impl<N: Network, S: FetchSpec<N::Body>> Search<N, S> {
    /// Lets the requests run on that nobody has answered for some time; everybody else's are dropped with the search.
    pub(super) fn watch_the_late(&mut self, winner: Option<&SourceId>, now: Instant) {
        // Who was asked a moment ago because another was silent is not silent yet.
        let patience = self.machine.patience().unwrap_or_default();
        let unanswered = self.machine.unanswered();
        let silent = unanswered.filter(|(_, asking)| now >= deadline(asking.since, patience));
        let late: Vec<_> = silent
            .filter_map(|(attempt, asking)| {
                Some((attempt, self.candidate_of(attempt)?, asking.since))
            })
            .collect();
        for (_, candidate, since) in &late {
            self.saw(&Fault::Silent, &candidate.endpoint);
            if now >= deadline(*since, self.parts.timeouts.stall) {
                self.silent.push(candidate.endpoint.clone());
            }
        }
        // Another source answered: the tiers of those who have not are not waited for again by what follows of the same pull.
        // Before anybody waits for a late answer, which lifts what is written here.
        if let Some(source) = winner {
            let others = self.silent.iter().filter(|silent| silent.source != *source);
            others.for_each(|silent| self.saw(&Fault::TierSilent, silent));
        }
        let (limit, trust) = (self.parts.timeouts.first_byte, self.trust());
        let is_hedged = self.spec.is_hedged();
        for (attempt, candidate, since) in late {
            let slot = self.attempts.get_mut(attempt);
            let taken = slot.and_then(|slot| Some((slot.work.take()?, slot.in_flight.take())));
            let Some((work, in_flight)) = taken else {
                continue;
            };
            let parts = self.parts.clone();
            lifecycle::spawn_detached("late answer", async move {
                // It is a request at that address as long as it runs.
                let _in_flight = in_flight;
                match timeout_at(deadline(since, limit), work).await {
                    Ok(Event::Examined { result, took }) => {
                        let took = took.filter(|_| is_hedged);
                        answered(&parts, trust, &candidate, result, took);
                    }
                    Ok(_) => {}
                    Err(_) => {
                        let (endpoint, limit) = (&candidate.endpoint, limit.as_secs_f32());
                        let detail =
                            format!("no first byte within {limit} s; another source answered");
                        failed(&parts, endpoint, TIMEOUT, HARD_TIMEOUT, detail);
                    }
                }
            });
        }
    }
}

/// It was only slow.
fn answered<G>(
    parts: &Context,
    trust: Trust,
    candidate: &Candidate,
    result: Result<G, Rejection>,
    took: Option<Duration>,
) {
    let endpoint = &candidate.endpoint;
    if let Some(took) = took {
        let hedging = &parts.hedging;
        hedging.answered(&endpoint.source, took, Instant::now());
    }
    let outcome = match result {
        Err(Rejection { means, detail }) => match means {
            Unfit::Leave { outcome, cause, .. } => {
                return failed(parts, endpoint, cause, told(outcome, trust), detail);
            }
            Unfit::End { outcome, .. } => outcome,
        },
        Ok(_) => Outcome::Success,
    };
    parts.reputation.has_answered(endpoint, trust);
    let metrics = &parts.sinks.metrics;
    metrics.attempt(endpoint.source.label(), "late");
    if outcome == Outcome::Success {
        report_success(parts, candidate, took, String::new());
    }
}
