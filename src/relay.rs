//! The pull path: from one request of containerd to one answer, from whichever source can give it. This file is its entry: it
//! routes a request and hands it to what knows such resources.
//!
//! Decisions are pure (`timing`: when to ask whom; `rules`: what an answer means; `transfer`: which bytes of a blob may be let
//! go); `search` runs attempts by their orders; `manifest`, `blob` and `list` know what a good body is. Reads the
//! published snapshot and the route table, reports outcomes, owns the memories of what passed through.

mod blob;
mod candidates;
mod causes;
mod coding;
mod context;
mod dials;
mod fetched;
mod flight;
mod head;
mod hedge;
mod list;
mod manifest;
mod memory;
mod network;
mod outcome;
mod penalties;
mod policy;
mod quota;
mod rates;
mod record;
mod refusal;
mod reputation;
mod request;
mod response;
mod rules;
mod search;
mod sizes;
mod stale;
mod sticky;
mod timing;
mod transfer;

pub use blob::PullBody;
pub(crate) use causes::{FailedAttempt, message as message_of};
pub use context::Context;
pub(crate) use context::{Pull, Rules};
pub(crate) use fetched::Served;
pub(crate) use flight::Flights;
pub(crate) use head::no_of;
pub(crate) use list::look as look_for_tags;
pub(crate) use manifest::{STALE, look as look_for_manifest};
pub(crate) use memory::{CONTENT_DIGEST, Image};
pub(crate) use outcome::{AttemptLog, Ended, NotFound};
pub(crate) use record::RequestRecord;
pub(crate) use refusal::{Unserved, broken, is_at_no_tier, not_routed, refusal, says_no};
pub use reputation::{Reason, Reputation, ReputationRow};
pub use request::PullRequest;
pub(crate) use response::{header_value, marked};
pub(crate) use rules::{Cause, FinalAnswer};

use crate::budget::Keeper;
use crate::config::Config;
use crate::http1::Response;
use crate::oci::{ErrorCode, ResourceKind};
use crate::telemetry::{RequestId, RequestOutcome};
use http::StatusCode;
use std::path::Path;
use std::sync::Arc;
use tokio::time::Instant;

/// What the pull path is made of. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Context>);

// === impl Relay ===

impl Relay {
    /// From now on the budget asks it for room.
    #[must_use]
    pub fn new(parts: Context) -> Self {
        let parts = Arc::new(parts);
        let keeper: Arc<dyn Keeper> = parts.clone();
        parts.budget.register(Arc::downgrade(&keeper));
        Self(parts)
    }

    /// What all its requests share.
    pub(crate) fn parts(&self) -> &Arc<Context> {
        &self.0
    }

    /// Takes a new configuration over; requests under way keep the old one. Timeouts and limits but those of bandwidth
    /// hold from the start of the process.
    pub fn update(&self, config: Arc<Config>) {
        self.0.bandwidth.reload(&config);
        let generation = self.0.rules.load().generation.saturating_add(1);
        let rules = Rules::new(config, generation);
        self.0.rules.store(Arc::new(rules));
    }

    /// Writes down what is to outlive this run, if it changed: the known sizes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store_learned(&self, sizes: &Path) -> std::io::Result<()> {
        self.0.sizes.store(sizes)
    }

    /// What is known against addresses and sources.
    #[must_use]
    pub fn reputation(&self) -> Arc<Reputation> {
        self.0.reputation.clone()
    }

    /// Forgets what has expired, so that its memory is free while nobody asks for anything.
    pub fn sweep(&self, now: Instant) {
        self.0.memories.sweep(now);
        self.0.reputation.sweep(now);
        self.0.network.exchanger.sweep(now);
        self.0.stale.sweep(now);
    }

    /// A fresh request number: 16 hexadecimal digits.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        format!("{:016x}", self.0.random()).into()
    }

    /// Answers a request that asks for nothing that is here.
    #[must_use]
    pub fn refuse(
        &self,
        method: &'static str,
        head: bool,
        status: StatusCode,
        code: ErrorCode,
        message: &str,
    ) -> Response<PullBody> {
        let sinks = self.0.sinks.clone();
        let record = RequestRecord::new(sinks, self.request_id(), method, Instant::now());
        refusal(
            (status, code, message),
            RequestOutcome::Refused,
            head,
            record,
        )
        .map(PullBody::Full)
    }

    /// Answers a request for an image that names its registry.
    pub(crate) async fn pull(
        &self,
        rules: &Arc<Rules>,
        request: &PullRequest,
        mut record: RequestRecord,
    ) -> Response<PullBody> {
        let routed = rules
            .routes
            .route(request.ns.as_deref(), &request.name, &request.kind);
        let (kind, reference) = (request.kind.word(), request.kind.reference());
        let route = match routed {
            Ok(route) => route,
            Err(refused) => {
                record.asks(None, request.name.as_str().into(), kind, reference);
                return not_routed(&refused, request.head, record).map(PullBody::Full);
            }
        };
        let registry = Some(route.registry_label.clone());
        record.asks(registry, route.repository.shared(), kind, reference);
        let pull = Pull::new(&self.0, rules, route, record.request_id(), request.trust);
        let served = serve(pull, request, record).await;
        served.unwrap_or_else(|unserved| unserved.answer(&self.0, request).map(PullBody::Full))
    }
}

/// Answers what a source of that route serves.
pub(crate) async fn serve(
    pull: Pull,
    request: &PullRequest,
    record: RequestRecord,
) -> Result<Response<PullBody>, Box<Unserved>> {
    // Blobs and lists are boxed, so that requests for manifests stay small.
    let answered = match &request.kind {
        ResourceKind::Manifest(reference) => {
            manifest::serve(pull, reference.clone(), request, record).await
        }
        ResourceKind::Blob(digest) => {
            return Box::pin(blob::serve(pull, digest.clone(), request, record)).await;
        }
        ResourceKind::Tags | ResourceKind::Referrers(_) => {
            Box::pin(list::serve(pull, request, record)).await
        }
    };
    answered.map(|answered| answered.map(PullBody::Full))
}

#[cfg(test)]
mod tests;
