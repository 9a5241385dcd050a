//! From the merged document to the checked configuration: all tables, then the relations between them.

use super::document::Table;
use super::model::{BaseUrl, Config};
use super::otel::read_otel;
use super::problem::{Problem, Wrong};
use super::provenance::Provenance;
use super::registry::{read_direct, read_registries, warn_of_idle_removals};
use super::router::read_router;
use super::section::{Reading, Section};
use super::server::read_server;
use super::tables::{
    read_dns, read_failover, read_limits, read_log, read_node, read_relay, read_stale, read_state,
    read_timeouts,
};
use super::tier::read_tiers;
use std::collections::BTreeMap;

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The values, with defaults in the place of absent ones.
    pub config: Config,
    /// Where each of its values came from.
    pub provenance: Provenance,
    /// What is doubtful, though it may be meant.
    pub warnings: Vec<Problem>,
    pub(super) document: Table,
}

/// Reads a merged document. `problems` are those found on the way to it.
pub(super) fn interpret(
    document: Table,
    problems: Vec<Problem>,
    environment: &BTreeMap<String, String>,
    outside_the_unit: bool,
) -> Result<Loaded, Vec<Problem>> {
    let syntax: Vec<_> = problems.iter().map(place).collect();
    let mut reading = Reading::new(environment, outside_the_unit);
    let cx = &mut reading;
    let mut root = Section::root(&document);
    let server = read_server(&mut root, cx);
    let direct = read_direct(&mut root, cx);
    let registries = read_registries(&mut root, &direct, cx);
    let tiers = read_tiers(&mut root, &registries, cx);
    warn_of_idle_removals("registry", &document, cx);
    warn_of_idle_removals("tier", &document, cx);
    report_nothing_to_serve(&registries.kept, &tiers, cx);
    let has_tiers = !tiers.is_empty();
    let router = read_router(&mut root, &registries.kept, &tiers, cx);
    let (limits, bandwidth) = read_limits(&mut root, cx);
    let mut config = Config {
        server,
        tiers,
        registries: registries.kept,
        relay: read_relay(&mut root, cx),
        failover: read_failover(&mut root, cx),
        stale: read_stale(&mut root, cx),
        dns: read_dns(&mut root, cx),
        timeouts: read_timeouts(&mut root, cx),
        limits,
        bandwidth,
        direct_bandwidth: direct.bandwidth,
        node: read_node(&mut root, has_tiers, cx),
        log: read_log(&mut root, cx),
        router,
        otel: read_otel(&mut root, cx),
        state_directory: read_state(&mut root, cx),
        watched_files: Vec::new(),
    };
    root.finish_root(cx);
    report_loops(&config, cx);
    config.watched_files = std::mem::take(&mut reading.watched);
    config.watched_files.sort();
    config.watched_files.dedup();

    let found = reading.problems.into_iter().chain(reading.unknown);
    // Where the syntax is broken, what was made of the rest of the line says nothing.
    let found = found.filter(|problem| problem.line.is_none() || !syntax.contains(&place(problem)));
    let mut problems: Vec<Problem> = problems.into_iter().chain(found).collect();
    in_order(&mut problems);
    in_order(&mut reading.warnings);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Loaded {
        config,
        provenance: Provenance::new(reading.shown),
        warnings: reading.warnings,
        document,
    })
}

fn place(problem: &Problem) -> (Option<std::path::PathBuf>, Option<usize>) {
    (problem.file.clone(), problem.line)
}

/// By file and line, each once: as somebody works through them.
pub(super) fn in_order(problems: &mut Vec<Problem>) {
    problems.sort();
    problems.dedup();
}

fn report_nothing_to_serve<T, U>(registries: &[T], tiers: &[U], cx: &mut Reading<'_>) {
    if registries.is_empty() {
        let wrong = Wrong::new(
            if tiers.is_empty() {
                "has no registry left: nothing could be pulled"
            } else {
                "has no registry left: the tiers have nothing to serve"
            },
            "keep at least one registry",
        );
        cx.problems.push(Problem::new(None, "registry", wrong));
    }
}

/// A source at our own address would be asked by itself.
fn report_loops(config: &Config, cx: &mut Reading<'_>) {
    let ours = |url: &BaseUrl| {
        config.server.all_listen().any(|listen| {
            let same = url.host.parse().is_ok_and(|ip: std::net::IpAddr| {
                ip == listen.ip() || (listen.ip().is_unspecified() && ip.is_loopback())
            });
            listen.port() == url.port && (same || url.host == "localhost")
        })
    };
    let tiers = config.tiers.iter().map(|tier| {
        (
            format!("tier.{}.url", super::merge::quoted(&tier.name)),
            &tier.url,
        )
    });
    let registries = config.registries.iter().map(|registry| {
        let name = super::merge::quoted(registry.name.as_str());
        (format!("registry.{name}.upstream"), &registry.upstream)
    });
    let looped: Vec<_> = tiers
        .chain(registries)
        .filter(|(_, url)| ours(url))
        .collect();
    for (key, url) in looped {
        let wrong = Wrong::new(
            format!("{url} is this agent's own address: it would ask itself"),
            "write the address of the registry itself",
        );
        cx.problems.push(Problem::new(None, key, wrong));
    }
}
