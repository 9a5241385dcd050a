//! The state of the node: verdict, sources with their addresses, changes, files.

use super::escape::{Escaped, Lines};
use crate::admin::files::FileDiff;
use crate::admin::status::{EndpointStatus, ReputationStatus, SourceStatus, State, Status};
use crate::admin::{Reason, Verdict};
use crate::telemetry::{human_bytes, human_duration};
use std::fmt::{self, Write};
use std::time::Duration;

/// The word that `status` and `/readyz` say, and the same reasons. A screen reader reads the word out when it changes, and not
/// the reasons, whose times always do.
pub(super) fn verdict(out: &mut String, status: &Status) -> fmt::Result {
    let word = status.verdict.word();
    let class = match status.verdict {
        Verdict::Ready => "good",
        Verdict::Degraded => "warn",
        Verdict::Down => "bad",
    };
    write!(
        out,
        "<p role=\"status\" class=\"verdict {class}\">{word}</p>"
    )?;
    if !status.reasons.is_empty() {
        out.push_str("<ul>");
        for reason in status.reasons.iter().map(Reason::to_string) {
            write!(out, "<li>{}</li>", Escaped(&reason))?;
        }
        out.push_str("</ul>");
    }
    Ok(())
}

/// Who sees more, for who does not see names.
pub(super) fn names(out: &mut String, is_hidden: bool, has_token: bool) {
    if !is_hidden {
        return;
    }
    out.push_str(
        "<p class=\"note\">Names of images are not shown to you: any process of the node can open this page. They are shown \
         to root and to the agent's own user, ",
    );
    out.push_str(match has_token {
        true => "and <a href=\"/names\">to whoever has the token</a> of <code>[server] admin_token_file</code>.</p>",
        false => "and to whoever shows a token, once <code>[server] admin_token_file</code> names one.</p>",
    });
}

pub(super) fn sources(out: &mut String, status: &Status) -> fmt::Result {
    for source in status.tiers.iter().chain(&status.upstreams) {
        write_source(out, source, status)?;
    }
    if status.tiers.is_empty() && status.upstreams.is_empty() {
        out.push_str("<p>No tier is configured, and no registry has been asked yet.</p>");
    }
    if status.reputation_hidden > 0 {
        let hidden = status.reputation_hidden;
        write!(
            out,
            "<p class=\"dim\">{hidden} more held back for single images.</p>"
        )?;
    }
    if status.router.says_something() {
        let router = status.router.to_string();
        write!(
            out,
            "<p>Images without a registry: {}</p>",
            Escaped(&router)
        )?;
    }
    Ok(())
}

fn write_source(out: &mut String, source: &SourceStatus, status: &Status) -> fmt::Result {
    let (class, word) = match source.ready {
        true => ("good", "ready"),
        false => ("bad", "not ready"),
    };
    let (name, url) = (Escaped(&source.name), Escaped(&source.url));
    let kind = Escaped(&source.kind);
    write!(
        out,
        "<article data-key=\"{kind} {name}\"><h3>{name} <span class=\"{class}\">{word}</span></h3><p>{url} <span class=\"dim\">{kind}</span></p>"
    )?;
    let mut warn = |text: String| write!(out, "<p class=\"bad\">{}</p>", Escaped(&text));
    if let Some(reason) = &source.reason {
        warn(reason.clone())?;
    }
    if source.insecure_skip_verify {
        warn("its certificate is not checked".to_owned())?;
    }
    match (&source.dns_error, source.dns_stale) {
        (Some(error), _) => warn(format!("DNS: {error}"))?,
        (None, true) => warn("DNS: the last known addresses are used".to_owned())?,
        (None, false) => {}
    }
    if let Some(robot) = &source.robot {
        warn(format!("its robot account {robot}"))?;
    }
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Addresses of {name}\"><table><thead><tr>\
         <th scope=\"col\">address</th><th scope=\"col\">state</th><th scope=\"col\">since</th><th scope=\"col\">first byte</th>\
         <th scope=\"col\">in flight</th><th scope=\"col\">reason and reputation</th></tr></thead><tbody>"
    )?;
    let is_upstream = source.kind == "upstream";
    let rows = status.reputation.iter();
    let rows = rows.filter(|row| row.source == source.name && row.upstream == is_upstream);
    let rows: Vec<&ReputationStatus> = rows.collect();
    for endpoint in &source.endpoints {
        write_endpoint(out, endpoint, &rows)?;
    }
    out.push_str("</tbody></table></div>");
    let of_all = rows.iter().filter(|row| row.address.is_none());
    let of_all: Vec<String> = of_all.map(ToString::to_string).collect();
    if !of_all.is_empty() {
        out.push_str("<ul>");
        for row in of_all {
            write!(out, "<li>{}</li>", Escaped(&row))?;
        }
        out.push_str("</ul>");
    }
    out.push_str("</article>");
    Ok(())
}

