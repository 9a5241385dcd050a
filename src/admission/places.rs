//! The places for connections: who has one, what each does, and a newcomer's way in. The choice is `decision`'s.

use super::decision::{Activity, Moved, Occupant, makes_way};
use super::peers::{OtherEnd, Peers, Standing};
use super::refusal::Refusal;
use crate::cache::Trust;
use foldhash::HashMap;
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A trusted client that takes no byte may keep its place so many times as long as another, while places are free.
const PATIENCE: u32 = 5;

/// The places of one or several listeners. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: usize,
    stall: Duration,
    peers: Peers,
    /// What times are counted from.
    began: Instant,
    refusal: Refusal,
    /// Locked when a connection comes or goes.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Arc<Holder>>,
}

/// What a place's holder does, written by its connection alone.
#[derive(Debug)]
struct Holder {
    standing: Standing,
    opened: Duration,
    activity: AtomicU8,
    /// Milliseconds since the beginning.
    since: AtomicU64,
    span: AtomicU64,
    moved: AtomicU64,
    moved_before: AtomicU64,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Admission,
    number: u64,
    holder: Arc<Holder>,
    /// Our address of it, and its peer's.
    ends: Option<(SocketAddr, SocketAddr)>,
}

// === impl Admission ===

impl Admission {
    /// So many places. `stall`: how long an untrusted client may take no byte while some wait for it.
    #[must_use]
    pub(crate) fn new(places: usize, stall: Duration, peers: Peers) -> Self {
        Self(Arc::new(Shared {
            places,
            stall,
            peers,
            began: Instant::now(),
            refusal: Refusal::default(),
            taken: Mutex::default(),
        }))
    }

    /// A place for a connection that a listener has accepted; `None`: there is none. Trusted clients get one unless trusted
    /// clients that are busy have them all; the agent's own checks always do. `is_loopback`: the listener's address is one.
    pub(crate) async fn admit(&self, stream: &TcpStream, is_loopback: bool) -> Option<Place> {
        let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
        let standing = match ends {
            Some((at, peer)) => self.0.peers.standing(at, peer, is_loopback).await,
            // It has been reset.
            None => Standing::Untrusted,
        };
        let mut place = self.enter(standing, Instant::now())?;
        place.ends = ends;
        Some(place)
    }

    /// As [`Admission::admit`], where it is known who comes.
    #[must_use]
    pub(crate) fn enter(&self, newcomer: Standing, now: Instant) -> Option<Place> {
        let at = self.age(now);
        let mut taken = self.taken();
        if taken.by.len() >= self.0.places {
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
            activity: AtomicU8::new(Activity::Idle as u8),
            since: AtomicU64::new(milliseconds(at)),
            span: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            moved_before: AtomicU64::new(0),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        taken.by.insert(number, holder.clone());
        drop(taken);
        Some(Place {
            admission: self.clone(),
            number,
            holder,
            ends: None,
        })
    }

    /// Tells who got no place so.
    pub(crate) async fn turn_away(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        answer: impl FnOnce() -> Vec<u8>,
    ) {
        self.0.refusal.say(stream, answer).await;
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.began)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// === impl Holder ===

impl Holder {
    fn occupant(&self, at: Duration) -> Occupant {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        Occupant {
            standing: self.standing,
            activity: Activity::from_number(self.activity.load(Ordering::Relaxed)),
            lasting: at.saturating_sub(since),
            age: at.saturating_sub(self.opened),
            moved: self.moved().within(at),
        }
    }

    fn moved(&self) -> Moved {
        Moved {
            span: self.span.load(Ordering::Relaxed),
            now: self.moved.load(Ordering::Relaxed),
            before: self.moved_before.load(Ordering::Relaxed),
        }
    }

    fn evict(&self) {
        self.is_evicted.store(true, Ordering::Release);
        self.waker.wake();
    }
}

// === impl Place ===

impl Place {
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

    /// Nothing is asked.
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
        let mut moved = self.holder.moved();
        moved.add(bytes as u64, self.admission.age(now));
        self.holder.span.store(moved.span, Ordering::Relaxed);
        self.holder.moved.store(moved.now, Ordering::Relaxed);
        self.holder
            .moved_before
            .store(moved.before, Ordering::Relaxed);
    }

    /// Ready when the place is another's: the connection ends now. Only the last who asked is woken.
    pub(crate) fn poll_evicted(&self, context: &mut Context<'_>) -> Poll<()> {
        self.holder.waker.register(context.waker());
        if self.holder.is_evicted.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// As [`Place::poll_evicted`]. Cancel safe.
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
        let at = milliseconds(self.admission.age(now));
        self.holder.since.store(at, Ordering::Relaxed);
        self.holder
            .activity
            .store(activity as u8, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.taken().by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
