//! The states of one endpoint, as a pure function: `(state, event, now, jitter) → (state, effect)`
//! (design H2–H4, with the thresholds below).
//!
//! Two signals eject: hard failures in a row, and a low success rate, which alone sees soft failures. What real
//! requests saw outranks what probes saw: a probe never clears a hard failure of the last seconds, and an
//! "unhealthy" of a Harbor that serves is overruled.

#[cfg(test)]
mod tests;

use super::latency::Latency;
use super::probe::{ProbeReport, Verdict};
use super::window::Window;
use crate::lifecycle::deadline;
use crate::topology::select::SLOW_START;
use crate::topology::{EndpointStatus, Failure, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first ejection lasts this long; it doubles while it recurs.
const FIRST_EJECTION: Duration = Duration::from_secs(5);

/// An ejection never lasts longer, however often it recurs.
const LAST_EJECTION: Duration = Duration::from_secs(300);

/// Healthy for this long: an ejection is the first again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Failures in a row that eject, where one alone does not.
const HARD_IN_ROW: u32 = 3;

/// Failed probes in a row that eject.
const PROBES_IN_ROW: u32 = 2;

/// Successes in probation that readmit.
const READMIT_AFTER: u32 = 3;

/// A probe does not clear a hard failure younger than this.
const PROBE_DEFERS: Duration = Duration::from_secs(5);

/// A reason's longest text, in bytes.
const REASON_BYTES: usize = 200;

/// One success in so many is reported of a healthy endpoint (see `Health::report`).
pub(super) const SAMPLING: u32 = 16;

/// What is known of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Whether it may be used.
    pub(super) status: EndpointStatus,
    pub(super) since: Instant,
    /// While in slow start.
    pub(super) readmitted: Option<Instant>,
    /// The last thing that went wrong.
    pub(super) reason: Option<Arc<str>>,
    /// Of the first byte.
    pub(super) latency: Latency,
    /// Failed probes since the last good one.
    pub(super) failed_probes: u32,
    strikes: u32,
    hard_in_row: u32,
    last_hard: Option<Instant>,
    last_success: Option<Instant>,
    /// The last probe of this ejection passed.
    probe_passed: bool,
    window: Window,
    /// Port 1337 says no.
    warned: bool,
}

/// What happens to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    /// A request learned something.
    Outcome {
        outcome: Outcome,
        first_byte: Option<Duration>,
        detail: &'a str,
    },
    Probe(&'a ProbeReport),
    Tick,
}

/// How its source is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probing {
    pub(super) on: bool,
    /// Between probes of a healthy address.
    pub(super) interval: Duration,
}

/// What others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is no longer used, for this long.
    Ejected(Duration),
    /// It is used again, as before.
    Readmitted,
}

/// The next state. `jitter` (0 up to 1) shortens an ejection by up to a tenth, so that a fleet does not come
/// back in one moment.
pub(super) fn step(
    mut state: State,
    event: Event<'_>,
    probing: Probing,
    now: Instant,
    jitter: f64,
) -> (State, Option<Effect>) {
    let effect = match event {
        Event::Outcome {
            outcome,
            first_byte,
            detail,
        } => {
            if let Some(sample) = first_byte {
                state.latency.add(sample);
            }
            state.outcome(outcome, detail, now, jitter)
        }
        Event::Probe(report) => state.probe(report, probing, now, jitter),
        Event::Tick => None,
    };
    state.tick(probing, now);
    (state, effect)
}

// === impl State ===