fn write_endpoint(
    out: &mut String,
    endpoint: &EndpointStatus,
    rows: &[&ReputationStatus],
) -> fmt::Result {
    let class = match endpoint.state {
        State::Healthy => "good",
        State::Probation => "warn",
        State::Ejected | State::Expired => "bad",
    };
    let latency = endpoint.latency_ms.map(|ms| format!("{ms} ms"));
    let address = Escaped(&endpoint.address);
    write!(
        out,
        "<tr data-key=\"{address}\"><th scope=\"row\">{address}</th><td class=\"{class}\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>",
        endpoint.state.word(),
        human_duration(Duration::from_secs(endpoint.since_seconds)),
        latency.unwrap_or_default(),
        endpoint.in_flight,
    )?;
    let against = rows
        .iter()
        .filter(|row| row.address.as_ref() == Some(&endpoint.address))
        .map(|row| row.to_string());
    let lowered = endpoint.lowered.then(|| "others are preferred".to_owned());
    let parts = [endpoint.reason.clone(), endpoint.next_try(), lowered];
    for (at, part) in parts.into_iter().flatten().chain(against).enumerate() {
        out.push_str(if at == 0 { "" } else { "<br>" });
        write!(out, "{}", Escaped(&part))?;
    }
    out.push_str("</td></tr>");
    Ok(())
}

/// The node's files: what is wrong with them, and what the agent changed.
pub(super) fn files(out: &mut String, status: &Status, diffs: Option<&[FileDiff]>) -> fmt::Result {
    write!(out, "<p>{}</p>", Escaped(&status.node_files))?;
    if let Some(runtime) = &status.runtime {
        write!(out, "<p>Runtime: {}</p>", Escaped(runtime))?;
    }
    for trouble in &status.node_troubles {
        let text = format!("{}: {}", trouble.path, trouble.why);
        write!(out, "<p class=\"bad\">{}</p>", Escaped(&text))?;
    }
    let Some(diffs) = diffs else {
        out.push_str(
            "<p class=\"dim\">What is in them is shown to those who see names of images.</p>",
        );
        return Ok(());
    };
    if diffs.is_empty() {
        out.push_str("<p>The agent has changed no file.</p>");
    }
    for FileDiff { path, diff } in diffs {
        let path = Escaped(path);
        write!(
            out,
            "<details data-key=\"{path}\"><summary>{path}</summary>"
        )?;
        if diff.is_empty() {
            out.push_str("<p>It is as it would be without the agent.</p></details>");
            continue;
        }
        write!(
            out,
            "<pre tabindex=\"0\" role=\"region\" aria-label=\"What the agent changed in {path}\">"
        )?;
        for line in diff.lines() {
            let class = match line.as_bytes().first() {
                Some(b'+') => "added",
                Some(b'-') => "removed",
                _ => "dim",
            };
            write!(out, "<span class=\"{class}\">{}</span>", Lines(line))?;
        }
        out.push_str("</pre></details>");
    }
    Ok(())
}

/// The last changes, the newest first.
pub(super) fn changes(out: &mut String, status: &Status) -> fmt::Result {
    if status.changes.is_empty() {
        out.push_str("<p>Nothing has changed since the start.</p>");
        return Ok(());
    }
    out.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Last changes\"><table><thead><tr><th scope=\"col\">at</th>\
         <th scope=\"col\">event</th><th scope=\"col\">what</th></tr></thead><tbody>",
    );
    for change in status.changes.iter().rev() {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&change.at),
            Escaped(&change.event),
            Escaped(&change.message),
        )?;
    }
    out.push_str("</tbody></table></div>");
    Ok(())
}

/// Sums since the start, and what runs.
pub(super) fn about(out: &mut String, status: &Status) -> fmt::Result {
    let config = &status.config;
    out.push_str("<dl>");
    let up = human_duration(Duration::from_secs(status.uptime_seconds));
    let mut row = |what: &str, said: String| {
        let (what, said) = (Escaped(what), Escaped(&said));
        write!(out, "<div><dt>{what}</dt><dd>{said}</dd></div>")
    };
    row("Version", format!("{}, up {up}", status.version))?;
    let file = config.file.as_deref().unwrap_or("built in");
    let (generation, loaded) = (config.generation, &config.loaded_at);
    row(
        "Configuration",
        format!("{file}, generation {generation}, loaded {loaded}"),
    )?;
    if let Some(error) = &config.error {
        row("The file on disk was refused", error.clone())?;
    }
    for (outcome, requests) in &status.traffic.requests {
        row(&format!("Requests: {outcome}"), requests.to_string())?;
    }
    for (tier, bytes) in &status.traffic.relayed_bytes {
        row(&format!("Bytes from {tier}"), human_bytes(*bytes))?;
    }
    row("Log records lost", status.log_dropped.to_string())?;
    if let Some(traces) = &status.traces {
        row("Traces", traces.to_string())?;
    }
    out.push_str("</dl>");
    Ok(())
}
