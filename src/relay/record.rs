//! The one access record of a request: filled while the request runs, emitted exactly once, when its last owner
//! lets it go, however that comes about.

use super::causes;
use super::outcome::AttemptLog;
use crate::metrics::Metrics;
use crate::oci::RegistryName;
use crate::telemetry::{AccessRecord, Journal, RequestId, RequestOutcome};
use crate::topology::EndpointId;
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct Sinks {
    pub(crate) journal: Journal,
    pub(crate) metrics: Arc<Metrics>,
}

/// A request's record while it runs. Dropped before [`RequestRecord::complete`], it says that the client went away.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    record: Box<AccessRecord>,
    began: Instant,
    sinks: Arc<Sinks>,
    complete: bool,
    early_close_is_normal: bool,
    unreported_bytes: u64,
}

/// Bytes after which the metric follows a running body.
const REPORT_BYTES: u64 = 4 * 1024 * 1024;

// === impl RequestRecord ===

impl RequestRecord {
    pub(crate) fn new(
        sinks: Arc<Sinks>,
        request_id: RequestId,
        method: &'static str,
        now: Instant,
    ) -> Self {
        let record = AccessRecord {
            request_id,
            kind: "other",
            method,
            outcome: RequestOutcome::ClientClosed,
            ..AccessRecord::default()
        };
        let record = match sinks.journal.recycled() {
            Some(mut recycled) => {
                *recycled = record;
                recycled
            }
            None => Box::new(record),
        };
        Self {
            record,
            began: now,
            sinks,
            complete: false,
            early_close_is_normal: false,
            unreported_bytes: 0,
        }
    }

    pub(crate) fn asks(
        &mut self,
        registry: Option<RegistryName>,
        repository: Arc<str>,
        kind: &'static str,
        reference: Arc<str>,
    ) {
        self.record.registry = registry;
        self.record.repository = repository.into();
        self.record.kind = kind;
        self.record.reference = reference.into();
    }

    pub(crate) fn searched(&mut self, log: &AttemptLog) {
        self.record.attempts = self.record.attempts.saturating_add(log.attempts);
        self.record.generation = log.generation;
        self.record.asked_by = log.asked_by;
        self.record.error = causes::attempts(&log.failed);
    }

    pub(crate) fn served_by(&mut self, endpoint: &EndpointId) {
        let address: Arc<str> = endpoint.address.to_string().into();
        self.record.tier = endpoint.source.shared_label().into();
        self.record.endpoint = address.into();
    }

    /// A source was left in the middle of the body.
    pub(crate) fn left(&mut self, why: &str) {
        if !self.record.error.is_empty() {
            self.record.error.push_str("; ");
        }
        self.record.error.push_str(why);
    }

    /// The answer is ended before its end, by the agent.
    pub(crate) fn cut(&mut self, why: &str) {
        self.early_close_is_normal = false;
        self.left(why);
    }

    /// Another source goes on with the body.
    pub(crate) fn resumed_by(&mut self, endpoint: &EndpointId, attempts: u32) {
        self.goes_on_by(endpoint, attempts);
        self.record.resumes = self.record.resumes.saturating_add(1);
        self.record.outcome = RequestOutcome::Resumed;
    }

    /// A source begins with the next of several parts.
    pub(crate) fn goes_on_by(&mut self, endpoint: &EndpointId, attempts: u32) {
        self.report_bytes();
        self.served_by(endpoint);
        self.record.attempts = self.record.attempts.saturating_add(attempts);
    }

    pub(crate) fn answers(&mut self, status: u16, outcome: RequestOutcome, now: Instant) {
        let took = now.saturating_duration_since(self.began);
        self.record.status = status;
        self.record.outcome = outcome;
        self.record.time_to_first_byte = Some(took);
    }

    pub(crate) fn sent(&mut self, bytes: u64) {
        self.record.bytes = self.record.bytes.saturating_add(bytes);
        self.unreported_bytes = self.unreported_bytes.saturating_add(bytes);
        if self.unreported_bytes >= REPORT_BYTES {
            self.report_bytes();
        }
    }

    /// The client may leave before the end without that being worth a word: an open-ended range.
    pub(crate) fn early_close_is_normal(&mut self) {
        self.early_close_is_normal = true;
    }

    /// The whole answer went out.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// The answer broke. Who was left before stays in its text.
    pub(crate) fn failed(&mut self, error: &str) {
        self.complete = true;
        self.left(error);
        self.record.outcome = RequestOutcome::Failed;
    }

    /// The request's number, for headers and upstream.
    pub(crate) fn request_id(&self) -> RequestId {
        self.record.request_id.clone()
    }

    fn report_bytes(&mut self) {
        let bytes = std::mem::take(&mut self.unreported_bytes);
        if bytes > 0 && !self.record.tier.is_empty() {
            self.sinks.metrics.relayed(&self.record.tier, bytes);
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.report_bytes();
        let mut record = std::mem::take(&mut self.record);
        if std::thread::panicking() {
            // Let go of by a panic, it is nobody's leaving.
            record.outcome = RequestOutcome::Failed;
            record.error.push_str("harbor-pilot: internal");
        } else if !self.complete && !self.early_close_is_normal {
            record.outcome = RequestOutcome::ClientClosed;
        }
        record.duration = self.began.elapsed();
        self.sinks.metrics.request(&record);
        self.sinks.journal.access(record);
    }
}
