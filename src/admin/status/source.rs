//! A source and its addresses as `/status` shows them.

use super::projects::ProjectsStatus;
use crate::admin::View;
use crate::printable::words;
use crate::telemetry::{human_days, human_duration};
use crate::topology::{self, EndpointState, SourceId, SourceKind, SourceState};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A tier or an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The tier's name, or the upstream's registry.
    pub name: String,
    /// `harbor`, `path`, `mirror` or `upstream`.
    pub kind: String,
    pub url: String,
    /// At least one address may be used normally, and it does not refuse everything.
    pub ready: bool,
    /// Why it is not ready.
    #[serde(default)]
    pub reason: Option<String>,
    /// The addresses are from before the last failed lookup.
    pub dns_stale: bool,
    /// Why the last lookup failed.
    pub dns_error: Option<String>,
    /// Its certificate is not checked.
    pub insecure_skip_verify: bool,
    pub endpoints: Vec<EndpointStatus>,
    /// What is wrong with its robot account, or soon will be: `expires in 13 days`; absent: nothing, or it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robot: Option<String>,
    /// The projects that were found; absent: it has no `[tier.discovery]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<ProjectsStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// `203.0.113.7:443`
    pub address: String,
    /// Whether it is used.
    pub state: State,
    /// The last reason, such as `connect_timeout: no answer within 2.5 s`.
    pub reason: Option<String>,
    /// For how long the state has held.
    pub since_seconds: u64,
    /// Until probation at the earliest; only of an ejected one.
    pub ejected_for_seconds: Option<u64>,
    /// Until it is tried next; absent: it is healthy, or the next request tries it.
    #[serde(default)]
    pub next_try_seconds: Option<u64>,
    /// Others are preferred: port 1337 of its host answers 503.
    pub lowered: bool,
    /// A connect to it takes too long just now.
    pub suspect: bool,
    /// Moving average of the first byte's time.
    pub latency_ms: Option<u64>,
    /// Requests now at it.
    pub in_flight: u32,
}

words! {
    /// Whether an address is used.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum State {
        Healthy = "healthy",
        /// Only when there is nothing better.
        Ejected = "ejected",
        /// One request at a time.
        Probation = "probation",
        /// Nothing was wrong when it was last asked; its certificate has expired since.
        Expired = "expired",
    }
}

// === impl SourceStatus ===

impl SourceStatus {
    pub(in crate::admin) fn new(state: &SourceState, view: &View, now: Instant) -> Self {
        let source = &state.source;
        let kind = match source.kind {
            SourceKind::Harbor => "harbor",
            SourceKind::Path => "path",
            SourceKind::Mirror => "mirror",
            SourceKind::Upstream => "upstream",
        };
        let name = match &source.id {
            SourceId::Tier(name) => name.to_string(),
            SourceId::Upstream(registry) => registry.to_string(),
        };
        let wall = SystemTime::now();
        let endpoints = state.endpoints.iter().map(|endpoint| {
            let mut shown = EndpointStatus::new(endpoint, now);
            let ends = view.clients.iter();
            let ends = ends
                .filter_map(|client| client.certificate_of(&endpoint.id))
                .max();
            if !source.tls.insecure_skip_verify {
                shown.expire(ends, wall);
            }
            shown
        });
        let endpoints: Vec<EndpointStatus> = endpoints.collect();
        let is_usable =
            |one: &EndpointStatus| matches!(one.state, State::Healthy | State::Probation);
        let ready = state.ready && endpoints.iter().any(is_usable);
        Self {
            name,
            kind: kind.to_owned(),
            url: source.url.to_string(),
            ready,
            reason: (!ready).then(|| not_ready(state, &endpoints)),
            dns_stale: state.dns_stale,
            dns_error: text(state.dns_error.as_ref()),
            insecure_skip_verify: source.tls.insecure_skip_verify,
            endpoints,
            robot: match &source.id {
                SourceId::Tier(name) => {
                    let robots = view.robots.borrow();
                    robots.get(name).and_then(|robot| robot.trouble(wall))
                }
                SourceId::Upstream(_) => None,
            },
            projects: match &source.id {
                SourceId::Tier(name) => {
                    let projects = view.projects.borrow();
                    let state = projects.tiers.get(name);
                    state.map(|state| ProjectsStatus::new(state, wall))
                }
                SourceId::Upstream(_) => None,
            },
        }
    }
}

fn text(text: Option<&Arc<str>>) -> Option<String> {
    text.map(ToString::to_string)
}

// === impl EndpointStatus ===

impl EndpointStatus {
    fn new(endpoint: &EndpointState, now: Instant) -> Self {
        let (state, until) = match endpoint.status {
            topology::EndpointStatus::Healthy => (State::Healthy, None),
            topology::EndpointStatus::Ejected { until, .. } => (State::Ejected, Some(until)),
            topology::EndpointStatus::Probation { .. } => (State::Probation, None),
        };
        let seconds = |at: Instant| at.saturating_duration_since(now).as_secs();
        let latency = endpoint.latency.map(|latency| latency.as_millis());
        Self {
            address: endpoint.id.address.to_string(),
            state,
            reason: text(endpoint.reason.as_ref()),
            since_seconds: now.saturating_duration_since(endpoint.since).as_secs(),
            ejected_for_seconds: until.map(seconds),
            next_try_seconds: endpoint.next_try.map(seconds),
            lowered: endpoint.lowered,
            suspect: endpoint.gauges.is_suspect(),
            latency_ms: latency.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            in_flight: endpoint.gauges.in_flight(),
        }
    }

    /// A certificate that has expired since the address was last asked: nobody would get through.
    pub(in crate::admin) fn expire(&mut self, ends: Option<SystemTime>, wall: SystemTime) {
        let ended = ends.and_then(|ends| wall.duration_since(ends).ok());
        if let Some(ended) = ended
            && self.state == State::Healthy
        {
            self.state = State::Expired;
            self.reason = Some(format!("its certificate expired {} ago", human_days(ended)));
        }
    }

    /// State, reason and next try in a few words: `ejected (refused: …), next try in 12 s`.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = self.state.word().to_owned();
        if let Some(reason) = &self.reason {
            text = format!("{text} ({reason})");
        }
        if let Some(next) = self.next_try() {
            text = format!("{text}, {next}");
        }
        text
    }

    /// `next try in 12 s`; `None`: it is healthy.
    #[must_use]
    pub fn next_try(&self) -> Option<String> {
        match (self.next_try_seconds, self.state) {
            (Some(0), _) => Some("next try now".to_owned()),
            (Some(seconds), _) => {
                let left = human_duration(Duration::from_secs(seconds));
                Some(format!("next try in {left}"))
            }
            (None, State::Probation) => Some("the next request tries it".to_owned()),
            (None, _) => None,
        }
    }
}

/// Why a source is not ready.
fn not_ready(state: &SourceState, endpoints: &[EndpointStatus]) -> String {
    if let Some(refused) = &state.refused {
        return refused.to_string();
    }
    match (endpoints, &state.dns_error) {
        ([], Some(error)) => format!("no address: {error}"),
        ([], None) => "no address is known yet".to_owned(),
        ([first, rest @ ..], _) => {
            let more = match rest.len() {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            format!("{} {}{more}", first.address, first.words())
        }
    }
}
