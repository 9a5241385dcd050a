//! Takes our part out of a text again, whatever the user has done to it since. Line by line, by the marks alone:
//! it also works on a text that no parser can read any more.

use super::copied::is_copy;
use super::layout::Layout;
use super::{HEADER_MARK, Refused, TABLE_MARK, is_generated};
use crate::node::endpoint::{EndpointUrl, Reader};
use crate::node::marks::{self, ASIDE, OURS};
use std::sync::Arc;
use toml_edit::Document;

/// Our line of a `server` that is the registry itself: the agent has no TLS.
const REGISTRY: &str = "server = \"https://";

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
    let mut place = Place::Elsewhere;
    let mut last_is_ours = false;
    let mut server = None;
    for line in marks::lines(text) {
        let (next, ours) = place.step(line);
        place = next;
        last_is_ours = ours;
        if !ours {
            kept.push_str(line.strip_prefix(ASIDE).unwrap_or(line));
        } else if line.starts_with(REGISTRY) {
            server = Some((kept.len(), line.replacen(OURS, "", 1)));
        }
    }
    // Hosts that somebody has put into a file of ours since: without a server k3s' containerd would end with them.
    if let Some((at, line)) = server
        && let Ok(layout) = Layout::of(&kept)
        && layout.server.is_none()
        && !layout.hosts.is_empty()
    {
        kept.insert_str(at, &line);
    }
    if last_is_ours && !text.ends_with('\n') {
        marks::without_last_end(&mut kept);
    }
    still_readable(text, &kept)?;
    Ok(kept)
}

/// Whether what is left can be read, if the whole could.
///
/// # Errors
/// [`Refused::ReadBack`]: what the user wrote between our lines hangs on them.
pub(super) fn still_readable(text: &str, kept: &str) -> Result<(), Refused> {
    let readable = |text: &str| Document::parse(text).map(drop);
    if let (Ok(()), Err(error)) = (readable(text), readable(kept)) {
        return Err(Refused::ReadBack(error.message().trim().to_owned()));
    }
    Ok(())
}

/// The agent's endpoint, as a file of ours names it.
#[must_use]
pub fn agent_of(text: &str) -> Option<Arc<str>> {
    let (_, behind) = text.split_once("\n# harbor-pilot: agent")?;
    let table = behind.lines().nth(1)?;
    table.split('"').nth(1).map(Into::into)
}

/// The text as it would be without us: without our part, and where k3s generated the rest, without the table that it made
/// of our line in registries.yaml for `agent`. No mark tells that one, and once the agent is gone it leads to a port that
/// nobody serves.
///
/// # Errors
/// As [`remove()`].
pub fn base(text: &str, agent: Option<&str>) -> Result<String, Refused> {
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

pub(super) enum Place {
    Elsewhere,
    /// Behind the header or a line of ours above the tables: one blank line is ours too.
    Top,
    /// In a table of ours.
    Table {
        /// `host."URL"` of its header, once that was seen.
        path: Option<String>,
        /// Its one blank line was seen.
        blank: bool,
    },
}

// === impl Place ===

impl Place {
    /// Where we are behind the line, and whether the line is ours.
    pub(super) fn step(self, line: &str) -> (Self, bool) {
        let code = marks::content(line);
        if code.starts_with(HEADER_MARK) || marks::is_ours(line) {
            return (Self::Top, true);
        }
        if code.starts_with(TABLE_MARK) {
            let (path, blank) = (None, false);
            return (Self::Table { path, blank }, true);
        }
        if line.starts_with(ASIDE) {
            return (Self::Elsewhere, false);
        }
        match self {
            Self::Elsewhere => (Self::Elsewhere, false),
            Self::Top => (Self::Elsewhere, marks::is_blank(line)),
            Self::Table { path, blank } => Self::in_table(line, path, blank),
        }
    }

    /// A comment or a second blank line in a table of ours is the user's; a key goes with the table.
    fn in_table(line: &str, path: Option<String>, blank: bool) -> (Self, bool) {
        let code = marks::content(line).trim();
        if code.starts_with('#') {
            return (Self::Table { path, blank }, false);
        }
        if code.is_empty() {
            return (Self::Table { path, blank: true }, !blank);
        }
        match (code.strip_prefix('['), &path) {
            (Some(header), None) => {
                let end = header.rfind(']').unwrap_or(header.len());
                let path = header.get(..end).map(str::to_owned);
                (Self::Table { path, blank }, true)
            }
            (Some(header), Some(own)) => {
                // A bare `[host]` of ours has nothing below it: what follows is the user's.
                let below = header.strip_prefix(own.as_str());
                let below = below.filter(|_| own.ends_with('"'));
                if below.is_some_and(|rest| rest.starts_with('.')) {
                    (Self::Table { path, blank }, true)
                } else {
                    (Self::Elsewhere, false)
                }
            }
            (None, _) => (Self::Table { path, blank }, true),
        }
    }
}
