//! Where the tables of a `hosts.toml` stand, in lines.

use super::Refused;
use crate::node::marks;
use std::ops::Range;
use toml_edit::{Document, Item, Table};

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

/// A parsed text.
pub(super) struct Layout {
    /// `[host."URL"]` tables in the order of the file, which is containerd's order.
    pub(super) hosts: Vec<Host>,
    /// `server`, if the key is there, and its line.
    pub(super) server: Option<(String, Range<usize>)>,
    /// Lines of the keys that describe the `server`, with `[header]` below them.
    pub(super) server_keys: Vec<(String, Range<usize>)>,
    /// The line of a bare `[host]`.
    pub(super) bare_host: Option<usize>,
}

/// One host table.
pub(super) struct Host {
    pub(super) url: String,
    /// Its lines, and those of its own tables (`header`, `rewrite`): each from the header to the last value.
    pub(super) lines: Vec<Range<usize>>,
    /// It presents a client certificate.
    pub(super) has_client: bool,
    /// The path of its URL is the API's root.
    pub(super) override_path: bool,
}

// === impl Layout ===

impl Layout {
    pub(super) fn of(text: &str) -> Result<Self, Refused> {
        if text.starts_with(marks::BYTE_ORDER_MARK) {
            return Err(Refused::Unreadable(
                "it begins with a byte order mark".to_owned(),
            ));
        }
        let lines = Lines::of(text);
        let document = Document::parse(text).map_err(|error| {
            let line = error.span().map(|span| lines.at(span.start) + 1);
            let at = line.map_or(String::new(), |line| format!("line {line}: "));
            Refused::Unreadable(format!("{at}{}", error.message().trim()))
        })?;
        let root = document.as_table();
        let mut server_keys = Vec::new();
        for key in SERVER_KEYS {
            let Some(item) = root.get(key) else { continue };
            for lines in lines.of_item(root, key, item) {
                server_keys.push((key.to_owned(), lines));
            }
        }
        let server = match root.get("server") {
            None => None,
            Some(item) => {
                let value = item
                    .as_str()
                    .ok_or_else(|| unusual("server is not a text"))?;
                let first = lines.of_item(root, "server", item).into_iter().next();
                Some((value.to_owned(), first.unwrap_or_default()))
            }
        };
        let (hosts, bare_host) = hosts(&lines, root)?;
        Ok(Self {
            hosts,
            server,
            server_keys,
            bare_host,
        })
    }
}

fn hosts(all: &Lines, root: &Table) -> Result<(Vec<Host>, Option<usize>), Refused> {
    let tables = match root.get("host") {
        None => return Ok((Vec::new(), None)),
        Some(Item::Table(table)) if !table.is_dotted() => table,
        Some(_) => {
            return Err(unusual(
                "host is no plain table; containerd 2 sees only tables with a header of their own: write [host.\"URL\"]",
            ));
        }
    };
    let mut hosts = Vec::new();
    for (url, item) in tables.iter() {
        let host = match item {
            Item::Table(table) if !table.is_dotted() && !table.is_implicit() => table,
            _ => {
                return Err(unusual(&format!(
                    "host.{url:?} has no table header of its own; containerd 2 does not see it: write [host.{url:?}]"
                )));
            }
        };
        let start = host.span().map_or(0, |span| span.start);
        let mut lines = Vec::new();
        all.of_table(host, &mut lines);
        lines.sort_by_key(|lines| lines.start);
        let has_client = host.contains_key("client");
        let override_path = host.get("override_path").and_then(Item::as_bool);
        let url = url.to_owned();
        hosts.push((
            start,
            Host {
                url,
                lines,
                has_client,
                override_path: override_path.unwrap_or_default(),
            },
        ));
    }
    hosts.sort_by_key(|(start, _)| *start);
    let bare = (!tables.is_implicit()).then(|| tables.span()).flatten();
    let bare = bare.map(|span| all.at(span.start));
    Ok((hosts.into_iter().map(|(_, host)| host).collect(), bare))
}

/// Where lines begin.
struct Lines(Vec<usize>);

// === impl Lines ===

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self([0].into_iter().chain(ends).collect())
    }

    /// The line, from 0, that a byte is in.
    fn at(&self, byte: usize) -> usize {
        self.0
            .partition_point(|start| *start <= byte)
            .saturating_sub(1)
    }

    /// The lines from a table's header to its last value, and those of its own tables.
    fn of_table(&self, table: &Table, found: &mut Vec<Range<usize>>) {
        let mut end = 0;
        let mut start = usize::MAX;
        if !table.is_implicit()
            && !table.is_dotted()
            && let Some(span) = table.span()
        {
            start = self.at(span.start);
            end = self.at(span.end.saturating_sub(1)) + 1;
        }
        for (key, item) in table.iter() {
            match item {
                Item::Table(below) if !below.is_dotted() => self.of_table(below, found),
                Item::ArrayOfTables(tables) => {
                    for below in tables.iter() {
                        self.of_table(below, found);
                    }
                }
                _ => {
                    for lines in self.of_item(table, key, item) {
                        end = end.max(lines.end);
                        start = start.min(lines.start);
                    }
                }
            }
        }
        if start < end {
            found.push(start..end);
        }
    }

    /// The lines of a key with its value; several where it is a table.
    fn of_item(&self, table: &Table, key: &str, item: &Item) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        match item {
            Item::Table(below) => self.of_table(below, &mut found),
            Item::ArrayOfTables(tables) => {
                for below in tables.iter() {
                    self.of_table(below, &mut found);
                }
            }
            Item::Value(value) => {
                let key = table.key(key).and_then(toml_edit::Key::span);
                // A dotted inline value begins at its key.
                if let (Some(key), Some(value)) = (key, value.span()) {
                    let last = value.end.saturating_sub(1).max(value.start);
                    found.push(self.at(key.start)..self.at(last) + 1);
                }
            }
            Item::None => {}
        }
        found
    }
}

fn unusual(what: &str) -> Refused {
    Refused::Unusual(what.to_owned())
}
