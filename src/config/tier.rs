//! `[[tier]]`: where a Harbor (or another mirror) is, how it speaks, and who we are there.

use super::access::{credential, is_enabled, proxy, tls};
use super::document::Node;
use super::model::{Bandwidth, BaseUrl, Probe, ProbeKind, Tier, TierKind};
use super::projects::{Served, read_served};
use super::proxy::ProxySetting;
use super::registry::Registries;
use super::section::{Reading, Section};
use crate::oci::RegistryName;
use std::sync::Arc;
use std::time::Duration;

/// Below this a fleet's probes are felt (design H2): 10,000 nodes would be 1,000 a second per address.
const POLITE_INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn read_tiers(
    root: &mut Section<'_>,
    registries: &Registries,
    cx: &mut Reading<'_>,
) -> Vec<Arc<Tier>> {
    let mut tiers = Vec::new();
    for (node, path) in root.entries_of("tier") {
        if is_enabled(node) {
            tiers.extend(read_tier(node, path, registries, cx));
        } else {
            cx.only_unknown(|cx| read_tier(node, path, registries, cx));
        }
    }
    // Stable: equal priorities, and those without one, keep the order of the files.
    tiers.sort_by_key(|(priority, _)| priority.unwrap_or(u32::MAX));
    tiers.into_iter().map(|(_, tier)| Arc::new(tier)).collect()
}

fn read_tier(
    node: &Node,
    path: String,
    registries: &Registries,
    cx: &mut Reading<'_>,
) -> Option<(Option<u32>, Tier)> {
    let mut section = Section::new(node, path, "[[tier]]", cx);
    let name = read_name(&mut section, cx);
    section.read::<bool>(cx, "enabled");
    let priority = section.optional(cx, "priority");
    let kind = section.or(cx, "kind", TierKind::Harbor);
    let url: Option<BaseUrl> = section.optional(cx, "url");
    if !section.has("url") {
        let instead = "write url = \"https://replicas.example.com\"";
        section.complain(cx, "url", "is missing", instead);
    }
    if let Some(url) = &url
        && kind == TierKind::Harbor
        && !url.prefix.is_empty()
    {
        section.warn(
            cx,
            "url",
            format!("has the path {}, which stands before /v2 in every request", url.prefix),
            "leave the path out unless Harbor itself is published below it; a project belongs into project or [tier.projects]",
        );
    }
    let Served {
        projects,
        registries: served,
        discovery,
        below,
        below_discovery,
    } = read_served(&mut section, kind, registries, cx);
    let names = read_names(&mut section, url.as_ref(), registries, cx);
    let cascade = section.or(cx, "cascade", false);
    let in_file = section.or(cx, "in_file", false);
    let tls = tls(&mut section, cx, url.as_ref(), true);
    let credential = credential(&mut section, cx, url.as_ref());
    refuse_in_file(&section, in_file, cascade, tls.client.is_some(), cx);
    if in_file && url.as_ref().is_some_and(|url| url.host.contains(':')) {
        section.complain(
            cx,
            "in_file",
            "cannot be true for a tier that is named by an IPv6 literal: containerd 1.6 and 1.7 ignore a file with one",
            "write in_file = false, or give the tier a name",
        );
    }
    let proxy = proxy(&mut section, cx, (ProxySetting::None, None), url.as_ref());
    let bandwidth = section.or(cx, "bandwidth", Bandwidth::default());
    let mut health = section.below("health", cx);
    section.finish(cx);
    below.finish_free(cx);
    if let Some(discovery) = below_discovery {
        discovery.finish(cx);
    }
    let probe = read_probe(&mut health, kind, cx);
    health.finish(cx);
    let tier = Tier {
        name: name?,
        kind,
        url: url?,
        projects,
        registries: served,
        names,
        cascade,
        in_file,
        tls,
        credential,
        proxy,
        probe,
        discovery,
        bandwidth,
    };
    Some((priority, tier))
}

