//! Our own lines: the header, the `server` with its keys, and one block per table.

use super::TABLE_MARK;
use crate::config::Secret;
use crate::node::desired::{HostEntry, KEY_HEADER, Role};
use crate::node::marks::{OURS, quoted};

/// A table of ours, with its mark above; without the blank line that stands behind each.
pub(super) fn table(entry: &HostEntry) -> String {
    let (who, path) = (who(&entry.role), format!("host.{}", quoted(&entry.url)));
    let keys = keys(entry).into_iter();
    let keys: String = keys
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let header = entry.header.as_ref();
    let header = header.map(|value| format!("[{path}.header]\n{}", header_of(value)));
    format!(
        "{TABLE_MARK}{who}\n[{path}]\n{keys}{}",
        header.unwrap_or_default()
    )
}

/// The header of the `server`: a table of the root.
pub(super) fn server_header(entry: &HostEntry) -> Option<String> {
    let value = entry.header.as_ref()?;
    Some(format!(
        "{TABLE_MARK}server\n[header]\n{}",
        header_of(value)
    ))
}

fn header_of(value: &Secret) -> String {
    format!("{} = {}\n", quoted(KEY_HEADER), quoted(value.reveal()))
}

/// containerd before 1.7.32 refuses a file without any `host`.
pub(super) fn bare_host() -> String {
    format!("{TABLE_MARK}no other host\n[host]\n")
}

/// `server` and its keys, without those that the user has written for it.
pub(super) fn server(entry: &HostEntry, written: &[&str]) -> String {
    let keys = keys(entry).into_iter();
    let keys = keys.filter(|(key, _)| !written.contains(key));
    let keys = keys.map(|(key, value)| format!("{key} = {value}{OURS}\n"));
    format!(
        "server = {}{OURS}\n{}",
        quoted(&entry.url),
        keys.collect::<String>()
    )
}

fn keys(entry: &HostEntry) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    let is_tier = matches!(entry.role, Role::Tier(_));
    if is_tier || entry.role == Role::Agent {
        keys.push(("capabilities", "[\"pull\", \"resolve\"]".to_owned()));
    }
    if let Some(ca) = &entry.ca {
        keys.push(("ca", quoted(&ca.name.to_string_lossy())));
    }
    if entry.skip_verify {
        keys.push(("skip_verify", "true".to_owned()));
    }
    if entry.override_path {
        keys.push(("override_path", "true".to_owned()));
    }
    // On an http host containerd 2.0.7–2.0.11 would try TLS first; 1.6 and 1.7 do not know the key (design F3).
    if is_tier && entry.url.starts_with("https://") {
        keys.push(("dial_timeout", "\"2s\"".to_owned()));
    }
    keys
}

fn who(role: &Role) -> String {
    match role {
        Role::Agent => "agent".to_owned(),
        Role::Tier(name) => format!("tier {name}"),
        Role::Upstream => "upstream".to_owned(),
        Role::Nobody => "nobody".to_owned(),
    }
}
