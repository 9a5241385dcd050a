//! `[[registry]]` and `[direct]`: which registries exist, where they are, and what goes straight there.

use super::access::{credential, is_enabled, proxy, proxy_setting, tls};
use super::document::{Node, Table, Value};
use super::merge::{name_of, quoted};
use super::model::{Bandwidth, BaseUrl, Registry};
use super::problem::{Origin, Problem, Wrong};
use super::proxy::ProxySetting;
use super::section::{Reading, Section, Setting};
use crate::oci::RegistryName;
use std::sync::Arc;

/// The registries that are there without any configuration. `goharbor/*` goes straight to upstream: a
/// Harbor that has to be repaired cannot serve its own images.
pub(super) const BUILT_IN: &str = r#"
[[registry]]
name = "docker.io"
upstream = "https://registry-1.docker.io"
bypass = ["goharbor/*"]
[[registry]]
name = "ghcr.io"
upstream = "https://ghcr.io"
[[registry]]
name = "quay.io"
upstream = "https://quay.io"
[[registry]]
name = "gcr.io"
upstream = "https://gcr.io"
[[registry]]
name = "public.ecr.aws"
upstream = "https://public.ecr.aws"
[[registry]]
name = "mcr.microsoft.com"
upstream = "https://mcr.microsoft.com"
[[registry]]
name = "registry.k8s.io"
upstream = "https://registry.k8s.io"
"#;

/// `[direct]`
pub(super) struct Direct {
    enabled: bool,
    /// Where `enabled = false` was written.
    origin: Option<Origin>,
    proxy: (ProxySetting, Option<Origin>),
    pub(super) bandwidth: Bandwidth,
}

/// The registries of a configuration.
pub(super) struct Registries {
    pub(super) kept: Vec<Arc<Registry>>,
    /// Taken out: a tier may still name them.
    pub(super) removed: Vec<RegistryName>,
}

