//! The words of the timing machine: its settings, its orders, and where an attempt stands.

use crate::config::Timeouts;
use crate::lifecycle::deadline;
use std::time::Duration;
use tokio::time::Instant;

/// The clock's settings for one search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The next candidate's connect joins after this.
    pub(crate) connect_race: Duration,
    /// An attempt without an answer times out after this, while another candidate is left.
    pub(crate) first_byte: Duration,
    pub(crate) total: Duration,
    /// Who is asked as well, and after how long; of two steps that are due the first counts.
    pub(crate) escalation: [Option<Step>; 2],
}

/// One step of the escalation: one who is asked has so long before `whom` is asked beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) whom: Want,
    /// How long those have who are asked after that; `None`: the step is taken once.
    pub(crate) again: Option<Duration>,
}

/// Which attempt, counted from 0.
pub(crate) type AttemptId = usize;

/// What kind of candidate is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Next,
    /// The next tier address: a hedge.
    Tier,
    Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Take a candidate and connect; then call `Machine::started` or `Machine::none_left`.
    Start(Want),
    /// Send the request over this attempt's connection.
    Send(AttemptId),
    /// Connect once more to this attempt's address, to see whether anybody is there; then call
    /// `Machine::alive`.
    CheckLiveness(AttemptId),
    /// It is late: tell health why. It runs on: where nobody is behind its connection, the end of the liveness connect ends it.
    TimedOut { attempt: AttemptId, late: Late },
    /// Nothing is due before that time.
    WaitUntil(Instant),
    /// No answer was accepted.
    End(End),
}

/// With what an attempt is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The first byte of its answer.
    FirstByte,
    /// The liveness connect: its connection's other end may be gone. That connect itself tells health.
    Liveness,
}

/// How a search ends without an accepted answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Final,
    Exhausted,
    OutOfTime,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TCP and TLS are on their way.
    Connecting { since: Instant },
    /// Ready to be asked; `kept`: over a connection of an earlier request.
    Connected { kept: bool },
    /// The request is on its way.
    Asking(Asking),
    /// It failed, or its answer was no good.
    Over,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) since: Instant,
    /// It runs on beside another: for whose sake.
    pub(super) superseded: Option<Want>,
    /// That it is late was said.
    pub(super) timed_out: bool,
    pub(super) life: Life,
}

/// Whether the other end of an attempt's connection is known to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was connected for this search, or a liveness connect has succeeded.
    Seen,
    /// The connection was kept alive: its other end may be gone.
    Assumed,
    /// A liveness connect is under way.
    Checking { since: Instant },
}

// === impl Timing ===

impl Timing {
    fn new(timeouts: &Timeouts, escalation: [Option<Step>; 2]) -> Self {
        Self {
            connect_race: timeouts.connect_race,
            first_byte: timeouts.first_byte,
            total: timeouts.total,
            escalation,
        }
    }

    /// The clock for manifests and lists: upstream joins a slow tier, and so does another tier after a delay that is known when the
    /// first is asked ([`Machine::hedge_after`](super::Machine::hedge_after)).
    pub(crate) fn for_document(timeouts: &Timeouts) -> Self {
        let once = |after, whom| {
            Some(Step {
                after,
                whom,
                again: None,
            })
        };
        let upstream = once(timeouts.upstream_joins, Want::Upstream);
        Self::new(timeouts, [upstream, once(Duration::MAX, Want::Tier)])
    }

    /// The clock for blobs: never hedged; the next is asked beside one who is as silent as a stalled body. What the first has cost is
    /// not spent on the next again.
    pub(crate) fn for_blob(timeouts: &Timeouts) -> Self {
        let next = Step {
            after: timeouts.stall,
            whom: Want::Next,
            again: Some(timeouts.stall.mul_f64(0.5)),
        };
        Self::new(timeouts, [Some(next), None])
    }
}

// === impl Phase ===

impl Phase {
    pub(super) fn asking(&self) -> Option<&Asking> {
        match self {
            Self::Asking(asking) => Some(asking),
            _ => None,
        }
    }

    pub(super) fn asking_mut(&mut self) -> Option<&mut Asking> {
        match self {
            Self::Asking(asking) => Some(asking),
            _ => None,
        }
    }
}

// === impl Asking ===

impl Asking {
    /// What is due next of this attempt, and when.
    pub(super) fn due(&self, attempt: AttemptId, timing: &Timing) -> (Instant, Order) {
        let late = |late| Order::TimedOut { attempt, late };
        let race = |since| deadline(since, timing.connect_race);
        let first_byte = deadline(self.since, timing.first_byte);
        let (at, order) = match self.life {
            Life::Seen => (first_byte, late(Late::FirstByte)),
            Life::Assumed => (race(self.since), Order::CheckLiveness(attempt)),
            Life::Checking { since } => (race(since), late(Late::Liveness)),
        };
        match at < first_byte {
            true => (at, order),
            false => (first_byte, late(Late::FirstByte)),
        }
    }
}
