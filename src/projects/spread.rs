//! Which addresses of a tier are asked, and in which order.

use crate::topology::{EndpointId, EndpointStatus, Snapshot, SourceId};

/// Addresses that are asked in turn.
pub(super) const ADDRESSES: usize = 3;

/// A tier's addresses, the healthy ones first; few enough to be asked in turn.
pub(super) fn endpoints_of(snapshot: &Snapshot, source: &SourceId) -> Vec<EndpointId> {
    let Some(state) = snapshot.source(source) else {
        return Vec::new();
    };
    let mut endpoints: Vec<&_> = state.endpoints.iter().collect();
    endpoints.sort_by_key(|one| !matches!(one.status, EndpointStatus::Healthy));
    let first = endpoints.iter().take(ADDRESSES);
    first.map(|one| one.id.clone()).collect()
}
