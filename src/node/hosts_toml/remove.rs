//! Takes our part out of a text again, whatever the user has done to it since, or the agent alone. Line by line, by the
//! marks: it also works without configuration, and on a text that no parser can read any more.

use super::copied::{is_copy, sum_anew};
use super::read::{SeenHost, read};
use super::{HEADER_MARK, Refused, TABLE_MARK, is_generated, render};
use crate::node::desired::NOBODY;
use crate::node::endpoint::{EndpointUrl, Reader, same_endpoint};
use crate::node::marks::{self, ASIDE, OURS};
use std::sync::Arc;
use toml_edit::Document;

/// Our line of a `server` that is the registry itself: the agent has no TLS.
const REGISTRY: &str = "server = \"https://";

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose<'t> {
    Theirs,
    /// Above the first table.
    Top,
    /// In the table with this mark.
    Table(&'t str),
}

/// The text without our part, and with what was set aside back in its place. An empty result of a file that we
/// made is a file to be deleted.
///
/// # Errors
/// [`Refused::ReadBack`] if the text could be read as TOML and the result could not: what the user wrote
/// between our lines hangs on them.
pub fn remove(text: &str) -> Result<String, Refused> {
    if is_copy(text) {
        return Ok(String::new());
    }
    let mut kept = String::with_capacity(text.len());
    let mut server = None;
    let lines = whose_lines(text);
    for (line, whose) in &lines {
        if *whose == Whose::Theirs {
            kept.push_str(put_back(line));
        } else if line.starts_with(REGISTRY) {
            server = Some((kept.len(), line.replacen(OURS, "", 1)));
        }
    }
    // Hosts that somebody has put into a file of ours since: without a server k3s' containerd would end with them.
    if let Some((at, line)) = server
        && read(&kept).is_ok_and(|view| view.server.is_none() && !view.hosts.is_empty())
    {
        kept.insert_str(at, &line);
    }
    let last = lines.last();
    let last_goes = last.is_some_and(|(_, whose)| *whose != Whose::Theirs);
    finish(text, last_goes, kept)
}

/// Takes our `server` out alone: then no host that somebody added keeps it.
pub(crate) fn take_server_out(text: &mut Vec<u8>) {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let is_ours = |line: &&[u8]| {
        line.starts_with(REGISTRY.as_bytes()) && line.trim_ascii_end().ends_with(OURS.as_bytes())
    };
    let theirs = lines.filter(|line| !is_ours(line));
    *text = theirs.flatten().copied().collect();
}

/// The text without the agent, for good. What may stay without it stays: the tiers' tables, the registry, and nobody where
/// the agent was the `server` (decision 18). What comes out is what a merge makes for an agent that has stopped. `agent` is
/// its URL, for what k3s has generated, which has no marks.
///
/// # Errors
/// [`Refused`]: the text stays as it is. [`Refused::ReadBack`] as of [`remove()`].
pub fn hand_over(text: &str, agent: Option<&str>) -> Result<String, Refused> {
    if is_generated(text) {
        let without = agent.map(|agent| without_endpoint(text, agent));
        return Ok(without.unwrap_or_else(|| text.to_owned()));
    }
    let lines = whose_lines(text);
    // Of a `server` only the agent has capabilities.
    let of_server = |line: &str, key| marks::is_ours(line) && line.starts_with(key);
    let mut tops = lines.iter().filter(|(_, whose)| *whose == Whose::Top);
    let is_server = tops.any(|(line, _)| of_server(line, "capabilities"));
    let goes = |line: &str, whose| match whose {
        Whose::Table(who) => who == "agent" || (is_server && who == "server"),
        Whose::Top => is_server && of_server(line, "capabilities"),
        Whose::Theirs => false,
    };
    let mut kept = String::with_capacity(text.len());
    // Where the agent's table was.
    let mut place = None;
    for (line, whose) in &lines {
        if *whose == Whose::Table("agent") {
            place.get_or_insert(kept.len());
        }
        if *whose == Whose::Top && is_server && of_server(line, "server") {
            let end = line.strip_prefix(marks::content(line)).unwrap_or("\n");
            kept.push_str(&format!("server = \"{NOBODY}\"{OURS}{end}"));
        } else if !goes(line, *whose) {
            kept.push_str(line);
        }
    }
    if let Some(place) = place
        && let Ok(view) = read(&kept)
        && view.hosts.is_empty()
    {
        let back: String = marks::lines(&kept).map(put_back).collect();
        let named = agent_of(text);
        let agent = agent.or(named.as_deref()).unwrap_or_default();
        let is_agent = |host: &SeenHost| same_endpoint(&host.url, agent);
        let tiers = read(&back).is_ok_and(|back| !back.hosts.iter().any(is_agent));
        if view.server.is_none() && back != kept && tiers {
            kept = back;
        } else if view.bare_host.is_none() {
            let mut agents = lines
                .iter()
                .filter(|(_, whose)| *whose == Whose::Table("agent"));
            let blank = agents.rfind(|(line, _)| marks::is_blank(line));
            let blank = blank.map_or("", |(line, _)| line);
            let bare = render::bare_host().replace('\n', marks::line_end(text));
            kept.insert_str(place, &(bare + blank));
        }
    }
    let last_goes = lines.last().is_some_and(|(line, whose)| goes(line, *whose));
    let kept = finish(text, last_goes, kept)?;
    Ok(if is_copy(text) { sum_anew(&kept) } else { kept })
}

