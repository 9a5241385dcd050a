//! What others see of the table: a source's state in a snapshot, and events.

use super::{Effect, Row, Seen, SourceState, Table, Turn};
use crate::telemetry::{EventName, StateChange};
use crate::topology::{EndpointId, EndpointState, EndpointStatus, Source, SourceId};
use std::sync::Arc;

impl Table {
    /// One source as readers see it: the addresses that DNS names now.
    pub(super) fn view(&self, source: &Arc<Source>) -> SourceState {
        let endpoints = self.current(&source.id).map(|(id, row)| EndpointState {
            id: id.clone(),
            status: row.state.status,
            lowered: row.state.lowered(),
            since: row.state.since,
            next_try: row.state.next_try(self.probing(id), row.clock.next()),
            readmitted: row.state.readmitted,
            gauges: row.gauges.clone(),
            reason: row.state.reason.clone(),
            latency: row.state.latency.shown(),
        });
        let set = self.set_of(source);
        let readiness = self.readiness.get(&source.id).copied();
        SourceState {
            source: source.clone(),
            endpoints: endpoints.collect(),
            ready: readiness.is_some_and(|readiness| readiness.ready),
            dns_stale: set.is_some_and(|set| set.stale),
            dns_error: set.and_then(|set| set.error.clone()),
            refused: self.refusals.reason(&source.id),
        }
    }

    /// The addresses of a source that DNS names now.
    fn current(&self, source: &SourceId) -> impl Iterator<Item = (&EndpointId, &Row)> {
        let rows = self.rows.iter();
        rows.filter(move |(id, row)| id.source == *source && row.left.is_none())
    }

    pub(super) fn seen(&self, source: &SourceId) -> Seen {
        let mut seen = Seen::default();
        // It may not be counted on, however healthy its addresses are, and time does not change that.
        let refused = self.refusals.reason(source).is_some();
        for (_, row) in self.current(source) {
            seen.any = true;
            if refused {
                continue;
            }
            seen.usable |= !matches!(row.state.status, EndpointStatus::Ejected { .. });
            if row.state.status == EndpointStatus::Healthy {
                let since = row.state.since;
                seen.healthy_since = Some(seen.healthy_since.map_or(since, |at| at.min(since)));
            }
        }
        seen
    }

    /// Why the endpoint that was ejected last was ejected.
    pub(super) fn last_reason(&self, source: &SourceId) -> String {
        if let Some(refused) = self.refusals.reason(source) {
            return refused.to_string();
        }
        match self.current(source).max_by_key(|(_, row)| row.state.since) {
            Some((id, row)) => {
                let reason = row.state.reason.as_deref().unwrap_or("ejected");
                format!("{}: {reason}", id.address)
            }
            None => "no address is left".to_owned(),
        }
    }
}

pub(super) fn effect(endpoint: &EndpointId, effect: Effect, reason: &str) -> StateChange {
    let (event, reason, message) = match effect {
        Effect::Ejected(lasts) => {
            let seconds = lasts.as_secs_f64();
            let message = format!("{endpoint} is not used for {seconds:.0} s: {reason}");
            (EventName::EndpointEjected, reason, message)
        }
        Effect::Readmitted => {
            let message = format!("{endpoint} is used again");
            (EventName::EndpointReadmitted, "it answered well", message)
        }
    };
    StateChange {
        event,
        tier: Some(endpoint.source.label().to_owned()),
        endpoint: Some(endpoint.address.to_string()),
        reason: reason.to_owned(),
        message,
    }
}

pub(super) fn turn(source: &SourceId, turn: Turn, reason: String) -> StateChange {
    let (event, message) = match turn {
        Turn::Down => (
            EventName::TierDown,
            format!("tier {source} has no address that can be used: {reason}"),
        ),
        Turn::Up | Turn::Moved => (
            EventName::TierUp,
            format!("tier {source} is back: {reason}"),
        ),
    };
    StateChange {
        event,
        tier: Some(source.label().to_owned()),
        endpoint: None,
        reason,
        message,
    }
}
