//! The text as k3s reads it (gopkg.in/yaml.v2, not strict; wharfie's `pkg/registries/types.go`).

use super::tree::{self, Kind, Node};
use super::{Refused, unusual};
use crate::node::endpoint::EndpointUrl;
use crate::node::marks::BYTE_ORDER_MARK;
use yaml_serde::Value;

/// A registries.yaml has three.
const MAX_BRACKETS: usize = 256;

/// What k3s knows after reading. Two texts of one value mean the same to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Registry or `*`, in the order of the file.
    pub mirrors: Vec<(String, Mirror)>,
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

/// Reads a text as k3s would.
///
/// # Errors
/// Says what k3s could not read, or would read differently from what it looks like.
pub fn read(text: &str) -> Result<Registries, Refused> {
    let root = checked(text)?;
    Ok(root.as_ref().map(registries).unwrap_or_default())
}

/// The tree of a text that k3s can read and that says nothing twice.
pub(super) fn checked(text: &str) -> Result<Option<Node>, Refused> {
    let Some(root) = tree::parse(text)?.filter(|root| !root.is_null()) else {
        value(text)?;
        return Ok(None);
    };
    expect_mapping(&root, "the file")?;
    if let Some(mirrors) = root.get("mirrors") {
        expect_mapping(mirrors, "mirrors")?;
        for (key, entry) in mirrors.pairs() {
            check_mirror(key.text().unwrap_or_default(), entry)?;
        }
    }
    for name in ["configs", "auths"] {
        let Some(configs) = root.get(name) else {
            continue;
        };
        expect_mapping(configs, name)?;
        for (key, entry) in configs.pairs() {
            let what = format!("{name}.{}", key.text().unwrap_or_default());
            expect_mapping(entry, &what)?;
            if name == "configs" {
                check_config(&what, entry)?;
            }
        }
    }
    value(text)?;
    Ok(Some(root))
}

