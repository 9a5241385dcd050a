//! What a plan leaves alone.

use serde::Serialize;
use std::path::PathBuf;

/// A file that is left as it is, though it should be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Which.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: String,
    /// It is only a matter of time: the runtime has not made its directories yet.
    pub waits: bool,
}
