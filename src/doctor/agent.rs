//! The agent itself: its port and who holds it, its header, its own word, its configuration. Facts in, findings out.

use super::code::Code;
use super::port::Holder;
use super::report::Check;
use crate::admin::Status;
use crate::config::Problem;
use crate::printable::counted;
use std::net::SocketAddr;

/// A unit that has failed too often is refused its start for the rest of 30 s unless it is forgiven.
const START: &str = "systemctl reset-failed harbor-pilot; systemctl restart harbor-pilot";

/// What is known of the agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentFacts {
    /// Every address of `[server] listen`.
    pub listen: Vec<Listener>,
    /// `None`: it is off.
    pub admin: Option<SocketAddr>,
    /// Its word, or why there is none.
    pub status: Option<Result<Status, String>>,
}

/// One address of `[server] listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub address: SocketAddr,
    pub taken: bool,
    /// Who, if that can be seen.
    pub holder: Option<Holder>,
    /// An answer to `GET /v2/` has our header.
    pub answers: bool,
}

// === impl AgentFacts ===

impl AgentFacts {
    /// It answers at any of its addresses.
    #[must_use]
    pub(crate) fn answers(&self) -> bool {
        self.listen.iter().any(|listener| listener.answers)
    }
}

// === impl Listener ===

impl Listener {
    /// Where this node finds it.
    #[must_use]
    pub(crate) fn dialled(&self) -> SocketAddr {
        crate::admission::dialled(self.address)
    }
}

/// What is known of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFacts {
    /// The file that was meant.
    pub file: String,
    /// Why the files are no configuration.
    pub problems: Vec<Problem>,
    /// The rest of the report is about the last accepted configuration, or about the built-in one.
    pub last_accepted: bool,
    pub warnings: Vec<Problem>,
    /// doctor does not run as root.
    pub unprivileged: bool,
}

// === impl ConfigFacts ===

impl ConfigFacts {
    /// Why the configuration cannot be seen at all by whoever runs doctor; `None`: it can.
    #[must_use]
    pub(crate) fn is_hidden(&self) -> Option<String> {
        let is_forbidden = |problem: &Problem| problem.what.contains("ermission denied");
        let hidden = self.problems.iter().find(|problem| is_forbidden(problem));
        hidden
            .filter(|_| self.unprivileged && self.problems.iter().all(is_forbidden))
            .map(|problem| format!("{}: run doctor as root", problem.what))
    }
}

/// The files on disk, and whether they are what runs.
pub(super) fn configuration(facts: &ConfigFacts, status: Option<&Status>) -> Check {
    if let Some(why) = facts.is_hidden() {
        return Check::not_made("configuration", why);
    }
    let mut check = Check::made("configuration", format!("{} can be used", facts.file));
    if let Some(first) = facts.problems.first() {
        let rest = match facts.problems.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n.saturating_sub(1)),
        };
        check.said = format!("{} cannot be used", facts.file);
        let used = if facts.last_accepted {
            "the last accepted configuration"
        } else {
            "the built-in configuration"
        };
        check.error(
            Code::ConfigInvalid,
            &facts.file,
            format!("{first}{rest}"),
            "see all of it with harbor-pilot check, correct the file, then: systemctl reload harbor-pilot",
        );
        check.note(format!("the rest of this report is about {used}"));
    }
    if let Some(status) = status
        && facts.problems.is_empty()
    {
        let config = &status.config;
        let running = config
            .file
            .as_deref()
            .unwrap_or("none, the built-in configuration");
        if !config.last_reload_ok || config.from_last_accepted {
            let why = config
                .error
                .as_deref()
                .unwrap_or("it has not read the file since");
            check.error(
                Code::ConfigNotInForce,
                &facts.file,
                format!(
                    "the running agent uses an older configuration: {}",
                    first_line(why)
                ),
                "the file is good now: systemctl reload harbor-pilot",
            );
        } else if config.file.as_deref() != Some(facts.file.as_str()) && config.file.is_some() {
            check.warn(
                Code::ConfigNotInForce,
                &facts.file,
                format!("the running agent uses another file: {running}"),
                "give doctor that file with --config, or restart the agent with this one",
            );
        }
    }
    if facts.unprivileged {
        check.note(
            "doctor does not run as root: what only root may read looks as if it were not there, and who holds a port is not seen",
        );
    }
    for warning in &facts.warnings {
        check.note(warning.to_string());
    }
    check
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The port, and the agent behind it.
pub(super) fn agent(facts: &AgentFacts) -> Check {
    let mut check = Check::made("agent", "");
    let mut seen = Vec::new();
    for listener in &facts.listen {
        let at = listener.address;
        let by = listener.holder.as_ref().map(|holder| format!(", {holder}"));
        if listener.answers {
            seen.push(format!("answers at {at}{}", by.unwrap_or_default()));
            continue;
        }
        seen.push(format!("no answer of harbor-pilot at {at}"));
        let subject = at.to_string();
        match &listener.holder {
            _ if !listener.taken => check.error(
                Code::AgentNotRunning,
                subject,
                format!(
                    "nobody listens at {at}: containerd is refused there and goes to its next host"
                ),
                format!(
                    "{START}; if it does not stay: journalctl -u harbor-pilot -p warning -n 30"
                ),
            ),
            Some(holder) if holder.is_the_agent() => check.error(
                Code::AgentHangs,
                subject,
                format!("{holder} holds {at} and does not answer within 2 s"),
                format!("{START}; keep the journal of the minutes before for a report"),
            ),
            holder => {
                let who = holder.as_ref().map_or_else(
                    || "another program (run doctor as root to see which)".to_owned(),
                    ToString::to_string,
                );
                check.error(
                    Code::PortStolen,
                    subject,
                    format!("{who} holds {at}: what containerd asks there is not answered by harbor-pilot"),
                    format!("stop that program, or give the agent another address with [server] listen; then: {START}"),
                );
            }
        }
    }
    match &facts.status {
        Some(Ok(status)) => say_status(&mut check, status, &mut seen),
        Some(Err(why)) if facts.answers() => {
            let admin = facts
                .admin
                .map(|admin| admin.to_string())
                .unwrap_or_default();
            check.warn(
                Code::AdminUnreachable,
                admin,
                format!("the agent serves, but its admin endpoint does not: {}", first_line(why)),
                "see that [server] admin is what the running agent uses, and who holds that port: ss -ltnp",
            );
        }
        _ => {}
    }
    if facts.listen.is_empty() {
        return Check::not_applicable("agent", "[server] listen is empty");
    }
    check.said = seen.join("; ");
    check
}

fn say_status(check: &mut Check, status: &Status, seen: &mut Vec<String>) {
    seen.push(format!("version {}", status.version));
    if status.version != env!("CARGO_PKG_VERSION") {
        check.note(format!(
            "the running agent has version {} and this program {}: restart the agent to use the new one",
            status.version,
            env!("CARGO_PKG_VERSION"),
        ));
    }
    for tier in &status.tiers {
        if let Some(robot) = &tier.robot {
            check.warn(
                Code::RobotExpiring,
                &tier.name,
                format!("its robot account {robot}"),
                "renew it in Harbor, and write its new secret into the password file of that tier; it is read again without a restart",
            );
        }
    }
    if status.log_dropped > 0 {
        check.note(format!(
            "{} lost since its start",
            counted(status.log_dropped, "log record was", "log records were")
        ));
    }
}

#[cfg(test)]
pub(super) mod tests;
