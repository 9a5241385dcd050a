//! When an endpoint is probed next (design H2). Pure: the fleet's load is proven here, not hoped for.

#[cfg(test)]
mod tests;

use crate::lifecycle::deadline;
use crate::topology::EndpointStatus;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The first probe of a new address comes within this, spread over a fleet that was rolled out at once.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// The first probe after an ejection comes after this and up to half as long again (earlier a pass would not count), the second
/// after a first failure after this, give or take half. A rollout that meets a dead address has a whole fleet eject it within
/// seconds; without the spread all of it would probe together from then on.
const SOON: Duration = Duration::from_secs(5);

/// Between probes in probation, give or take half: a node without pulls finds back by them.
const IN_PROBATION: Duration = Duration::from_secs(10);

/// The longest wait while ejected, give or take half.
const WHILE_EJECTED: Duration = Duration::from_secs(60);

/// On a node without pulls everything is this much rarer.
const IDLE: u32 = 5;

/// No more probes than this within [`BUDGET_SPAN`] for an endpoint that is not healthy.
const BUDGET: usize = 15;

/// The span in which [`BUDGET`] probes are allowed.
const BUDGET_SPAN: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub(super) struct ProbeClock {
    next: Instant,
    /// The wait before `next` while ejected; doubles.
    wait: Duration,
    /// Probes since it was last healthy, as far as the budget looks back.
    probes: VecDeque<Instant>,
}

/// What the next probe's time depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) status: EndpointStatus,
    /// Failed probes in a row.
    pub(super) failed_probes: u32,
    pub(super) interval: Duration,
    /// The node has had no pulls for ten minutes.
    pub(super) idle: bool,
}

impl ProbeClock {
    /// For a new address; `jitter` is 0 up to 1.
    pub(super) fn new(now: Instant, jitter: f64) -> Self {
        Self {
            next: deadline(now, FIRST_WITHIN.mul_f64(jitter)),
            wait: SOON,
            probes: VecDeque::new(),
        }
    }

    /// When the next probe is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn started(&mut self, status: EndpointStatus, now: Instant) {
        if status != EndpointStatus::Healthy {
            self.probes.push_back(now);
            if self.probes.len() > BUDGET {
                self.probes.pop_front();
            }
        }
    }

    /// The status changed; `jitter` is 0 up to 1.
    pub(super) fn turned(&mut self, status: EndpointStatus, now: Instant, jitter: f64) {
        let wait = match status {
            EndpointStatus::Healthy => return,
            EndpointStatus::Ejected { .. } => {
                self.wait = SOON;
                SOON.mul_f64(1.0 + jitter / 2.0)
            }
            EndpointStatus::Probation { .. } => IN_PROBATION.mul_f64(0.5 + jitter),
        };
        self.next = deadline(now, wait);
        self.keep_to_budget();
    }

    /// A probe ended and the status is what it is now.
    pub(super) fn finished(&mut self, then: Circumstances, now: Instant, jitter: f64) {
        let rarer = if then.idle { IDLE } else { 1 };
        let wait = match then.status {
            EndpointStatus::Healthy if then.failed_probes == 1 => SOON,
            EndpointStatus::Healthy => then.interval.saturating_mul(rarer),
            EndpointStatus::Probation { .. } => IN_PROBATION,
            EndpointStatus::Ejected { .. } => {
                self.wait = self
                    .wait
                    .saturating_mul(2)
                    .min(WHILE_EJECTED.saturating_mul(rarer));
                self.wait
            }
        };
        self.next = deadline(now, wait.mul_f64(0.5 + jitter));
        if then.status != EndpointStatus::Healthy {
            self.keep_to_budget();
        }
    }

    fn keep_to_budget(&mut self) {
        if self.probes.len() == BUDGET
            && let Some(first) = self.probes.front()
        {
            self.next = self.next.max(deadline(*first, BUDGET_SPAN));
        }
    }
}
