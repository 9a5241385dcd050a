//! A file of a registry that has none of its own: made of what is in force for it elsewhere, and ours as a whole until
//! somebody edits it. The second line says of what, with a checksum of the rest, so that no ledger is needed to tell.

use super::read::{read, texts};
use super::{HEADER_MARK, Refused};
use crate::node::marks;
use crate::oci::Digest;
use std::path::Path;
use toml_edit::{Document, Item, Table};

const SUM: &str = "; sha256 of the rest: ";

/// The merged text with a second line that makes all of it ours.
pub(crate) fn as_copy(text: &str, source: &Path) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (source, end) = (source.display(), marks::line_end(text));
    let head = format!("{HEADER_MARK} as a copy of {source}; change that one");
    format!("{first}\n{head}{}{end}{rest}", sum(rest))
}

fn sum(rest: &str) -> String {
    format!("{SUM}{}", Digest::sha256(rest.as_bytes()))
}

/// Whether all of a text is ours: a copy that nobody has edited since.
pub(super) fn is_copy(text: &str) -> bool {
    let mut lines = text.splitn(3, '\n').skip(1);
    let (Some(second), Some(rest)) = (lines.next(), lines.next()) else {
        return false;
    };
    let second = marks::content(second);
    second.starts_with(HEADER_MARK) && second.ends_with(&sum(rest))
}

/// A changed copy with the checksum that makes all of it ours again.
pub(super) fn sum_anew(text: &str) -> String {
    let Some((head, old)) = text.split_once(SUM) else {
        return text.to_owned();
    };
    let (old, rest) = old.split_once('\n').unwrap_or((old, ""));
    let end = if old.ends_with('\r') { "\r\n" } else { "\n" };
    format!("{head}{}{end}{rest}", sum(rest))
}

/// The text of a file in `directory` for another directory: relative paths of certificates become absolute.
/// Fails where containerd could not read it.
pub(crate) fn rebase(text: &str, directory: &Path) -> Result<String, Refused> {
    read(text)?;
    let document = Document::parse(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
    let root = document.as_table();
    let hosts = root.get("host").and_then(Item::as_table);
    let hosts = hosts.into_iter().flat_map(Table::iter);
    let tables = hosts.filter_map(|(_, host)| host.as_table()).chain([root]);
    let mut found = Vec::new();
    for table in tables {
        for value in ["ca", "client"]
            .iter()
            .filter_map(|key| table.get(key)?.as_value())
        {
            texts(value, &mut found);
        }
    }
    let spans = found.into_iter().map(|text| (text.span(), text.value()));
    let mut spans: Vec<_> = spans
        .filter_map(|(span, path)| Some((span?, path)))
        .collect();
    spans.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, path) in spans.into_iter().filter(|(_, path)| !path.starts_with('/')) {
        let path = directory.join(path);
        text.replace_range(span, &marks::quoted(&path.to_string_lossy()));
    }
    Ok(text)
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
