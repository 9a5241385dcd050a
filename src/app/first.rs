//! What the start waits for: the first answer of DNS.

use crate::topology::{Snapshot, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A failed or silent lookup never stops the start (design H1).
const LIMIT: Duration = Duration::from_secs(1);

/// Ready when DNS has answered or failed for every tier: who asks before would find no tier, and get what he wants from
/// upstream or not at all.
pub(super) async fn addresses(mut snapshot: watch::Receiver<Arc<Snapshot>>, tiers: &[Arc<Source>]) {
    let answered = snapshot.wait_for(|snapshot| {
        tiers.iter().all(|tier| {
            let state = snapshot.source(&tier.id);
            state.is_some_and(|state| !state.endpoints.is_empty() || state.dns_error.is_some())
        })
    });
    if tokio::time::timeout(LIMIT, answered).await.is_err() {
        tracing::warn!("DNS has not answered for every tier; serving without them until it does");
    }
}
