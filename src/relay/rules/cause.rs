//! Why a source did not serve, and whether that leaves open what it would have said.

use crate::topology::Failure;

/// Why a source did not serve, as a closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    NotFound,
    Denied,
    Policy,
    TooManyRequests,
    /// A 429 that a registry says in its own JSON: of a Harbor that of its upstream.
    UpstreamLimited,
    ServerError,
    ColdCascade,
    WrongLength,
    WrongRange,
    WrongContent,
    WrongDigest,
    Unusable,
    /// HTML that says no: somebody on the way to the registry.
    Html,
    NoAddress,
    /// This node had no memory for the answer.
    NoMemory,
    Failed(Failure),
}

// === impl Cause ===

impl Cause {
    /// Nobody was there, or nobody who could answer (design P11). Which of the sources that failed so would have said no
    /// is not known.
    pub(crate) fn is_outage(self) -> bool {
        match self {
            Self::Failed(failure) => !matches!(
                failure,
                Failure::Slow | Failure::Content | Failure::TooLarge | Failure::Probe
            ),
            Self::NoAddress
            | Self::ServerError
            | Self::TooManyRequests
            | Self::UpstreamLimited
            | Self::Html => true,
            _ => false,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Policy => "policy",
            Self::TooManyRequests | Self::UpstreamLimited => "too_many_requests",
            Self::ServerError => "server_error",
            Self::ColdCascade => "cold_cascade",
            Self::WrongLength => "wrong_length",
            Self::WrongRange => "wrong_range",
            Self::WrongContent => "wrong_content",
            Self::WrongDigest => "wrong_digest",
            Self::Unusable => "unusable_answer",
            Self::Html => "html",
            Self::NoAddress => "no_address",
            Self::NoMemory => "no_memory",
            Self::Failed(failure) => failure.word(),
        }
    }
}
