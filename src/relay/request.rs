//! One request of a client, as the listener has read it.

use crate::cache::Trust;
use crate::oci::{RangeSpec, Ranges, RawName, ResourceKind};
use crate::telemetry::Trace;
use http::header::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;

/// One request for a resource, parsed.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// HEAD instead of GET.
    pub head: bool,
    /// `?ns=`, decoded.
    pub ns: Option<String>,
    /// The name in the path.
    pub name: RawName,
    /// Manifest, blob or list, with its tag or digest.
    pub kind: ResourceKind,
    /// The client's `Accept`, several joined.
    pub accept: Option<HeaderValue>,
    /// The client's `Range`; none for HEAD.
    pub ranges: Option<Ranges>,
    /// It is a client that tells its user of a 403, and goes on to the registry all the same (design P4): containerd 2.
    pub shows_denials: bool,
    /// What else stood in the query (`n`, `last`), for lists.
    pub query: Option<String>,
    /// Who asks: what its pull teaches is kept accordingly.
    pub trust: Trust,
    /// Its address, where it is another machine's.
    pub client: Option<IpAddr>,
    /// Its trace, where requests are traced.
    pub trace: Option<Arc<Trace>>,
}

// === impl PullRequest ===

impl PullRequest {
    /// The range that is asked for, if it is one.
    pub(crate) fn range(&self) -> Option<RangeSpec> {
        self.ranges.as_ref()?.single()
    }
}
