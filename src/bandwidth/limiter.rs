//! One limit: who has read waits until it is paid.

use super::Clock;
use super::stream_slots::{StreamSlot, StreamSlots};
use crate::cache::Trust;
use crate::config::Bandwidth;
use crate::lifecycle::deadline;
use parking_lot::{Mutex, MutexGuard};
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Every running stream can have so many bytes per second: containerd gives up a pull of which nothing comes for some minutes.
const LEAST_SHARE: u64 = 16 * 1024;

/// So long a time that nobody used can be used later.
const CREDIT: Duration = Duration::from_millis(100);

/// The time of day is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// Streams at once where there is no limit: more than there can be.
const UNLIMITED: usize = 1 << 20;

/// One limit with its queue.
#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
    /// Room for all streams together.
    all: Arc<StreamSlots>,
    /// Of untrusted clients' streams: half of all, so that they leave the rest to trusted ones'.
    untrusted: Arc<StreamSlots>,
}

#[derive(Debug)]
struct State {
    limit: Bandwidth,
    rate: Option<NonZeroU64>,
    /// When the rate is to be looked at again.
    look_at: Option<Instant>,
    /// Until then all that was read is paid.
    paid_until: Option<Instant>,
}

/// The right of one stream to run under a limit.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    all: StreamSlot,
    untrusted: Option<StreamSlot>,
}

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(limit: Bandwidth) -> Self {
        Self {
            state: Mutex::new(State {
                limit,
                rate: None,
                look_at: None,
                paid_until: None,
            }),
            all: StreamSlots::new(UNLIMITED),
            untrusted: StreamSlots::new(UNLIMITED),
        }
    }

    /// Another limit, for those that run and wait too. What was read is paid as before.
    pub(super) fn set(&self, limit: &Bandwidth) {
        let mut state = self.state.lock();
        if state.limit != *limit {
            (state.limit, state.look_at) = (limit.clone(), None);
        }
    }

    /// Bytes per second now, if there is a limit now.
    pub(super) fn rate(&self, now: Instant, clock: Clock) -> Option<NonZeroU64> {
        self.looked(now, clock).rate
    }

    /// Bytes are to be paid. `Some`: no more is to be read before.
    pub(super) fn charge(&self, bytes: u64, now: Instant, clock: Clock) -> Option<Instant> {
        let mut state = self.looked(now, clock);
        let rate = state.rate?;
        let nanos = u128::from(bytes).saturating_mul(1_000_000_000);
        let nanos = nanos.checked_div(rate.get().into()).unwrap_or(nanos);
        let costs = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        let begin = state.paid_until.map_or(earliest, |paid| paid.max(earliest));
        let paid_until = deadline(begin, costs);
        state.paid_until = Some(paid_until);
        Some(paid_until)
    }

    /// Waits until one more stream can have its least share.
    pub(super) async fn enter(self: Arc<Self>, trust: Trust, clock: Clock) -> Permit {
        let mut entering = pin!(async {
            let untrusted = match trust {
                Trust::Trusted => None,
                Trust::Untrusted => Some(self.untrusted.clone().enter().await),
            };
            let all = self.all.clone().enter().await;
            Permit {
                limiter: self.clone(),
                all,
                untrusted,
            }
        });
        loop {
            // The number of slots follows the time of day, whoever else looks at it.
            drop(self.looked(Instant::now(), clock));
            tokio::select! {
                biased;
                // Cancel safe: it keeps its turn.
                permit = &mut entering => return permit,
                // Cancel safe: it only waits.
                () = sleep(LOOK) => {}
            }
        }
    }

    fn looked(&self, now: Instant, clock: Clock) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.look_at.is_none_or(|at| at <= now) {
            state.look_at = Some(deadline(now, LOOK));
            state.rate = state.limit.rate_at(clock());
            let streams = state.rate.map_or(UNLIMITED, |rate| {
                let streams = rate.get() / LEAST_SHARE;
                usize::try_from(streams).unwrap_or(UNLIMITED).min(UNLIMITED)
            });
            self.all.resize(streams.max(1));
            self.untrusted.resize((streams / 2).max(1));
        }
        state
    }
}

// === impl Slot ===

impl Permit {
    /// Whether it is one of this limit, and the stream may keep it.
    pub(super) fn holds_for(&self, limiter: &Arc<Limiter>, now: Instant) -> bool {
        let mut slots = self.untrusted.iter().chain([&self.all]);
        Arc::ptr_eq(&self.limiter, limiter) && !slots.any(|slot| slot.is_over(now))
    }
}
