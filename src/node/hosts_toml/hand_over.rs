//! Takes the agent out of a text for good, and leaves what may stay: the tiers' tables and the registry. By the marks
//! alone, without configuration: what comes out is what a merge makes for an agent that has stopped.

use super::layout::Layout;
use super::remove::{self, Place};
use super::{HEADER_MARK, Refused, TABLE_MARK, copied, is_generated, render};
use crate::node::desired::NOBODY;
use crate::node::endpoint::same_endpoint;
use crate::node::marks::{self, OURS};

/// What the mark above a table says.
const AGENT: &str = "agent";
const SERVER: &str = "server";

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose<'t> {
    Theirs,
    /// Above the first table.
    Top,
    /// In the table with this mark.
    Table(&'t str),
}

/// The text without the agent. Where it was the `server`, nobody is (decision 18). `agent` is its URL, for what k3s has
/// generated, which has no marks.
///
/// # Errors
/// [`Refused::ReadBack`] if the text could be read as TOML and the result could not.
pub fn hand_over(text: &str, agent: Option<&str>) -> Result<String, Refused> {
    if is_generated(text) {
        let without = agent.map(|agent| remove::without_endpoint(text, agent));
        return Ok(without.unwrap_or_else(|| text.to_owned()));
    }
    let lines = whose_lines(text);
    let is_server = lines.iter().any(|line| is_the_agents_server(*line, agent));
    let goes = |whose| whose == Whose::Table(AGENT) || (is_server && whose == Whose::Table(SERVER));
    let mut kept = String::with_capacity(text.len());
    // Where the agent's table was.
    let mut place = None;
    let mut last_goes = false;
    for (line, whose) in &lines {
        last_goes = goes(*whose);
        if *whose == Whose::Table(AGENT) {
            place.get_or_insert(kept.len());
        }
        if last_goes {
            continue;
        }
        match line_of_server(line, *whose).filter(|_| is_server) {
            None => kept.push_str(line),
            Some("server") => {
                let end = line.strip_prefix(marks::content(line)).unwrap_or("\n");
                kept.push_str(&format!("server = \"{NOBODY}\"{OURS}{end}"));
            }
            Some(_) => {}
        }
    }
    let cuts_end = last_goes && !text.ends_with('\n');
    if let Some(place) = place
        && let Ok(layout) = Layout::of(&kept)
        && layout.hosts.is_empty()
        && layout.bare_host.is_none()
    {
        let mut bare = render::bare_host().replace('\n', marks::line_end(text));
        // The blank line behind the agent's table stood before something.
        if place < kept.len() {
            bare.push_str(marks::line_end(text));
        }
        kept.insert_str(place, &bare);
    }
    if cuts_end {
        marks::without_last_end(&mut kept);
    }
    remove::still_readable(text, &kept)?;
    if copied::is_copy(text) {
        kept = copied::sum_anew(&kept);
    }
    Ok(kept)
}

fn whose_lines(text: &str) -> Vec<(&str, Whose<'_>)> {
    let mut place = Place::Elsewhere;
    let mut mark = "";
    let mut all = Vec::new();
    for line in marks::lines(text) {
        if let Some(who) = marks::content(line).strip_prefix(TABLE_MARK) {
            mark = who;
        }
        let (next, ours) = place.step(line);
        let whose = match (ours, &next) {
            (false, _) => Whose::Theirs,
            (true, Place::Table { .. }) => Whose::Table(mark),
            (true, _) => Whose::Top,
        };
        place = next;
        all.push((line, whose));
    }
    all
}

/// The key of a line of ours that describes the `server`.
fn line_of_server<'t>(line: &'t str, whose: Whose<'_>) -> Option<&'t str> {
    let code = marks::content(line);
    let is_key = whose == Whose::Top && marks::is_ours(line) && !code.starts_with(HEADER_MARK);
    let (key, _) = code.split_once('=').filter(|_| is_key)?;
    Some(key.trim())
}

/// Whether a line says that the agent is the `server`: by its URL, or by keys that only the agent has there.
fn is_the_agents_server((line, whose): (&str, Whose<'_>), agent: Option<&str>) -> bool {
    match line_of_server(line, whose) {
        Some("capabilities") => true,
        Some("server") => {
            let url = line.split('"').nth(1);
            url.zip(agent)
                .is_some_and(|(url, agent)| same_endpoint(url, agent))
        }
        _ => false,
    }
}
