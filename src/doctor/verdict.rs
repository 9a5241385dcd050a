//! The node's verdict as doctor gives it: the agent's own, with what only a look from outside shows. Whatever keeps the agent
//! from being ready and no check explains is a finding. Pure.

use super::agent::AgentFacts;
use super::code::Code;
use super::report::{Check, Severity};
use crate::admin::{About, Reason, Status, Verdict, judge};
use crate::config::BaseUrl;

/// Judges, and adds what no check has found. `checks` has the one named `agent`.
pub(super) fn settle(checks: &mut [Check], facts: &AgentFacts) -> Verdict {
    let mut verdict = Verdict::Ready;
    if !facts.listen.is_empty() && !facts.answers() {
        verdict = Verdict::Down;
    } else if let Some(Ok(status)) = &facts.status {
        let (said, reasons) = judge(status);
        verdict = said;
        let open: Vec<String> = reasons
            .iter()
            .filter(|reason| !is_explained(reason, status, checks))
            .map(Reason::to_string)
            .collect();
        let agent = checks.iter_mut().find(|check| check.name == "agent");
        if let Some(check) = agent.filter(|_| !open.is_empty()) {
            check.warn(
                Code::AgentNotReady,
                "agent",
                format!("it says that it is {}: {}", said.word(), open.join("; ")),
                "wait where it is starting, stopping or trying an address again; else: journalctl -u harbor-pilot -n 30",
            );
        }
    }
    let mut findings = checks.iter().flat_map(|check| &check.findings);
    match findings.any(|finding| finding.severity == Severity::Error) {
        true => verdict.max(Verdict::Degraded),
        false => verdict,
    }
}

/// Whether a check has found what the agent means.
fn is_explained(reason: &Reason, status: &Status, checks: &[Check]) -> bool {
    let found = |name: &str| {
        let check = checks.iter().find(|check| check.name == name);
        check.is_some_and(|check| !check.findings.is_empty())
    };
    let mut outside = checks
        .iter()
        .filter(|check| matches!(check.name, "dns" | "connections" | "access" | "environment"));
    match reason.about {
        About::Agent => false,
        // Each of them has its finding.
        About::Sources => found("clock") || outside.any(|check| !check.findings.is_empty()),
        About::Configuration => found("configuration"),
        About::NodeFiles => found("files"),
        About::Tier => {
            let tier = status.tiers.iter().find(|tier| tier.name == reason.subject);
            let url = tier.and_then(|tier| BaseUrl::origin_of(&tier.url));
            let host = url.map_or_else(String::new, |url| url.host);
            let names = [reason.subject.as_str(), &host];
            found("clock")
                || outside.any(|check| {
                    let mut subjects = check.findings.iter().map(|finding| &finding.subject);
                    subjects.any(|subject| words(subject).any(|word| names.contains(&word)))
                })
        }
    }
}

/// `replica/192.0.2.1:443 project p` → `replica`, `192.0.2.1:443`, `project`, `p`
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(['/', ' ', ',']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
