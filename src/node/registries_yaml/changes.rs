//! The changes of one text: what is put where, what it must mean afterwards, and the proof that it does.

use super::edit::{Edit, Edited};
use super::tree::Node;
use super::{Refused, flow, place, read, unusual};
use crate::node::desired::DesiredHost;
use crate::node::marks::{self, OURS};
use std::ops::Range;
use yaml_serde::{Mapping, Value};

/// What is changed, and what the text must mean afterwards.
pub(super) struct Changes<'t> {
    pub(super) base: &'t str,
    /// How lines end.
    pub(super) end: &'static str,
    /// Bytes and what comes in their place, in any order; those of one place in the order of being put.
    pub(super) splices: Vec<(Range<usize>, String)>,
    records: Vec<flow::Record>,
    /// The line of `mirrors`: behind the last line a comment could end a text of several lines.
    records_at: usize,
    expected: Value,
    pub(super) notes: Vec<String>,
}

// === impl Changes ===

impl<'t> Changes<'t> {
    /// None yet.
    pub(super) fn of(base: &'t str, root: Option<&Node>) -> Result<Self, Refused> {
        let mirrors = root.and_then(|root| root.pair("mirrors"));
        let line = |(key, _): &(Node, Node)| place::line_start(base, key.span.start);
        Ok(Self {
            records_at: mirrors.map_or(0, line),
            base,
            end: marks::line_end(base),
            splices: Vec::new(),
            records: Vec::new(),
            expected: read::value(base)?,
            notes: Vec::new(),
        })
    }

    /// `endpoint` with its items, all ours.
    pub(super) fn list(&self, indent: usize, urls: &[&str]) -> String {
        let mut lines = self.key(indent, "endpoint");
        for url in urls {
            lines.push_str(&self.item(indent + 2, url));
        }
        lines
    }

    /// A line of ours that other lines stand below.
    pub(super) fn key(&self, indent: usize, key: &str) -> String {
        format!("{:indent$}{key}:{OURS}{}", "", self.end)
    }

    pub(super) fn item(&self, indent: usize, url: &str) -> String {
        format!("{:indent$}- {}{OURS}{}", "", flow::quoted(url), self.end)
    }

    /// Puts lines below a key that has no value.
    pub(super) fn below(&mut self, key: &Node, lines: &str) -> Result<(), Refused> {
        if !place::ends_its_line(self.base, key) {
            return Err(unusual(
                key.line,
                "something stands behind a key that has no value",
            ));
        }
        let line = place::line(self.base, key.span.start);
        let at = place::line_start(self.base, key.span.start) + line.len();
        self.insert(at, lines);
        Ok(())
    }

    /// Puts lines before the byte `at`, which begins a line or ends the text.
    pub(super) fn insert(&mut self, at: usize, lines: &str) {
        let before = self.base.get(..at).unwrap_or_default();
        let lines = if before.is_empty() || before.ends_with('\n') {
            lines.to_owned()
        } else {
            // The last line has no end: then the last one of ours has none.
            format!(
                "{}{}",
                self.end,
                lines.strip_suffix(self.end).unwrap_or(lines)
            )
        };
        self.splices.push((at..at, lines));
    }

    /// Puts a piece into brackets, in the place of those bytes.
    pub(super) fn record(&mut self, mirror: &str, span: Range<usize>, now: String) {
        self.records.push(flow::Record {
            mirror: mirror.to_owned(),
            was: self.base.get(span.clone()).unwrap_or_default().to_owned(),
            now: now.clone(),
        });
        self.splices.push((span, now));
    }

    /// What the entry must mean in the end: these endpoints, then those that are there.
    pub(super) fn expect(&mut self, name: &str, urls: &[&str]) {
        let list = child(
            child(child(&mut self.expected, "mirrors"), name),
            "endpoint",
        );
        if !list.is_sequence() {
            *list = Value::Sequence(Vec::new());
        }
        if let Value::Sequence(values) = list {
            values.splice(
                0..0,
                urls.iter().map(|url| Value::String((*url).to_owned())),
            );
        }
    }

    /// k3s adds the registry itself behind every list, unless told otherwise (design F6).
    pub(super) fn warn_of_default(
        &mut self,
        name: &str,
        root: Option<&Node>,
        desired: &DesiredHost,
        wanted: &Edit<'_>,
    ) {
        if !desired.closed {
            return;
        }
        let configs = root.and_then(|root| root.get("configs"));
        if !wanted.default_endpoint_disabled {
            self.notes.push(format!(
                "mirrors.{name}: after its start k3s lets containerd ask the registry itself until the live file is back; only --disable-default-registry-endpoint keeps it from that"
            ));
        } else if configs.is_some_and(|configs| configs.get(name).is_some()) {
            self.notes.push(format!(
                "configs.{name} keeps k3s from honouring --disable-default-registry-endpoint for it"
            ));
        }
    }

    pub(super) fn finish(mut self) -> Result<Edited, Refused> {
        if !self.records.is_empty() {
            let lines = self.records.iter().map(|record| record.line(self.end));
            let at = self.records_at;
            self.splices.insert(0, (at..at, lines.collect()));
        }
        self.splices.sort_by_key(|(span, _)| span.start);
        let mut text = String::with_capacity(self.base.len() + 256);
        let mut at = 0;
        for (span, new) in &self.splices {
            text.push_str(self.base.get(at..span.start).unwrap_or_default());
            text.push_str(new);
            at = span.end;
        }
        text.push_str(self.base.get(at..).unwrap_or_default());
        let found = read::value(&text).map_err(|error| Refused::ReadBack(error.to_string()))?;
        if found != self.expected {
            let what = "another parser sees other entries in it".to_owned();
            return Err(Refused::ReadBack(what));
        }
        Ok(Edited {
            text,
            notes: self.notes,
        })
    }
}

/// The value of a key, which is made if need be.
fn child<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_mapping() {
        *value = Value::Mapping(Mapping::new());
    }
    let key = Value::String(key.to_owned());
    match value {
        Value::Mapping(mapping) => mapping.entry(key).or_insert(Value::Null),
        other => other,
    }
}
