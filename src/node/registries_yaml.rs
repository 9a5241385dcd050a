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

pub use super::edited::{Edited, Refused};
pub use edit::{Edit, Scope, edit};
pub(super) use read::is_bottomless;
pub use read::{Mirror, Registries, read};
pub use remove::remove;

/// Behind our item where the rest of its line went to a line of its own.
const CUT: &str = " # harbor-pilot: the line goes on below";

#[cfg(test)]
mod tests;
