//! The merge rules: tables key by key, the later file wins; `[[tier]]` and `[[registry]]` by name; then
//! `enabled = false` takes an entry out.

use super::document::{Node, Table, Value};
use super::problem::{Origin, Problem, Wrong};
use crate::oci::RegistryName;

type Identity = fn(&str) -> String;

/// The arrays of tables that merge by name, and how a name is compared.
const NAMED: [(&str, Identity); 2] = [
    ("tier", str::to_owned),
    ("registry", |name| {
        // docker.io has three names; an invalid one is compared as it stands and reported when it is read.
        name.parse::<RegistryName>()
            .map_or_else(|_| name.to_owned(), |name| name.as_str().to_owned())
    }),
];

/// Puts `later` over `base`. Names that stand twice in `later` are problems: which one wins would be luck.
pub(super) fn merge(base: &mut Table, mut later: Table, problems: &mut Vec<Problem>) {
    for (kind, identity) in NAMED {
        let Some(node) = later.remove(kind) else {
            continue;
        };
        let Value::Array(entries) = node.value else {
            let instead = format!("write [[{kind}]] with double brackets, once for each");
            let wrong = node.value.is_no("list of tables", instead);
            problems.push(Problem::new(node.origin.as_ref(), kind, wrong));
            continue;
        };
        report_twice(kind, identity, &entries, problems);
        let into = base.entry(kind.to_owned()).or_insert_with(|| Node {
            value: Value::Array(Vec::new()),
            origin: node.origin.clone(),
        });
        match &mut into.value {
            Value::Array(known) => merge_named(identity, known, entries),
            other => *other = Value::Array(entries),
        }
    }
    merge_tables(base, later);
}

fn merge_tables(base: &mut Table, later: Table) {
    for (key, node) in later {
        match (base.get_mut(&key), node) {
            (
                Some(Node {
                    value: Value::Table(base),
                    ..
                }),
                Node {
                    value: Value::Table(later),
                    ..
                },
            ) => merge_tables(base, later),
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

fn merge_named(identity: Identity, known: &mut Vec<Node>, entries: Vec<Node>) {
    for entry in entries {
        let name = name_of(&entry).map(identity);
        let same = known
            .iter_mut()
            .find(|known| name.is_some() && name_of(known).map(identity) == name);
        match (same, entry.value) {
            (
                Some(Node {
                    value: Value::Table(base),
                    origin,
                }),
                Value::Table(later),
            ) => {
                *origin = entry.origin;
                merge_tables(base, later);
            }
            (_, value) => known.push(Node {
                value,
                origin: entry.origin,
            }),
        }
    }
}

fn report_twice(kind: &str, identity: Identity, entries: &[Node], problems: &mut Vec<Problem>) {
    for (at, entry) in entries.iter().enumerate() {
        let Some(name) = name_of(entry) else { continue };
        let first = entries
            .iter()
            .take(at)
            .find(|other| name_of(other).map(identity) == Some(identity(name)));
        if let Some(first) = first {
            let line = first.origin.as_ref().map_or(0, Origin::line);
            let wrong = Wrong::new(
                format!("{name:?} is already defined in line {line} of this file"),
                format!("keep one [[{kind}]] of that name, or give this one another name"),
            );
            let key = format!("{kind}.{}", quoted(name));
            problems.push(Problem::new(entry.origin.as_ref(), key, wrong));
        }
    }
}

/// The text under `name` of an entry.
pub(super) fn name_of(entry: &Node) -> Option<&str> {
    entry.text("name")
}

/// A key as TOML wants it in a path.
pub(super) fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}
