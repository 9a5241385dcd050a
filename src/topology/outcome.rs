//! What a request learned about an endpoint: the one message that flows against the data.

use super::endpoint::EndpointId;
use crate::printable::words;
use std::time::Duration;

/// Sent by whoever used an endpoint to whoever owns its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeReport {
    /// The endpoint that was asked.
    pub endpoint: EndpointId,
    /// What the attempt ended with.
    pub outcome: Outcome,
    /// From sending the request to the first byte of its answer, where there was one: feeds the moving average
    /// that the choice between two addresses uses.
    pub first_byte: Option<Duration>,
    /// For people: the reason as it stands in the log.
    pub detail: String,
}

/// What happened (design H3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered as an endpoint should, whatever the answer says about the content: 200, but also 403, 404, 412 and cold
    /// cascades, which are no failures of an endpoint.
    Success,
    /// It lets this node in to nothing that was asked: 401 in spite of all that the agent may show. Of the address it says
    /// nothing; several in a row say that its tier refuses the agent.
    Denied,
    /// It says nothing of the endpoint, for or against it: what a client chose, what is broken on this node, or a word that is
    /// not the endpoint's own.
    Neutral,
    /// Hard: counts towards ejection by itself.
    Hard(Failure),
    /// Soft: counts in the success rate only.
    Soft(Failure),
    /// Wants no requests for so long (429 with Retry-After). For which of them is the pull path's matter: those of one registry.
    /// Of the endpoint it says nothing.
    CoolDown(Duration),
}

words! {
    /// The kinds of failure, as words for logs and metrics.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Failure {
        /// The connection was refused or the network said no at once.
        Refused = "refused",
        /// No TCP connection within the limit.
        ConnectTimeout = "connect_timeout",
        /// TLS failed: certificate, handshake, time.
        Tls = "tls",
        /// No first byte within the limit.
        Timeout = "timeout",
        /// Closed or reset before the answer was whole.
        Reset = "reset",
        /// Status 5xx.
        ServerError = "server_error",
        /// Status 429.
        TooManyRequests = "too_many_requests",
        /// Below the low-speed limit, or stalled.
        Slow = "slow",
        /// Bytes that are not what was asked for: wrong digest, HTML, error JSON with 200.
        Content = "content",
        /// Its token endpoint failed.
        Token = "token",
        /// The probe failed or said unhealthy.
        Probe = "probe",
        /// The agent itself failed: a bug.
        Internal = "internal",
        /// This node could not: it has no descriptors, memory, buffers or ports left.
        Local = "local",
        /// A host that the endpoint named has no address.
        NoAddress = "no_address",
        /// The answer is longer than is taken.
        TooLarge = "too_large",
        /// Its token endpoint does not take what was asked for (4xx).
        TokenRefused = "token_refused",
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether it says nothing of the endpoint.
    #[must_use]
    pub fn says_nothing(self) -> bool {
        match self {
            Self::Neutral | Self::CoolDown(_) => true,
            Self::Hard(failure) | Self::Soft(failure) => !failure.is_the_endpoints(),
            Self::Success | Self::Denied => false,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// Whether nothing, or too little, came within the time that it had.
    #[must_use]
    pub fn is_silence(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::Timeout | Self::Slow)
    }

    /// Whether it says anything of the endpoint. What a client may have chosen, and what is broken on this node, does not.
    #[must_use]
    pub fn is_the_endpoints(self) -> bool {
        match self {
            Self::Refused
            | Self::ConnectTimeout
            | Self::Tls
            | Self::Timeout
            | Self::Reset
            | Self::ServerError
            | Self::TooManyRequests
            | Self::Slow
            | Self::Content
            | Self::Token
            | Self::Probe => true,
            Self::Internal
            | Self::Local
            | Self::NoAddress
            | Self::TooLarge
            | Self::TokenRefused => false,
        }
    }
}
