//! What a 401 of the source itself means, and what is tried next. Pure.

use crate::auth::{BearerChallenge, Challenge, Refusal};
use crate::topology::SourceKind;

/// What the request that was answered 401 brought along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    Nothing,
    /// What was in the cache: it may have been revoked, or belong to another key of the server.
    Cached,
    /// A token that was fetched for this very request.
    Fresh,
    /// The source's own user name and password.
    Password,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    /// Fetch a token and ask again.
    Token(&'a BearerChallenge),
    /// Ask again without anything, to learn what is wanted.
    Bare,
    /// Ask again with user name and password.
    Password,
    /// There is nothing more to try: the reason for people.
    Denied(&'static str),
}

/// What it means that a source refuses a fresh token, or the one that it refused a moment ago. `words`: the body.
///
/// A Harbor names no challenge where it could not look the project up: its database is down, or there is no such project, which
/// it says (harbor-facts 13.4).
pub(super) fn refusal(kind: SourceKind, without_challenge: bool, words: &[u8]) -> Refusal {
    let is_harbors = kind == SourceKind::Harbor && without_challenge;
    let why = match is_harbors {
        false => "401 in spite of a fresh token",
        true if says_project_not_found(words) => {
            "401 in spite of a fresh token: there is no such project"
        }
        true => {
            "401 without a challenge in spite of a fresh token, as a Harbor answers whose database is down"
        }
    };
    Refusal {
        without_challenge,
        is_failure: is_harbors && !says_project_not_found(words),
        why: why.to_owned(),
    }
}

/// `project proxy-docker-io not found`
pub(super) fn says_project_not_found(words: &[u8]) -> bool {
    let text = String::from_utf8_lossy(words);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.windows(4).any(|four| match four {
        [project, _, not, found] => {
            project.ends_with("project") && *not == "not" && found.starts_with("found")
        }
        _ => false,
    })
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
        Challenge::Bearer(bearer) => Some(bearer),
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
