//! The attempt-timing machine (design P6): which candidate to try when, who is asked, whom to leave, when to stop. Pure: it is told
//! what happened and what time it is, and answers with one order at a time.
//!
//! ```text
//!   Connecting ──connected──► Connected ──its turn──► Asking ──answer──► Over
//!       │ race delay: the next one joins     │ silent: superseded, by the next step of the escalation
//! ```
//! A request over a kept-alive connection whose peer lost its power gets neither answer nor error. So when such an
//! attempt is silent for the race delay, a fresh TCP connect goes to the same address (a liveness connect). One that is
//! pending for the race delay too means what a pending connect means: the address is suspect, and the next is asked.
//!
//! At most one attempt is active at a time: being asked, and not superseded. Those who are superseded run on beside whoever is
//! asked next, and whoever answers first serves. Nobody who is there is dropped for slowness: the next may be slower. Who
//! follows, and after how long, is the escalation: for manifests another tier (a hedge) and upstream, for blobs the next in order.
//! Resumption enters here as a search that starts at an offset.

mod escalation;
mod terms;

#[cfg(test)]
pub(crate) use terms::Step;
pub(crate) use terms::{AttemptId, End, Late, Order, Timing, Want};

use crate::lifecycle::deadline;
use terms::{Asking, Life, Phase};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Machine {
    timing: Timing,
    began: Instant,
    attempts: Vec<Phase>,
    /// Beside so many of the first attempts the next one has joined.
    raced: usize,
    more: bool,
    /// The tier that is asked beside another: not yet, or no longer, where there is none.
    hedge: Option<AttemptId>,
    /// Upstream was asked beside the tiers, not in their place.
    joined: bool,
    /// An authoritative source has said no: how many attempts there were then, and until when there may be others.
    refused: Option<(usize, Instant)>,
}

// === impl Machine ===

