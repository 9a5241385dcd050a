//! What an examination came to.

use super::code::Code;
use crate::admin::Verdict;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Pulls work; something will break, or works only by luck.
    Warning,
    /// Pulls fail, do not go through the agent, or a source is of no use.
    Error,
}

/// Something that a person should fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub code: Code,
    pub severity: Severity,
    /// A tier, an address, a file, a registry; several with commas between them where they have it in common.
    pub subject: String,
    /// What is so; of several that differ each with its subject.
    pub what: String,
    /// The same one by one.
    pub cases: Vec<Case>,
    /// What to do about it.
    pub instead: String,
}

/// One of those that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    /// A tier, an address, a file, a registry.
    pub subject: String,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Ok,
    Findings,
    /// There is nothing to check on this node.
    NotApplicable,
    /// It could not be made.
    NotMade,
}

/// One check with what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub name: &'static str,
    pub state: State,
    /// What was seen, in one line.
    pub said: String,
    pub findings: Vec<Finding>,
    /// What a person should know, and is no fault.
    pub notes: Vec<String>,
    /// What of it could not be checked, and why.
    pub unchecked: Vec<String>,
}

/// All checks, in their fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The node's verdict: the agent's own, and what only a look from outside shows.
    pub verdict: Verdict,
    pub checks: Vec<Check>,
}

// === impl Finding ===

impl Finding {
    /// The same is so of all of them.
    #[must_use]
    pub(crate) fn is_alike(&self) -> bool {
        let mut cases = self.cases.iter();
        let first = cases.next().map(|case| &case.what);
        cases.all(|case| Some(&case.what) == first)
    }

    fn add(&mut self, case: Case) {
        if self.cases.contains(&case) {
            return;
        }
        self.cases.push(case);
        let subjects: BTreeSet<&str> = self.cases.iter().map(|case| &*case.subject).collect();
        self.subject = subjects.into_iter().collect::<Vec<_>>().join(", ");
        if !self.is_alike() {
            let each = self.cases.iter();
            let each = each.map(|case| format!("{}: {}", case.subject, case.what));
            self.what = each.collect::<Vec<_>>().join("; ");
        }
    }
}

// === impl Code ===

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

// === impl Severity ===

impl Severity {
    /// An error where this is all there is, else a warning.
    pub(super) fn error_if(essential: bool) -> Self {
        if essential {
            Self::Error
        } else {
            Self::Warning
        }
    }
}

// === impl Check ===

impl Check {
    /// A check that was made: what it found decides how it went.
    pub(super) fn made(name: &'static str, said: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            said: said.into(),
            findings: Vec::new(),
            notes: Vec::new(),
            unchecked: Vec::new(),
        }
    }

    /// There is nothing to check, and why.
    pub(super) fn not_applicable(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            state: State::NotApplicable,
            ..Self::made(name, why)
        }
    }

    /// It could not be made, and why.
    pub(super) fn not_made(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            state: State::NotMade,
            ..Self::made(name, why)
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A part of the check could not be made, and why. That is no fault of the node's.
    pub(super) fn could_not(&mut self, why: impl Into<String>) {
        if self.state == State::Ok {
            self.state = State::NotMade;
        }
        self.unchecked.push(why.into());
    }

    pub(super) fn error(
        &mut self,
        code: Code,
        subject: impl Into<String>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.find(Severity::Error, code, subject, what, instead);
    }

    pub(super) fn warn(
        &mut self,
        code: Code,
        subject: impl Into<String>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.find(Severity::Warning, code, subject, what, instead);
    }

    pub(super) fn find(
        &mut self,
        severity: Severity,
        code: Code,
        subject: impl Into<String>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.state = State::Findings;
        let case = Case {
            subject: subject.into(),
            what: what.into(),
        };
        let instead = instead.into();
        let same = |one: &&mut Finding| {
            (one.code, one.severity, &one.instead) == (code, severity, &instead)
        };
        // What one remedy ends is one finding.
        match self.findings.iter_mut().find(same) {
            Some(finding) => finding.add(case),
            None => self.findings.push(Finding {
                code,
                severity,
                subject: case.subject.clone(),
                what: case.what.clone(),
                cases: vec![case],
                instead,
            }),
        }
    }

    #[cfg(test)]
    pub(super) fn codes(&self) -> Vec<&'static str> {
        self.findings
            .iter()
            .map(|finding| finding.code.word())
            .collect()
    }
}

// === impl Report ===

impl Report {
    /// All findings, check by check.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().flat_map(|check| &check.findings)
    }

    /// How many of them are so bad.
    #[must_use]
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Some check could not be made.
    #[must_use]
    pub(crate) fn is_incomplete(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.state == State::NotMade || !check.unchecked.is_empty())
    }

    /// 1: findings; 2: none, but something could not be checked; 0: no problem.
    #[must_use]
    pub(crate) fn exit_status(&self) -> u8 {
        match (self.findings().next(), self.is_incomplete()) {
            (Some(_), _) => 1,
            (None, true) => 2,
            (None, false) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_remedy_ends_is_one_finding_with_a_list() {
        let mut check = Check::made("connections", "");
        check.error(
            Code::TlsExpired,
            "replica/192.0.2.1:443",
            "it ended",
            "renew it",
        );
        check.error(
            Code::TlsExpired,
            "replica/192.0.2.2:443",
            "it ended",
            "renew it",
        );
        check.error(
            Code::TlsExpired,
            "replica/192.0.2.2:443",
            "it ended",
            "renew it",
        );
        check.warn(
            Code::TlsExpired,
            "hub/192.0.2.3:443",
            "it ended",
            "renew it",
        );
        check.error(
            Code::TlsExpired,
            "core/192.0.2.4:443",
            "it ended",
            "ask them to renew it",
        );
        let [first, ..] = &check.findings[..] else {
            panic!("{check:?}")
        };
        assert_eq!(check.findings.len(), 3);
        assert_eq!(
            first.subject,
            "replica/192.0.2.1:443, replica/192.0.2.2:443"
        );
        assert_eq!((first.what.as_str(), first.cases.len()), ("it ended", 2));
        // What differs is said of each.
        let mut check = Check::made("access", "");
        check.error(Code::TierDenied, "p-one", "401: one", "let us in");
        check.error(Code::TierDenied, "p-two", "401: two", "let us in");
        let [only] = &check.findings[..] else {
            panic!("{check:?}")
        };
        assert_eq!(only.subject, "p-one, p-two");
        assert_eq!(only.what, "p-one: 401: one; p-two: 401: two");
        assert!(!only.is_alike());
    }
}
