//! The one verdict on a node, and its reasons: `status`, `/status`, the page, `/readyz`, `doctor` and the Ansible role all
//! give this one. Pure.

use crate::printable::words;
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Verdict {
        /// Everything is as it should be.
        #[default]
        Ready = "ready",
        /// Pulls are served, and a person should look.
        Degraded = "degraded",
        /// No pull is served: the agent does not accept connections or stops, or no source is left. As `/readyz` 503.
        Down = "down",
    }
}

/// Why the verdict is not [`Verdict::Ready`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub about: About,
    /// Which: a tier's name, a file; empty for the agent itself.
    pub subject: String,
    pub what: String,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    Agent,
    Sources,
    Configuration,
    Tier,
    /// The node's files, and the runtime that reads them.
    NodeFiles,
}

// === impl Reason ===

impl fmt::Display for Reason {
    /// `tier replica: not ready: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about {
            About::Agent => f.write_str("the agent: ")?,
            About::Sources => {}
            About::Configuration => write!(f, "{}: ", self.subject)?,
            About::Tier => write!(f, "tier {}: ", self.subject)?,
            About::NodeFiles => f.write_str("node files: ")?,
        }
        f.write_str(&self.what)
    }
}