pub(super) fn read_direct(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Direct {
    let mut section = root.below("direct", cx);
    let enabled = section.or(cx, "enabled", true);
    let direct = Direct {
        enabled,
        origin: section.origin_of("enabled"),
        proxy: (
            proxy_setting(&mut section, cx, (ProxySetting::Environment, None)),
            section.origin_of("proxy"),
        ),
        bandwidth: section.or(cx, "bandwidth", Bandwidth::default()),
    };
    section.finish(cx);
    direct
}

pub(super) fn read_registries(
    root: &mut Section<'_>,
    direct: &Direct,
    cx: &mut Reading<'_>,
) -> Registries {
    let mut registries = Registries {
        kept: Vec::new(),
        removed: Vec::new(),
    };
    for (node, path) in root.entries_of("registry") {
        if is_enabled(node) {
            let registry = read_registry(node, path, direct, cx);
            registries.kept.extend(registry.map(Arc::new));
        } else {
            let name = name_of(node).and_then(|name| name.parse().ok());
            registries.removed.extend(name);
            cx.only_unknown(|cx| read_registry(node, path, direct, cx));
        }
    }
    registries
}

fn read_registry(
    node: &Node,
    path: String,
    direct: &Direct,
    cx: &mut Reading<'_>,
) -> Option<Registry> {
    let mut section = Section::new(node, path, "[[registry]]", cx);
    let name: Option<RegistryName> = section.optional(cx, "name");
    if !section.has("name") {
        let instead = "write name = \"reg.example.com\", the registry's part of the image names";
        section.complain(cx, "name", "is missing", instead);
    }
    section.read::<bool>(cx, "enabled");
    let upstream = match section.read::<BaseUrl>(cx, "upstream") {
        Some((url, origin)) => {
            section.show("upstream", url.show(), origin);
            Some(url)
        }
        None if section.has("upstream") => None,
        None => name.as_ref().and_then(|name| {
            let url = BaseUrl::parse(&format!("https://{name}")).ok()?;
            section.show("upstream", url.show(), None);
            Some(url)
        }),
    };
    let may_direct = read_may_direct(&mut section, direct, cx);
    let bypass = read_bypass(&mut section, name.as_ref(), may_direct, cx);
    let private = globs(&mut section, cx, "private", name.as_ref());
    if !may_direct && !private.is_empty() {
        section.warn(
            cx,
            "private",
            "lists repositories that containerd is to pull itself, while direct = false keeps nodes from the registry",
            "see that containerd can reach the registry, or take private out",
        );
    }
    let tls = tls(&mut section, cx, upstream.as_ref(), false);
    let credential = credential(&mut section, cx, upstream.as_ref());
    let proxy = proxy(&mut section, cx, direct.proxy.clone(), upstream.as_ref());
    section.finish(cx);
    Some(Registry {
        name: name?,
        upstream: upstream?,
        direct: may_direct,
        bypass,
        private,
        tls,
        credential,
        proxy,
    })
}

/// `direct`, which `[direct] enabled = false` overrules.
fn read_may_direct(section: &mut Section<'_>, direct: &Direct, cx: &mut Reading<'_>) -> bool {
    let (written, origin) = section.read(cx, "direct").unwrap_or((true, None));
    if direct.enabled {
        section.show("direct", written.show(), origin);
        written
    } else {
        section.show("direct", false.show(), direct.origin.clone());
        false
    }
}

/// `bypass`: a written one contradicts `direct = false`, the built-in one is dropped by it.
fn read_bypass(
    section: &mut Section<'_>,
    name: Option<&RegistryName>,
    may_direct: bool,
    cx: &mut Reading<'_>,
) -> Vec<String> {
    if may_direct {
        return globs(section, cx, "bypass", name);
    }
    let written = section.is_written("bypass");
    let (bypass, _) = section
        .read::<Vec<String>>(cx, "bypass")
        .unwrap_or_default();
    if written && !bypass.is_empty() {
        section.complain(
            cx,
            "bypass",
            "sends repositories straight to upstream, which direct = false forbids",
            "take bypass out, or allow direct for this registry and in [direct]",
        );
    }
    section.show("bypass", Vec::<String>::new().show(), None);
    Vec::new()
}

fn globs(
    section: &mut Section<'_>,
    cx: &mut Reading<'_>,
    key: &'static str,
    registry: Option<&RegistryName>,
) -> Vec<String> {
    let globs: Vec<String> = section.or(cx, key, Vec::new());
    for glob in &globs {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"*/._-".contains(&byte)
        };
        let first = glob.split('/').next().unwrap_or_default();
        let with_registry = first.contains('.') && first.parse().ok().as_ref() == registry;
        if with_registry {
            let rest = glob.split_once('/').map_or("*", |(_, rest)| rest);
            let what = format!("{glob:?} begins with the registry's own name");
            section.complain(cx, key, what, format!("write {rest:?}"));
        } else if !glob.bytes().all(plain) {
            let what = format!("{glob:?} can match no repository");
            let instead = "write lower-case names such as \"myorg/*\", with * for any run of characters and without a tag";
            section.complain(cx, key, what, instead);
        } else if registry.is_some_and(|name| name.as_str() == "docker.io")
            && !glob.contains(['/', '*'])
        {
            let what = format!("{glob:?} can match no repository of docker.io");
            section.complain(cx, key, what, format!("write \"library/{glob}\""));
        }
    }
    globs
}

/// A `[[registry]]` that takes out what is not there is probably misspelt.
pub(super) fn warn_of_idle_removals(kind: &str, root: &Table, cx: &mut Reading<'_>) {
    let entries = root.get(kind).map(|node| &node.value);
    let Some(Value::Array(entries)) = entries else {
        return;
    };
    for node in entries.iter().filter(|node| !is_enabled(node)) {
        if let (Value::Table(table), Some(name)) = (&node.value, name_of(node))
            && table.keys().all(|key| key == "name" || key == "enabled")
        {
            let wrong = Wrong::new(
                format!("takes out {name:?}, which nothing defines"),
                "correct the name, or take this entry out",
            );
            let key = format!("{kind}.{}.enabled", quoted(name));
            let problem = Problem::new(node.origin.as_ref(), key, wrong);
            cx.warnings.push(problem);
        }
    }
}
