//! The small tables: `[relay]`, `[failover]`, `[stale]`, `[dns]`, `[timeouts]`, `[limits]`, `[node]`,
//! `[log]`, `[state]`, with the relations between their values.

use super::model::{
    Bandwidth, Dns, Existing, Failover, Fallback, HarborPolicy, Limits, Log, Node, Relay, Runtime,
    Stale, Timeouts, Verify,
};
use super::section::{Reading, Section};
use super::values::{Nameserver, Size};
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// From 2.3 on containerd waits this long for a response header (containerd-k3s-facts 0.7).
const CONTAINERD_WAITS: Duration = Duration::from_secs(30);
/// Less than this holds too few answers for a node that starts its pods.
const LEAST_MEMORY: u64 = 16 << 20;
/// The unit's TimeoutStopSec (design O4).
const UNIT_STOPS: Duration = Duration::from_secs(10);
/// Where state is kept when neither a file nor systemd says otherwise.
const STATE: &str = "/var/lib/harbor-pilot";

pub(super) fn read_relay(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Relay {
    let mut section = root.below("relay", cx);
    let verify = section.or(cx, "verify", Verify::Always);
    section.finish(cx);
    Relay { verify }
}

pub(super) fn read_failover(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Failover {
    let mut section = root.below("failover", cx);
    let harbor_policy = section.or(cx, "harbor_policy", HarborPolicy::Next);
    section.finish(cx);
    Failover { harbor_policy }
}

pub(super) fn read_stale(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Stale {
    let mut section = root.below("stale", cx);
    let stale = Stale {
        enabled: section.or(cx, "enabled", true),
        max_age: section.or(cx, "max_age", Duration::from_secs(7 * 86_400)),
        max_bytes: section.or(cx, "max_bytes", Size(64 << 20)).0,
    };
    if stale.enabled && (stale.max_age.is_zero() || stale.max_bytes == 0) {
        let key = if stale.max_age.is_zero() {
            "max_age"
        } else {
            "max_bytes"
        };
        let what = "is zero: nothing would be kept";
        section.complain(cx, key, what, "write enabled = false to keep nothing");
    }
    section.finish(cx);
    stale
}

pub(super) fn read_dns(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Dns {
    let mut section = root.below("dns", cx);
    let nameservers: Vec<Nameserver> = section.or(cx, "nameservers", Vec::new());
    let min_ttl = section.or(cx, "min_ttl", Duration::from_secs(5));
    let max_ttl = section.or(cx, "max_ttl", Duration::from_secs(300));
    if min_ttl < Duration::from_secs(1) {
        let what = "is less than a second: records of TTL 0 would be asked for in a loop";
        section.complain(cx, "min_ttl", what, "write min_ttl = \"5s\"");
    }
    if min_ttl > max_ttl {
        let key = section.written_of("min_ttl", "max_ttl");
        let what = "makes min_ttl longer than max_ttl";
        section.complain(cx, key, what, "write min_ttl = \"5s\" and max_ttl = \"5m\"");
    }
    section.finish(cx);
    Dns {
        nameservers: nameservers.into_iter().map(|server| server.0).collect(),
        min_ttl,
        max_ttl,
    }
}

pub(super) fn read_timeouts(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Timeouts {
    let mut section = root.below("timeouts", cx);
    let ms = Duration::from_millis;
    let mut positive = |key, default| {
        let value: Duration = section.or(cx, key, ms(default));
        if value.is_zero() {
            let what = "is zero: nothing could ever be in time";
            section.complain(cx, key, what, "write a duration, or take the key out");
        }
        value
    };
    let timeouts = Timeouts {
        connect_race: positive("connect_race", 250),
        connect: positive("connect", 2500),
        tls: positive("tls", 3000),
        first_byte: positive("first_byte", 4000),
        upstream_joins: positive("upstream_joins", 3000),
        total: positive("total", 20_000),
        stall: positive("stall", 2000),
        floor_window: positive("floor_window", 10_000),
        client: positive("client", 60_000),
        client_idle: positive("client_idle", 75_000),
        drain: section.or(cx, "drain", ms(3000)),
    };
    let relations = [
        (
            "connect_race",
            timeouts.connect_race,
            "connect",
            timeouts.connect,
        ),
        ("connect", timeouts.connect, "total", timeouts.total),
        ("tls", timeouts.tls, "total", timeouts.total),
        ("first_byte", timeouts.first_byte, "total", timeouts.total),
        (
            "upstream_joins",
            timeouts.upstream_joins,
            "total",
            timeouts.total,
        ),
    ];
    for (shorter, short, longer, long) in relations {
        if short < long || short.is_zero() || long.is_zero() {
            continue;
        }
        let key = section.written_of(shorter, longer);
        let what = format!("makes {shorter} as long as {longer} or longer");
        let instead = format!("write a {shorter} that is shorter than {longer}");
        section.complain(cx, key, what, instead);
    }
    if timeouts.total >= CONTAINERD_WAITS {
        let what = "is not shorter than the 30 s that containerd 2.3 waits for an answer";
        section.warn(cx, "total", what, "write total = \"20s\"");
    }
    if timeouts.drain >= UNIT_STOPS {
        let what =
            "is not shorter than the unit's TimeoutStopSec of 10 s: systemd would kill the daemon";
        section.warn(
            cx,
            "drain",
            what,
            "write drain = \"3s\", or raise TimeoutStopSec",
        );
    }
    section.finish(cx);
    timeouts
}

/// With the limit of bandwidth, which is no number that waits for a restart.
pub(super) fn read_limits(root: &mut Section<'_>, cx: &mut Reading<'_>) -> (Limits, Bandwidth) {
    let mut section = root.below("limits", cx);
    let bandwidth = section.or(cx, "bandwidth", Bandwidth::default());
    let mut positive = |key, default: u32| {
        let value = section.or(cx, key, default);
        if value == 0 {
            let what = "is zero: nothing would be served";
            section.complain(cx, key, what, "write a number of at least 1");
        }
        value
    };
    let connections = positive("connections", 512);
    let loaded = positive("loaded", 16);
    let per_address = positive("per_address", 64);
    let manifest_bytes = section.or(cx, "manifest_bytes", Size(4 << 20)).0;
    let memory = section.or(cx, "memory", Size(64 << 20)).0;
    let floor = section.or(cx, "floor_bytes_per_second", Size(16 << 10)).0;
    if loaded > per_address {
        let key = section.written_of("loaded", "per_address");
        let what = "makes loaded larger than per_address";
        section.complain(cx, key, what, "write loaded = 16 and per_address = 64");
    }
    if !(64 << 10..=64 << 20).contains(&manifest_bytes) {
        let what = "is not between 64KiB and 64MiB: real manifests would be refused, or a few could fill the memory";
        section.complain(
            cx,
            "manifest_bytes",
            what,
            "write manifest_bytes = \"4MiB\"",
        );
    }
    let least = LEAST_MEMORY.max(manifest_bytes.saturating_mul(4));
    if memory < least {
        let key = section.written_of("memory", "manifest_bytes");
        let what = "leaves too little memory: four manifests of manifest_bytes must fit into memory, and 16MiB is the least";
        let instead = format!(
            "write memory = \"{}MiB\" or more, or a smaller manifest_bytes",
            least.div_ceil(1 << 20)
        );
        section.complain(cx, key, what, instead);
    }
    section.finish(cx);
    let limits = Limits {
        // A u32 fits everywhere this runs; the saturation is for the types alone.
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        loaded,
        per_address,
        manifest_bytes,
        memory,
        floor_bytes_per_second: floor,
    };
    (limits, bandwidth)
}

pub(super) fn read_node(root: &mut Section<'_>, has_tiers: bool, cx: &mut Reading<'_>) -> Node {
    let mut section = root.below("node", cx);
    let node = Node {
        manage: section.or(cx, "manage", false),
        runtime: section.or(cx, "runtime", Runtime::Auto),
        fallback: section.or(cx, "fallback", Fallback::Tiers),
        existing: section.or(cx, "existing", Existing::Adopt),
        allow_unprivileged_port: section.or(cx, "allow_unprivileged_port", false),
        data_dir: section.optional(cx, "data_dir"),
        registries_yaml: section.optional(cx, "registries_yaml"),
        certs_d: section.optional(cx, "certs_d"),
    };
    if node.manage && !has_tiers {
        let what = "is true, but there is no tier: no file of the node will be written";
        section.warn(
            cx,
            "manage",
            what,
            "add a [[tier]], or write manage = false",
        );
    }
    if node.registries_yaml.is_some() && node.runtime == Runtime::Containerd {
        let what = "has no meaning for runtime = \"containerd\": only k3s and rke2 have that file";
        section.complain(cx, "registries_yaml", what, "take it out");
    }
    section.finish(cx);
    node
}

pub(super) fn read_log(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Log {
    let mut section = root.below("log", cx);
    let filter: String = section.or(cx, "filter", "info".to_owned());
    if let Err(error) = EnvFilter::builder().parse(&filter) {
        let what = format!("{filter:?} is no log filter: {error}");
        let instead = "write a level (error, warn, info, debug, trace) or harbor_pilot=debug";
        section.complain(cx, "filter", what, instead);
    }
    section.finish(cx);
    Log { filter }
}

pub(super) fn read_state(root: &mut Section<'_>, cx: &mut Reading<'_>) -> PathBuf {
    let mut section = root.below("state", cx);
    let directory = section.or(cx, "directory", default_state(cx.environment));
    section.finish(cx);
    directory
}

/// What systemd's StateDirectory= says, else the packaged place.
pub(super) fn default_state(environment: &std::collections::BTreeMap<String, String>) -> PathBuf {
    let given = environment.get("STATE_DIRECTORY");
    // systemd separates several by colons; the first one is ours.
    let first = given.and_then(|list| list.split(':').next());
    first
        .filter(|path| path.starts_with('/'))
        .unwrap_or(STATE)
        .into()
}
