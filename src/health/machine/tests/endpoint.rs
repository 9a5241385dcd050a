//! One endpoint to which things happen, second by second.

use crate::health::machine::{Effect, Event, Probing, State, step};
use crate::health::probe::{ProbeReport, Verdict};
use crate::topology::{EndpointStatus, Failure, Outcome};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const PROBED: Probing = Probing {
    on: true,
    interval: Duration::from_secs(60),
};

pub(super) const UNPROBED: Probing = Probing {
    on: false,
    interval: Duration::from_secs(60),
};

/// One endpoint and its clock.
pub(super) struct Endpoint {
    pub(super) state: State,
    pub(super) start: Instant,
    probing: Probing,
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn passed() -> ProbeReport {
    ProbeReport {
        verdict: Verdict::Passed,
        took: Duration::from_millis(8),
        lowered: false,
        cookie: None,
    }
}

pub(super) fn unhealthy() -> ProbeReport {
    ProbeReport {
        verdict: Verdict::Unhealthy("redis: gone".to_owned()),
        ..passed()
    }
}

pub(super) fn unreachable() -> ProbeReport {
    let verdict = Verdict::Failed {
        failure: Failure::ConnectTimeout,
        detail: "no answer".to_owned(),
    };
    ProbeReport {
        verdict,
        ..passed()
    }
}

impl Endpoint {
    pub(super) fn new(probing: Probing) -> Self {
        let start = Instant::now();
        let state = State::new(start);
        Self {
            state,
            start,
            probing,
        }
    }

    pub(super) fn at(&mut self, second: u64, event: Event<'_>) -> Option<Effect> {
        let now = self.start + seconds(second);
        let (state, effect) = step(self.state.clone(), event, self.probing, now, 0.0);
        self.state = state;
        effect
    }

    pub(super) fn outcome(&mut self, second: u64, outcome: Outcome) -> Option<Effect> {
        let event = Event::Outcome {
            outcome,
            first_byte: None,
            detail: "detail",
        };
        self.at(second, event)
    }

    pub(super) fn hard(&mut self, second: u64, failure: Failure) -> Option<Effect> {
        self.outcome(second, Outcome::Hard(failure))
    }

    pub(super) fn success(&mut self, second: u64) -> Option<Effect> {
        self.outcome(second, Outcome::Success)
    }

    pub(super) fn probe(&mut self, second: u64, report: &ProbeReport) -> Option<Effect> {
        self.at(second, Event::Probe(report))
    }

    pub(super) fn is(&self) -> &'static str {
        match self.state.status {
            EndpointStatus::Healthy => "healthy",
            EndpointStatus::Ejected { .. } => "ejected",
            EndpointStatus::Probation { .. } => "probation",
        }
    }

    pub(super) fn lasts(&self) -> u64 {
        match self.state.status {
            EndpointStatus::Ejected { until, .. } => (until - self.state.since).as_secs(),
            _ => 0,
        }
    }
}
