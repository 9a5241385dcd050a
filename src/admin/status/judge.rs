//! What a status comes to: the verdict and its reasons. Pure.

use super::Status;
use crate::admin::verdict::{About, Reason, Verdict};
use crate::node::FilesState;

/// Where no source is left for a pull, this is why the agent is not ready.
pub(in crate::admin) const NO_SOURCE: &str =
    "no tier is ready, and no registry can be asked directly";

/// Judges what a status shows, whichever version wrote it.
#[must_use]
pub(crate) fn judge(status: &Status) -> (Verdict, Vec<Reason>) {
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
    // `down` by what `/readyz` says, else `degraded` by any reason.
    let verdict = match (status.ready, reasons.is_empty()) {
        (false, _) => Verdict::Down,
        (true, false) => Verdict::Degraded,
        (true, true) => Verdict::Ready,
    };
    (verdict, reasons)
}

#[cfg(test)]
mod tests;
