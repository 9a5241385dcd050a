//! What the end of a search in one registry says of an image: there, definitely not there, or neither.

use crate::config::Config;
use crate::relay::causes::Tried;
use crate::relay::context::{Context, Rules};
use crate::relay::outcome::{AttemptLog, NotFound};
use crate::relay::refusal::is_at_no_tier;
use crate::relay::rules::{Cause, FinalAnswer};
use crate::route::Route;
use crate::router::{Answer, is_definite_no};

/// `result`: whether something was found that is no copy from disk.
pub(super) fn of(
    result: Result<bool, &NotFound>,
    (log, route): (&AttemptLog, &Route),
    (parts, rules): (&Context, &Rules),
) -> Answer {
    match result {
        Ok(true) => Answer::Has,
        // A copy from disk says nothing of now.
        Ok(false) => Answer::Unknown,
        Err(NotFound::Final { answer, .. }) => match answer {
            // Docker Hub and GHCR deny what does not exist.
            FinalAnswer::NotFound | FinalAnswer::Denied | FinalAnswer::Withheld => Answer::HasNot,
            FinalAnswer::Unconfirmed
            | FinalAnswer::Policy
            | FinalAnswer::RangeNotSatisfiable
            | FinalAnswer::NotTaken(_)
            | FinalAnswer::NoMemory => Answer::Unknown,
        },
        Err(NotFound::Failed) => {
            let is_strict = (rules.config.router.as_ref()).is_some_and(|router| router.is_strict());
            let is_no = match is_strict {
                true => is_definite(&rules.config, route, &log.tried),
                false => is_at_no_tier(route, &parts.snapshots.borrow(), &log.tried),
            };
            if is_no {
                Answer::HasNot
            } else {
                Answer::Unknown
            }
        }
    }
}

/// Where the registry itself may not be asked: whether a tier that asks it has passed its "no" on.
fn is_definite(config: &Config, route: &Route, tried: &[Tried]) -> bool {
    let passes_on = |tried: &&Tried| {
        let mut tiers = config.tiers.iter();
        let tier = tiers.find(|tier| *tier.name == *tried.label);
        tried.cause == Cause::NotFound
            && tier.is_some_and(|tier| is_definite_no(tier, &tried.detail))
    };
    let mut targets = route.targets.iter();
    !targets.any(|target| target.authoritative) && tried.iter().any(|tried| passes_on(&tried))
}
