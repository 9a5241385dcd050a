//! What a 401 of the source itself means, and what is tried next. Pure.

use crate::auth::{BearerChallenge, Challenge};

/// What the request that was answered 401 brought along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing.
    Nothing,
    /// What was in the cache: it may have been revoked, or belong to another key of the server.
    Cached,
    /// A token that was fetched for this very request.
    Fresh,
    /// The source's own user name and password.
    Password,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    /// Fetch a token and ask again.
    Token(BearerChallenge<'a>),
    /// Ask again without anything, to learn what is wanted.
    Bare,
    /// Ask again with user name and password.
    Password,
    /// There is nothing more to try: the reason for people.
    Denied(&'static str),
}

/// Decides. Every path ends: each answer but `Denied` leads to a stage from which it cannot be given again.
pub(super) fn after_unauthorized(
    presented: Presented,
    challenges: &[Challenge],
    has_credential: bool,
) -> Next<'_> {
    match presented {
        Presented::Fresh => return Next::Denied("401 in spite of a fresh token"),
        Presented::Password => return Next::Denied("it refuses the configured credential"),
        Presented::Nothing | Presented::Cached => {}
    }
    // Bearer first: a password is shown as rarely as possible.
    let bearer = challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer {
            realm,
            service,
            scope,
        } => Some(BearerChallenge {
            realm: realm.as_deref(),
            service: service.as_deref(),
            scope: scope.as_deref(),
        }),
        Challenge::Basic { .. } => None,
    });
    match (bearer, presented) {
        (Some(bearer), _) => Next::Token(bearer),
        // Harbor answers a request with a dead Bearer token by a Basic challenge (harbor-facts 2).
        (None, Presented::Cached) => Next::Bare,
        (None, _) if challenges.is_empty() => Next::Denied(
            "401 without a challenge, as a Harbor answers whose database is down or whose project does not exist",
        ),
        (None, _) if has_credential => Next::Password,
        (None, _) => Next::Denied(
            "it asks for a user name and password and none is configured for this repository",
        ),
    }
}
