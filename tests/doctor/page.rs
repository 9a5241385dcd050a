//! docs/troubleshooting.md: every query works as written. The names are those of the journal's contract.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

const FIELDS: [&str; 20] = [
    "REQUEST_ID",
    "REGISTRY",
    "REPOSITORY",
    "REFERENCE",
    "KIND",
    "METHOD",
    "STATUS",
    "OUTCOME",
    "TIER",
    "ENDPOINT",
    "ATTEMPTS",
    "RESUMES",
    "BYTES",
    "TTFB_MS",
    "DURATION_MS",
    "GENERATION",
    "ERROR",
    "EVENT",
    "REASON",
    "MESSAGE_ID",
];

const OUTCOMES: [&str; 9] = [
    "refused",
    "not_found",
    "client_closed",
    "failed",
    "stale",
    "resumed",
    "failover",
    "direct",
    "served",
];

const EVENTS: [&str; 22] = [
    "endpoint_ejected",
    "endpoint_readmitted",
    "tier_down",
    "tier_up",
    "dns_changed",
    "dns_stale",
    "hosts_rewritten",
    "hosts_conflict",
    "second_agent",
    "hosts_write_failed",
    "files_not_writable",
    "node_degraded",
    "port_unprivileged",
    "attempt_failed",
    "digest_mismatch",
    "tag_unconfirmed",
    "stale_served",
    "cert_expiring",
    "config_reloaded",
    "config_rejected",
    "log_dropped",
    "drain",
];

/// The journalctl commands of the page's code blocks.
fn queries() -> Vec<Vec<&'static str>> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in PAGE.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside && line.starts_with("journalctl") {
            let command = line.split(" | ").next().unwrap();
            found.push(command.split_whitespace().collect());
        }
    }
    found
}

#[test]
fn every_query_names_what_the_journal_has() {
    let queries = queries();
    assert!(queries.len() >= 15, "{queries:?}");
    for query in &queries {
        let ours = matches!(query[1..3], ["-t" | "-u", "harbor-pilot"]);
        assert!(ours, "{query:?}");
        for word in &query[3..] {
            let Some((field, value)) = word.split_once('=') else {
                continue;
            };
            assert!(FIELDS.contains(&field), "{field} in {query:?}");
            match field {
                "OUTCOME" => assert!(OUTCOMES.contains(&value), "{query:?}"),
                "EVENT" => assert!(EVENTS.contains(&value), "{query:?}"),
                _ => {}
            }
        }
    }
    let outcomes: BTreeSet<&str> = queries
        .iter()
        .flatten()
        .filter_map(|word| word.strip_prefix("OUTCOME="))
        .collect();
    for outcome in [
        "failed",
        "refused",
        "not_found",
        "failover",
        "resumed",
        "direct",
        "stale",
    ] {
        assert!(outcomes.contains(outcome), "no query for {outcome}");
    }
}

/// journalctl itself takes each of them; what it finds is of no matter here.
#[test]
fn journalctl_understands_every_query() {
    let empty = tempfile::tempdir().unwrap();
    for query in queries() {
        // Following would never end, and a missing journal is told on stderr.
        let words = query[1..].iter().filter(|word| **word != "-f");
        let ran = std::process::Command::new("journalctl")
            .args(words)
            .arg("--no-pager")
            .arg("--directory")
            .arg(empty.path())
            .output()
            .expect("journalctl runs (package systemd)");
        let said = String::from_utf8_lossy(&ran.stderr);
        for complaint in [
            "Failed to parse",
            "invalid option",
            "unrecognized",
            "Invalid",
            "requires an argument",
            "Compiled without",
        ] {
            assert!(!said.contains(complaint), "{query:?}: {said}");
        }
    }
}
