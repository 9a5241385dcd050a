//! What containerd takes from its config.toml about registries: formats 1, 2 and 3, with what the file imports.

mod remedy;

use super::Version;
use super::facts::Text;
use crate::node::marks::line_of;
use std::path::PathBuf;
use toml_edit::{Document, Item, TableLike};

/// The plugin's table by the file's format.
const V1: &str = "cri";
const V2: &str = "io.containerd.grpc.v1.cri";
const V3: &str = "io.containerd.cri.v1.images";

/// What holds after the file and its imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registries {
    /// The directories of host configurations, in order.
    pub(super) roots: Vec<PathBuf>,
    /// Pulls do not go through the transfer service, which reads a list of directories as one.
    pub(super) local_pull: bool,
    /// Tables that may not stand beside `config_path`: with both the CRI plugin does not load.
    pub(super) barred: Vec<Place>,
    /// A table with the name that another format has for it: containerd does not read it.
    pub(super) misplaced: Option<Place>,
    /// Of the file; 0: there is none.
    format: i64,
    /// Which of the texts has the plugin's table that holds; containerd takes that table whole, so that an import's
    /// replaces the file's.
    holds: Option<usize>,
}

/// A table of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    /// As it is written: `registry.mirrors."docker.io"`.
    pub(super) table: String,
    pub(super) format: i64,
}

/// The setting that holds, from a configuration and what it imports, in that order. `containerd` is its version, if it
/// is known.
/// The error says which file containerd cannot start with, and why.
pub(super) fn read(texts: &[Text], containerd: Option<Version>) -> Result<Registries, String> {
    let mut found = Registries::default();
    for (at, text) in texts.iter().enumerate() {
        let file = text.path.display();
        let document = Document::parse(text.text.as_str()).map_err(|error| {
            let line = error.span().map(|span| line_of(&text.text, span.start));
            let line = line.map_or(String::new(), |line| format!(", line {line}"));
            format!("{file}{line}: it is no TOML: {}", error.message().trim())
        })?;
        let root = document.as_table();
        let own = root.get("version").and_then(Item::as_integer);
        // Without the key the format is the first one; an import has that of the file.
        let format = own.unwrap_or(if at == 0 { 1 } else { found.format });
        if at == 0 {
            found.format = format;
        }
        let plugins = root.get("plugins").and_then(Item::as_table_like);
        let plugin = |name: &str| plugins?.get(name)?.as_table_like();
        let place = |name: &str, below: &str| Place {
            file: text.path.clone(),
            line: place_of(&text.text, plugin(name), below),
            table: below.to_owned(),
            format,
        };
        if format > 1 && plugin(V1).is_some() {
            let line = place_of(&text.text, plugins, V1);
            return Err(format!(
                "{file}, line {line}: plugins.{V1} is the name of format 1, and the file is of format {format}: containerd does not start with it; write plugins.\"{}\"",
                name(format)
            ));
        }
        let mut others = [V1, V2, V3].into_iter().filter(|other| {
            !names(format, containerd).contains(other)
                && plugin(other).is_some_and(|plugin| plugin.contains_key("registry"))
        });
        if let Some(other) = others.next_back() {
            found.misplaced = Some(Place {
                table: format!("plugins.\"{other}\".registry"),
                ..place(other, "registry")
            });
        }
        let mut read = names(format, containerd)
            .iter()
            .filter_map(|name| Some((*name, plugin(name)?)))
            .peekable();
        if read.peek().is_none() {
            continue;
        }
        found = Registries {
            format: found.format,
            misplaced: found.misplaced,
            holds: Some(at),
            ..Registries::default()
        };
        for (name, plugin) in read {
            if let Some(local) = plugin.get("use_local_image_pull").and_then(Item::as_bool) {
                found.local_pull = local;
            }
            let Some(registry) = plugin.get("registry").and_then(Item::as_table_like) else {
                continue;
            };
            let path = registry.get("config_path").and_then(Item::as_str);
            let roots = path.unwrap_or_default().split(':');
            found.roots = roots
                .filter(|root| !root.is_empty())
                .map(|root| PathBuf::from(root.trim_end_matches('/')))
                .collect();
            found.barred = barred(registry)
                .into_iter()
                .map(|below| place(name, &below))
                .collect();
        }
    }
    Ok(found)
}

/// The names under which a containerd looks for the plugin in a file of that format; the last one with a registry table
/// wins. From 2.0 on older formats are made into format 3, over what stands there under its name.
fn names(format: i64, containerd: Option<Version>) -> &'static [&'static str] {
    match format {
        ..=1 => &[V1],
        2 if containerd.is_some_and(|version| version >= (2, 0, 0)) => &[V3, V2],
        2 => &[V2],
        _ => &[V3],
    }
}

/// The name to write.
fn name(format: i64) -> &'static str {
    match format {
        // Every containerd reads format 2.
        0 | 2 => V2,
        ..=1 => V1,
        _ => V3,
    }
}

/// Mirrors, and TLS settings of single hosts. What else is below `configs` (passwords) may stand there.
fn barred(registry: &dyn TableLike) -> Vec<String> {
    let of = |key: &str| registry.get(key).and_then(Item::as_table_like);
    let all = |key: &'static str| {
        of(key)
            .into_iter()
            .flat_map(move |table| table.iter().map(move |(name, item)| (key, name, item)))
    };
    let mirrors = all("mirrors").map(|(key, name, _)| format!("registry.{key}.{name:?}"));
    let tls = all("configs")
        .filter(|(_, _, item)| {
            item.as_table_like()
                .is_some_and(|one| one.contains_key("tls"))
        })
        .map(|(key, name, _)| format!("registry.{key}.{name:?}.tls"));
    mirrors.chain(tls).collect()
}

/// The line, from 1, of a table below a plugin's table: the nearest thing above it that stands in the text by itself.
fn place_of(text: &str, plugin: Option<&dyn TableLike>, below: &str) -> usize {
    let mut line = 1;
    let mut table = plugin;
    let mut rest = below;
    while let Some(within) = table {
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once('.').unwrap_or((rest, "")),
        };
        let item = within.get(key);
        let start = item.and_then(Item::span).map(|span| span.start);
        let start = start.or_else(|| within.key(key)?.span().map(|span| span.start));
        line = start.map_or(line, |start| line_of(text, start));
        rest = after.trim_start_matches('.');
        table = item
            .and_then(Item::as_table_like)
            .filter(|_| !rest.is_empty());
    }
    line
}

// === impl Place ===

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (line {} of {})",
            self.table,
            self.line,
            self.file.display()
        )
    }
}

#[cfg(test)]
mod tests;
