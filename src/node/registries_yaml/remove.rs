//! Takes our part out of a text again, whatever the user has done to it since, by the marks alone.

use super::flow::Record;
use super::{Refused, read};
use crate::node::marks::{self, ASIDE, BYTE_ORDER_MARK, OURS};

/// The text without our part; 0.1.0 set lines aside as well, which come back.
///
/// # Errors
/// [`Refused::Unusual`] if an entry in brackets was changed too much to be put back, [`Refused::ReadBack`] if the
/// text could be read and the result could not: what the user wrote between our lines hangs on them.
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
    for (at, line) in lines.iter().enumerate() {
        last_is_ours = true;
        if let Some(record) = Record::of(line) {
            records.push(record);
        } else if marks::is_ours(line) {
            let below = lines.get(at + 1..).unwrap_or_default();
            if is_needed(line, below) {
                kept.push_str(&line.replacen(OURS, "", 1));
                last_is_ours = false;
            }
        } else {
            kept.push_str(line.strip_prefix(ASIDE).unwrap_or(line));
            last_is_ours = false;
        }
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

/// Whether a key of ours has got something of the user's below it since.
fn is_needed(line: &str, below: &[&str]) -> bool {
    let code = marks::content(line);
    if !code
        .strip_suffix(OURS)
        .is_some_and(|code| code.ends_with(':'))
    {
        return false;
    }
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let own = indent(line);
    let skipped = |line: &&&str| marks::is_blank(line) || marks::is_comment(line);
    let lines = below.iter().filter(|line| !skipped(line));
    let within = |line: &&&str| {
        // A list may stand in the same column as its key.
        let item = indent(line) == own && line.trim_start().starts_with("- ");
        indent(line) > own || item
    };
    lines.take_while(within).any(|line| !marks::is_ours(line))
}
