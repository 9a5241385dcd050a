//! A text as containerd reads it: the hosts in their order, then the `server`, and the lines at which each of them stands.

use super::Refused;
use crate::node::marks;
use std::ops::Range;
use std::path::PathBuf;
use toml_edit::{Document, Formatted, Item, Table, TableLike, Value};

/// Keys that describe the `server` when they stand above the first table.
const SERVER_KEYS: [&str; 8] = [
    "ca",
    "capabilities",
    "client",
    "dial_timeout",
    "header",
    "override_path",
    "rewrite",
    "skip_verify",
];
/// A hosts.toml as containerd reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `server`; stock containerd puts the registry itself here when it is missing, k3s's does not.
    pub server: Option<SeenHost>,
    /// In the order in which they are tried, before `server`.
    pub hosts: Vec<SeenHost>,
    /// The keys above the tables, which describe the server, written or not.
    pub(super) root: SeenHost,
    /// Their lines, with `[header]` below them.
    pub(super) server_keys: Vec<(&'static str, Range<usize>)>,
    /// The line of a bare `[host]`.
    pub(super) bare_host: Option<usize>,
}

/// A host table, or the `server` with its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenHost {
    /// As it is written, not normalized.
    pub url: String,
    /// As they are written; empty: containerd's default, all.
    pub capabilities: Vec<String>,
    /// As written; relative to the file's directory.
    pub ca: Vec<PathBuf>,
    /// All files of `client`.
    pub client: Vec<PathBuf>,
    /// Whether the path is the API's root.
    pub override_path: bool,
    /// The lines of its table and of the tables below, without what follows their last value; of the `server` its own.
    pub(super) lines: Vec<Range<usize>>,
}

/// Reads a text as containerd would.
///
/// # Errors
/// [`Refused::Unreadable`]: containerd would ignore the file. [`Refused::Unusual`]: it would not see all of it.
pub fn read(text: &str) -> Result<View, Refused> {
    let unusual = |what: String| Err(Refused::Unusual(what));
    if text.starts_with(marks::BYTE_ORDER_MARK) {
        return Err(unreadable("it begins with a byte order mark"));
    }
    let document = Document::parse(text).map_err(|error| {
        let line = error.span().map(|span| marks::line_of(text, span.start));
        let at = line.map_or(String::new(), |line| format!("line {line}: "));
        unreadable(&format!("{at}{}", error.message().trim()))
    })?;
    let root = document.as_table();
    let lines = Lines::new(text, document.as_item());
    let mut view = View {
        root: SeenHost::new("", "server", root)?,
        ..View::default()
    };
    for key in SERVER_KEYS {
        let found = lines.of_key(root, key).into_iter();
        view.server_keys.extend(found.map(|lines| (key, lines)));
    }
    if let Some(server) = root.get("server") {
        let Some(url) = server.as_str() else {
            return unusual("server is not a text".to_owned());
        };
        view.server = Some(SeenHost {
            url: url.to_owned(),
            lines: lines.of_key(root, "server"),
            ..view.root.clone()
        });
    }
    let tables = match root.get("host") {
        None => return Ok(view),
        Some(Item::Table(table)) if !table.is_dotted() => table,
        Some(_) => {
            return unusual("host is no plain table; containerd 2 sees only tables with a header of their own: write [host.\"URL\"]".to_owned());
        }
    };
    view.bare_host = header(tables).map(|at| lines.at(at));
    let mut hosts = Vec::new();
    for (url, item) in tables.iter() {
        let table = item.as_table();
        let Some((table, at)) = table.and_then(|table| Some((table, header(table)?))) else {
            return unusual(format!(
                "host.{url:?} has no table header of its own; containerd 2 does not see it: write [host.{url:?}]"
            ));
        };
        let mut host = SeenHost::new(url, &format!("[host.{url:?}]"), table)?;
        host.lines = lines.of_tables(item);
        hosts.push((at, host));
    }
    hosts.sort_by_key(|(at, _)| *at);
    view.hosts = hosts.into_iter().map(|(_, host)| host).collect();
    Ok(view)
}

/// containerd logs one error and goes straight upstream.
fn unreadable(what: &str) -> Refused {
    Refused::Unreadable(format!(
        "the file cannot be read as TOML, and containerd ignores it: {what}; fix it or move it away"
    ))
}

/// The files that a text refers to: a missing one fails every pull of the registry (design F5). Relative paths are
/// relative to the file's directory.
pub(crate) fn referenced_files(text: &str) -> Result<Vec<PathBuf>, Refused> {
    let view = read(text)?;
    let all = view.hosts.into_iter().chain(view.server);
    let mut files: Vec<PathBuf> = all
        .flat_map(|host| [host.ca, host.client].concat())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// What containerd's decoder wants of a key that has a value of another type: then it ignores the whole file.
fn wanted(key: &str, item: &Item) -> Option<&'static str> {
    let is_texts = |list: &toml_edit::Array| list.iter().all(Value::is_str);
    let (fits, words) = match key {
        "capabilities" => (
            item.as_array().is_some_and(is_texts),
            "a list of texts, such as [\"pull\"]",
        ),
        "ca" | "client" => (item.is_str() || item.is_array(), "a text or a list"),
        "skip_verify" | "override_path" => (item.is_bool(), "true or false"),
        "dial_timeout" => (item.is_str(), "a text"),
        "header" => (item.is_table_like(), "a table"),
        _ => return None,
    };
    (!fits).then_some(words)
}