impl Machine {
    pub(crate) fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            began: now,
            attempts: Vec::new(),
            raced: 0,
            more: true,
            hedge: None,
            joined: false,
            refused: None,
        }
    }

    /// The next order. Ask again after carrying it out, until it is to wait or to end.
    pub(crate) fn poll(&mut self, now: Instant) -> Order {
        let total = deadline(self.began, self.timing.total);
        let (early, until) = self.refused.unwrap_or((0, total));
        if now >= until.min(total) {
            let mut early = self.attempts.iter().take(early);
            return match early.any(|phase| phase.asking().is_some()) && now < total {
                true => Order::WaitUntil(total),
                false if self.refused.is_some() => Order::End(End::Final),
                false => Order::End(End::OutOfTime),
            };
        }
        let due = self.agenda().find(|(at, _)| now >= *at);
        if let Some(order) = due.and_then(|(_, order)| self.notes(order, now)) {
            return order;
        }
        if !self.is_any_active() {
            let mut attempts = self.attempts.iter();
            let ready = attempts.position(|phase| matches!(phase, Phase::Connected { .. }));
            if let Some(attempt) = ready {
                self.ask(attempt, now);
                return Order::Send(attempt);
            }
        }
        let races_at = self.races_at();
        if races_at.is_some_and(|at| now >= at) {
            self.raced = self.attempts.len();
            return Order::Start(Want::Next);
        }
        if self.attempts.iter().all(|phase| *phase == Phase::Over) && !self.more {
            return Order::End(End::Exhausted);
        }
        let agenda = self.agenda().map(|(at, _)| at).chain(races_at);
        Order::WaitUntil(agenda.fold(until.min(total), Instant::min))
    }

    /// What comes with time alone, and when; of what is due at once the first counts. Who is asked is only given up while somebody
    /// else is left.
    fn agenda(&self) -> impl Iterator<Item = (Instant, Order)> {
        let unanswered = self.unanswered().filter(|_| self.can_leave());
        let due = unanswered.map(|(attempt, asking)| asking.due(attempt, &self.timing));
        due.chain(self.steps())
    }

    /// Notes what an order of the agenda changes. `None`: that was all, and nobody is to be started for it.
    fn notes(&mut self, order: Order, now: Instant) -> Option<Order> {
        match order {
            Order::Start(whom) => return self.escalate(whom),
            Order::CheckLiveness(attempt) => {
                if let Some(asking) = self.asking_mut(attempt) {
                    asking.life = Life::Checking { since: now };
                }
            }
            Order::TimedOut { attempt, .. } => {
                if let Some(asking) = self.asking_mut(attempt) {
                    (asking.superseded, asking.timed_out) = (Some(Want::Next), true);
                }
                if self.joined {
                    // Who follows the one that is left does not wait for upstream.
                    self.supersede_active(Want::Next);
                }
            }
            // These do not come with time.
            Order::Send(_) | Order::WaitUntil(_) | Order::End(_) => {}
        }
        Some(order)
    }

    fn asking_mut(&mut self, attempt: AttemptId) -> Option<&mut Asking> {
        self.attempts.get_mut(attempt)?.asking_mut()
    }

    /// A candidate was taken. `connected`: over an idle connection, there is nothing to wait for.
    pub(crate) fn started(&mut self, connected: bool, now: Instant) -> AttemptId {
        self.attempts.push(if connected {
            Phase::Connected { kept: true }
        } else {
            Phase::Connecting { since: now }
        });
        self.attempts.len().saturating_sub(1)
    }

    /// Who has been asked and has not answered; those who have timed out are left out.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (AttemptId, &Asking)> {
        let attempts = self.attempts.iter().enumerate();
        let asking = attempts.filter_map(|(attempt, phase)| Some((attempt, phase.asking()?)));
        asking.filter(|(_, asking)| !asking.timed_out)
    }

    /// There was no candidate of that kind. For [`Want::Next`] it means none at all.
    pub(crate) fn none_left(&mut self, want: Want) {
        match want {
            Want::Next => return self.more = false,
            Want::Tier => self.hedge = None,
            Want::Upstream => self.joined = false,
        }
        self.reactivate(want);
    }

    /// Whether candidates are left; they come and go: a tier was excluded, DNS answered.
    pub(crate) fn set_more(&mut self, more: bool) {
        self.more = more;
    }

    pub(crate) fn connected(&mut self, attempt: AttemptId) {
        if let Some(Phase::Connecting { .. }) = self.attempts.get(attempt) {
            self.set(attempt, Phase::Connected { kept: false });
        }
    }

    /// Somebody is there: the attempt is merely slow.
    pub(crate) fn alive(&mut self, attempt: AttemptId) {
        if let Some(asking) = self.asking_mut(attempt) {
            asking.life = Life::Seen;
        }
    }

    /// The attempt failed, or its answer was no good. Where it was a hedge, the one that was superseded for it is active
    /// again: a hedge that fails must not bring upstream in earlier than it would come.
    pub(crate) fn ended(&mut self, attempt: AttemptId) {
        self.set(attempt, Phase::Over);
        if self.hedge == Some(attempt) {
            self.hedge = None;
            if !self.joined {
                self.reactivate(Want::Tier);
            }
        }
    }

    /// An authoritative source said no; the first counts: others are asked until then at most. Who is being asked may answer later.
    pub(crate) fn refused(&mut self, until: Option<Instant>) {
        if self.refused.is_none() {
            self.refused = Some((self.attempts.len(), until.unwrap_or(self.began)));
            let unasked = self.attempts.iter_mut().filter(|it| it.asking().is_none());
            unasked.for_each(|phase| *phase = Phase::Over);
        }
    }

    fn set(&mut self, attempt: AttemptId, phase: Phase) {
        if let Some(slot) = self.attempts.get_mut(attempt) {
            *slot = phase;
        }
    }

    fn ask(&mut self, attempt: AttemptId, now: Instant) {
        if let Some(phase) = self.attempts.get_mut(attempt) {
            let kept = *phase == Phase::Connected { kept: true };
            *phase = Phase::Asking(Asking {
                since: now,
                superseded: None,
                timed_out: false,
                life: if kept { Life::Assumed } else { Life::Seen },
            });
        }
    }

    /// When the next candidate joins the race of connects; at once where nobody is connecting that was not raced. `None`: one is
    /// active, or no source is left.
    fn races_at(&self) -> Option<Instant> {
        if !self.more || self.is_any_active() || self.hedge_connects() {
            return None;
        }
        let unraced = self.attempts.iter().skip(self.raced);
        let unraced = unraced.filter_map(|phase| match phase {
            Phase::Connecting { since } => Some(deadline(*since, self.timing.connect_race)),
            _ => None,
        });
        unraced.max().or(Some(self.began))
    }

    fn can_leave(&self) -> bool {
        self.more
            || self
                .attempts
                .iter()
                .any(|phase| matches!(phase, Phase::Connecting { .. } | Phase::Connected { .. }))
    }
}

#[cfg(test)]
mod tests;
