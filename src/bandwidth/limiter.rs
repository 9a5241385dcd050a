//! One limit: who has read waits until it is paid.

use super::Clock;
use crate::config::Bandwidth;
use crate::lifecycle::deadline;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

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
    limit: Bandwidth,
    /// Streams that may begin.
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: Option<NonZeroU64>,
    /// When the rate is to be looked at again.
    look_at: Option<Instant>,
    /// Until then all that was read is paid.
    paid_until: Option<Instant>,
    /// Streams that may run at once.
    streams: usize,
    /// Streams that run beyond that number, since it fell: who ends makes room for nobody.
    beyond: usize,
}

/// A place among the running streams of a limit.
#[derive(Debug)]
pub struct Slot {
    limiter: Arc<Limiter>,
    permit: Option<OwnedSemaphorePermit>,
}

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(limit: Bandwidth) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(UNLIMITED)),
            state: Mutex::new(State {
                rate: None,
                look_at: None,
                paid_until: None,
                streams: UNLIMITED,
                beyond: 0,
            }),
        }
    }

    pub(super) fn limit(&self) -> &Bandwidth {
        &self.limit
    }

    /// Bytes per second now, if there is a limit now.
    pub(super) fn rate(&self, now: Instant, clock: Clock) -> Option<NonZeroU64> {
        self.looked(now, clock).rate
    }

    /// Bytes were read. `Some`: no more is to be read before.
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
    pub(super) async fn enter(self: Arc<Self>, clock: Clock) -> Slot {
        // The number of places follows the time of day.
        drop(self.looked(Instant::now(), clock));
        let permit = self.free.clone().acquire_owned().await;
        Slot {
            // Nobody closes it.
            permit: permit.ok(),
            limiter: self,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked(&self, now: Instant, clock: Clock) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if state.look_at.is_none_or(|at| at <= now) {
            state.look_at = Some(deadline(now, LOOK));
            state.rate = self.limit.rate_at(clock());
            let streams = state.rate.map_or(UNLIMITED, |rate| {
                let streams = rate.get() / LEAST_SHARE;
                usize::try_from(streams)
                    .unwrap_or(UNLIMITED)
                    .clamp(1, UNLIMITED)
            });
            self.resize(&mut state, streams);
        }
        state
    }

    /// Another number of streams may run at once.
    fn resize(&self, state: &mut State, streams: usize) {
        let more = streams.saturating_sub(state.streams);
        let paid = more.min(state.beyond);
        state.beyond = state.beyond.saturating_sub(paid);
        self.free.add_permits(more.saturating_sub(paid));
        let fewer = state.streams.saturating_sub(streams);
        let gone = self.free.forget_permits(fewer);
        state.beyond = state.beyond.saturating_add(fewer.saturating_sub(gone));
        state.streams = streams;
    }
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        if let (Some(permit), Some(beyond)) = (self.permit.take(), state.beyond.checked_sub(1)) {
            state.beyond = beyond;
            permit.forget();
        }
    }
}
