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
mod lookups;
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
mod router;
mod rules;
mod search;
mod sizes;
mod stale;
mod sticky;
mod timing;
mod transfer;

pub use blob::PullBody;
pub use context::Context;
pub use lookups::Lookups;
pub(crate) use memory::CONTENT_DIGEST;
pub use reputation::{Reason, Reputation, ReputationRow};
pub use request::PullRequest;
pub(crate) use response::{header_value, marked};
pub(crate) use router::no_of;
pub(crate) use rules::FinalAnswer;

use crate::budget::Keeper;
use crate::config::Config;
use crate::http1::Response;
use crate::lifecycle::contained;
use crate::oci::{ErrorCode, ResourceKind};
use crate::route::{Route, RouteTable};
use crate::telemetry::RequestOutcome;
use context::Rules;
use http::StatusCode;
use record::RequestRecord;
use refusal::{Unserved, broken, not_routed, refusal};
use router::RouterRequest;
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

    /// What the simulation of a fleet drives.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> &Arc<Context> {
        &self.0
    }

    /// Takes a new configuration over; requests under way keep the old one. Timeouts and limits hold from the start
    /// of the process.
    pub fn update(&self, config: Arc<Config>) {
        let routes = RouteTable::new(config.clone());
        let generation = self.0.rules.load().generation.saturating_add(1);
        self.0.rules.store(Arc::new(Rules {
            config,
            routes,
            generation,
        }));
    }

    /// Writes down what is to outlive this run, if it changed: the known sizes, and where images without a registry were found.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn store_learned(&self, sizes: &Path) -> std::io::Result<()> {
        let stored = self.0.sizes.store(sizes);
        self.0.lookups.store().and(stored)
    }

    /// What is known against addresses and sources.
    #[must_use]
    pub fn reputation(&self) -> Arc<Reputation> {
        self.0.reputation.clone()
    }

    /// What is known of images without a registry.
    #[must_use]
    pub fn lookups(&self) -> Arc<Lookups> {
        self.0.lookups.clone()
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
    pub fn request_id(&self) -> Arc<str> {
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

    /// Answers one request. One that a panic ends is answered 503, as one that no source could serve.
    pub async fn pull(&self, request: PullRequest) -> Response<PullBody> {
        let (head, id) = (request.head, self.request_id());
        let answered = contained("request", self.answer(request, id.clone())).await;
        answered.unwrap_or_else(|_| broken(head, &id).map(PullBody::Full))
    }

    async fn answer(&self, request: PullRequest, id: Arc<str>) -> Response<PullBody> {
        let parts = &self.0;
        let (method, now) = (if request.head { "HEAD" } else { "GET" }, Instant::now());
        let mut record = RequestRecord::new(parts.sinks.clone(), id, method, now);
        let rules = parts.rules.load_full();
        if let Some(routed) = RouterRequest::of(parts, &rules, &request) {
            return Box::pin(routed.answer(record)).await;
        }
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
        let served = serve((parts, &rules, route), &request, record).await;
        served.unwrap_or_else(|unserved| unserved.answer(parts, &request).map(PullBody::Full))
    }
}

/// Answers what a source of that route serves.
async fn serve(
    (parts, rules, route): (&Arc<Context>, &Arc<Rules>, Arc<Route>),
    request: &PullRequest,
    record: RequestRecord,
) -> Result<Response<PullBody>, Box<Unserved>> {
    // Blobs and lists are boxed, so that requests for manifests stay small.
    let answered = match &request.kind {
        ResourceKind::Manifest(reference) => {
            let of = (parts, rules, route, reference.clone());
            manifest::serve(of, request, record).await
        }
        ResourceKind::Blob(digest) => {
            let of = (parts, &**rules, route, digest.clone());
            return Box::pin(blob::serve(of, request, record)).await;
        }
        ResourceKind::Tags | ResourceKind::Referrers(_) => {
            Box::pin(list::serve((parts, &**rules, route), request, record)).await
        }
    };
    answered.map(|answered| answered.map(PullBody::Full))
}

#[cfg(test)]
mod tests;
