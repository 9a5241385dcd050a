//! The report for people and for programs: from a value to text, without any I/O.

use crate::admin::Verdict;
use crate::cli::status::{Color, Page};
use crate::doctor::report::{Check, Report, Severity, State};
use crate::printable::printable;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};

/// The object of `--json`.
pub(super) fn json(report: &Report) -> Value {
    let checks = report.checks.iter().map(|check| {
        json!({
            "name": check.name,
            "state": check.state,
            "said": check.said,
            "notes": check.notes,
            "unchecked": check.unchecked,
        })
    });
    let findings = report.checks.iter().flat_map(|check| {
        check.findings.iter().map(|finding| {
            json!({
                "code": finding.code,
                "severity": finding.severity,
                "check": check.name,
                "subject": finding.subject,
                "what": finding.what,
                "cases": finding.cases,
                "instead": finding.instead,
            })
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": report.verdict,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "complete": !report.is_incomplete(),
        "checks": checks.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// The text, with colours or without.
pub(super) fn render(report: &Report, color: bool) -> String {
    Page::written(color, |page| write(report, page))
}

fn write(report: &Report, page: &mut Page) -> fmt::Result {
    for check in &report.checks {
        write_check(check, page)?;
    }
    page.text.push('\n');
    let (line, color) = last_line(report);
    page.line(&line, color);
    Ok(())
}

fn write_check(check: &Check, page: &mut Page) -> fmt::Result {
    let errors = check
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    let (word, color) = match check.state {
        State::Ok => ("ok", Color::Good),
        State::Findings if errors => ("ERROR", Color::Bad),
        State::Findings => ("warning", Color::Warn),
        State::NotApplicable => ("-", Color::Plain),
        State::NotMade => ("?", Color::Warn),
    };
    page.colored(&format!("{word:<8}"), color);
    writeln!(page.text, "{:<14} {}", check.name, printable(&check.said))?;
    for finding in &check.findings {
        page.text.push_str("    ");
        let color = match finding.severity {
            Severity::Error => Color::Bad,
            Severity::Warning => Color::Warn,
        };
        page.colored(finding.code.word(), color);
        if finding.is_alike() {
            let (subject, what) = (printable(&finding.subject), printable(&finding.what));
            writeln!(page.text, "  {subject}: {what}")?;
        } else {
            writeln!(page.text, "  of {}:", finding.cases.len())?;
            for case in &finding.cases {
                let (subject, what) = (printable(&case.subject), printable(&case.what));
                writeln!(page.text, "        {subject}: {what}")?;
            }
        }
        for (number, line) in finding.instead.lines().enumerate() {
            let lead = if number == 0 {
                "      do: "
            } else {
                "          "
            };
            writeln!(page.text, "{lead}{}", printable(line))?;
        }
    }
    for why in &check.unchecked {
        writeln!(page.text, "    could not check: {}", printable(why))?;
    }
    for note in &check.notes {
        writeln!(page.text, "    note: {}", printable(note))?;
    }
    Ok(())
}

fn last_line(report: &Report) -> (String, Color) {
    let some = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    let (errors, warnings) = (
        report.count(Severity::Error),
        report.count(Severity::Warning),
    );
    let rest = if report.is_incomplete() {
        "; not everything could be checked (marked ?)"
    } else {
        ""
    };
    let (line, color) = match (errors, warnings) {
        (0, 0) if rest.is_empty() => ("No problem found.".to_owned(), Color::Good),
        (0, 0) => (format!("Nothing found{rest}."), Color::Warn),
        (0, n) => (format!("{}{rest}.", some(n, "warning")), Color::Warn),
        (n, 0) => (format!("{}{rest}.", some(n, "error")), Color::Bad),
        (n, m) => (
            format!("{}, {}{rest}.", some(n, "error"), some(m, "warning")),
            Color::Bad,
        ),
    };
    match report.verdict {
        // What could not be checked may be anything.
        Verdict::Ready if report.is_incomplete() => (line, color),
        verdict => (format!("{}: {line}", verdict.word()), color),
    }
}
