//! The report for people: from a value to text, without any I/O.

#[cfg(test)]
mod tests;

use super::report::{CandidateReport, ProbeReport, Report, RouterReport, SourceReport};
use crate::cli::status::{Cell, Color, Page, plain};
use crate::printable::printable;
use crate::telemetry::human_duration;
use std::fmt::{self, Write};
use std::time::Duration;

/// The text, with colours or without.
pub(super) fn render(report: &Report, color: bool) -> String {
    Page::written(color, |page| write(report, page))
}

fn write(report: &Report, page: &mut Page) -> fmt::Result {
    writeln!(page.text, "{}", printable(&report.image))?;
    writeln!(
        page.text,
        "containerd asks the agent for {}",
        printable(&report.request)
    )?;
    if let Some(node) = &report.node {
        page.text.push_str("\nNode\n");
        page.node(node)?;
        page.restart_pending(node)?;
        page.registry_file(node, report.hosts_file.as_ref())?;
    }
    if let Some(refusal) = &report.refusal {
        page.text.push('\n');
        page.colored("Not by the agent: ", Color::Bad);
        writeln!(page.text, "{}", printable(&refusal.what))?;
        return writeln!(page.text, "What to do: {}", printable(&refusal.instead));
    }
    if let Some(router) = &report.router {
        write_router(router, page)?;
        if router.chosen.is_none() {
            return Ok(());
        }
    }
    page.text.push_str("\nWhy\n");
    for reason in &report.reasons {
        writeln!(page.text, "  {}", printable(reason))?;
    }
    page.text.push_str("\nSources, in order of preference\n");
    for source in &report.sources {
        write_source(source, page)?;
    }
    page.text
        .push_str("\nAddresses, in the order in which a request would ask them now\n");
    if report.candidates.is_empty() {
        page.text.push_str("    none known\n");
    } else {
        let head = [
            "#",
            "SOURCE",
            "ADDRESS",
            "STATE",
            "SINCE",
            "FIRST BYTE",
            "NOTE",
        ];
        let rows = report.candidates.iter().map(candidate);
        page.table(&head, rows);
    }
    if report.probed && !report.candidates.is_empty() {
        page.text.push_str("\nWhat they answered\n");
        let head = [
            "#",
            "SOURCE",
            "ADDRESS",
            "STATUS",
            "TIME",
            "DIGEST OR ERROR",
        ];
        let rows = report.candidates.iter();
        let rows = rows.filter_map(|candidate| Some(answer(candidate, candidate.probe.as_ref()?)));
        page.table(&head, rows);
    }
    page.text.push('\n');
    let (verdict, color) = verdict(report);
    page.line(&verdict, color);
    Ok(())
}

/// Who is asked for an image without a registry, and who is chosen.
fn write_router(router: &RouterReport, page: &mut Page) -> fmt::Result {
    let repository = printable(&router.repository);
    writeln!(
        page.text,
        "\nNo registry is named: {repository} is looked for in"
    )?;
    for candidate in &router.candidates {
        write!(page.text, "  {}", printable(&candidate.registry))?;
        match candidate.has_manifest {
            Some("yes") => page.colored("  has it", Color::Good),
            Some("no") => page.text.push_str("  has it not"),
            Some(_) => page.colored("  does not say", Color::Warn),
            None => {}
        }
        page.text.push('\n');
        if let Some(refusal) = &candidate.refusal {
            writeln!(page.text, "    not asked: {}", printable(refusal))?;
        }
        for source in &candidate.sources {
            writeln!(page.text, "    GET {}", printable(&source.url))?;
        }
    }
    match &router.chosen {
        Some(chosen) => page.colored(&format!("Taken from {}", printable(chosen)), Color::Good),
        None if router
            .candidates
            .iter()
            .any(|one| one.has_manifest.is_some()) =>
        {
            page.colored("Taken from none", Color::Bad);
        }
        None => page.text.push_str("Which one is taken"),
    }
    writeln!(page.text, ": {}.", printable(&router.why))
}

