//! The rules and dashboards of `packaging/monitoring` in Debian's real Prometheus: rules and configuration are taken,
//! every alert fires and does not fire, and every panel shows data of two agents, found by what the Ansible role wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, with parts that are made for others as well"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../agent/client.rs"]
mod client;
mod fleet;
#[path = "../monitoring/papers.rs"]
mod papers;
mod role;
mod server;

use fleet::{Agent, Fleet, ROUNDS};
use serde_json::{Value, json};
use server::{Prometheus, assert_done, install, promtool};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Panels that show more than zero after what happened to the two agents.
const BUSY: [&str; 27] = [
    "Agents up",
    "Past the agent",
    "Requests that fail",
    "Bytes saved from upstream",
    "Lowest quota left",
    "Stale answers",
    "Conflicts",
    "Pulls by source",
    "Requests by outcome",
    "Busiest nodes",
    "Failovers by reason",
    "Failovers by source",
    "Nodes with most failovers",
    "First byte of manifests",
    "First byte of layers",
    "Bytes by source",
    "Share of bytes saved from upstream",
    "Quota left",
    "Policy denials",
    "Requests by registry",
    "Attempts that fail",
    "Failovers",
    "Resumes",
    "Layers, whole",
    "DNS lookups",
    "Clients ended",
    "Memory",
];

#[test]
fn rules_and_configuration_are_taken_and_every_alert_fires_and_does_not() {
    let home = tempfile::tempdir().unwrap();
    install(home.path());
    // Prometheus complains of a pattern that finds no file.
    fs::write(home.path().join("file_sd/harbor-pilot-a.json"), "[]").unwrap();
    for rules in papers::RULES {
        assert_done(&promtool(&["check", "rules", rules], home.path()));
    }
    assert_done(&promtool(
        &["check", "config", "prometheus.yml"],
        home.path(),
    ));

    let cases = papers::project("tests/prometheus");
    assert_done(&promtool(&["test", "rules", "alerts.test.yml"], &cases));
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    let cases: Value =
        yaml_serde::from_str(&papers::text("tests/prometheus/alerts.test.yml")).unwrap();
    for group in cases["tests"].as_array().unwrap() {
        for case in group["alert_rule_test"].as_array().unwrap() {
            let name = case["alertname"].as_str().unwrap().to_owned();
            let fired = !case["exp_alerts"].as_array().unwrap().is_empty();
            if fired { &mut fires } else { &mut rests }.insert(name);
        }
    }
    let alerts = papers::rules().into_iter().filter(|rule| rule.is_alert);
    let alerts: BTreeSet<_> = alerts.map(|rule| rule.name).collect();
    assert_eq!(fires, alerts, "cases in which an alert fires");
    assert_eq!(rests, alerts, "cases in which it does not");
}

/// What the role is told of an agent.
fn host(agent: &Agent) -> (String, Value) {
    let port = agent.metrics.port();
    let place =
        json!({"harbor_pilot_scrape_address": "127.0.0.1", "harbor_pilot_scrape_port": port});
    (agent.name.to_owned(), place)
}

/// The expression as Grafana sends it.
fn substituted(board: &str, expression: &str) -> String {
    let node = match board {
        "node.dashboard.json" => "lab-a",
        _ => ".*",
    };
    expression
        .replace("$__rate_interval", "1m")
        .replace("$__range", "5m")
        .replace("$job", "harbor-pilot")
        .replace("$node", node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_shows_data_of_two_agents() {
    let home = tempfile::tempdir().unwrap();
    install(home.path());
    let mut fleet = Fleet::start().await;
    let hosts = Value::Object(fleet.agents.iter().map(host).collect());
    role::name_to_prometheus(&hosts, "localhost", home.path());
    for agent in &fleet.agents {
        agent.wait_until_ready().await;
    }
    let prometheus = Prometheus::start(home.path()).await;
    prometheus
        .until("sum(up{job=\"harbor-pilot\", cluster=\"lab\"})", |up| {
            up == 2.0
        })
        .await;
    let first = &fleet.agents[0];
    for round in 0..ROUNDS {
        fleet.pull(round).await;
        fleet.crowd().await;
        // Series that begin now grow in the next round: two scrapes lie between.
        first.quarrel_for(Duration::from_secs(3)).await;
    }
    fleet.spoil().await;
    fleet.lose_all_sources().await;
    let first = &fleet.agents[0];
    first.quarrel_for(Duration::from_secs(1)).await;
    fleet.lose_all_sources().await;
    prometheus
        .until("sum(harbor_pilot_stale_served_total)", |sum| sum == 4.0)
        .await;
    prometheus
        .until("sum(harbor_pilot_hosts_conflicts_total) > 0", |_| true)
        .await;
    // Recorded from the last scrapes.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let mut empty = Vec::new();
    for panel in papers::panels() {
        for expression in &panel.expressions {
            let expression = substituted(panel.board, expression);
            let values = prometheus.values(&expression).await;
            let is_busy = BUSY.contains(&panel.title.as_str());
            let shows = |value: &f64| value.is_finite() && (!is_busy || *value > 0.0);
            if !values.iter().any(shows) {
                empty.push(format!(
                    "{}: {}: {expression}: {values:?}",
                    panel.board, panel.title
                ));
            }
        }
    }
    assert!(empty.is_empty(), "{empty:#?}");

    let names = prometheus.api("label/__name__/values").await;
    let names = names.as_array().unwrap().iter();
    let names = names.map(|it| papers::family(it.as_str().unwrap()));
    let exported = names.filter(|it| it.starts_with("harbor_pilot_") || it.starts_with("process_"));
    let exported: BTreeSet<_> = exported.map(str::to_owned).collect();
    let untold: Vec<_> = exported
        .difference(&papers::documented())
        .cloned()
        .collect();
    assert!(untold.is_empty(), "docs/observability.md lacks {untold:?}");
    let expressions = papers::rules().into_iter().map(|rule| rule.expression);
    let used: BTreeSet<_> = expressions.flat_map(|it| papers::names(&it)).collect();
    for name in used.iter().filter(|it| !it.contains(':')) {
        let is_known = papers::FOREIGN.contains(&name.as_str());
        let is_exported = exported.contains(papers::family(name));
        assert!(is_known || is_exported, "no agent exports {name}");
    }

    let series = prometheus.values("count by (node) ({job=\"harbor-pilot\"})");
    println!("series of each node: {:?}", series.await);
    let nodes = prometheus.api("label/node/values").await;
    assert_eq!(nodes, json!(["lab-a", "lab-b"]));
    let groups = prometheus.api("rules").await;
    for group in groups["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule:#}");
        }
    }
}
