//! The report's two forms, and its statuses.

use super::render::{json, render};
use crate::admin::Verdict;
use crate::doctor::CHECKS;
use crate::doctor::code::Code;
use crate::doctor::report::{Case, Check, Finding, Report, Severity, State};

fn check(name: &'static str, state: State, findings: Vec<Finding>) -> Check {
    Check {
        name,
        state,
        said: "within 30 s\u{1b}[31m".to_owned(),
        findings,
        notes: vec!["a note".to_owned()],
        unchecked: vec!["a file".to_owned(); usize::from(state == State::NotMade)],
    }
}

fn finding(code: Code, severity: Severity) -> Finding {
    let (subject, what) = ("replica/192.0.2.1:443", "it has expired");
    Finding {
        code,
        severity,
        subject: subject.to_owned(),
        what: what.to_owned(),
        cases: vec![Case {
            subject: subject.to_owned(),
            what: what.to_owned(),
        }],
        instead: "renew it\nsoon".to_owned(),
    }
}

fn report(checks: Vec<Check>) -> Report {
    let errors = checks.iter().flat_map(|check: &Check| &check.findings);
    let mut errors = errors.filter(|finding| finding.severity == Severity::Error);
    let verdict = match errors.next() {
        Some(_) => Verdict::Degraded,
        None => Verdict::Ready,
    };
    Report { verdict, checks }
}

fn expired() -> Vec<Finding> {
    vec![
        finding(Code::TlsExpired, Severity::Error),
        finding(Code::ClockOff, Severity::Warning),
    ]
}

#[test]
fn the_status_says_findings_before_gaps() {
    let ok = || check("dns", State::Ok, Vec::new());
    let gap = || check("pull", State::NotMade, Vec::new());
    let bad = || {
        check(
            "clock",
            State::Findings,
            vec![finding(Code::ClockOff, Severity::Warning)],
        )
    };
    let skipped = || check("files", State::NotApplicable, Vec::new());
    let table = [
        (vec![ok(), skipped()], 0, "ready: No problem found."),
        (
            vec![ok(), gap()],
            2,
            "Nothing found; not everything could be checked (marked ?).",
        ),
        (vec![ok(), bad()], 1, "ready: 1 warning."),
        (
            vec![gap(), bad()],
            1,
            "1 warning; not everything could be checked (marked ?).",
        ),
        (
            vec![check("dns", State::Findings, expired()), bad()],
            1,
            "degraded: 1 error, 2 warnings.",
        ),
    ];
    for (checks, status, last) in table {
        let report = report(checks);
        assert_eq!(report.exit_status(), status, "{last}");
        let text = render(&report, false);
        assert_eq!(text.lines().last(), Some(last));
    }
}

#[test]
fn people_see_code_and_remedy_and_no_control_characters() {
    let report = report(vec![check("connections", State::Findings, expired())]);
    let text = render(&report, false);
    for line in [
        "ERROR   connections    within 30 s",
        "    tls-expired  replica/192.0.2.1:443: it has expired",
        "      do: renew it",
        "          soon",
        "    note: a note",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "{line}\nis not in\n{text}"
        );
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(render(&report, true).contains("\u{1b}["));
}

/// The shape that docs/troubleshooting.md promises: fields may be added there and here, never change.
#[test]
fn programs_see_the_documented_shape() {
    let value = json(&report(vec![check(
        "connections",
        State::Findings,
        expired(),
    )]));
    let keys = |value: &serde_json::Value| {
        let keys = value.as_object().unwrap().keys().cloned();
        keys.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        keys(&value),
        "checks complete errors findings verdict version warnings"
    );
    assert_eq!(keys(&value["checks"][0]), "name notes said state unchecked");
    assert_eq!(
        keys(&value["findings"][0]),
        "cases check code instead severity subject what"
    );
    assert_eq!(
        (&value["errors"], &value["warnings"], &value["complete"]),
        (&1.into(), &1.into(), &true.into())
    );
    assert_eq!(value["checks"][0]["state"], "findings");
    assert_eq!(value["findings"][0]["code"], "tls-expired");
    assert_eq!(value["findings"][1]["severity"], "warning");
    let page = include_str!("../../../docs/troubleshooting.md");
    let due = [
        "version",
        "errors",
        "warnings",
        "complete",
        "checks[]",
        "findings[]",
        "name",
        "state",
        "said",
        "notes[]",
        "code",
        "severity",
        "check",
        "subject",
        "cases[]",
        "what",
        "instead",
        "ok",
        "not_applicable",
        "not_made",
        "error",
        "warning",
    ];
    for word in due {
        assert!(
            page.contains(&format!("`{word}`")),
            "{word} is not on the page"
        );
    }
    for name in CHECKS {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "the check {name} is not on the page"
        );
    }
}
