//! A file of a registry that has none of its own: made of what is in force for it elsewhere, and ours as a whole until
//! somebody edits it. The second line says of what, with a checksum of the rest, so that no ledger is needed to tell.

use super::layout::Layout;
use super::{HEADER_MARK, Refused, render};
use crate::node::marks;
use crate::oci::Digest;
use std::ops::Range;
use std::path::Path;
use toml_edit::{Document, Item, TableLike, Value};

const SUM: &str = "; sha256 of the rest: ";

/// The merged text with a second line that makes all of it ours.
#[must_use]
pub fn as_copy(text: &str, source: &Path) -> String {
    let end = marks::line_end(text);
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let sum = Digest::sha256(rest.as_bytes());
    let source = source.display();
    format!("{first}\n{HEADER_MARK} as a copy of {source}; change that one{SUM}{sum}{end}{rest}")
}

/// Whether all of a text is ours: a copy that nobody has edited since.
pub(super) fn is_copy(text: &str) -> bool {
    let Some((_, behind)) = text.split_once('\n') else {
        return false;
    };
    let Some((second, rest)) = behind.split_once('\n') else {
        return false;
    };
    let second = marks::content(second);
    let sum = second.rsplit_once(SUM).map(|(_, sum)| sum);
    second.starts_with(HEADER_MARK) && sum == Some(Digest::sha256(rest.as_bytes()).as_str())
}

/// A changed copy with the checksum that makes all of it ours again.
pub(super) fn sum_anew(text: &str) -> String {
    let mut lines = text.splitn(3, '\n');
    let (first, second) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let rest = lines.next().unwrap_or_default();
    let head = second.rsplit_once(SUM).map_or(second, |(head, _)| head);
    let end = if second.ends_with('\r') { "\r" } else { "" };
    let sum = Digest::sha256(rest.as_bytes());
    format!("{first}\n{head}{SUM}{sum}{end}\n{rest}")
}

/// The text of a file in `directory` for another directory: relative paths of certificates become absolute.
///
/// # Errors
/// Where containerd could not read it.
pub fn rebase(text: &str, directory: &Path) -> Result<String, Refused> {
    Layout::of(text)?;
    let document = Document::parse(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
    let root = document.as_table();
    let mut found = Vec::new();
    paths_of(root, &mut found);
    let hosts = root.get("host").and_then(Item::as_table);
    for (_, host) in hosts.into_iter().flat_map(toml_edit::Table::iter) {
        if let Some(host) = host.as_table() {
            paths_of(host, &mut found);
        }
    }
    found.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, path) in found {
        let path = directory.join(path);
        text.replace_range(span, &render::quoted(&path.to_string_lossy()));
    }
    Ok(text)
}

fn paths_of(table: &dyn TableLike, found: &mut Vec<(Range<usize>, String)>) {
    for key in ["ca", "client"] {
        if let Some(value) = table.get(key).and_then(Item::as_value) {
            strings(value, found);
        }
    }
}

fn strings(value: &Value, found: &mut Vec<(Range<usize>, String)>) {
    match value {
        Value::String(text) => {
            if let (Some(span), false) = (text.span(), Path::new(text.value()).is_absolute()) {
                found.push((span, text.value().clone()));
            }
        }
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::remove;
    use super::*;

    #[test]
    fn a_copy_is_ours_until_somebody_edits_it() {
        let text = format!("{HEADER_MARK}: x\nserver = \"https://a\"\n# theirs\n[host]\n");
        let copy = as_copy(&text, Path::new("/c/_default"));
        assert!(!is_copy(&text) && is_copy(&copy));
        assert_eq!(remove(&copy).unwrap(), "");
        let changed = copy.replace("https://a", "https://b");
        assert!(!is_copy(&changed) && is_copy(&sum_anew(&changed)));
        let edited = format!("{copy}[host.\"https://mine\"]\n");
        assert!(!is_copy(&edited));
        assert_eq!(
            remove(&edited).unwrap(),
            "server = \"https://a\"\n# theirs\n[host]\n[host.\"https://mine\"]\n"
        );
    }

    #[test]
    fn paths_are_those_of_the_other_directory() {
        let text = "ca = \"a.pem\" # x.pem\n[host.\"https://h\"]\n  client = [[\"c\", '/k'], \"b/d\"]\n  ca = [\n \"/abs\",\n \"e\"]\n";
        let expected = "ca = \"/d/a.pem\" # x.pem\n[host.\"https://h\"]\n  client = [[\"/d/c\", '/k'], \"/d/b/d\"]\n  ca = [\n \"/abs\",\n \"/d/e\"]\n";
        assert_eq!(rebase(text, Path::new("/d")).unwrap(), expected);
        assert!(rebase("ca = \n", Path::new("/d")).is_err());
    }
}