/// A text, or the texts of an array of any depth.
pub(super) fn texts<'v>(value: &'v Value, found: &mut Vec<&'v Formatted<String>>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        _ => {}
    }
}

/// Where the header of a table begins; `None`: it has none of its own.
fn header(table: &Table) -> Option<usize> {
    let is_written = !table.is_implicit() && !table.is_dotted();
    table.span().filter(|_| is_written).map(|span| span.start)
}

/// The headers of an item that is a table, and of the tables below it.
fn headers(item: &Item, found: &mut Vec<usize>) {
    let below = |table: &Table, found: &mut Vec<usize>| {
        found.extend(header(table));
        table.iter().for_each(|(_, item)| headers(item, found));
    };
    match item {
        Item::Table(table) => below(table, found),
        Item::ArrayOfTables(tables) => tables.iter().for_each(|table| below(table, found)),
        _ => {}
    }
}

// === impl SeenHost ===

impl SeenHost {
    fn new(url: &str, shown: &str, table: &Table) -> Result<Self, Refused> {
        let wrong = table
            .iter()
            .find_map(|(key, item)| Some((key, wanted(key, item)?)));
        if let Some((key, words)) = wrong {
            return Err(Refused::Unusual(format!(
                "{key} of {shown} is not {words}: containerd ignores the whole file; correct the line"
            )));
        }
        let overrides = table.get("override_path").and_then(Item::as_bool);
        let texts = |key| {
            let mut found = Vec::new();
            if let Some(value) = table.get(key).and_then(Item::as_value) {
                texts(value, &mut found);
            }
            found.into_iter().map(|text| text.value().clone())
        };
        Ok(Self {
            url: url.to_owned(),
            capabilities: texts("capabilities").collect(),
            ca: texts("ca").map(PathBuf::from).collect(),
            client: texts("client").map(PathBuf::from).collect(),
            override_path: overrides.unwrap_or_default(),
            lines: Vec::new(),
        })
    }
}

/// Where lines begin, and which of them are headers or hold nothing.
struct Lines<'t> {
    starts: Vec<usize>,
    texts: Vec<&'t str>,
    headers: Vec<usize>,
}

// === impl Lines ===

impl<'t> Lines<'t> {
    fn new(text: &'t str, root: &Item) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let mut lines = Self {
            starts: [0].into_iter().chain(ends).collect(),
            texts: marks::lines(text).collect(),
            headers: Vec::new(),
        };
        let mut found = Vec::new();
        headers(root, &mut found);
        lines.headers = found.into_iter().map(|at| lines.at(at)).collect();
        lines.headers.sort_unstable();
        lines
    }

    /// The line, from 0, that a byte is in.
    fn at(&self, byte: usize) -> usize {
        let after = self.starts.partition_point(|start| *start <= byte);
        after.saturating_sub(1)
    }

    /// From each header at and below an item to the last line before the next one that holds more than a comment.
    fn of_tables(&self, item: &Item) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        headers(item, &mut found);
        let region = |byte| {
            let start = self.at(byte);
            let next = self.headers.iter().find(|header| **header > start);
            let end = next.copied().unwrap_or(self.texts.len());
            let lines = self.texts.get(start..end).unwrap_or_default();
            let holds = |line: &&str| !marks::is_blank(line) && !marks::is_comment(line);
            let last = lines.iter().rposition(holds).unwrap_or_default();
            start..start + last + 1
        };
        let mut lines: Vec<Range<usize>> = found.into_iter().map(region).collect();
        lines.sort_by_key(|lines| lines.start);
        lines
    }

    /// The lines of a key with its value, or of the tables that it names.
    fn of_key(&self, table: &dyn TableLike, key: &str) -> Vec<Range<usize>> {
        match table.get(key) {
            Some(Item::Table(dotted)) if dotted.is_dotted() => {
                let keys = dotted.iter();
                keys.flat_map(|(key, _)| self.of_key(dotted, key)).collect()
            }
            Some(Item::Value(value)) => {
                let key = table.key(key).and_then(toml_edit::Key::span);
                let span = key.zip(value.span());
                // A dotted inline value begins at its key.
                let lines = span.map(|(key, value)| {
                    let last = value.end.saturating_sub(1).max(value.start);
                    self.at(key.start)..self.at(last) + 1
                });
                lines.into_iter().collect()
            }
            Some(item) => self.of_tables(item),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_a_file_that_containerd_ignores() {
        let file = |line: &str| {
            format!("server = \"https://r.test\"\n\n[host.\"http://m.test\"]\n{line}\n")
        };
        for line in [
            "capabilities = \"pull\"",
            "capabilities = [1]",
            "skip_verify = \"true\"",
            "override_path = 1",
            "dial_timeout = 2",
            "header = \"x\"",
            "ca = true",
        ] {
            let refused = read(&file(line)).unwrap_err().to_string();
            let key = line.split(' ').next().unwrap();
            assert!(refused.starts_with(key), "{refused}");
            assert!(
                refused.contains("containerd ignores the whole file"),
                "{refused}"
            );
        }
        for line in [
            "capabilities = [\"pull\"]",
            "skip_verify = true",
            "ca = [\"a.crt\", \"b.crt\"]",
            "client = [[\"a.cert\", \"a.key\"]]",
            "header = {x-a = \"1\"}",
        ] {
            read(&file(line)).unwrap();
        }
        let above = "server = \"https://r.test\"\ncapabilities = \"pull\"\n";
        assert!(
            read(above)
                .unwrap_err()
                .to_string()
                .starts_with("capabilities of server")
        );
    }
}
