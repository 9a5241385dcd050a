//! Whose turn it is: who is overtaken, when, and who gets the turn back.

use super::Machine;
use super::terms::{Hedge, Phase};
use crate::lifecycle::deadline;
use std::time::Duration;
use tokio::time::Instant;

impl Machine {
    pub(super) fn someone_has_the_turn(&self) -> bool {
        self.attempts.iter().any(|phase| {
            matches!(
                phase,
                Phase::Asking {
                    overtaken: false,
                    ..
                }
            )
        })
    }

    pub(super) fn overtake_all(&mut self) {
        for phase in &mut self.attempts {
            if let Phase::Asking { overtaken, .. } = phase {
                *overtaken = true;
            }
        }
    }

    /// Takes the turn from who has been silent for too long, while anybody else is left.
    pub(super) fn overtake_the_silent(&mut self, now: Instant) {
        let Some(patience) = self.patience().filter(|_| self.can_leave()) else {
            return;
        };
        for phase in &mut self.attempts {
            if let Phase::Asking {
                since,
                overtaken: overtaken @ false,
                ..
            } = phase
                && now >= deadline(*since, patience)
            {
                *overtaken = true;
                self.overtook = true;
            }
        }
    }

    /// Nobody joined: those who were overtaken for a joiner's sake have their turn again.
    pub(super) fn give_turns_back(&mut self) {
        for phase in &mut self.attempts {
            if let Phase::Asking {
                overtaken,
                overdue: false,
                ..
            } = phase
            {
                *overtaken = false;
            }
        }
    }

    /// How long one who is asked may be silent until the next is asked beside it; `None`: that is not a matter of time alone.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let first = self.timing.overtake?;
        Some(if self.overtook {
            first.mul_f64(0.5)
        } else {
            first
        })
    }

    /// A hedge's connect is on its way while another is being asked: nobody has to race it.
    pub(super) fn hedge_connects(&self) -> bool {
        let Hedge::Sent(hedge) = self.hedge else {
            return false;
        };
        let connecting = matches!(self.attempts.get(hedge), Some(Phase::Connecting { .. }));
        connecting && !self.joined && self.unanswered().next().is_some()
    }
}
