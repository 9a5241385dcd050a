//! Reading one table: which keys it knows is what is asked for, everything else is unknown; each value is
//! recorded with where it came from; problems are collected, never returned one by one.

use super::document::{Node, Table, Value};
use super::merge::{name_of, quoted};
use super::nearest::nearest;
use super::problem::{Origin, Problem, Wrong};
use super::provenance::{Shown, ShownTable};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A value that can be read from TOML and shown as TOML.
pub(super) trait Setting: Sized {
    /// # Errors
    /// [`Wrong`]: another type, or a value out of its bounds.
    fn read(value: &Value) -> Result<Self, Wrong>;

    /// As it would be written.
    fn show(&self) -> toml::Value;
}

/// What a whole reading collects.
pub(super) struct Reading<'e> {
    pub(super) environment: &'e BTreeMap<String, String>,
    /// A systemd credential that cannot be there (no $CREDENTIALS_DIRECTORY) is a warning.
    pub(super) outside_the_unit: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Apart from the others, because they count even in entries that are taken out.
    pub(super) unknown: Vec<Problem>,
    pub(super) watched: Vec<PathBuf>,
    pub(super) shown: Vec<ShownTable>,
}

/// One table while it is read.
pub(super) struct Section<'t> {
    path: String,
    header: String,
    table: Option<&'t Table>,
    origin: Option<Origin>,
    known: Vec<&'static str>,
    shown: Vec<Shown>,
}

// === impl Reading ===

