//! The comments by which the agent knows its own lines again, and how a line of the user's is set aside.
//!
//! The marks stand in the file itself, so that taking our part out needs neither ledger nor configuration, and
//! works after the user has edited everything around it. A line that is set aside becomes a comment at its
//! place; stripped of the mark it is the old line, byte for byte.

/// Behind a line of ours.
pub(super) const OURS: &str = " # harbor-pilot";
/// Before a line that was set aside.
pub(super) const ASIDE: &str = "#harbor-pilot:aside# ";

/// What some editors put before the first line: k3s's parser skips it, containerd's does not.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The lines of a text, each with its end.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
}

/// The line without its end.
pub(super) fn content(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The line, from 1, that a byte is in.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    let before = text.get(..byte).unwrap_or(text);
    before.matches('\n').count() + 1
}

/// How lines end in this text.
pub(super) fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Whether the line holds neither data nor a comment.
pub(super) fn is_blank(line: &str) -> bool {
    content(line).trim().is_empty()
}

/// Whether the line holds a comment only.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Whether the line is ours by the mark behind it.
pub(super) fn is_ours(line: &str) -> bool {
    content(line).ends_with(OURS) && !is_comment(line)
}

/// A basic string of TOML, which JSON's are: double quotes, which 1.x's and 2.x's parsers both read as keys; and a
/// double-quoted scalar of YAML.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// The line with the mark that sets it aside; comments and blank lines stay as they are.
pub(super) fn aside(line: &str) -> String {
    if is_blank(line) || is_comment(line) {
        line.to_owned()
    } else {
        format!("{ASIDE}{line}")
    }
}

/// Joins lines behind `text`, which may lack its last line end. Then the last new line lacks it instead: that
/// is how [`without_last_end`] knows.
pub(super) fn append(text: &mut String, block: &str) {
    let end = line_end(text);
    if text.is_empty() || text.ends_with('\n') {
        text.push_str(block);
    } else {
        text.push_str(end);
        text.push_str(block.strip_suffix(end).unwrap_or(block));
    }
}

/// Undoes what [`append`] did to the line before ours: the last line was ours and had no end.
pub(super) fn without_last_end(text: &mut String) {
    let end = if text.ends_with("\r\n") {
        2
    } else {
        usize::from(text.ends_with('\n'))
    };
    text.truncate(text.len() - end);
}
