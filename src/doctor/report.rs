//! What an examination came to.

use super::code::Code;
use crate::admin::Verdict;
use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Pulls work; something will break, or works only by luck.
    Warning,
    /// Pulls fail, do not go through the agent, or a source is of no use.
    Error,
}

/// Something that a person should mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For programs.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// A tier, an address, a file, a registry.
    pub subject: String,
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub instead: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong.
    Ok,
    /// Something is.
    Findings,
    /// There is nothing to check on this node.
    NotApplicable,
    /// It could not be made.
    NotMade,
}

/// One check with what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// In one word.
    pub name: &'static str,
    /// How it went.
    pub state: State,
    /// What was seen, in one line.
    pub said: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What a person should know, and is no fault.
    pub notes: Vec<String>,
    /// What of it could not be checked, and why.
    pub unchecked: Vec<String>,
}

/// All checks, in their fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The node's verdict: the agent's own, and what only a look from outside shows.
    pub verdict: Verdict,
    /// The checks.
    pub checks: Vec<Check>,
}

// === impl Code ===

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

// === impl Severity ===

impl Severity {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// An error where this is all there is, else a warning.
    pub(super) fn error_if(essential: bool) -> Self {
        if essential {
            Self::Error
        } else {
            Self::Warning
        }
    }
}

// === impl State ===

impl State {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Findings => "findings",
            Self::NotApplicable => "not_applicable",
            Self::NotMade => "not_made",
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
        self.findings.push(Finding {
            code,
            severity,
            subject: subject.into(),
            what: what.into(),
            instead: instead.into(),
        });
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
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().flat_map(|check| &check.findings)
    }

    /// How many of them are so bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Some check could not be made.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.state == State::NotMade || !check.unchecked.is_empty())
    }

    /// 1: findings; 2: none, but something could not be checked; 0: all is well.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match (self.findings().next(), self.is_incomplete()) {
            (Some(_), _) => 1,
            (None, true) => 2,
            (None, false) => 0,
        }
    }
}
