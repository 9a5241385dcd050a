//! What can go wrong on the wire.

use super::message::{Recorded, Reply};
use std::time::Duration;

/// One fault. Offsets count bytes of the body.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is accepted and nothing is ever read or said, TLS included.
    AcceptAndSilent,
    /// The request is read and nothing comes.
    NoAnswer,
    /// The connection ends instead of an answer.
    CloseInsteadOfAnswer,
    /// It is reset instead of an answer.
    ResetInsteadOfAnswer,
    /// As [`Self::CloseInsteadOfAnswer`], only for a connection's second and later requests: a kept-alive connection
    /// that the server gives up just then.
    CloseWhenReused,
    /// The head comes late.
    SlowFirstByte(Duration),
    /// Nothing after the head.
    SilentAfterHead,
    /// Nothing after this many bytes.
    SilentAt(usize),
    /// The connection ends in the body.
    CloseAt(usize),
    /// Our side of the connection ends in the body; the other is left open.
    HalfCloseAt(usize),
    /// It is reset in the body.
    ResetAt(usize),
    /// The body drips.
    Drip { bytes: usize, every: Duration },
    /// The connection ends behind the body, and TLS does not say so.
    NoCloseNotify,
    /// One byte is another one.
    CorruptAt(usize),
    /// `Content-Range` is off by one.
    WrongContentRange,
    /// This instead of what would have been said.
    Reply(Reply),
}

/// Which requests a fault is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    All,
    Manifests,
    Blobs,
    Tokens,
    Health,
    /// Everything but tokens and health.
    Registry,
    /// Paths that end so: one manifest, one blob.
    Ending(String),
}

/// A fault with the requests it is for.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) on: On,
    pub(super) fault: Fault,
    /// How often it still strikes; `None`: always.
    pub(super) left: Option<u32>,
}

impl On {
    pub(super) fn is(&self, request: &Recorded) -> bool {
        let path = &request.path;
        let registry = path.starts_with("/v2/");
        match self {
            Self::All => true,
            Self::Manifests => registry && path.contains("/manifests/"),
            Self::Blobs => registry && path.contains("/blobs/") || path.starts_with("/cdn/"),
            Self::Tokens => path.contains("/token") || path.ends_with("/auth"),
            Self::Health => path.starts_with("/api/"),
            Self::Registry => registry,
            Self::Ending(end) => path.ends_with(end.as_str()),
        }
    }
}
