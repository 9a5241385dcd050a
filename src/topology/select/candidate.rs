//! Who may be asked, and why it stands where it stands.

use super::{Effect, Why};
use crate::topology::endpoint::{EndpointGauges, EndpointId};
use crate::topology::source::{Source, SourceId};
use std::sync::Arc;

/// An endpoint that may be asked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The address, with the source that it belongs to.
    pub endpoint: EndpointId,
    /// Of which source, as it was in the snapshot.
    pub source: Arc<Source>,
    /// Its source's place among the request's targets.
    pub target: usize,
    /// What the caller counts its request and its connect on.
    pub gauges: Arc<EndpointGauges>,
    /// Why it stands where it stands.
    pub why: Why,
    /// What is known against it puts it there.
    pub held_back: Option<Effect>,
    /// It is full, suspect, or ejected and too slow last: to ask it may mean to wait.
    pub makes_wait: bool,
}

// === impl Candidate ===

impl Candidate {
    /// Whether it is the registry's own.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        matches!(self.endpoint.source, SourceId::Upstream(_))
    }

    /// Whether its health and all that is known against it let it be asked in its turn.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.held_back.is_none() && !matches!(self.why, Why::Suspect | Why::FailOpen)
    }

    /// Whether it is asked when everybody else has failed: its tier said no, or something is known against it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.held_back == Some(Effect::Last)
    }
}