impl State {
    /// New endpoints are believed to be healthy.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            status: EndpointStatus::Healthy,
            since: now,
            readmitted: None,
            reason: None,
            latency: Latency::default(),
            failed_probes: 0,
            strikes: 0,
            hard_in_row: 0,
            last_hard: None,
            last_success: None,
            probe_passed: false,
            window: Window::default(),
            warned: false,
        }
    }

    /// Another of its kind is to be preferred.
    pub(super) fn lowered(&self) -> bool {
        self.warned
    }

    /// What a reader of the snapshot sees of it.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.status == other.status
            && self.since == other.since
            && self.readmitted == other.readmitted
            && self.reason == other.reason
            && self.latency.shown() == other.latency.shown()
            && self.lowered() == other.lowered()
    }

    /// When it is tried next; `probe` is the next probe's time. `None`: it is healthy, or the next request tries it.
    pub(super) fn next_try(&self, probing: Probing, probe: Instant) -> Option<Instant> {
        match self.status {
            EndpointStatus::Healthy => None,
            EndpointStatus::Ejected { .. } => self.admitted_at(probing).or(Some(probe)),
            EndpointStatus::Probation { .. } => probing.on.then_some(probe),
        }
    }

    /// When time alone changes it.
    pub(super) fn wakes(&self, probing: Probing) -> Option<Instant> {
        let settled = self.readmitted.map(|since| deadline(since, SLOW_START));
        let all = [self.admitted_at(probing), settled];
        all.into_iter().flatten().min()
    }

    /// When its ejection ends, where nothing but time is wanted for that.
    fn admitted_at(&self, probing: Probing) -> Option<Instant> {
        match self.status {
            EndpointStatus::Ejected { until, .. } if self.probe_passed || !probing.on => {
                Some(until)
            }
            _ => None,
        }
    }

    fn outcome(
        &mut self,
        outcome: Outcome,
        detail: &str,
        now: Instant,
        jitter: f64,
    ) -> Option<Effect> {
        if outcome.says_nothing() {
            return None;
        }
        match outcome {
            Outcome::Neutral | Outcome::Denied | Outcome::CoolDown(_) => None,
            Outcome::Success => self.success(now),
            Outcome::Hard(failure) => self.hard(failure, detail, now, jitter),
            Outcome::Soft(failure) => {
                self.window.add(false, 1, now);
                self.judge_rate(failure, detail, now, jitter)
            }
        }
    }

    fn success(&mut self, now: Instant) -> Option<Effect> {
        // Of an endpoint that looks healthy only a sample is reported.
        let sampled = self.status == EndpointStatus::Healthy && self.latency.shown().is_some();
        self.window
            .add(true, if sampled { SAMPLING } else { 1 }, now);
        self.hard_in_row = 0;
        self.last_success = Some(now);
        match self.status {
            EndpointStatus::Healthy => None,
            EndpointStatus::Probation { successes } => self.count_success(successes, now),
            // A request that failed open went well: as good as a probe.
            EndpointStatus::Ejected { .. } => self.is_still_out(Failure::Probe, true),
        }
    }

    fn count_success(&mut self, successes: u32, now: Instant) -> Option<Effect> {
        let successes = successes.saturating_add(1);
        if successes < READMIT_AFTER {
            self.status = EndpointStatus::Probation { successes };
            return None;
        }
        self.status = EndpointStatus::Healthy;
        self.since = now;
        self.readmitted = Some(now);
        self.reason = None;
        Some(Effect::Readmitted)
    }

    fn hard(
        &mut self,
        failure: Failure,
        detail: &str,
        now: Instant,
        jitter: f64,
    ) -> Option<Effect> {
        self.last_hard = Some(now);
        self.window.add(false, 1, now);
        self.hard_in_row = self.hard_in_row.saturating_add(1);
        // An address that cannot be connected to is useless, and the connect's limit already spans a lost SYN.
        let at_once = matches!(
            failure,
            Failure::Refused | Failure::ConnectTimeout | Failure::Tls
        );
        match self.status {
            EndpointStatus::Healthy if at_once || self.hard_in_row >= HARD_IN_ROW => {
                Some(self.eject(failure, reason(failure, detail), now, jitter))
            }
            EndpointStatus::Healthy => self.judge_rate(failure, detail, now, jitter),
            EndpointStatus::Probation { .. } => {
                Some(self.eject(failure, reason(failure, detail), now, jitter))
            }
            // Requests that were under way when it was ejected fail too: no new strikes.
            EndpointStatus::Ejected { .. } => self.is_still_out(failure, false),
        }
    }

    fn judge_rate(
        &mut self,
        failure: Failure,
        detail: &str,
        now: Instant,
        jitter: f64,
    ) -> Option<Effect> {
        if self.status != EndpointStatus::Healthy {
            return None;
        }
        let (successes, samples) = self.window.too_low(now)?;
        let detail = format!("{successes} of {samples} requests went well; the last: {detail}");
        Some(self.eject(failure, reason(failure, &detail), now, jitter))
    }

    fn probe(
        &mut self,
        report: &ProbeReport,
        probing: Probing,
        now: Instant,
        jitter: f64,
    ) -> Option<Effect> {
        self.warned = report.lowered;
        let within = |at: Option<Instant>, span| {
            at.is_some_and(|at: Instant| now.saturating_duration_since(at) < span)
        };
        let (cause, detail) = match &report.verdict {
            Verdict::Passed => {
                self.failed_probes = 0;
                if within(self.last_hard, PROBE_DEFERS) {
                    return None;
                }
                self.hard_in_row = 0;
                return match self.status {
                    EndpointStatus::Healthy => {
                        if self.latency.shown().is_none() {
                            self.latency.add(report.took);
                        }
                        None
                    }
                    EndpointStatus::Ejected { .. } => self.is_still_out(Failure::Probe, true),
                    // A node without pulls must find back too.
                    EndpointStatus::Probation { successes } => self.count_success(successes, now),
                };
            }
            // It has learned nothing.
            Verdict::Failed { failure, .. } if !failure.is_the_endpoints() => return None,
            Verdict::Unhealthy(detail) => (Failure::Probe, detail.clone()),
            Verdict::Failed { failure, detail } => {
                (*failure, format!("{}: {detail}", failure.word()))
            }
        };
        self.failed_probes = self.failed_probes.saturating_add(1);
        self.probe_passed = false;
        let overruled = cause == Failure::Probe && within(self.last_success, probing.interval);
        if let EndpointStatus::Ejected { .. } = self.status {
            return self.is_still_out(cause, false);
        }
        if overruled || self.failed_probes < PROBES_IN_ROW {
            return None;
        }
        let reason = reason(Failure::Probe, &detail);
        Some(self.eject(cause, reason, now, jitter))
    }

    /// Of an ejected endpoint the newest counts: whether it answers, and whether a request may try it.
    fn is_still_out(&mut self, newest: Failure, probe_passed: bool) -> Option<Effect> {
        self.probe_passed = probe_passed;
        if let EndpointStatus::Ejected { cause, .. } = &mut self.status {
            *cause = newest;
        }
        None
    }

    fn eject(&mut self, cause: Failure, reason: Arc<str>, now: Instant, jitter: f64) -> Effect {
        let healthy = self.status == EndpointStatus::Healthy;
        if healthy && now.saturating_duration_since(self.since) >= FORGIVEN_AFTER {
            self.strikes = 0;
        }
        self.strikes = self.strikes.saturating_add(1);
        let doubled = FIRST_EJECTION
            .saturating_mul(2_u32.saturating_pow(self.strikes.saturating_sub(1).min(10)));
        let lasts = doubled
            .min(LAST_EJECTION)
            .mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 10.0);
        self.status = EndpointStatus::Ejected {
            until: deadline(now, lasts),
            cause,
            strikes: self.strikes,
        };
        self.since = now;
        self.readmitted = None;
        self.reason = Some(reason);
        self.hard_in_row = 0;
        self.failed_probes = 0;
        self.probe_passed = false;
        self.window = Window::default();
        Effect::Ejected(lasts)
    }

    fn tick(&mut self, probing: Probing, now: Instant) {
        if self
            .readmitted
            .is_some_and(|since| deadline(since, SLOW_START) <= now)
        {
            self.readmitted = None;
        }
        if self.admitted_at(probing).is_some_and(|at| at <= now) {
            self.status = EndpointStatus::Probation { successes: 0 };
            self.since = now;
        }
        let is_healthy = self.status == EndpointStatus::Healthy && !self.lowered();
        if is_healthy {
            self.reason = None;
        } else if self.warned && self.reason.is_none() {
            self.reason = Some("port 1337 says unhealthy".into());
        }
    }
}

/// `connect_timeout: no answer within 2.5 s`
fn reason(failure: Failure, detail: &str) -> Arc<str> {
    let mut text = match detail {
        "" => failure.word().to_owned(),
        detail => format!("{}: {detail}", failure.word()),
    };
    text.truncate(text.floor_char_boundary(REASON_BYTES));
    text.into()
}