fn read_name(section: &mut Section<'_>, cx: &mut Reading<'_>) -> Option<Arc<str>> {
    let name: Option<String> = section.optional(cx, "name");
    let Some(name) = name else {
        if !section.has("name") {
            let instead = "write name = \"replica\" or another short word for logs and metrics";
            section.complain(cx, "name", "is missing", instead);
        }
        return None;
    };
    if name.eq_ignore_ascii_case("upstream") {
        let what = "is the word for the registries themselves";
        section.complain(cx, "name", what, "write another name");
        return None;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > 63 || !name.bytes().all(plain) {
        let what = format!("{name:?} is no name for logs and metrics");
        let instead = "write at most 63 letters, digits, dots, dashes and underscores";
        section.complain(cx, "name", what, instead);
        return None;
    }
    Some(name.into())
}

/// The image names that stand for the tier (design P1): by default the URL's host, unless that is a
/// configured registry of its own.
fn read_names(
    section: &mut Section<'_>,
    url: Option<&BaseUrl>,
    registries: &Registries,
    cx: &mut Reading<'_>,
) -> Vec<RegistryName> {
    let taken = |name: &RegistryName| registries.kept.iter().any(|known| known.name == *name);
    let default: Vec<RegistryName> = url
        .and_then(|url| url.authority().parse().ok())
        .filter(|name| !taken(name))
        .into_iter()
        .collect();
    let names: Vec<RegistryName> = section.or(cx, "names", default);
    for name in names.iter().filter(|name| taken(name)) {
        let what = format!("{name} is a configured registry already");
        let instead = "take it out here, or take the [[registry]] out with enabled = false";
        section.complain(cx, "names", what, instead);
    }
    names
}

/// Design F3: containerd hands the pod's secret to any host that answers 401, and cannot send ours.
fn refuse_in_file(
    section: &Section<'_>,
    in_file: bool,
    cascade: bool,
    client_certificate: bool,
    cx: &mut Reading<'_>,
) {
    if !in_file {
        return;
    }
    if cascade {
        section.complain(
            cx,
            "in_file",
            "cannot be true for a cascade: its first answer for a layer may be empty, and only the agent notices",
            "write in_file = false, or cascade = false if its upstream is the real registry",
        );
    }
    if section.has("username") || section.has("password_file") || section.has("credential") {
        section.complain(
            cx,
            "in_file",
            "cannot be true for a tier with credentials: containerd has none of its own for it",
            "write in_file = false, or make the tier's projects public and take the credentials out",
        );
    }
    if client_certificate {
        section.warn(
            cx,
            "in_file",
            "puts a tier into the file that wants a client certificate",
            "see that containerd can read certificate and key",
        );
    }
}

fn read_probe(section: &mut Section<'_>, tier: TierKind, cx: &mut Reading<'_>) -> Probe {
    let default = match tier {
        TierKind::Harbor => ProbeKind::Harbor,
        TierKind::Path | TierKind::Mirror => ProbeKind::V2,
    };
    let kind = section.or(cx, "probe", default);
    let interval = section.or(cx, "interval", Duration::from_secs(60));
    let timeout = section.or(cx, "timeout", Duration::from_secs(3));
    if kind == ProbeKind::Harbor && tier != TierKind::Harbor {
        let what = "asks for Harbor's health report, which only kind = \"harbor\" has";
        section.complain(cx, "probe", what, "write probe = \"v2\"");
    }
    if timeout.is_zero() {
        let what = "is zero: no probe could ever pass";
        section.complain(cx, "timeout", what, "write timeout = \"3s\"");
    }
    if interval <= timeout {
        section.complain(
            cx,
            "interval",
            "is not longer than timeout: probes would overlap",
            "write interval = \"60s\" and a shorter timeout such as \"3s\"",
        );
    } else if interval < POLITE_INTERVAL && kind != ProbeKind::None {
        section.warn(
            cx,
            "interval",
            "is short: every node sends this to every address of the tier",
            "write interval = \"60s\"; ejected addresses are probed more often by themselves",
        );
    }
    Probe {
        kind,
        interval,
        timeout,
    }
}
