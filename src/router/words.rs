//! What is said where no registry was found for an image.

use crate::oci::RegistryName;
use crate::relay::{FailedAttempt, message_of};
use crate::route::Refusal;

pub(super) fn nowhere(name: &str, asked: &[RegistryName]) -> String {
    let asked: Vec<&str> = asked.iter().map(RegistryName::as_str).collect();
    format!("{name} is in none of {}", asked.join(", "))
}

/// It was found at a registry that may not be asked now, for that reason.
pub(super) fn held(name: &str, refused: &Refusal) -> String {
    format!(
        "{name} stays at the registry where it was found, and is not looked for elsewhere: {refused}"
    )
}

/// `by`: whose word is missing, where there is anybody to ask.
pub(super) fn blocked(
    name: &str,
    by: Option<&RegistryName>,
    is_strict: bool,
    failed: &[FailedAttempt],
) -> String {
    let Some(by) = by else {
        return format!("{name}: no tier has a project to look in");
    };
    let why = match is_strict {
        true => "is placed before others and has not said whether it has it",
        false => "has not said whether it has it, and no other has",
    };
    let prefix = format!("{name}: {by} {why}");
    match failed {
        [] => prefix,
        failed => message_of(&prefix, failed),
    }
}
