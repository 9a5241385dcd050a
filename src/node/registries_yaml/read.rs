//! The text as k3s reads it (gopkg.in/yaml.v2, not strict; wharfie's `pkg/registries/types.go`).

use super::{Refused, place};
use crate::node::endpoint::EndpointUrl;
use crate::node::marks::BYTE_ORDER_MARK;
use serde::Deserialize;
use std::collections::BTreeMap;
use yaml_serde::Value;

/// A registries.yaml has three.
const MAX_BRACKETS: usize = 256;
/// What YAML 1.1 takes for a truth value, besides `true` and `false`.
const TRUTHS: [&str; 16] = [
    "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off",
    "OFF",
];

/// What k3s knows after reading. Two texts of one value mean the same to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// By registry or `*`.
    pub mirrors: BTreeMap<String, Mirror>,
    /// Hosts with a `configs` entry of any kind: `--disable-default-registry-endpoint` does not reach them.
    pub configs: Vec<String>,
}

/// One entry of `mirrors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// As written.
    pub endpoints: Vec<String>,
    /// It has rewrite rules, which would meet the agent's endpoint too (design F4).
    pub has_rewrite: bool,
}

/// k3s takes nothing for what is not there.
type Table<T> = Option<BTreeMap<String, Option<T>>>;

/// The types of wharfie's `RegistryConfig`: k3s waits for ever at its next start with others (containerd-k3s-facts 13.5).
#[derive(Deserialize)]
struct File {
    mirrors: Table<Entry>,
    configs: Table<Host>,
    #[allow(dead_code, reason = "its type alone matters")]
    auths: Table<Auth>,
}

#[derive(Deserialize)]
struct Entry {
    endpoint: Option<Vec<Option<String>>>,
    rewrite: Table<String>,
}

#[derive(Deserialize)]
struct Host {
    #[allow(dead_code, reason = "its type alone matters")]
    auth: Option<Auth>,
    tls: Option<Tls>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "their types alone matter")]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    identity_token: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "their types alone matter")]
struct Tls {
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    insecure_skip_verify: Option<Value>,
}

/// Reads a text as k3s would.
///
/// # Errors
/// Says what k3s could not read, or would read differently from what it looks like.
pub fn read(text: &str) -> Result<Registries, Refused> {
    value(text)?;
    let plain = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let file: Option<File> = yaml_serde::from_str(plain).map_err(|error| of_type(&error))?;
    let Some(file) = file else {
        return Ok(Registries::default());
    };
    let mut registries = Registries::default();
    for (name, entry) in file.mirrors.into_iter().flatten() {
        let mirror = entry.map_or_else(Mirror::default, |entry| Mirror {
            endpoints: entry
                .endpoint
                .into_iter()
                .flatten()
                .map(Option::unwrap_or_default)
                .collect(),
            has_rewrite: entry.rewrite.is_some_and(|rules| !rules.is_empty()),
        });
        registries.mirrors.insert(name, mirror);
    }
    for (name, host) in file.configs.into_iter().flatten() {
        let tls = host.and_then(|host| host.tls);
        if let Some(truth) = tls.and_then(|tls| tls.insecure_skip_verify) {
            check_truth(text, &name, &truth)?;
        }
        registries.configs.push(name);
    }
    Ok(registries)
}

/// The text as libyaml reads it, of which k3s's parser is a port.
pub(super) fn value(text: &str) -> Result<Value, Refused> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if is_bottomless(text) {
        let what = format!("more than {MAX_BRACKETS} levels of brackets");
        return Err(Refused::Unusual(what));
    }
    yaml_serde::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        let error = error.to_string();
        if error.contains("duplicate entry") {
            Refused::Unusual(format!(
                "a key stands twice, and k3s takes the last one: {error}"
            ))
        } else if error.contains("more than one document") {
            Refused::Unusual("a second document, which k3s does not read".to_owned())
        } else if error.contains("recursion limit") {
            Refused::Unusual(error)
        } else {
            let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            let is_tab = written.trim_start_matches(' ').starts_with('\t');
            let hint = if is_tab {
                " (a tab is no indentation)"
            } else {
                ""
            };
            Refused::Unreadable(format!("{error}{hint}"))
        }
    })
}

/// Whether libyaml would take minutes: its time grows with the square of the brackets that are open. Those in texts and
/// comments count as well, which nobody comes near.
pub(in crate::node) fn is_bottomless(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_BRACKETS
    })
}

/// The place alone: what stands there may be a password.
fn of_type(error: &yaml_serde::Error) -> Refused {
    let line = error.location().map_or(0, |at| at.line());
    let error = error.to_string();
    let path = error.split_once(": invalid ").map(|(path, _)| path);
    let path = path.unwrap_or("the file");
    Refused::Unreadable(format!(
        "line {line}: {path} is not of the type that k3s reads"
    ))
}

/// A word in quotes is none.
fn check_truth(text: &str, host: &str, value: &Value) -> Result<(), Refused> {
    let path = ["configs", host, "tls", "insecure_skip_verify"];
    let at = place::value(text, &path).unwrap_or_default();
    let is_truth = match value {
        Value::Bool(_) => true,
        Value::String(word) => {
            let written = text.get(at..).unwrap_or_default();
            TRUTHS.contains(&word.as_str()) && !written.starts_with(['"', '\''])
        }
        _ => false,
    };
    if is_truth {
        return Ok(());
    }
    Err(Refused::Unreadable(format!(
        "line {}: configs.{host}.tls.insecure_skip_verify is neither true nor false",
        place::line(text, at)
    )))
}

// === impl Mirror ===

impl Mirror {
    /// Whether it is more than a name: an empty one hides `*` alone.
    pub(super) fn says_something(&self) -> bool {
        self.has_rewrite || !self.endpoints.is_empty()
    }

    /// Whether k3s makes a file of it for the registry `name`, whatever stands under `configs`: it has another endpoint
    /// than the registry itself (containerd-k3s-facts 7.2).
    #[must_use]
    pub fn is_written(&self, name: &str) -> bool {
        let own = EndpointUrl::root_by_k3s(name);
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| EndpointUrl::root_by_k3s(endpoint) != own)
    }
}