/// The text as libyaml reads it, of which k3s's parser is a port.
pub(super) fn value(text: &str) -> Result<Value, Refused> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if is_bottomless(text) {
        let what = format!("more than {MAX_BRACKETS} levels of brackets");
        return Err(Refused::Unusual(what));
    }
    yaml_serde::from_str(text).map_err(|error| {
        let error = error.to_string();
        if error.contains("duplicate entry") {
            Refused::Unusual(format!(
                "a key stands twice, and k3s takes the last one: {error}"
            ))
        } else {
            Refused::Unreadable(error)
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

/// The types of wharfie's `RegistryConfig`: k3s waits for ever at its next start with others (containerd-k3s-facts 13.5).
fn check_config(what: &str, entry: &Node) -> Result<(), Refused> {
    let tables = [
        (
            "auth",
            &["username", "password", "auth", "identity_token"][..],
        ),
        ("tls", &["ca_file", "cert_file", "key_file"]),
    ];
    for (name, texts) in tables {
        let Some(table) = entry.get(name) else {
            continue;
        };
        let what = format!("{what}.{name}");
        expect_mapping(table, &what)?;
        for key in texts {
            if let Some(value) = table.get(key) {
                expect_text(value, &format!("{what}.{key}"))?;
            }
        }
    }
    let tls = entry.get("tls");
    match tls.and_then(|tls| tls.get("insecure_skip_verify")) {
        Some(value) if !is_truth(value) => {
            let what = format!(
                "line {}: {what}.tls.insecure_skip_verify is neither true nor false",
                value.line
            );
            Err(Refused::Unreadable(what))
        }
        _ => Ok(()),
    }
}

fn expect_text(node: &Node, what: &str) -> Result<(), Refused> {
    match node.kind {
        Kind::Scalar { .. } | Kind::Alias => Ok(()),
        _ => {
            let what = format!("line {}: {what} is no text", node.line);
            Err(Refused::Unreadable(what))
        }
    }
}

/// YAML 1.1's words, without quotes.
fn is_truth(node: &Node) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    match &node.kind {
        Kind::Scalar { value, plain: true } => {
            let word = value.to_ascii_lowercase();
            let case = *value == word || *value == word.to_ascii_uppercase() || {
                let (first, rest) = value.split_at(value.len().min(1));
                first.to_ascii_lowercase() + rest == word
            };
            node.is_null() || (case && words.contains(&word.as_str()))
        }
        Kind::Alias => true,
        _ => false,
    }
}

fn check_mirror(name: &str, entry: &Node) -> Result<(), Refused> {
    let what = format!("mirrors.{name}");
    expect_mapping(entry, &what)?;
    if let Some(endpoints) = entry.get("endpoint") {
        let wrong = |line, kind: &str| {
            let what = format!("line {line}: {what}.endpoint {kind}");
            Err(Refused::Unreadable(what))
        };
        match &endpoints.kind {
            Kind::Sequence { items, .. } => {
                for item in items {
                    if !matches!(item.kind, Kind::Scalar { .. } | Kind::Alias) {
                        return wrong(item.line, "holds something that is no text");
                    }
                }
            }
            Kind::Alias => {}
            _ if endpoints.is_null() => {}
            _ => return wrong(endpoints.line, "is no list"),
        }
    }
    match entry.get("rewrite") {
        Some(rewrite) => {
            let what = format!("{what}.rewrite");
            expect_mapping(rewrite, &what)?;
            let mut rules = rewrite.pairs().iter();
            rules.try_for_each(|(_, value)| expect_text(value, &what))
        }
        None => Ok(()),
    }
}

fn expect_mapping(node: &Node, what: &str) -> Result<(), Refused> {
    match node.kind {
        Kind::Mapping { .. } => node.check_keys(what),
        Kind::Alias => Ok(()),
        _ if node.is_null() => Ok(()),
        _ => {
            let what = format!("line {}: {what} is no mapping", node.line);
            Err(Refused::Unreadable(what))
        }
    }
}

fn registries(root: &Node) -> Registries {
    let mut registries = Registries::default();
    let pairs = |name| root.get(name).map(Node::pairs).unwrap_or_default();
    for (key, entry) in pairs("mirrors") {
        let endpoints = entry.get("endpoint").map(texts).unwrap_or_default();
        let mirror = Mirror {
            endpoints,
            has_rewrite: has_rewrite(entry),
        };
        let name = key.text().unwrap_or_default().to_owned();
        registries.mirrors.push((name, mirror));
    }
    for (key, _) in pairs("configs") {
        registries
            .configs
            .push(key.text().unwrap_or_default().to_owned());
    }
    registries
}

pub(super) fn has_rewrite(entry: &Node) -> bool {
    entry
        .get("rewrite")
        .is_some_and(|rewrite| !rewrite.pairs().is_empty())
}

pub(super) fn texts(list: &Node) -> Vec<String> {
    match &list.kind {
        Kind::Sequence { items, .. } => {
            let text = |item: &Node| {
                let text = item.text().filter(|_| !item.is_null());
                text.unwrap_or_default().to_owned()
            };
            items.iter().map(text).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether an entry has another endpoint than the registry itself: without one k3s writes no file for it, but for a
/// password or certificates of its own (containerd-k3s-facts 7.2).
pub(super) fn has_others<'e>(name: &str, mut endpoints: impl Iterator<Item = &'e str>) -> bool {
    let own = EndpointUrl::root_by_k3s(name);
    endpoints.any(|endpoint| EndpointUrl::root_by_k3s(endpoint) != own)
}

// === impl Mirror ===

impl Mirror {
    /// Whether k3s makes a file of it for the registry `name`, whatever stands under `configs`.
    #[must_use]
    pub fn is_written(&self, name: &str) -> bool {
        has_others(name, self.endpoints.iter().map(String::as_str))
    }
}

// === impl Registries ===

impl Registries {
    /// The entry of a key as written.
    #[must_use]
    pub fn mirror(&self, key: &str) -> Option<&Mirror> {
        let mut mirrors = self.mirrors.iter();
        mirrors
            .find(|(name, _)| name == key)
            .map(|(_, mirror)| mirror)
    }
}

pub(super) fn refuse_special(node: &Node, what: &str) -> Result<(), Refused> {
    if node.is_special {
        let what = format!(
            "{what} has an anchor, an alias, a tag or a merge: what hangs on it would change too"
        );
        return Err(unusual(node.line, &what));
    }
    Ok(())
}
