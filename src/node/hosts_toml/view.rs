//! A text as containerd sees it: the hosts in their order, then the `server`.

use super::layout::Layout;
use super::{Refused, types};
use crate::node::desired::{DesiredHost, HostEntry, Role};
use crate::node::endpoint::same_endpoint;
use std::path::PathBuf;
use toml_edit::{Document, Item, TableLike};

/// What containerd reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `server`; stock containerd puts the registry itself here when it is missing, k3s's does not.
    pub server: Option<SeenHost>,
    /// In the order in which they are tried, before `server`.
    pub hosts: Vec<SeenHost>,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenHost {
    /// As written.
    pub url: String,
    /// As written.
    pub capabilities: Vec<String>,
    /// As written; relative to the file's directory.
    pub ca: Vec<PathBuf>,
    /// All files of `client`.
    pub client: Vec<PathBuf>,
    /// Whether the path is the API's root.
    pub override_path: bool,
    /// Whether TLS is not checked.
    pub skip_verify: bool,
    /// As written.
    pub dial_timeout: Option<String>,
    /// Names of the headers that are sent.
    pub headers: Vec<String>,
}

/// Reads a text as containerd would.
///
/// # Errors
/// Says why containerd would ignore it, or not see all of it.
pub fn read(text: &str) -> Result<View, Refused> {
    let layout = Layout::of(text)?;
    let document = Document::parse(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
    let root = document.as_table();
    let tables = root.get("host").and_then(Item::as_table);
    types::check("server", root)?;
    for host in &layout.hosts {
        let table = tables.and_then(|tables| tables.get(&host.url)?.as_table());
        if let Some(table) = table {
            types::check(&format!("[host.{:?}]", host.url), table)?;
        }
    }
    let seen = |url: &String| {
        let table = tables?.get(url)?.as_table()?;
        Some(seen(url.clone(), table))
    };
    Ok(View {
        server: layout.server.map(|(url, _)| self::seen(url, root)),
        hosts: layout
            .hosts
            .iter()
            .filter_map(|host| seen(&host.url))
            .collect(),
    })
}

/// The files that a text refers to, beside those of `desired`: a missing one fails every pull of the registry
/// (design F5). Relative paths are relative to the file's directory.
///
/// # Errors
/// As [`read`].
pub fn referenced_files(text: &str) -> Result<Vec<PathBuf>, Refused> {
    let view = read(text)?;
    let all = view.hosts.into_iter().chain(view.server);
    let mut files: Vec<PathBuf> = all
        .flat_map(|host| [host.ca, host.client].concat())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Reads a text back: our hosts come in their order, with nothing of the user's before the agent but an embedded
/// registry, and the last resort is the one that is wanted.
///
/// # Errors
/// Says what is different.
pub fn check(text: &str, desired: &DesiredHost) -> Result<(), Refused> {
    let view = read(text)?;
    let wrong = |what: String| Err(Refused::ReadBack(what));
    let mut at = 0;
    for entry in &desired.hosts {
        let found = view
            .hosts
            .iter()
            .position(|host| same_endpoint(&host.url, &entry.url));
        match found {
            None => return wrong(format!("{} is missing", entry.url)),
            Some(found) if found < at => return wrong(format!("{} is too early", entry.url)),
            Some(found) => at = found,
        }
    }
    if let Some(host) = view.hosts.iter().find(|host| !is_accepted(host, desired)) {
        return wrong(format!("{} has other keys than it should", host.url));
    }
    if !desired.closed {
        return Ok(());
    }
    match &view.server {
        Some(server) if same_endpoint(&server.url, &desired.server.url) => {
            if same_keys(server, &desired.server) {
                Ok(())
            } else {
                wrong("server has other keys than it should".to_owned())
            }
        }
        server => wrong(format!("server is {server:?} in spite of design F6")),
    }
}

/// A host that is spelt as ours has our keys.
fn is_accepted(host: &SeenHost, desired: &DesiredHost) -> bool {
    let ours = desired.hosts.iter().find(|entry| entry.url == host.url);
    ours.is_none_or(|entry| same_keys(host, entry) || entry.role != Role::Agent)
}

fn same_keys(host: &SeenHost, entry: &HostEntry) -> bool {
    host.capabilities == entry.capabilities
        && host.ca == entry.ca.iter().cloned().collect::<Vec<_>>()
        && host.override_path == entry.override_path
        && host.skip_verify == entry.skip_verify
        && host.dial_timeout.is_some() == entry.dial_timeout.is_some()
        && host.headers.len() == usize::from(entry.header.is_some())
}

pub(super) fn seen(url: String, table: &dyn TableLike) -> SeenHost {
    let flag = |key| table.get(key).and_then(Item::as_bool).unwrap_or_default();
    let texts = |key| {
        let mut found = Vec::new();
        if let Some(value) = table.get(key).and_then(Item::as_value) {
            texts(value, &mut found);
        }
        found
    };
    let headers = table.get("header").and_then(Item::as_table_like);
    let headers = headers.map(|table| table.iter().map(|(key, _)| key.to_owned()).collect());
    SeenHost {
        url,
        capabilities: texts("capabilities"),
        ca: texts("ca").into_iter().map(PathBuf::from).collect(),
        client: texts("client").into_iter().map(PathBuf::from).collect(),
        override_path: flag("override_path"),
        skip_verify: flag("skip_verify"),
        dial_timeout: texts("dial_timeout").pop(),
        headers: headers.unwrap_or_default(),
    }
}

/// A text, or the texts of an array of any depth.
fn texts(value: &toml_edit::Value, found: &mut Vec<String>) {
    match value {
        toml_edit::Value::String(text) => found.push(text.value().clone()),
        toml_edit::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        _ => {}
    }
}
