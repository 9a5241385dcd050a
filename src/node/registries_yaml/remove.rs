//! Takes our part out of a text again, whatever the user has done to it since, by the marks alone.

use super::read::{self, read};
use super::{CUT, Refused, place};
use crate::node::marks::{self, ASIDE, BYTE_ORDER_MARK, OURS};
use serde::Deserialize;

/// Before a record of 0.1.0 above `mirrors`.
const RECORD: &str = "# harbor-pilot: ";

/// The text without our part; what was set aside comes back.
///
/// # Errors
/// [`Refused::Unusual`] if an entry that 0.1.0 changed in brackets was changed too much to be put back,
/// [`Refused::ReadBack`] if the text could be read and the result could not: what the user wrote between our lines hangs
/// on them.
pub fn remove(text: &str) -> Result<String, Refused> {
    let mut kept = String::with_capacity(text.len());
    let text = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(text) => {
            kept.push(BYTE_ORDER_MARK);
            text
        }
        None => text,
    };
    let lines: Vec<&str> = marks::lines(text).collect();
    let mut records = Vec::new();
    let mut last_is_ours = false;
    let mut goes_on = false;
    for (at, line) in lines.iter().enumerate() {
        last_is_ours = true;
        if let Some(record) = Record::parse(line) {
            records.push(record);
            continue;
        }
        if marks::is_ours(line) {
            let below = lines.get(at + 1..).unwrap_or_default();
            if is_needed(line, below) {
                kept.push_str(&line.replacen(OURS, "", 1));
                last_is_ours = false;
            }
            continue;
        }
        last_is_ours = false;
        let line = match std::mem::take(&mut goes_on) {
            true => line.trim_start_matches(' '),
            false => line.strip_prefix(ASIDE).unwrap_or(line),
        };
        let cut = before_ours(line);
        goes_on = cut.is_some();
        kept.push_str(cut.unwrap_or(line));
    }
    if last_is_ours && !text.ends_with('\n') {
        marks::without_last_end(&mut kept);
    }
    for record in records.iter().rev() {
        record.undo(&mut kept)?;
    }
    if let (Ok(_), Err(error)) = (read::value(text), read::value(&kept)) {
        return Err(Refused::ReadBack(error.to_string()));
    }
    Ok(kept)
}

/// What stands before our item in a line that goes on in the next one.
fn before_ours(line: &str) -> Option<&str> {
    let item = marks::content(line).strip_suffix(CUT)?;
    let item = item.strip_suffix(',')?.strip_suffix('"')?;
    item.rsplit_once('"').map(|(before, _)| before)
}

/// Whether a key of ours has got something of the user's below it since.
fn is_needed(line: &str, below: &[&str]) -> bool {
    let code = marks::content(line);
    if !code
        .strip_suffix(OURS)
        .is_some_and(|code| code.ends_with(':'))
    {
        return false;
    }
    let own = place::indent(line);
    let skipped = |line: &&&str| marks::is_blank(line) || marks::is_comment(line);
    let lines = below.iter().filter(|line| !skipped(line));
    let within = |line: &&&str| {
        // A list may stand in the same column as its key.
        let item = place::indent(line) == own && line.trim_start().starts_with("- ");
        place::indent(line) > own || item
    };
    lines.take_while(within).any(|line| !marks::is_ours(line))
}

/// The list of an entry in brackets, or the entry, as 0.1.0 found it and made it.
#[derive(Deserialize)]
struct Record {
    mirror: String,
    was: String,
    /// With the agent in double quotes.
    now: String,
}

impl Record {
    /// The record of a line, if it is one.
    fn parse(line: &str) -> Option<Self> {
        let json = marks::content(line).strip_prefix(RECORD)?;
        serde_json::from_str(json).ok()
    }

    /// The error says that the new ones do not stand there any more, though the agent does.
    fn undo(&self, text: &mut String) -> Result<(), Refused> {
        let lost = || {
            Refused::Unusual(format!(
                "mirrors.{} has changed so much that the agent cannot be taken out of its brackets again: take it out of {}",
                self.mirror, self.now
            ))
        };
        let registries = read(text).map_err(|_| lost())?;
        // The user may have taken the entry out, and ours with it.
        let Some(mirror) = registries.mirrors.get(&self.mirror) else {
            return Ok(());
        };
        let path = ["mirrors", &self.mirror, "endpoint"];
        for at in [3, 2].map(|depth| place::value(text, path.get(..depth)?)) {
            let Some(at) = at else { continue };
            let written = text.get(at..).unwrap_or_default();
            if written.starts_with(&self.now) {
                text.replace_range(at..at + self.now.len(), &self.was);
                return Ok(());
            }
        }
        let mut endpoints = mirror.endpoints.iter();
        if endpoints.any(|url| self.now.contains(&format!("[\"{url}\""))) {
            return Err(lost());
        }
        Ok(())
    }
}
