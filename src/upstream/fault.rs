//! What broke on a connection, and what kind of failure that is.

use super::Error;
use super::local::failure_of;
use crate::http1::Wrong;
use crate::topology::Failure;
use std::io;

/// What broke.
#[derive(Debug)]
pub(super) enum Fault {
    /// The other side closed in the middle.
    Closed,
    /// What came is not HTTP.
    Wrong(Wrong),
    /// The request cannot be sent there.
    Request(Error),
    /// The socket, or TLS.
    Io(io::Error),
}

// === impl Fault ===

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Request(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    /// The kind of a failure on the wire, with words that hold no more than the error itself says.
    pub(super) fn explained(self) -> (Failure, String) {
        let error = match self {
            Self::Closed => {
                let what = "closed before the answer was whole";
                return (Failure::Reset, what.to_owned());
            }
            Self::Wrong(Wrong::TooLong) => {
                let what =
                    "the head of the answer is longer than 128 KiB or has more than 100 fields";
                return (Failure::Content, what.to_owned());
            }
            Self::Wrong(wrong) => return (Failure::Content, wrong.to_string()),
            Self::Request(error) => return (error.failure, error.detail),
            Self::Io(error) => error,
        };
        let inner = error.get_ref();
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            (Failure::Tls, format!("TLS: {error}"))
        } else {
            (failure_of(&error, Failure::Reset), error.to_string())
        }
    }
}
