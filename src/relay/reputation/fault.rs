//! What is seen of addresses, and the words for it.

use super::scope::Scope;
use crate::oci::Digest;
use std::time::Duration;

/// What was seen of an address.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It let a request wait until another was asked.
    Silent,
    /// The same of its tier: another source answered, and the tier had had as long as a stall takes.
    TierSilent,
    /// Bytes of a blob do not come, or too few.
    Stalls,
    /// The same until another went on.
    Slow,
    /// Its bytes do not fit this digest.
    WrongBytes(Digest),
    /// It gave bytes that nobody could prove, and the client asks for them anew.
    Unproven,
    /// What it answered for a tag names what is nowhere.
    Unconfirmed,
    /// It said 429, and for how long it wants to be left alone.
    TooManyRequests(Duration),
    /// The same of a Harbor's own upstream, by the Harbor's word.
    UpstreamLimited(Duration),
}

/// Why something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// [`Fault::Silent`], [`Fault::TierSilent`]
    Silent,
    /// [`Fault::Stalls`], [`Fault::Slow`]
    Slow,
    /// [`Fault::WrongBytes`]
    WrongBytes,
    /// [`Fault::Unproven`]
    Unproven,
    /// [`Fault::Unconfirmed`]
    TagUnconfirmed,
    /// [`Fault::TooManyRequests`]
    TooManyRequests,
    /// [`Fault::UpstreamLimited`]
    UpstreamLimited,
}

// === impl Fault ===

impl Fault {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Silent | Self::TierSilent => Reason::Silent,
            Self::Stalls | Self::Slow => Reason::Slow,
            Self::WrongBytes(_) => Reason::WrongBytes,
            Self::Unproven => Reason::Unproven,
            Self::Unconfirmed => Reason::TagUnconfirmed,
            Self::TooManyRequests(_) => Reason::TooManyRequests,
            Self::UpstreamLimited(_) => Reason::UpstreamLimited,
        }
    }

    /// Whether it counts for everybody's requests, whoever met it: a digest proves it, or a quota is one of this node.
    pub(super) fn counts_for_all(&self, scope: &Scope) -> bool {
        let is_quota = matches!(self, Self::TooManyRequests(_) | Self::UpstreamLimited(_));
        is_quota || matches!(scope, Scope::Content(_))
    }
}

// === impl Reason ===

impl Reason {
    /// As in the table of docs/failure-table.md.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::WrongBytes => "wrong_bytes",
            Self::Unproven => "unproven",
            Self::TagUnconfirmed => "tag_unconfirmed",
            Self::TooManyRequests => "too_many_requests",
            Self::UpstreamLimited => "upstream_limited",
        }
    }

    /// The same for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Silent => "it let a request wait until another was asked",
            Self::Slow => "it stalled or dripped in the middle of a blob",
            Self::WrongBytes => "it sent wrong bytes",
            Self::Unproven => "the client asks anew for bytes that nobody could prove",
            Self::TagUnconfirmed => "what it answered for the tag names what is nowhere",
            Self::TooManyRequests => "it wants fewer requests",
            Self::UpstreamLimited => "its own upstream limits it",
        }
    }
}