impl<'e> Reading<'e> {
    pub(super) fn new(environment: &'e BTreeMap<String, String>, outside_the_unit: bool) -> Self {
        Self {
            environment,
            outside_the_unit,
            problems: Vec::new(),
            warnings: Vec::new(),
            unknown: Vec::new(),
            watched: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// Runs a reading of which only unknown keys count: an entry that is taken out may be incomplete.
    pub(super) fn only_unknown<T>(&mut self, read: impl FnOnce(&mut Self) -> T) {
        let mut apart = Self::new(self.environment, self.outside_the_unit);
        read(&mut apart);
        self.unknown.append(&mut apart.unknown);
    }
}

// === impl Section ===

impl<'t> Section<'t> {
    /// The table behind a node.
    pub(super) fn new(node: &'t Node, path: String, header: &str, cx: &mut Reading<'_>) -> Self {
        let table = match &node.value {
            Value::Table(table) => Some(table),
            other => {
                let wrong = other.is_no("table", format!("write {header} with its keys below"));
                cx.problems
                    .push(Problem::new(node.origin.as_ref(), path.clone(), wrong));
                None
            }
        };
        Self {
            path,
            header: header.to_owned(),
            table,
            origin: node.origin.clone(),
            known: Vec::new(),
            shown: Vec::new(),
        }
    }

    pub(super) fn root(table: &'t Table) -> Self {
        Self {
            table: Some(table),
            ..Self::absent(String::new(), "")
        }
    }

    /// A table that nobody wrote.
    fn absent(path: String, header: &str) -> Self {
        Self {
            path,
            header: header.to_owned(),
            table: None,
            origin: None,
            known: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The node under a key, which is known from now on.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// The entries of an array of tables, each with its path: `tier.replica`, or `tier #2` without a name.
    pub(super) fn entries_of(&mut self, key: &'static str) -> Vec<(&'t Node, String)> {
        let Some(Value::Array(entries)) = self.node(key).map(|node| &node.value) else {
            return Vec::new();
        };
        let numbered = (1_usize..).zip(entries);
        let named = numbered.map(|(number, node)| match name_of(node) {
            Some(name) => (node, format!("{key}.{}", quoted(name))),
            None => (node, format!("{key} #{number}")),
        });
        named.collect()
    }

    /// A table below this one: `[tier.health]`, or `[dns]` of the whole document.
    pub(super) fn below(&mut self, key: &'static str, cx: &mut Reading<'_>) -> Self {
        let header = match self.header.trim_matches(['[', ']']) {
            "" => format!("[{key}]"),
            above => format!("[{above}.{key}]"),
        };
        let path = self.path_of(key);
        match self.node(key) {
            Some(node) => Self::new(node, path, &header, cx),
            None => Self::absent(path, &header),
        }
    }

    /// A value, or its default.
    pub(super) fn or<T: Setting>(
        &mut self,
        cx: &mut Reading<'_>,
        key: &'static str,
        default: T,
    ) -> T {
        let (value, origin) = match self.read(cx, key) {
            Some((value, origin)) => (value, origin),
            None => (default, None),
        };
        self.show(key, value.show(), origin);
        value
    }

    /// A value that has no default.
    pub(super) fn optional<T: Setting>(
        &mut self,
        cx: &mut Reading<'_>,
        key: &'static str,
    ) -> Option<T> {
        let (value, origin) = self.read::<T>(cx, key)?;
        self.show(key, value.show(), origin);
        Some(value)
    }

    /// A value with its origin, not yet shown: for values whose effect differs from what is written.
    pub(super) fn read<T: Setting>(
        &mut self,
        cx: &mut Reading<'_>,
        key: &'static str,
    ) -> Option<(T, Option<Origin>)> {
        let node = self.node(key)?;
        match T::read(&node.value) {
            Ok(value) => Some((value, node.origin.clone())),
            Err(wrong) => {
                let problem = Problem::new(node.origin.as_ref(), self.path_of(key), wrong);
                cx.problems.push(problem);
                None
            }
        }
    }

    /// Records what is in force.
    pub(super) fn show(&mut self, key: &str, value: toml::Value, origin: Option<Origin>) {
        self.shown.push(Shown {
            key: key.to_owned(),
            value,
            origin,
        });
    }

    /// Whether the key was written by somebody, as opposed to built in.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.origin_of(key).is_some()
    }

    /// Of two keys that do not go together, the one at which that is said: the first if somebody wrote it.
    pub(super) fn written_of(&self, first: &'static str, other: &'static str) -> &'static str {
        if self.is_written(first) { first } else { other }
    }

    /// Whether there is a value at all, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Where a key was written.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.table?.get(key)?.origin.clone()
    }

    /// A problem of one of this table's keys, written or missing.
    pub(super) fn complain(
        &self,
        cx: &mut Reading<'_>,
        key: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        cx.problems.push(self.problem(key, what, instead));
    }

    /// As [`Self::complain`], for what is doubtful only.
    pub(super) fn warn(
        &self,
        cx: &mut Reading<'_>,
        key: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        cx.warnings.push(self.problem(key, what, instead));
    }

    fn problem(&self, key: &str, what: impl Into<String>, instead: impl Into<String>) -> Problem {
        let origin = self.origin_of(key).or_else(|| self.origin.clone());
        Problem::new(
            origin.as_ref(),
            self.path_of(key),
            Wrong::new(what, instead),
        )
    }

    /// The path of a key, as problems name it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            quoted(key)
        } else {
            format!("{}.{}", self.path, quoted(key))
        }
    }

    /// Every key with its value, for tables whose keys are data.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'t str, &'t Node)> + use<'t> {
        self.table
            .into_iter()
            .flatten()
            .map(|(key, node)| (key.as_str(), node))
    }

    /// Ends a table whose keys are data.
    pub(super) fn finish_free(self, cx: &mut Reading<'_>) {
        cx.shown.push(ShownTable {
            header: self.header,
            path: self.path,
            settings: self.shown,
        });
    }

    /// Ends the table: what was not asked for is unknown.
    pub(super) fn finish(self, cx: &mut Reading<'_>) {
        self.report_unknown(cx);
        self.finish_free(cx);
    }

    /// Ends the whole document, which has no values of its own.
    pub(super) fn finish_root(self, cx: &mut Reading<'_>) {
        self.report_unknown(cx);
    }

    fn report_unknown(&self, cx: &mut Reading<'_>) {
        for (key, node) in self.entries() {
            if self.known.contains(&key) {
                continue;
            }
            let wrong = Wrong::new("is no key that is known here", self.hint(key));
            let problem = Problem::new(node.origin.as_ref(), self.path_of(key), wrong);
            cx.unknown.push(problem);
        }
    }

    fn hint(&self, key: &str) -> String {
        match nearest(key, &self.known) {
            Some("password_file") if key == "password" => {
                "put the password into a file of mode 0600 and name it: password_file = \"/…\""
                    .to_owned()
            }
            Some(known) => format!("write {known}"),
            None => {
                let mut known = self.known.clone();
                known.sort_unstable();
                known.dedup();
                format!("known keys are {}", known.join(", "))
            }
        }
    }
}
