//! k3s's and rke2's `registries.yaml`: the agent put first among the endpoints of the registries that it lists,
//! taken out again, and the whole read as k3s does (design F2, F4, F8).
//!
//! The parser that k3s's is a port of (libyaml, by yaml_serde) names the places, and only those bytes are changed. What
//! comes out is read back and must differ from what went in by exactly the intended endpoints. Ours is marked in the file
//! itself:
//!
//! - `# harbor-pilot` behind each line of ours;
//! - `# harbor-pilot: the line goes on below` behind our item of a list in brackets that stood in one line.
//!
//! [`edit()`] begins with [`remove()`], so that applying twice is applying once.

mod edit;
mod place;
mod read;
mod remove;

pub use edit::{Edit, Edited, Scope, edit};
pub(super) use read::is_bottomless;
pub use read::{Mirror, Registries, read};
pub use remove::remove;

/// Behind our item where the rest of its line went to a line of its own.
const CUT: &str = " # harbor-pilot: the line goes on below";

/// Why a text is not touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// k3s would wait for ever at its next start, until it is fixed.
    #[error("k3s cannot read the file and would wait at its next start until it is fixed: {0}")]
    Unreadable(String),
    /// It can be read, but a change could be read differently by somebody.
    #[error("{0}")]
    Unusual(String),
    /// `existing = "refuse"`.
    #[error(
        "{0} stands in the file, and [node] existing is \"refuse\"; write \"adopt\" or \"keep\", or take the entry out"
    )]
    Existing(String),
    /// The result was read back and does not say what it should. Nothing was lost: the old text stays.
    #[error("the changed file would not say what it should: {0}; please report this with the file")]
    ReadBack(String),
}

#[cfg(test)]
mod tests;
