//! The page for people with a browser, a tunnel or curl: whole as HTML, and its parts as JSON for its script, which puts them
//! in the place of the old ones. Written here once for both. Every text of others is escaped.

mod chart;
mod escape;
mod pulls;
mod query;
mod state;

pub(super) use query::Query;

use super::View;
use super::files::FileDiff;
use super::names::Names;
use super::status::Status;
use crate::metrics::SourceBytes;
use crate::printable::json;
use crate::telemetry::{FirstBytes, Pull, Timelines};
use chart::Words;
use escape::Escaped;
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SKELETON: &str = include_str!("page/page.html");
pub(super) const STYLE: &str = include_str!("page/page.css");
pub(super) const SCRIPT: &str = include_str!("page/page.js");
pub(super) const ICON: &str = include_str!("page/icon.svg");

/// Everything on the page.
struct Shown<'a> {
    status: &'a Status,
    query: &'a Query,
    has_token: bool,
    /// Empty where names are hidden.
    pulls: Vec<Pull>,
    /// `None` where names are hidden.
    files: Option<Arc<[FileDiff]>>,
    bytes: (Timelines<SourceBytes>, Duration),
    first_bytes: (Timelines<FirstBytes>, Duration),
}

/// The parts that change, by the id of the element that they stand in.
type Part = (&'static str, fn(&mut String, &Shown<'_>) -> fmt::Result);

const PARTS: [Part; 8] = [
    ("verdict", |out, shown| state::verdict(out, shown.status)),
    ("names", |out, shown| {
        state::names(out, shown.status.names_hidden, shown.has_token);
        Ok(())
    }),
    ("sources", |out, shown| state::sources(out, shown.status)),
    ("charts", charts),
    ("tiers", tiers),
    ("pulls", |out, shown| match shown.status.names_hidden {
        true => {
            out.push_str("<p>Single pulls are not shown to you; sums of them are below.</p>");
            Ok(())
        }
        false => pulls::write(out, &shown.pulls, shown.query),
    }),
    ("files", |out, shown| {
        state::files(out, shown.status, shown.files.as_deref())
    }),
    ("changes", |out, shown| state::changes(out, shown.status)),
];

pub(super) fn html(status: &Status, query: &Query, view: &View) -> String {
    let shown = Shown::new(status, query, view);
    let mut out = String::new();
    for (at, piece) in SKELETON.split("{{").enumerate() {
        let (name, rest) = match at {
            0 => ("", piece),
            _ => piece.split_once("}}").unwrap_or(("", piece)),
        };
        // Writing into a String cannot fail.
        let _ = shown.write(&mut out, name);
        out.push_str(rest);
    }
    out
}

/// Its parts, for its script.
pub(super) fn parts(status: &Status, query: &Query, view: &View) -> String {
    let shown = Shown::new(status, query, view);
    let names = PARTS.iter().map(|(name, _)| *name).chain(["about"]);
    let parts = names.map(|name| {
        let mut part = String::new();
        // Writing into a String cannot fail.
        let _ = shown.write(&mut part, name);
        (name.to_owned(), part.into())
    });
    let parts: serde_json::Map<String, serde_json::Value> = parts.collect();
    let title = format!("harbor-pilot: {}", status.verdict.word());
    json(serde_json::json!({ "title": title, "parts": parts }).to_string())
}

// === impl Shown ===

impl<'a> Shown<'a> {
    fn new(status: &'a Status, query: &'a Query, view: &View) -> Self {
        let names = match status.names_hidden {
            true => Names::Hidden,
            false => Names::Shown,
        };
        let sees = names == Names::Shown;
        Self {
            status,
            query,
            has_token: view.token.borrow().is_some(),
            pulls: if sees {
                view.journal.pulls()
            } else {
                Vec::new()
            },
            files: sees.then(|| view.files.last()),
            bytes: view.metrics.source_bytes(Instant::now()),
            first_bytes: view.journal.first_bytes(),
        }
    }

    fn write(&self, out: &mut String, name: &str) -> fmt::Result {
        if let Some((_, write)) = PARTS.iter().find(|(part, _)| *part == name) {
            return write(out, self);
        }
        match name {
            "about" => state::about(out, self.status),
            "title" => write!(out, "{}", self.status.verdict.word()),
            "image" => write!(out, "{}", Escaped(&self.query.image)),
            "outcomes" => {
                for (word, is_chosen) in self.query.outcomes() {
                    option(out, word, is_chosen)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The key tells the script which is which, so that what is chosen stays so.
fn option(out: &mut String, word: &str, is_chosen: bool) -> fmt::Result {
    let (chosen, word) = (if is_chosen { " selected" } else { "" }, Escaped(word));
    write!(out, "<option data-key=\"{word}\"{chosen}>{word}</option>")
}

/// Who may have served a pull. What was chosen stays among them, though it may be gone.
fn tiers(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    let tiers = shown.status.tiers.iter().map(|tier| tier.name.as_str());
    let served = shown.pulls.iter().map(|pull| &*pull.tier);
    let chosen = shown.query.tier.as_str();
    let all: BTreeSet<&str> = tiers.chain(served).chain(["upstream", chosen]).collect();
    let all = all.into_iter();
    let all = all.filter(|name| !["", query::NOBODY].contains(name));
    out.push_str("<option value=\"\">all</option>");
    for name in all.chain([query::NOBODY]) {
        option(out, name, chosen == name)?;
    }
    Ok(())
}

fn charts(out: &mut String, shown: &Shown<'_>) -> fmt::Result {
    let quarter = |id| Words {
        id,
        span: "last 15 minutes",
        start: "15 min ago",
    };
    let day = |id| Words {
        id,
        span: "last 24 hours",
        start: "24 h ago",
    };
    let (bytes, at) = &shown.bytes;
    chart::bytes(out, quarter("bytes-short"), &bytes.short, *at)?;
    chart::bytes(out, day("bytes-long"), &bytes.long, *at)?;
    let (first, at) = &shown.first_bytes;
    chart::first_bytes(out, quarter("first-short"), &first.short, *at)?;
    chart::first_bytes(out, day("first-long"), &first.long, *at)
}
