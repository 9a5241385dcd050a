//! The escalation of a search: who is asked beside those who are silent, and when. Whoever is asked has the time of each step; a step
//! that is due supersedes everybody who is active.

use super::Machine;
use super::terms::{Order, Phase, Step, Want};
use crate::lifecycle::deadline;
use std::time::Duration;
use tokio::time::Instant;

impl Machine {
    /// Takes a step that is due.
    pub(super) fn escalate(&mut self, whom: Want) -> Option<Order> {
        let mut steps = self.timing.escalation.iter_mut();
        let slot = steps.find(|slot| slot.is_some_and(|step| step.whom == whom))?;
        let step = slot.take()?;
        *slot = step.again.map(|after| Step { after, ..step });
        self.supersede_active(whom);
        match whom {
            // In their order: one who is connected already, or the next candidate.
            Want::Next => return None,
            // The attempt that is started next.
            Want::Tier => self.hedge = Some(self.attempts.len()),
            Want::Upstream => self.joined = true,
        }
        Some(Order::Start(whom))
    }

    /// The steps that are left, with their times.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Instant, Order)> {
        let steps = self.timing.escalation.iter().flatten();
        steps.filter_map(|step| Some((self.step_at(*step)?, Order::Start(step.whom))))
    }

    /// When a step is due, as things stand. Upstream joins by the search's time, the others by that of who is asked; tiers and others
    /// only while there are any.
    fn step_at(&self, step: Step) -> Option<Instant> {
        let asked_since = match step.whom {
            Want::Upstream => Some(self.began),
            Want::Tier if self.more => self.active_since(),
            Want::Next if self.can_leave() => self.active_since(),
            Want::Tier | Want::Next => None,
        };
        asked_since.map(|since| deadline(since, step.after))
    }

    /// How long those who are asked now have before a tier is asked beside them; `None`: for ever. No longer of interest where one
    /// has been asked so.
    pub(crate) fn hedge_after(&mut self, delay: Option<Duration>) {
        let steps = self.timing.escalation.iter_mut().flatten();
        for step in steps.filter(|step| step.whom == Want::Tier) {
            step.after = delay.unwrap_or(Duration::MAX);
        }
    }

    /// How long one who is asked may be silent until the next is asked beside it; `None`: that is not a matter of time alone.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let mut steps = self.timing.escalation.iter().flatten();
        let next = steps.find(|step| step.whom == Want::Next);
        next.map(|step| step.after)
    }

    /// Upstream does not join: it is asked in its turn.
    pub(crate) fn forget_upstream(&mut self) {
        for slot in &mut self.timing.escalation {
            *slot = slot.filter(|step| step.whom != Want::Upstream);
        }
    }

    /// Since when those who are active have been asked.
    fn active_since(&self) -> Option<Instant> {
        let asking = self.attempts.iter().filter_map(Phase::asking);
        let active = asking.filter(|asking| asking.superseded.is_none());
        active.map(|asking| asking.since).min()
    }

    pub(super) fn is_any_active(&self) -> bool {
        self.active_since().is_some()
    }

    pub(super) fn supersede_active(&mut self, whom: Want) {
        for asking in self.attempts.iter_mut().filter_map(Phase::asking_mut) {
            asking.superseded.get_or_insert(whom);
        }
    }

    /// Nobody joined: those who were superseded for that one's sake are active again.
    pub(super) fn reactivate(&mut self, whom: Want) {
        for asking in self.attempts.iter_mut().filter_map(Phase::asking_mut) {
            asking.superseded = asking.superseded.filter(|by| *by != whom);
        }
    }

    /// A hedge's connect is on its way while another is being asked: nobody has to race it.
    pub(super) fn hedge_connects(&self) -> bool {
        let hedge = self.hedge.and_then(|hedge| self.attempts.get(hedge));
        let connects = matches!(hedge, Some(Phase::Connecting { .. }));
        connects && !self.joined && self.unanswered().next().is_some()
    }
}
