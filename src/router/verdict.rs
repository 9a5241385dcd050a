//! What the end of a search in one registry says of an image: there, definitely not there, or neither.

use super::choice::Answer;
use super::definite::is_definite_no;
use crate::config::Config;
use crate::relay::{
    AttemptLog, Cause, Context, FailedAttempt, FinalAnswer, NotFound, Rules, is_at_no_tier, says_no,
};
use crate::route::Route;
use crate::topology::SourceId;

/// What a "no" leads to: how definite it has to be follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The image may be taken from another registry.
    Elsewhere,
    /// The list of tags may be another registry's. No tier is asked for it.
    OtherList,
    /// An image that was there is given up.
    Moved,
}

/// `result`: whether something was found that is no copy from disk. `route`: with the tiers that were left out, whose word is
/// missing.
pub(super) fn from_search(
    result: Result<bool, &NotFound>,
    (log, route): (&AttemptLog, &Route),
    (parts, rules): (&Context, &Rules),
    then: Then,
) -> Answer {
    let nothing = match result {
        Ok(true) => return Answer::Has,
        // A copy from disk says nothing of now.
        Ok(false) => return Answer::Unknown,
        Err(nothing) => nothing,
    };
    let (config, failed) = (&rules.config, &log.failed);
    let is_no = match nothing {
        NotFound::Final { answer, .. } => is_no((*answer, then), config, route, failed),
        NotFound::Failed => {
            let is_strict = (config.router.as_ref()).is_some_and(|router| router.is_strict());
            if is_strict || then == Then::Moved {
                let mut targets = route.targets.iter();
                !targets.any(|target| target.authoritative) && is_passed_on(config, failed)
            } else {
                is_at_no_tier(route, &parts.snapshots.borrow(), failed)
            }
        }
    };
    match is_no {
        true => Answer::HasNot,
        false => Answer::Unknown,
    }
}

/// What the registry itself says to this agent. A tier may hold an account that the agent has not got: what the registry keeps from
/// the agent is not there only where each tier says so too.
fn is_no(
    (answer, then): (FinalAnswer, Then),
    config: &Config,
    route: &Route,
    failed: &[FailedAttempt],
) -> bool {
    let is_tier = |source: &SourceId| matches!(source, SourceId::Tier(_));
    let tiers = || {
        route
            .targets
            .iter()
            .filter(|target| is_tier(&target.source))
    };
    let all_say_no = || tiers().all(|tier| says_no(tier, failed));
    match answer {
        FinalAnswer::NotFound => all_say_no() || is_passed_on(config, failed),
        // Docker Hub and GHCR deny what does not exist.
        FinalAnswer::Denied | FinalAnswer::Withheld => match then {
            Then::Elsewhere => tiers().next().is_some() && all_say_no(),
            Then::OtherList => true,
            Then::Moved => false,
        },
        FinalAnswer::Unconfirmed
        | FinalAnswer::Policy
        | FinalAnswer::RangeNotSatisfiable
        | FinalAnswer::NotTaken(_)
        | FinalAnswer::NoMemory => false,
    }
}

/// Whether a tier that asks the registry has passed its "no" on.
fn is_passed_on(config: &Config, failed: &[FailedAttempt]) -> bool {
    let passes_on = |failed: &FailedAttempt| {
        let mut tiers = config.tiers.iter();
        let tier = tiers.find(|tier| *tier.name == *failed.label);
        failed.cause == Cause::NotFound
            && tier.is_some_and(|tier| is_definite_no(tier, &failed.detail))
    };
    failed.iter().any(passes_on)
}
