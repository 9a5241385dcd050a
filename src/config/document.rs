//! TOML text as a tree in which every value knows the file and line it came from. Owns no meaning: which
//! keys exist is for the sections to say.

use super::problem::{Origin, Problem, Wrong};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use toml::de::{DeFloat, DeTable, DeValue};

/// A value and where it was written; no origin for what is built in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Option<Origin>,
}

/// What TOML can say, as far as a configuration needs it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    Bool(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A date, or an integer that is too large: no key wants one.
    Other(&'static str),
}

pub(super) type Table = BTreeMap<String, Node>;

/// Parses one file. Syntax errors do not end the reading: the rest of the file is still looked at, so that
/// one run of `check` says all there is to say.
pub(super) fn parse(text: &str, file: Option<&Path>, problems: &mut Vec<Problem>) -> Table {
    let text = text.trim_start_matches('\u{feff}');
    let lines = Lines { text, file };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().and_then(|span| lines.origin(span.start));
        let wrong = Wrong::new(
            format!("is not valid TOML: {}", error.message().trim()),
            "strings stand in quotes, lists in brackets, and each key once: https://toml.io",
        );
        problems.push(Problem::new(at.as_ref(), "", wrong));
    }
    lines.table(root.into_inner())
}

struct Lines<'a> {
    text: &'a str,
    file: Option<&'a Path>,
}

impl Lines<'_> {
    fn origin(&self, offset: usize) -> Option<Origin> {
        let file: Arc<Path> = self.file?.into();
        // A span may lie in the middle of a character after an error: bytes are counted, not sliced text.
        let before = self.text.bytes().take(offset);
        let line = before.filter(|byte| *byte == b'\n').count() + 1;
        Some(Origin::new(file, line))
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let entries = table.into_iter().map(|(key, value)| {
            let origin = self.origin(key.span().start);
            let node = Node {
                value: self.value(value.into_inner()),
                origin,
            };
            (key.into_inner().into_owned(), node)
        });
        entries.collect()
    }

    fn value(&self, value: DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("number that is too large"), Value::Integer),
            DeValue::Float(number) => as_float(&number),
            DeValue::Datetime(_) => Value::Other("date"),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Array(array) => Value::Array(
                array
                    .into_iter()
                    .map(|element| Node {
                        origin: self.origin(element.span().start),
                        value: self.value(element.into_inner()),
                    })
                    .collect(),
            ),
        }
    }
}

/// Digits may be set apart by underscores.
fn as_float(number: &DeFloat<'_>) -> Value {
    let parsed = number.as_str().replace('_', "").parse();
    parsed.map_or(Value::Other("number that cannot be read"), Value::Float)
}

// === impl Node ===

impl Node {
    /// A value of the table that it is.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(table) => table.get(key),
            _ => None,
        }
    }

    /// A text of the table that it is.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

// === impl Value ===

impl Value {
    /// What it is, for "is a number where a text is wanted".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "number",
            Self::Float(_) => "number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Array(_) => "list",
            Self::Table(_) => "table",
            Self::Other(kind) => kind,
        }
    }

    /// What is wrong with it where something else is wanted.
    pub(super) fn is_no(&self, wanted: &str, instead: impl Into<String>) -> Wrong {
        let article = if wanted == "true or false" { "" } else { "a " };
        let kind = self.kind();
        Wrong::new(
            format!("is a {kind} where {article}{wanted} is wanted"),
            instead,
        )
    }

    /// Back to TOML, for the last accepted configuration.
    pub(super) fn to_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) => toml::Value::String(text.clone()),
            Self::Integer(number) => toml::Value::Integer(*number),
            Self::Float(number) => toml::Value::Float(*number),
            Self::Bool(value) => toml::Value::Boolean(*value),
            Self::Array(nodes) => {
                toml::Value::Array(nodes.iter().map(|node| node.value.to_toml()).collect())
            }
            Self::Table(table) => toml::Value::Table(to_toml(table)),
            Self::Other(kind) => toml::Value::String((*kind).to_owned()),
        }
    }
}

/// A whole document back to TOML.
pub(super) fn to_toml(table: &Table) -> toml::Table {
    let entries = table
        .iter()
        .map(|(key, node)| (key.clone(), node.value.to_toml()));
    entries.collect()
}
