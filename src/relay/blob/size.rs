//! The size of a blob that no manifest of its repository told: what HEAD is answered with, and where several ranges begin. One
//! search for all who ask within ten seconds, by GET of the first byte, given up at the head: a Harbor answers HEAD 404 for what
//! it has not cached yet (harbor-facts 0.5).

use super::BlobFetch;
use crate::relay::memory::Size;
use crate::relay::outcome::{Ended, NotFound};
use std::sync::Arc;
use tokio::time::Instant;

impl BlobFetch {
    /// The size and who told it. What was told within the last ten seconds is not asked for again, whatever it was. Where the
    /// request that asks is cancelled, the next of those who wait asks.
    pub(super) async fn size(&self) -> Arc<Ended<Size>> {
        let (blob, now) = (&self.expected.blob, Instant::now());
        let told = self.parts.memories.told_sizes.change(|sizes| {
            if sizes.get(blob, now).is_none() {
                sizes.put(blob.clone(), Arc::default(), blob.trust, now);
            }
            sizes.get(blob, now).cloned().unwrap_or_default()
        });
        // Cancel safe: another of those who wait begins anew.
        told.get_or_init(|| self.ask_for_size()).await.clone()
    }

    async fn ask_for_size(&self) -> Arc<Ended<Size>> {
        let Ended { result, log } = self.fetch().await;
        let result = result.and_then(|found| {
            let total = found.good.total;
            found.good.finish();
            Ok(Size {
                bytes: total.ok_or(NotFound::Failed)?,
                outcome: found.outcome,
                endpoint: found.endpoint,
            })
        });
        Arc::new(Ended { result, log })
    }
}
