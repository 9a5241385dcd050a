//! How a config.toml comes to name one directory: as a change of its text, which a person or a program can carry out.

use super::{Registries, V2, line_of, name, names, read};
use crate::node::detect::facts::Text;
use std::fmt;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item};

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::detect) struct Remedy {
    /// Which file.
    pub(in crate::node::detect) file: PathBuf,
    /// What the whole of it is afterwards.
    pub(in crate::node::detect) text: String,
    change: Change,
}

/// Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// The line becomes another one.
    Line(usize, String),
    /// A line comes behind it.
    Behind(usize, String),
    /// Lines come to the end.
    End(String),
    /// There is no file yet.
    New(String),
}

// === impl Registries ===

impl Registries {
    /// The change after which containerd reads `wanted` alone; `None`: the text is none of the usual ones, and only a
    /// person can tell. `file` is where a file would be.
    pub(in crate::node::detect) fn remedy(
        &self,
        texts: &[Text],
        file: &Path,
        containerd: Option<(u32, u32)>,
        wanted: &Path,
    ) -> Option<Remedy> {
        let at = self.holds.unwrap_or_default();
        let path = toml::Value::from(wanted.display().to_string());
        let setting = format!("config_path = {path}");
        let Some(text) = texts.get(at) else {
            let lines = format!("version = 2\n[plugins.\"{V2}\".registry]\n  {setting}");
            return Some(Remedy {
                file: file.to_owned(),
                text: format!("{lines}\n"),
                change: Change::New(lines),
            });
        };
        let document = Document::parse(text.text.as_str()).ok()?;
        let own = document.get("version").and_then(Item::as_integer);
        let format = own.unwrap_or(self.format);
        let plugins = document.get("plugins").and_then(Item::as_table_like);
        let registry = |plugin: &str| plugins?.get(plugin)?.as_table_like()?.get("registry");
        let mut names = names(format, containerd).iter().rev();
        let plugin = names.find(|plugin| registry(plugin).is_some());
        let plugin = plugin.copied().unwrap_or_else(|| name(format));
        let change = change(&text.text, plugin, registry(plugin), &setting)?;
        let remedy = Remedy {
            file: text.path.clone(),
            text: change.applied(&text.text),
            change,
        };
        let mut after = texts.to_vec();
        after.get_mut(at)?.text.clone_from(&remedy.text);
        let roots = read(&after, containerd).ok()?.roots;
        (roots == [wanted]).then_some(remedy)
    }
}

fn change(text: &str, plugin: &str, table: Option<&Item>, setting: &str) -> Option<Change> {
    let line_at = |line: usize| text.lines().nth(line.checked_sub(1)?);
    if let Some(value) = table.and_then(|table| table.as_table_like()?.get("config_path")) {
        // The key may stand in an inline table, so that only the value changes.
        let span = value.span()?;
        let line = line_of(text, span.start);
        let old = line_at(line)?;
        let start = span.start - text.get(..span.start)?.rfind('\n').map_or(0, |end| end + 1);
        let end = start + span.len();
        let (_, new) = setting.split_once(" = ")?;
        let line_after = format!("{}{new}{}", old.get(..start)?, old.get(end..)?);
        return Some(Change::Line(line, line_after));
    }
    match table {
        Some(Item::Table(table)) if !table.is_implicit() && !table.is_dotted() => {
            let line = line_of(text, table.span()?.start);
            let header = line_at(line)?;
            let indent = header.len() - header.trim_start().len();
            Some(Change::Behind(
                line,
                format!("{}{setting}", " ".repeat(indent + 2)),
            ))
        }
        _ => Some(Change::End(format!(
            "[plugins.\"{plugin}\".registry]\n  {setting}"
        ))),
    }
}

// === impl Change ===

impl Change {
    fn applied(&self, text: &str) -> String {
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let ended = |line: &str| format!("{line}\n");
        match self {
            Self::Line(line, new) => {
                let new = ended(new);
                if let Some(old) = lines.get_mut(line.saturating_sub(1)) {
                    *old = &new;
                }
                lines.concat()
            }
            Self::Behind(line, new) => {
                let (before, after) = lines.split_at((*line).min(lines.len()));
                let end = if before.last().is_some_and(|last| last.ends_with('\n')) {
                    ""
                } else {
                    "\n"
                };
                format!("{}{end}{new}\n{}", before.concat(), after.concat())
            }
            Self::End(new) => {
                let end = if text.is_empty() || text.ends_with('\n') {
                    ""
                } else {
                    "\n"
                };
                format!("{text}{end}{new}\n")
            }
            Self::New(new) => ended(new),
        }
    }
}

// === impl Remedy ===

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.change {
            Change::Line(line, new) => write!(f, "change line {line} of {file} to:\n{new}"),
            Change::Behind(line, new) => {
                write!(f, "write this line behind line {line} of {file}:\n{new}")
            }
            Change::End(new) => write!(f, "write at the end of {file}:\n{new}"),
            Change::New(new) => write!(f, "write {file}:\n{new}"),
        }
    }
}
