//! The size of a blob that no manifest of its repository told: what HEAD is answered with, and where several ranges begin. One
//! search for all who ask within ten seconds, by GET of the first byte, given up at the head: a Harbor answers HEAD 404 for what
//! it has not cached yet (harbor-facts 0.5).

use super::{BlobSpec, Fetched};
use crate::oci::ErrorCode;
use crate::relay::context::Context;
use crate::relay::head;
use crate::relay::memory::Size;
use crate::relay::outcome::{Ended, Found, NotFound};
use crate::relay::record::RequestRecord;
use crate::relay::refusal::not_served;
use crate::relay::request::PullRequest;
use crate::relay::response::Answered;
use crate::relay::search::Search;
use crate::relay::timing::Timing;
use crate::route::Route;
use std::sync::Arc;
use tokio::time::Instant;

/// A search for a size.
#[derive(Clone)]
pub(super) struct SizeSearch {
    pub(super) parts: Arc<Context>,
    pub(super) route: Arc<Route>,
    pub(super) spec: BlobSpec,
    pub(super) timing: Timing,
    /// Of the configuration.
    pub(super) generation: u64,
}

// === impl SizeSearch ===

impl SizeSearch {
    /// The size, or the answer where nobody tells one. What was told within the last ten seconds is not asked for again,
    /// whatever it was.
    pub(super) async fn run(
        self,
        what: &str,
        request: &PullRequest,
        mut record: RequestRecord,
    ) -> Result<(Size, RequestRecord), Box<Answered>> {
        let (parts, pulled) = (self.parts.clone(), self.spec.pulled());
        let kept = parts.memories.told_sizes.get(&pulled, Instant::now());
        let told = match kept {
            Some(told) => told,
            None => {
                let key = (self.generation, pulled);
                let flown = parts.size_flights.join(key, || self.clone().told()).await;
                flown.map_or_else(
                    |panicked| Arc::new(Ended::broken(&panicked)),
                    |told| Arc::clone(&told),
                )
            }
        };
        record.searched(&told.log);
        match &told.result {
            Ok(size) => {
                record.served_by(&size.endpoint);
                Ok((size.clone(), record))
            }
            Err(nothing) => {
                let (what, of) = ((what, ErrorCode::BlobUnknown), (&*parts, &*self.route));
                Err(Box::new(not_served(
                    (nothing, &told.log),
                    what,
                    of,
                    request,
                    record,
                )))
            }
        }
    }

    /// Asks, and remembers for the next ten seconds.
    async fn told(self) -> Arc<Ended<Size>> {
        let pulled = self.spec.pulled();
        let trust = pulled.trust;
        let parts = self.parts.clone();
        let memory = &parts.memories.told_sizes;
        // Another search may have ended since this one was asked for.
        if let Some(told) = memory.get(&pulled, Instant::now()) {
            return told;
        }
        let told = Arc::new(self.search().await);
        memory.put(pulled, told.clone(), trust, Instant::now());
        told
    }

    async fn search(self) -> Ended<Size> {
        let parts = &self.parts;
        let trust = self.spec.trust;
        let (route, denied) = parts.without_denied(self.route.clone());
        let spec = Arc::new(self.spec.clone());
        let search = Search::new(parts.clone(), route.clone(), spec, self.timing);
        let ended = search.run().await;
        let is_nowhere = ended.is_nowhere();
        let result = match ended.result {
            Ok(Found {
                good: Fetched::Size(bytes),
                endpoint,
                first_choice,
                ..
            }) => {
                let content = std::iter::once(&self.spec.digest);
                parts
                    .stickiness
                    .answered((&route, trust), &endpoint, content, Instant::now());
                let outcome = head::outcome(&route, &endpoint, first_choice);
                Ok(Size {
                    bytes,
                    endpoint,
                    outcome,
                })
            }
            // A body, which nobody asked for.
            Ok(_) => Err(NotFound::Failed),
            Err(nothing) => {
                if is_nowhere {
                    let blob = (self.spec.expected.blob(), trust);
                    parts.is_nowhere(blob);
                }
                Err(parts.remember_denial((&route, trust), denied, nothing))
            }
        };
        let log = ended.log;
        Ended { result, log }
    }
}