/// What is left, without the line end that came with a last line of ours, if it can be read where the whole could.
fn finish(text: &str, last_goes: bool, mut kept: String) -> Result<String, Refused> {
    if last_goes && !text.ends_with('\n') {
        marks::without_last_end(&mut kept);
    }
    let readable = |text: &str| Document::parse(text).map(drop);
    if let (Ok(()), Err(error)) = (readable(text), readable(&kept)) {
        return Err(Refused::ReadBack(error.message().trim().to_owned()));
    }
    Ok(kept)
}

fn put_back(line: &str) -> &str {
    line.strip_prefix(ASIDE).unwrap_or(line)
}

/// The agent's endpoint, as a file of ours names it.
pub(crate) fn agent_of(text: &str) -> Option<Arc<str>> {
    let (_, behind) = text.split_once("\n# harbor-pilot: agent")?;
    let table = behind.lines().nth(1)?;
    table.split('"').nth(1).map(Into::into)
}

/// The text as it would be without us: without our part, and where k3s generated the rest, without the table that it made
/// of our line in registries.yaml for `agent`. No mark tells that one, and once the agent is gone it leads to a port that
/// nobody serves.
pub(crate) fn base(text: &str, agent: Option<&str>) -> Result<String, Refused> {
    let without = remove(text)?;
    match agent {
        Some(agent) if is_generated(&without) => Ok(without_endpoint(&without, agent)),
        _ => Ok(without),
    }
}

/// A text without the host tables of one endpoint.
pub(super) fn without_endpoint(text: &str, url: &str) -> String {
    let ours = EndpointUrl::parse(url, Reader::Containerd);
    let mut is_out = false;
    let kept = marks::lines(text).filter(|line| {
        if let Some(header) = marks::content(line).trim().strip_prefix('[') {
            let named = header
                .strip_prefix("host.\"")
                .and_then(|rest| rest.split('"').next());
            let named = named.and_then(|named| EndpointUrl::parse(named, Reader::Containerd));
            is_out = named.is_some() && named == ours;
        }
        !is_out
    });
    kept.collect()
}

/// Each line with whose it is.
fn whose_lines(text: &str) -> Vec<(&str, Whose<'_>)> {
    let mut place = Place::Elsewhere;
    let lines = marks::lines(text);
    lines.map(|line| (line, place.step(line))).collect()
}

enum Place<'t> {
    Elsewhere,
    /// Behind the header or a line of ours above the tables: one blank line is ours too.
    Top,
    /// In a table of ours.
    Table {
        /// What its mark says.
        who: &'t str,
        /// `host."URL"` of its header, once that was seen.
        path: Option<&'t str>,
        /// Its one blank line was seen.
        blank: bool,
    },
}

// === impl Place ===

impl<'t> Place<'t> {
    /// Goes on by a line, and says whose that is. A comment or a second blank line in a table of ours is the user's; a key
    /// goes with the table.
    fn step(&mut self, line: &'t str) -> Whose<'t> {
        let code = marks::content(line);
        if code.starts_with(HEADER_MARK) || marks::is_ours(line) {
            *self = Self::Top;
            return Whose::Top;
        }
        if let Some(who) = code.strip_prefix(TABLE_MARK) {
            let (path, blank) = (None, false);
            *self = Self::Table { who, path, blank };
            return Whose::Table(who);
        }
        if let Self::Table { who, path, blank } = self
            && !line.starts_with(ASIDE)
        {
            let code = code.trim();
            let is_ours = match (code.strip_prefix('['), &path) {
                _ if code.starts_with('#') => return Whose::Theirs,
                _ if code.is_empty() => !std::mem::replace(blank, true),
                (None, _) => true,
                (Some(header), None) => {
                    *path = header
                        .rsplit_once(']')
                        .map_or(Some(header), |(path, _)| Some(path));
                    true
                }
                // A bare `[host]` of ours has nothing below it: what follows is the user's.
                (Some(header), Some(own)) => {
                    let below = header.strip_prefix(own).filter(|_| own.ends_with('"'));
                    below.is_some_and(|rest| rest.starts_with('.'))
                }
            };
            if is_ours {
                return Whose::Table(who);
            }
            if code.is_empty() {
                return Whose::Theirs;
            }
        }
        let was = std::mem::replace(self, Self::Elsewhere);
        match was {
            Self::Top if marks::is_blank(line) => Whose::Top,
            _ => Whose::Theirs,
        }
    }
}
