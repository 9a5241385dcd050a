//! Who makes way when slots run short: a pure choice among the connections that are open.

use super::peers::Standing;
use std::cmp::Reverse;
use std::time::Duration;

/// A client that takes no byte for this long makes no progress, as far as others' slots are concerned: a disk that writes
/// back may pause it for as long.
const STALLED: Duration = Duration::from_secs(5);

/// Over what time it counts how much a client moves.
pub(super) const OVER: Duration = Duration::from_secs(OVER_SECONDS);
const OVER_SECONDS: u64 = 5 * 60;

/// Who moves less than 1 KiB/s over that time is slow: bytes.
const SLOW: u64 = 1024 * OVER_SECONDS;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// The connection is open, and no request has begun.
    Idle,
    /// A request's head has begun.
    Head,
    /// The answer is being made, or the source is slow.
    Answering,
    /// Bytes wait for the client to take them.
    Blocked,
}

/// A connection at the moment of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occupant {
    pub(super) standing: Standing,
    pub(super) activity: Activity,
    /// How long it has done that. Of [`Activity::Blocked`]: since it took a byte.
    pub(super) lasting: Duration,
    /// How long it has been open.
    pub(super) age: Duration,
    /// Bytes that it took within [`OVER`].
    pub(super) moved: u64,
}

/// How an occupant stands when somebody wants its slot; the smallest makes way. Within each: who has gone without progress for
/// longest, or who moves least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Untrusted, and makes no progress.
    Unproductive(Reverse<Duration>),
    /// Untrusted, and slow for long.
    Slow(u64),
    /// Trusted, and has taken no byte for as long as an untrusted one may.
    Stalled(Reverse<Duration>),
    /// Untrusted, and being answered.
    Busy(u64),
    /// Trusted, and asks nothing.
    Resting(Reverse<Duration>),
}

// === impl Occupant ===

impl Occupant {
    /// `stall`: how long an untrusted client may take no byte. `None`: it does not make way for such a newcomer.
    fn claim(&self, newcomer: Standing, stall: Duration) -> Option<Claim> {
        let longest = Reverse(self.lasting);
        let is_blocked = self.activity == Activity::Blocked;
        let asks_nothing = matches!(self.activity, Activity::Idle | Activity::Head);
        let claim = match self.standing == Standing::Trusted {
            _ if self.standing == Standing::Check => return None,
            false if asks_nothing || (is_blocked && self.lasting >= STALLED) => {
                Claim::Unproductive(longest)
            }
            false if self.age >= OVER && self.moved < SLOW => Claim::Slow(self.moved),
            true if is_blocked && self.lasting >= stall => Claim::Stalled(longest),
            false => Claim::Busy(self.moved),
            true if asks_nothing => Claim::Resting(longest),
            true => return None,
        };
        let for_everybody = claim < Claim::Busy(0);
        (for_everybody || newcomer != Standing::Untrusted).then_some(claim)
    }
}

/// Who makes way for a newcomer; `None`: nobody has to. Of those that are alike the one with the smallest key, who came first.
pub(super) fn makes_way<K: Copy + Ord>(
    newcomer: Standing,
    stall: Duration,
    occupants: impl Iterator<Item = (K, Occupant)>,
) -> Option<K> {
    let claims = occupants.filter_map(|(key, it)| Some((key, it.claim(newcomer, stall)?)));
    claims
        .min_by_key(|(key, claim)| (*claim, *key))
        .map(|(key, _)| key)
}

/// How much a client took within [`OVER`]: of the running span, and of the one before that as far as it is not over yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Which span since the beginning of time.
    pub(super) span: u64,
    pub(super) now: u64,
    pub(super) before: u64,
}

// === impl Moved ===

impl Moved {
    /// More bytes, at a time since the beginning.
    pub(super) fn add(&mut self, bytes: u64, at: Duration) {
        *self = self.seen(at);
        self.now = self.now.saturating_add(bytes);
    }

    /// Within [`OVER`] before a time since the beginning.
    pub(super) fn within(&self, at: Duration) -> u64 {
        let seen = self.seen(at);
        let into = at.as_secs() % OVER_SECONDS;
        let left = OVER_SECONDS.saturating_sub(into);
        let before = u128::from(seen.before).saturating_mul(left.into());
        let before = before.checked_div(OVER_SECONDS.into()).unwrap_or_default();
        seen.now
            .saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }

    fn seen(&self, at: Duration) -> Self {
        let span = at.as_secs() / OVER_SECONDS;
        match span.saturating_sub(self.span) {
            0 => *self,
            1 => Self {
                span,
                now: 0,
                before: self.now,
            },
            _ => Self {
                span,
                ..Self::default()
            },
        }
    }
}

#[cfg(test)]
mod tests;
