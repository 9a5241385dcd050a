//! How a config.toml comes to name one directory: as a change of its text, which a person or a program can carry out.

use super::{Registries, V2, Version, name, names, read};
use crate::node::detect::facts::Text;
use crate::node::marks::line_of;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item};

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::detect) struct Remedy {
    pub(in crate::node::detect) file: PathBuf,
    pub(in crate::node::detect) text: String,
    /// What a person does; lines are counted from 1.
    pub(in crate::node::detect) advice: String,
}

impl Registries {
    /// The change after which containerd reads `wanted` alone; `None`: the text is none of the usual ones, and only a
    /// person can tell. `file` is where a file would be.
    pub(in crate::node::detect) fn remedy(
        &self,
        texts: &[Text],
        file: &Path,
        containerd: Option<Version>,
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
                advice: format!("write {}:\n{lines}", file.display()),
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
        let remedy = change(text, plugin, registry(plugin), &setting)?;
        let mut after = texts.to_vec();
        after.get_mut(at)?.text.clone_from(&remedy.text);
        let roots = read(&after, containerd).ok()?.roots;
        (roots == [wanted]).then_some(remedy)
    }
}

fn change(text: &Text, plugin: &str, table: Option<&Item>, setting: &str) -> Option<Remedy> {
    let (file, text) = (&text.path, text.text.as_str());
    let remedy = |advice: String, text: String| Remedy {
        file: file.clone(),
        text,
        advice,
    };
    let shown = file.display();
    if let Some(value) = table.and_then(|table| table.as_table_like()?.get("config_path")) {
        // The key may stand in an inline table, so that only the value changes.
        let span = value.span()?;
        let line = line_of(text, span.start);
        let (_, new) = setting.split_once(" = ")?;
        let after = [text.get(..span.start)?, new, text.get(span.end..)?].concat();
        let written = after.lines().nth(line.checked_sub(1)?)?;
        let advice = format!("change line {line} of {shown} to:\n{written}");
        return Some(remedy(advice, after));
    }
    if let Some(Item::Table(table)) = table
        && !table.is_implicit()
        && !table.is_dotted()
    {
        let line = line_of(text, table.span()?.start);
        let lines = || text.split_inclusive('\n').take(line);
        let header = lines().last()?;
        let indent = header.len() - header.trim_start().len() + 2;
        let new = format!("{:indent$}{setting}", "");
        let advice = format!("write this line behind line {line} of {shown}:\n{new}");
        return Some(remedy(advice, put(text, lines().map(str::len).sum(), &new)));
    }
    let new = format!("[plugins.\"{plugin}\".registry]\n  {setting}");
    let advice = format!("write at the end of {shown}:\n{new}");
    Some(remedy(advice, put(text, text.len(), &new)))
}

/// The text with lines in it, which begin at the byte `at`.
fn put(text: &str, at: usize, lines: &str) -> String {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let end = match before.is_empty() || before.ends_with('\n') {
        true => "",
        false => "\n",
    };
    format!("{before}{end}{lines}\n{after}")
}
