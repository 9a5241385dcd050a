//! The size of a blob that no manifest of its repository told: what HEAD is answered with, and where several ranges begin. One
//! search for all who ask within ten seconds, by GET of the first byte, given up at the head: a Harbor answers HEAD 404 for what
//! it has not cached yet (harbor-facts 0.5).

use super::BlobFetch;
use crate::relay::memory::Size;
use crate::relay::outcome::{Ended, NotFound};
use std::sync::Arc;
use tokio::time::Instant;

impl BlobFetch {
    /// The size and who told it. What was told within the last ten seconds is not asked for again, whatever it was. `generation`:
    /// of the configuration.
    pub(super) async fn size(&self, generation: u64) -> Arc<Ended<Size>> {
        let (blob, told) = (self.spec.blob(), &self.spec.parts.memories.told_sizes);
        if let Some(told) = told.get(blob, Instant::now()) {
            return told;
        }
        let key = (generation, blob.clone());
        let flights = &self.spec.parts.size_flights;
        flights.join(key, || self.clone().told()).await
    }

    /// Asks, and remembers for the next ten seconds.
    async fn told(self) -> Arc<Ended<Size>> {
        let (blob, told) = (self.spec.blob(), &self.spec.parts.memories.told_sizes);
        // Another search may have ended since this one was asked for.
        if let Some(told) = told.get(blob, Instant::now()) {
            return told;
        }
        let Ended { result, log } = self.search().await;
        let result = result.and_then(|found| {
            Ok(Size {
                bytes: found.good.total.ok_or(NotFound::Failed)?,
                outcome: found.outcome,
                endpoint: found.endpoint,
            })
        });
        let ended = Arc::new(Ended { result, log });
        told.put(blob.clone(), ended.clone(), blob.trust, Instant::now());
        ended
    }
}
