//! Images that name no registry (`[router]`): in which registry each one was found, and how one is chosen of several. Asking the
//! projects is the pull path's; what is here knows no network.
//!
//! `named` knows such images, `choice` decides by answers of which `definite` says what a "no" is worth, `fan_out` drives the
//! questions, `mappings` remembers what came of them, `breaker` spares projects that keep failing, `rates` counts
//! a client's requests.

mod breaker;
mod choice;
mod definite;
mod fan_out;
mod mappings;
mod named;
mod rates;
#[cfg(test)]
mod testing;

pub(crate) use breaker::{Breakers, Project};
pub(crate) use choice::{Answer, Choice, Decision, Step};
pub(crate) use definite::is_definite_no;
pub(crate) use fan_out::FanOut;
pub(crate) use mappings::{Freshness, Mappings, Subject, Wanted};
pub(crate) use named::repository;
pub(crate) use rates::Rates;
