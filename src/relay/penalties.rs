//! What is done about wrong bytes, wherever they are found.

use crate::cache::Trust;
use crate::oci::Digest;
use crate::relay::context::Context;
use crate::telemetry::{EventName, StateChange};
use crate::topology::EndpointId;
use tokio::time::Instant;

/// Wrong bytes: metric, event, and no more of this digest from this address for a while.
/// `trust`: of whoever pulled it.
pub(crate) fn penalise(
    parts: &Context,
    (endpoint, digest): (&EndpointId, &Digest),
    trust: Trust,
    detail: &str,
) {
    parts.sinks.metrics.digest_mismatch(endpoint.source.label());
    parts.memories.quarantine.put(
        (endpoint.clone(), digest.clone()),
        (),
        trust,
        Instant::now(),
    );
    parts.sinks.journal.event(StateChange {
        event: EventName::DigestMismatch,
        tier: Some(endpoint.source.label().to_owned()),
        endpoint: Some(endpoint.address.to_string()),
        reason: format!("{digest}: {detail}"),
        message: format!("{endpoint} sent wrong bytes for {digest}: {detail}; it is not asked for it for 10 minutes"),
    });
}
