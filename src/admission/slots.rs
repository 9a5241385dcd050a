//! The slots for connections: who has one, what each does, and a newcomer's way in. The choice is `decision`'s.

use super::decision::{Activity, Moved, Occupant, makes_way};
use super::peers::{OtherEnd, Peers, Standing};
use crate::cache::Trust;
use foldhash::HashMap;
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A trusted client that takes no byte may keep its slot so many times as long as another, while slots are free.
const PATIENCE: u32 = 5;

/// So many are told at once that there is no slot; who comes beyond is closed without a word, as they come faster than it can
/// be read.
const TOLD: usize = 256;

/// How long one may take to read it.
const LINGERING_CLOSE: Duration = Duration::from_secs(1);

/// The slots of one or several listeners. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: usize,
    stall: Duration,
    peers: Peers,
    /// What times are counted from.
    began: Instant,
    /// For those who are told that there is no slot.
    told: Semaphore,
    /// Locked when a connection comes or goes.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Arc<Holder>>,
}

/// A slot's holder. Times are since the beginning.
#[derive(Debug)]
struct Holder {
    standing: Standing,
    opened: Duration,
    /// Written by its connection alone.
    doing: Mutex<Doing>,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
}

/// What it does, since when, and how much it took.
#[derive(Debug)]
struct Doing {
    activity: Activity,
    since: Duration,
    moved: Moved,
}

/// A connection's slot, until dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Admission,
    number: u64,
    holder: Arc<Holder>,
    /// Our address of it, and its peer's.
    ends: Option<(SocketAddr, SocketAddr)>,
}

// === impl Admission ===

impl Admission {
    /// So many slots. `stall`: how long an untrusted client may take no byte while some wait for it.
    #[must_use]
    pub(crate) fn new(slots: usize, stall: Duration, peers: Peers) -> Self {
        Self(Arc::new(Shared {
            slots,
            stall,
            peers,
            began: Instant::now(),
            told: Semaphore::new(TOLD),
            taken: Mutex::default(),
        }))
    }

    /// A slot for a connection that a listener has accepted; `None`: there is none. Trusted clients get one unless trusted
    /// clients that are busy have them all; the agent's own checks always do. `is_loopback`: the listener's address is one.
    pub(crate) async fn admit(&self, stream: &TcpStream, is_loopback: bool) -> Option<Slot> {
        let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
        let standing = match ends {
            Some((at, peer)) => self.0.peers.standing(at, peer, is_loopback).await,
            // It has been reset.
            None => Standing::Untrusted,
        };
        let mut slot = self.enter(standing, Instant::now())?;
        slot.ends = ends;
        Some(slot)
    }

    /// As [`Admission::admit`], where it is known who comes.
    #[must_use]
    pub(crate) fn enter(&self, newcomer: Standing, now: Instant) -> Option<Slot> {
        let at = self.age(now);
        let mut taken = self.taken();
        if taken.by.len() >= self.0.slots {
            let occupants = taken.by.iter();
            let occupants = occupants.map(|(number, holder)| (*number, holder.occupant(at)));
            match makes_way(newcomer, self.0.stall, occupants) {
                Some(number) => {
                    if let Some(holder) = taken.by.remove(&number) {
                        holder.evict();
                    }
                }
                None if newcomer == Standing::Check => {}
                None => return None,
            }
        }
        let holder = Arc::new(Holder {
            standing: newcomer,
            opened: at,
            doing: Mutex::new(Doing {
                activity: Activity::Idle,
                since: at,
                moved: Moved::default(),
            }),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        taken.by.insert(number, holder.clone());
        drop(taken);
        Some(Slot {
            admission: self.clone(),
            number,
            holder,
            ends: None,
        })
    }

    /// Tells who got no slot so, and ends in good order.
    pub(crate) async fn turn_away(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        answer: impl FnOnce() -> Vec<u8>,
    ) {
        let Ok(_one) = self.0.told.try_acquire() else {
            return;
        };
        let answer = answer();
        let told = async {
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            // A close with the request unread would be a reset, which can arrive before the answer.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        };
        // A client that does not even read this is gone.
        let _ = tokio::time::timeout(LINGERING_CLOSE, told).await;
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.began)
    }
}

// === impl Holder ===

impl Holder {
    fn occupant(&self, at: Duration) -> Occupant {
        let doing = self.doing();
        Occupant {
            standing: self.standing,
            activity: doing.activity,
            lasting: at.saturating_sub(doing.since),
            age: at.saturating_sub(self.opened),
            moved: doing.moved.within(at),
        }
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evict(&self) {
        self.is_evicted.store(true, Ordering::Release);
        self.waker.wake();
    }
}

// === impl Slot ===

impl Slot {
    /// Whether the client is trusted.
    #[must_use]
    pub(crate) fn trust(&self) -> Trust {
        match self.holder.standing {
            Standing::Check | Standing::Trusted => Trust::Trusted,
            Standing::Untrusted => Trust::Untrusted,
        }
    }

    /// How long the client may take no byte while some wait for it.
    #[must_use]
    pub(crate) fn stall_limit(&self) -> Duration {
        let stall = self.admission.0.stall;
        if self.trust() == Trust::Trusted {
            stall.saturating_mul(PATIENCE)
        } else {
            stall
        }
    }

    /// The connection is open, and no request has begun.
    pub(crate) fn rests(&self, now: Instant) {
        self.does(Activity::Idle, now);
    }

    /// A request's head has begun.
    pub(crate) fn reads_head(&self, now: Instant) {
        self.does(Activity::Head, now);
    }

    /// An answer is being made.
    pub(crate) fn answers(&self, now: Instant) {
        self.does(Activity::Answering, now);
    }

    /// Bytes wait for the client.
    pub(crate) fn is_blocked(&self, now: Instant) {
        self.does(Activity::Blocked, now);
    }

    /// The client took so many bytes.
    pub(crate) fn moved(&self, bytes: usize, now: Instant) {
        let at = self.admission.age(now);
        self.holder.doing().moved.add(bytes as u64, at);
    }

    /// Ready when the slot is another's: the connection ends now. Only the last who asked is woken.
    pub(crate) fn poll_evicted(&self, context: &mut Context<'_>) -> Poll<()> {
        self.holder.waker.register(context.waker());
        if self.holder.is_evicted.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// As [`Slot::poll_evicted`]. Cancel safe.
    pub(crate) async fn evicted(&self) {
        poll_fn(|context| self.poll_evicted(context)).await;
    }

    /// Whether the client still has its end open.
    #[must_use]
    pub(crate) fn other_end(&self) -> OtherEnd {
        let ends = self.ends;
        ends.map_or(OtherEnd::Unknown, |(at, peer)| {
            self.admission.0.peers.other_end(at, peer)
        })
    }

    fn does(&self, activity: Activity, now: Instant) {
        let mut doing = self.holder.doing();
        (doing.activity, doing.since) = (activity, self.admission.age(now));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.taken().by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
