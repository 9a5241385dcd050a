//! When new sources are really in force: published by health, and known to DNS.

use crate::topology::{Snapshot, Source, SourceId, Sources};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A failed or silent lookup never stops a reload (design H1): the old configuration serves meanwhile.
pub(super) const AT_RELOAD: Duration = Duration::from_secs(1);

/// Nor the start, for which containerd waits; a request that comes before DNS has answered waits for it itself.
pub(super) const AT_START: Duration = Duration::from_millis(100);

/// Ready when the snapshot shows these sources and DNS has answered or failed for every tier of them: a request that
/// came before would find no tier, or the one that was there before with its old address and password.
pub(super) async fn settled(
    mut snapshot: watch::Receiver<Arc<Snapshot>>,
    sources: &Sources,
    limit: Duration,
) {
    let settled = snapshot.wait_for(|snapshot| sources.all().all(|source| shows(snapshot, source)));
    if tokio::time::timeout(limit, settled).await.is_err() {
        tracing::warn!("DNS has not answered for every tier; serving without them until it does");
    }
}

fn shows(snapshot: &Snapshot, source: &Arc<Source>) -> bool {
    let Some(state) = snapshot.source(&source.id) else {
        return false;
    };
    // Upstreams are looked up when they are first wanted.
    let is_lazy = matches!(source.id, SourceId::Upstream(_));
    let answered = !state.endpoints.is_empty() || state.dns_error.is_some();
    state.source == *source && (is_lazy || answered)
}
