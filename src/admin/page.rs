//! The status page: the same data as HTML, for people with a browser, a tunnel or curl. No scripts; every text is
//! escaped, for HTML and for a terminal.

use super::Verdict;
use super::status::{Change, EndpointStatus, SourceStatus, Status};
use crate::printable::printable;
use crate::telemetry::{human_bytes, human_duration};
use std::fmt::{self, Write};
use std::time::Duration;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25em .8em .25em 0;border-bottom:1px solid #ddd;vertical-align:top}\
.good{color:#17692c}.bad{color:#a31515;font-weight:600}.dim{color:#777}";

/// A text with HTML's special characters escaped, for element content and quoted attributes.
struct Escaped<'a>(&'a str);

pub(super) fn html(status: &Status) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write(&mut out, status);
    out
}

fn write(out: &mut String, status: &Status) -> fmt::Result {
    let word = status.verdict.word();
    let class = match status.verdict {
        Verdict::Ready => "good",
        Verdict::Degraded | Verdict::Down => "bad",
    };
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>harbor-pilot: {word}</title>\
         <style>{STYLE}</style></head><body>\
         <h1>harbor-pilot <span class=\"{class}\">{word}</span></h1>\
         <p>Version {}, up {}.</p>",
        Escaped(&status.version),
        human_duration(Duration::from_secs(status.uptime_seconds)),
    )?;
    if !status.reasons.is_empty() {
        out.push_str("<ul>");
        for reason in &status.reasons {
            write!(out, "<li>{}</li>", Escaped(&reason.to_string()))?;
        }
        out.push_str("</ul>");
    }
    config(out, status)?;
    for source in status.tiers.iter().chain(&status.upstreams) {
        write_source(out, source)?;
    }
    if !status.reputation.is_empty() {
        out.push_str("<h2>Held back</h2><ul>");
        for row in &status.reputation {
            write!(out, "<li>{}</li>", Escaped(&row.to_string()))?;
        }
        out.push_str("</ul>");
    }
    if status.router.says_something() {
        let router = status.router.to_string();
        write!(
            out,
            "<h2>Images without a registry</h2><p>{}</p>",
            Escaped(&router)
        )?;
    }
    out.push_str("<h2>Traffic since the start</h2><table>");
    for (outcome, requests) in &status.traffic.requests {
        write!(
            out,
            "<tr><td>{}</td><td>{requests} requests</td></tr>",
            Escaped(outcome)
        )?;
    }
    for (tier, bytes) in &status.traffic.relayed_bytes {
        let size = human_bytes(*bytes);
        write!(
            out,
            "<tr><td>from {}</td><td>{size}</td></tr>",
            Escaped(tier)
        )?;
    }
    out.push_str("</table><h2>Last changes</h2><table>");
    for change in status.changes.iter().rev() {
        write_change(out, change)?;
    }
    write!(
        out,
        "</table><p class=\"dim\">Files of the node: {}. Log records lost: {}. \
         <a href=\"/status\">JSON</a> · <a href=\"/metrics\">metrics</a></p></body></html>",
        Escaped(&status.node_files),
        status.log_dropped,
    )
}

fn config(out: &mut String, status: &Status) -> fmt::Result {
    let config = &status.config;
    write!(
        out,
        "<p>Configuration: {}, generation {}, loaded {}.",
        Escaped(config.file.as_deref().unwrap_or("built in")),
        config.generation,
        Escaped(&config.loaded_at),
    )?;
    if let Some(error) = &config.error {
        write!(
            out,
            " <span class=\"bad\">The file on disk was refused, an older configuration is in force: {}</span>",
            Escaped(error)
        )?;
    }
    out.push_str("</p>");
    Ok(())
}

fn write_source(out: &mut String, source: &SourceStatus) -> fmt::Result {
    let (class, word) = if source.ready {
        ("good", "ready")
    } else {
        ("bad", "not ready")
    };
    write!(
        out,
        "<h2>{} <span class=\"{class}\">{word}</span></h2><p>{} <span class=\"dim\">{}</span>",
        Escaped(&source.name),
        Escaped(&source.url),
        Escaped(&source.kind),
    )?;
    if source.insecure_skip_verify {
        out.push_str(" <span class=\"bad\">certificate not checked</span>");
    }
    if let Some(error) = &source.dns_error {
        write!(out, " <span class=\"bad\">DNS: {}</span>", Escaped(error))?;
    } else if source.dns_stale {
        out.push_str(" <span class=\"bad\">DNS: last known addresses</span>");
    }
    out.push_str(
        "</p><table><tr><th>address</th><th>state</th><th>since</th>\
         <th>first byte</th><th>in flight</th><th>reason</th></tr>",
    );
    for endpoint in &source.endpoints {
        let class = match endpoint.state {
            super::State::Healthy => "good",
            super::State::Ejected | super::State::Probation | super::State::Expired => "bad",
        };
        let latency = endpoint.latency_ms.map(|ms| format!("{ms} ms"));
        write!(
            out,
            "<tr><td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&endpoint.address),
            endpoint.state.word(),
            human_duration(Duration::from_secs(endpoint.since_seconds)),
            latency.unwrap_or_default(),
            endpoint.in_flight,
            Escaped(&reason(endpoint)),
        )?;
    }
    out.push_str("</table>");
    Ok(())
}

/// Reason and next try.
fn reason(endpoint: &EndpointStatus) -> String {
    let parts = [endpoint.reason.clone(), endpoint.next_try()];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn write_change(out: &mut String, change: &Change) -> fmt::Result {
    write!(
        out,
        "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
        Escaped(&change.at),
        Escaped(&change.event),
        Escaped(&change.message),
    )
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in printable(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