fn write_source(source: &SourceReport, page: &mut Page) -> fmt::Result {
    let kind = match source.kind {
        "upstream" => "the registry itself",
        kind => kind,
    };
    write!(page.text, "  {} ({kind})", printable(&source.name))?;
    match source.ready {
        Some(true) => page.colored("  ready", Color::Good),
        Some(false) => page.colored("  not ready", Color::Bad),
        None => {}
    }
    writeln!(page.text, "\n    GET {}", printable(&source.url))?;
    let who = if source.credential {
        "with the configured credential"
    } else {
        "without a credential"
    };
    let weight = if source.authoritative {
        "its \"not found\" is final"
    } else {
        "after its \"not found\" the next is asked"
    };
    write!(page.text, "    {who}; {weight}")?;
    if let Some(proxy) = &source.proxy {
        write!(page.text, "; through the proxy {}", printable(proxy))?;
    }
    page.text.push('\n');
    page.warnings(
        source.insecure_skip_verify,
        source.dns_error.as_deref(),
        source.dns_stale,
    );
    Ok(())
}

fn candidate(candidate: &CandidateReport) -> Vec<Cell> {
    let color = match candidate.state {
        "healthy" => Color::Good,
        "ejected" => Color::Bad,
        "probation" => Color::Warn,
        _ => Color::Plain,
    };
    let span = |seconds| human_duration(Duration::from_secs(seconds));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let latency = candidate.latency_ms.map(Duration::from_millis);
    let place = match candidate.why {
        "fail_open" => Some("asked only if all others fail".to_owned()),
        "probation" => Some("tried by one request at a time".to_owned()),
        "loaded" => Some("busy".to_owned()),
        "suspect" => Some("a connect to it takes too long".to_owned()),
        _ => candidate.lowered.then(|| "others are preferred".to_owned()),
    };
    let left = candidate.ejected_for_seconds;
    let left = left.map(|seconds| format!("tried again in {}", span(seconds)));
    let notes = [place, candidate.reason.clone(), left]
        .into_iter()
        .flatten();
    let notes: Vec<String> = notes.chain(candidate.held_back.iter().cloned()).collect();
    vec![
        plain(&candidate.position.to_string()),
        plain(&candidate.source),
        plain(&candidate.address),
        (candidate.state.to_owned(), color),
        plain(&or_dash(candidate.since_seconds.map(span))),
        plain(&or_dash(latency.map(human_duration))),
        plain(&notes.join("; ")),
    ]
}

fn answer(candidate: &CandidateReport, probe: &ProbeReport) -> Vec<Cell> {
    let color = if probe.has_manifest {
        Color::Good
    } else {
        Color::Bad
    };
    let status = probe.status.map(|status| status.to_string());
    let text = probe.error.as_ref().or(probe.digest.as_ref());
    vec![
        plain(&candidate.position.to_string()),
        plain(&candidate.source),
        plain(&candidate.address),
        (status.unwrap_or_else(|| "none".to_owned()), color),
        plain(&human_duration(Duration::from_millis(probe.ms))),
        plain(text.map_or("", String::as_str)),
    ]
}

fn verdict(report: &Report) -> (String, Color) {
    let has_it = |candidate: &&CandidateReport| {
        let probe = candidate.probe.as_ref();
        probe.is_some_and(|probe| probe.has_manifest)
    };
    let named = |candidate: &CandidateReport| {
        let (source, address) = (printable(&candidate.source), printable(&candidate.address));
        format!("{source} at {address}")
    };
    let first = report.candidates.first();
    match (first, report.candidates.iter().find(has_it)) {
        (None, _) => (
            "No path: no address of any source is known.".to_owned(),
            Color::Bad,
        ),
        (Some(first), _) if !report.probed => {
            (format!("Asked first: {}.", named(first)), Color::Good)
        }
        (Some(_), Some(found)) => (
            format!("The first that has the manifest: {}.", named(found)),
            Color::Good,
        ),
        (Some(_), None) => match report.stale_seconds {
            Some(age) => (
                format!(
                    "Nobody has the manifest now; the agent answers with its copy of {} ago.",
                    human_duration(Duration::from_secs(age))
                ),
                Color::Warn,
            ),
            None => ("No path: nobody has the manifest.".to_owned(), Color::Bad),
        },
    }
}
