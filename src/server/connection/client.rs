//! The client as its connection sees it: its slot among the others, whether it takes what it is given, and whether it is
//! still there.

use crate::admission::{OtherEnd, Slot};
use crate::lifecycle::deadline;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A client that takes no byte for this long no longer counts as load of the source that its answer comes from.
const UNREAD: Duration = Duration::from_secs(2);

/// How soon it is looked whether a client that has ended its own direction is still there, and how often at last. The first look
/// may be too early: the kernel says the end before it forgets the owner.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How long such a client is believed to wait for an answer where the kernel cannot say it: it is on another machine. Those who
/// cancel a pull close their connection, and upstream is not to work for them for longer (design P12).
const GRACE: Duration = Duration::from_secs(2);

pub(super) struct Client {
    pub(super) slot: Slot,
    blocked: Option<Blocked>,
    ended: Option<Ended>,
}

/// Bytes wait for it, without one that it took.
struct Blocked {
    since: Instant,
    is_unread: bool,
    timer: Pin<Box<Sleep>>,
}

/// It has ended its own direction: it asks no more, and may wait for answers.
struct Ended {
    /// Then, or when it took a byte after that.
    at: Instant,
    look: Instant,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
}

/// What is wrong with a client that bytes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// It has taken none for [`UNREAD`].
    Unread,
    /// It has taken none for as long as it may.
    Over,
}

/// Why a connection ends before its answer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client has gone, or the answer broke.
    Gone,
    /// The drain's limit has passed.
    Drained,
    /// Its slot was wanted for another client.
    MadeWay,
    /// The client took no byte for so long.
    Stalled(Duration),
}

// === impl Client ===

impl Client {
    pub(super) fn new(slot: Slot) -> Self {
        Self {
            slot,
            blocked: None,
            ended: None,
        }
    }

    /// It took so many bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        let now = Instant::now();
        self.slot.moved(bytes, now);
        if self.blocked.take().is_some() {
            self.slot.answers(now);
        }
        if let Some(ended) = &mut self.ended {
            ended.at = now;
        }
    }

    /// Bytes wait for it.
    pub(super) fn waits(&mut self) {
        if self.blocked.is_none() {
            let now = Instant::now();
            self.blocked = Some(Blocked {
                since: now,
                is_unread: false,
                timer: Box::pin(sleep_until(deadline(now, UNREAD))),
            });
            self.slot.is_blocked(now);
        }
    }

    /// Ready when bytes have waited for it for long, once for each limit.
    pub(super) fn poll_stall(&mut self, context: &mut Context<'_>) -> Poll<Stall> {
        let Some(blocked) = &mut self.blocked else {
            return Poll::Pending;
        };
        ready!(blocked.timer.as_mut().poll(context));
        if blocked.is_unread {
            return Poll::Ready(Stall::Over);
        }
        blocked.is_unread = true;
        let over = deadline(blocked.since, self.slot.stall_limit());
        blocked.timer.as_mut().reset(over);
        Poll::Ready(Stall::Unread)
    }

    /// It has ended its own direction.
    pub(super) fn ends(&mut self) {
        let now = Instant::now();
        self.ended.get_or_insert_with(|| Ended {
            at: now,
            look: now,
            pause: FIRST_LOOK,
            timer: Box::pin(sleep_until(now)),
        });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Ready when one that has ended its own direction has gone.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(ended) = &mut self.ended else {
            return Poll::Pending;
        };
        loop {
            let now = Instant::now();
            if now >= ended.look {
                let is_gone = match self.slot.other_end() {
                    OtherEnd::Open => false,
                    OtherEnd::Closed => true,
                    // One that has closed answers bytes with a reset.
                    OtherEnd::Unknown => self.blocked.is_none() && now >= deadline(ended.at, GRACE),
                };
                if is_gone {
                    return Poll::Ready(());
                }
                ended.look = deadline(now, ended.pause);
                ended.pause = ended.pause.saturating_mul(2).min(LAST_LOOK);
                ended.timer.as_mut().reset(ended.look);
            }
            ready!(ended.timer.as_mut().poll(context));
        }
    }
}

// === impl Ending ===

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the client closed its connection"),
            Self::Drained => f.write_str("the agent stops"),
            Self::MadeWay => f.write_str("it made way for another client"),
            Self::Stalled(limit) => {
                let seconds = limit.as_secs_f32();
                write!(f, "the client took no byte for {seconds} s")
            }
        }
    }
}
