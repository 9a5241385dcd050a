//! The text as k3s reads it (gopkg.in/yaml.v2, not strict; wharfie's `pkg/registries/types.go`).

use super::{Refused, place};
use crate::node::endpoint::EndpointUrl;
use crate::node::marks::{BYTE_ORDER_MARK, line_of};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use yaml_serde::Value;

/// A registries.yaml has three.
const MAX_BRACKETS: usize = 256;
/// What YAML 1.1 takes for a truth value, besides `true` and `false`.
const TRUTHS: [&str; 16] = [
    "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off",
    "OFF",
];

/// What k3s knows after reading. Two texts of one value mean the same to it. The types are those of wharfie's
/// `RegistryConfig`: k3s waits for ever at its next start with others (containerd-k3s-facts 13.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Registries {
    /// By registry or `*`.
    #[serde(deserialize_with = "table")]
    pub mirrors: BTreeMap<String, Mirror>,
    /// Hosts with a `configs` entry of any kind: `--disable-default-registry-endpoint` does not reach them.
    #[serde(deserialize_with = "hosts")]
    pub configs: Vec<String>,
    /// Read and used by nobody.
    #[serde(deserialize_with = "table")]
    auths: BTreeMap<String, Auth>,
}

/// One entry of `mirrors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Mirror {
    /// As they are written, in the order in which k3s asks them.
    #[serde(rename = "endpoint", deserialize_with = "texts")]
    pub endpoints: Vec<String>,
    /// It has rewrite rules, which would meet the agent's endpoint too (design F4).
    #[serde(rename = "rewrite", deserialize_with = "has_rules")]
    pub has_rewrite: bool,
}

#[derive(Default, Deserialize)]
#[allow(dead_code, reason = "the types alone matter")]
struct Host {
    auth: Option<Auth>,
    tls: Option<Tls>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    identity_token: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "the types alone matter")]
struct Tls {
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
}

/// k3s takes what says nothing for what is not there.
fn table<'de, T, D>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    let table = Option::<BTreeMap<String, Option<T>>>::deserialize(deserializer)?;
    let entries = table.into_iter().flatten();
    Ok(entries
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect())
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(table::<Host, D>(deserializer)?.into_keys().collect())
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Option::<Vec<Option<String>>>::deserialize(deserializer)?;
    Ok(texts
        .into_iter()
        .flatten()
        .map(Option::unwrap_or_default)
        .collect())
}

fn has_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(!table::<String, D>(deserializer)?.is_empty())
}

/// Reads a text as k3s would.
///
/// # Errors
/// [`Refused::Unreadable`]: k3s could not read it. [`Refused::Unusual`]: k3s would read it differently from what it looks like.
pub fn read(text: &str) -> Result<Registries, Refused> {
    let whole = value(text)?;
    let plain = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let registries: Option<Registries> =
        yaml_serde::from_str(plain).map_err(|error| of_type(&error))?;
    let registries = registries.unwrap_or_default();
    for host in &registries.configs {
        let path = ["configs", host, "tls", "insecure_skip_verify"];
        let truth = path.iter().try_fold(&whole, |table, key| table.get(key));
        if let Some(truth) = truth.filter(|truth| !truth.is_null()) {
            check_truth(text, &path, truth)?;
        }
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
            unreadable(&format!("{error}{hint}"))
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

fn unreadable(what: &str) -> Refused {
    Refused::Unreadable(format!(
        "k3s cannot read the file and would wait at its next start until it is fixed: {what}"
    ))
}

/// The place alone: what stands there may be a password.
fn of_type(error: &yaml_serde::Error) -> Refused {
    let line = error.location().map_or(0, |at| at.line());
    let error = error.to_string();
    let path = error.split_once(": invalid ").map(|(path, _)| path);
    let path = path.unwrap_or("the file");
    unreadable(&format!(
        "line {line}: {path} is not of the type that k3s reads"
    ))
}

/// A word in quotes is none.
fn check_truth(text: &str, path: &[&str], value: &Value) -> Result<(), Refused> {
    let at = place::value(text, path).unwrap_or_default();
    let written = text.get(at..).unwrap_or_default();
    let is_truth = match value {
        Value::String(word) => TRUTHS.contains(&word.as_str()) && !written.starts_with(['"', '\'']),
        _ => value.is_bool(),
    };
    if is_truth {
        return Ok(());
    }
    let (line, path) = (line_of(text, at), path.join("."));
    let what = format!("line {line}: {path} is neither true nor false");
    Err(unreadable(&what))
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
