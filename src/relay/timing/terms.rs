//! The words of the timing machine: its settings, its orders, and where an attempt stands.

use crate::lifecycle::deadline;
use std::time::Duration;
use tokio::time::Instant;

/// The clock's settings for one search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The next candidate's connect joins after this.
    pub(crate) connect_race: Duration,
    /// An attempt without an answer is overdue after this, while another candidate is left.
    pub(crate) first_byte: Duration,
    /// The search ends after this.
    pub(crate) total: Duration,
    /// Upstream is asked as well after this (manifests).
    pub(crate) upstream_joins: Option<Duration>,
    /// The next tier is asked as well after this (manifests; one per request).
    pub(crate) hedge: Option<Duration>,
    /// The next in order is asked beside one who has been silent for this long (blobs).
    pub(crate) overtake: Option<Duration>,
}

/// Which attempt, counted from 0.
pub(crate) type AttemptId = usize;

/// Where a candidate stands in the order of authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A tier.
    Tier,
    /// The direct upstream.
    Upstream,
}

/// What kind of candidate is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The next in order.
    Next,
    /// The next tier address: a hedge.
    Tier,
    /// Upstream, even before its turn.
    Upstream,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Take a candidate and connect; then call `Machine::started` or `Machine::none_left`.
    Start(Want),
    /// Send the request over this attempt's connection.
    Send(AttemptId),
    /// Connect once more to this attempt's address, to see whether anybody is there; then call
    /// `Machine::alive`.
    CheckLiveness(AttemptId),
    /// It is late: tell health why. It runs on: where nobody is behind its connection, the end of the knock ends it.
    Overdue { attempt: AttemptId, late: Late },
    /// Nothing before that time.
    WaitUntil(Instant),
    /// The search is over.
    End(End),
}

/// With what an attempt is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The first byte of its answer.
    FirstByte,
    /// The answer to a knock: its connection's other end may be gone. The knock itself tells health.
    Liveness,
}

/// How a search ends without an accepted answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An authoritative source said no.
    Final,
    /// Every candidate failed.
    Exhausted,
    /// The time ran out.
    OutOfTime,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TCP and TLS are on their way; `raced`: the next one has joined.
    Connecting { since: Instant, raced: bool },
    /// Ready to be asked; `kept`: over a connection of an earlier request.
    Connected { kept: bool },
    /// The request is on its way; `overtaken`: it runs on beside another; `overdue`: that was said.
    Asking {
        since: Instant,
        overtaken: bool,
        overdue: bool,
        life: Life,
    },
    /// It ended.
    Over,
}

/// What has become of a search's one hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hedge {
    /// It may still come.
    Unsent,
    /// A candidate for it is being looked for.
    Ordered,
    /// It is this attempt.
    Sent(AttemptId),
    /// It failed, or there was nobody for it.
    Done,
}

/// Whether the other end of an attempt's connection is known to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was connected for this search, or it has answered a knock.
    Seen,
    /// The connection was kept alive: its other end may be gone.
    Assumed,
    /// Somebody knocks.
    Checking { since: Instant },
}

// === impl Phase ===

impl Phase {
    /// When the attempt is late, and with what; `None`: it is not being asked, or that was said.
    pub(super) fn late_at(&self, timing: &Timing) -> Option<(Instant, Late)> {
        let Self::Asking {
            since,
            overdue: false,
            life,
            ..
        } = self
        else {
            return None;
        };
        let first_byte = (deadline(*since, timing.first_byte), Late::FirstByte);
        let knock = |since: Instant| deadline(since, timing.connect_race);
        Some(match life {
            Life::Checking { since } if knock(*since) < first_byte.0 => {
                (knock(*since), Late::Liveness)
            }
            _ => first_byte,
        })
    }

    /// When somebody is to knock.
    pub(super) fn liveness_at(&self, timing: &Timing) -> Option<Instant> {
        match self {
            Self::Asking {
                since,
                overdue: false,
                life: Life::Assumed,
                ..
            } => Some(deadline(*since, timing.connect_race)),
            _ => None,
        }
    }
}
