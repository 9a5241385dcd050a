//! What broke on a connection, and what kind of failure that is.

use super::Error;
use super::local::failure_of;
use crate::http1::Wrong;
use crate::topology::Failure;
use std::io;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("closed before the answer was whole")]
    Closed,
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// The request cannot be sent there.
    #[error(transparent)]
    Request(#[from] Error),
    #[error("TLS")]
    Tls(#[source] io::Error),
    #[error(transparent)]
    Io(io::Error),
}

// === impl Fault ===

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref();
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            Self::Tls(error)
        } else {
            Self::Io(error)
        }
    }
}

impl Fault {
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Closed => Failure::Reset,
            Self::Wrong(_) => Failure::Content,
            Self::Request(error) => error.failure,
            Self::Tls(_) => Failure::Tls,
            Self::Io(error) => failure_of(error, Failure::Reset),
        }
    }
}
