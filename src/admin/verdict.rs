//! The one verdict on a node, and its reasons: `status`, `/status`, the page, `/readyz`, `doctor` and the Ansible role all
//! give this one. Pure.

use super::status::Status;
use crate::node::FilesState;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is as it should be.
    #[default]
    Ready,
    /// Pulls are served, and a person should look.
    Degraded,
    /// No pull is served: the agent does not accept connections or stops, or no source is left. As `/readyz` 503.
    Down,
}

/// Where nobody is left to serve a pull, this is why the agent is not ready.
pub(super) const NO_SOURCE: &str = "no tier is ready, and no registry can be asked directly";

/// Why the verdict is not [`Verdict::Ready`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is about.
    pub about: About,
    /// Which: a tier's name, a file; empty for the agent itself.
    pub subject: String,
    /// What is so.
    pub what: String,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The agent itself.
    Agent,
    /// All sources together.
    Sources,
    /// Its configuration.
    Configuration,
    /// One tier.
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

// === impl Verdict ===

impl Verdict {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// By a status' reasons: `down` by what `/readyz` says, else `degraded` by any of them.
    fn of(status: &Status, reasons: &[Reason]) -> Self {
        match (status.ready, reasons.is_empty()) {
            (false, _) => Self::Down,
            (true, false) => Self::Degraded,
            (true, true) => Self::Ready,
        }
    }
}

/// Judges what a status shows, whichever version wrote it.
#[must_use]
pub fn judge(status: &Status) -> (Verdict, Vec<Reason>) {
    let mut reasons = Vec::new();
    let mut add = |about, subject: &str, what: String| {
        reasons.push(Reason {
            about,
            subject: subject.to_owned(),
            what,
        });
    };
    for why in &status.not_ready {
        let about = match why == NO_SOURCE {
            true => About::Sources,
            false => About::Agent,
        };
        add(about, "", why.clone());
    }
    let config = &status.config;
    let file = config.file.as_deref().unwrap_or("the configuration");
    if !config.last_reload_ok {
        let error = config.error.as_deref().unwrap_or_default();
        let first = error.lines().next().unwrap_or_default();
        add(
            About::Configuration,
            file,
            format!("it was refused, and an older configuration is in force: {first}"),
        );
    } else if config.from_last_accepted {
        add(
            About::Configuration,
            file,
            "the agent started with the last accepted configuration".to_owned(),
        );
    }
    for tier in &status.tiers {
        if !tier.ready {
            let why = tier.reason.as_deref().unwrap_or("no address can be used");
            add(About::Tier, &tier.name, format!("not ready: {why}"));
        } else if let Some(error) = &tier.dns_error {
            let what = format!("its name has no addresses, and the last known are used: {error}");
            add(About::Tier, &tier.name, what);
        }
    }
    match status.node_files_state {
        Some(FilesState::Degraded | FilesState::Released) => {
            add(About::NodeFiles, "", status.node_files.clone());
        }
        Some(FilesState::NotManaged) if !status.node_files_left.is_empty() => {
            add(About::NodeFiles, "", status.node_files.clone());
        }
        _ => {}
    }
    (Verdict::of(status, &reasons), reasons)
}

#[cfg(test)]
mod tests;
