//! Tests of metrics.

use super::*;
use std::collections::BTreeSet;

/// docs/observability.md, "Metrics". A name that is missing here or there is a broken promise.
const NAMES: [&str; 42] = [
    "harbor_pilot_attempts_total",
    "harbor_pilot_bandwidth_waits_seconds_total",
    "harbor_pilot_build_info",
    "harbor_pilot_clients_ended_total",
    "harbor_pilot_config_last_reload_successful",
    "harbor_pilot_digest_mismatches_total",
    "harbor_pilot_discovery_refreshes_total",
    "harbor_pilot_dns_refreshes_total",
    "harbor_pilot_dns_stale_seconds",
    "harbor_pilot_endpoint_healthy",
    "harbor_pilot_failovers_total",
    "harbor_pilot_hosts_conflicts_total",
    "harbor_pilot_hosts_writes_total",
    "harbor_pilot_log_dropped_total",
    "harbor_pilot_memory_bytes",
    "harbor_pilot_memory_refused_total",
    "harbor_pilot_node_files_state",
    "harbor_pilot_policy_denials_total",
    "harbor_pilot_probe_duration_seconds",
    "harbor_pilot_projects",
    "harbor_pilot_relayed_bytes_total",
    "harbor_pilot_request_duration_seconds",
    "harbor_pilot_requests_total",
    "harbor_pilot_resumes_total",
    "harbor_pilot_router_fanout_seconds",
    "harbor_pilot_router_lookups_total",
    "harbor_pilot_router_redis_errors_total",
    "harbor_pilot_span_exports_failed_total",
    "harbor_pilot_spans_dropped_total",
    "harbor_pilot_spans_exported_total",
    "harbor_pilot_stale_served_total",
    "harbor_pilot_task_panics_total",
    "harbor_pilot_tier_ready",
    "harbor_pilot_time_to_first_byte_seconds",
    "harbor_pilot_token_fetches_total",
    "harbor_pilot_upstream_quota_remaining",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
];

fn record() -> AccessRecord {
    AccessRecord {
        request_id: "1".into(),
        registry: Some("docker.io".parse().unwrap()),
        repository: "library/nginx".into(),
        reference: "1.27".into(),
        kind: "manifest",
        method: "GET",
        status: 200,
        outcome: RequestOutcome::Served,
        tier: "replica".into(),
        endpoint: "203.0.113.7:443".into(),
        attempts: 1,
        resumes: 0,
        bytes: 900,
        time_to_first_byte: Some(Duration::from_millis(4)),
        duration: Duration::from_millis(35),
        generation: 7,
        error: String::new(),
        asked_by: None,
    }
}

fn tiers() -> Vec<TierGauge> {
    vec![
        TierGauge {
            tier: "replica".into(),
            ready: Some(true),
            endpoints: vec![("203.0.113.7:443".to_owned(), true)],
        },
        TierGauge {
            tier: "upstream".into(),
            ready: None,
            endpoints: vec![("198.51.100.1:443".to_owned(), false)],
        },
    ]
}

fn render(metrics: &Metrics, format: Format) -> String {
    let memory = Usage {
        limit: 1000,
        bytes: vec![("manifests", 900), ("tokens", 12)],
        refused: 3,
    };
    let scrape = Scrape {
        tiers: &tiers(),
        log_dropped: 5,
        spans: [7, 6, 1],
        task_panics: 2,
        memory: &memory,
        node_files: "current",
        now: Instant::now(),
    };
    metrics.render(&scrape, format)
}

fn exercised() -> Metrics {
    let metrics = Metrics::default();
    metrics.request(&record());
    metrics.relayed("replica", 900);
    metrics.attempt("replica", "ok");
    metrics.failover("replica", "core", "timeout");
    metrics.resume("replica", "core");
    metrics.bandwidth_wait("replica", Duration::from_secs(2));
    metrics.stale_served();
    metrics.client_ended("stalled");
    metrics.policy_denial("core", "vulnerability");
    metrics.upstream_quota("docker.io", 76);
    metrics.digest_mismatch("core");
    metrics.probe("replica", Duration::from_millis(7));
    metrics.dns_refresh("replica", "ok");
    metrics.discovery_refresh("replica", "ok");
    metrics.projects("replica", 7);
    metrics.router_lookup("found");
    metrics.router_fanout(Duration::from_millis(7));
    metrics.router_redis_error();
    metrics.token_fetch("core", "denied");
    metrics.hosts_write("k3s", "ok");
    metrics.hosts_conflict();
    metrics
}

/// The names of the samples, histograms by their family's.
fn names(text: &str) -> BTreeSet<String> {
    let histograms: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram"))
        .collect();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names = samples.map(|line| {
        let name = line.split(['{', ' ']).next().unwrap();
        let of = |family: &&str| {
            ["_sum", "_count", "_bucket"].contains(&name.strip_prefix(*family).unwrap_or(""))
        };
        let family = histograms.iter().copied().find(of);
        family.unwrap_or(name).to_owned()
    });
    names.collect()
}

#[test]
fn the_names_are_those_of_the_interface() {
    let expected: BTreeSet<String> = NAMES.map(str::to_owned).into();
    let metrics = exercised();
    assert_eq!(names(&render(&metrics, Format::OpenMetrics)), expected);
    assert_eq!(names(&render(&metrics, Format::Text)), expected);
}

#[test]
fn samples_carry_the_labels_of_the_interface() {
    let text = render(&exercised(), Format::OpenMetrics);
    for line in [
        r#"harbor_pilot_requests_total{kind="manifest",registry="docker.io",outcome="served",tier="replica"} 1"#,
        r#"harbor_pilot_request_duration_seconds_count{kind="manifest",tier="replica"} 1"#,
        r#"harbor_pilot_request_duration_seconds_bucket{le="0.05",kind="manifest",tier="replica"} 1"#,
        r#"harbor_pilot_time_to_first_byte_seconds_sum{kind="manifest",tier="replica"} 0.004"#,
        r#"harbor_pilot_relayed_bytes_total{tier="replica"} 900"#,
        r#"harbor_pilot_attempts_total{tier="replica",result="ok"} 1"#,
        r#"harbor_pilot_failovers_total{from="replica",to="core",reason="timeout"} 1"#,
        r#"harbor_pilot_resumes_total{from="replica",to="core"} 1"#,
        "harbor_pilot_stale_served_total 1",
        r#"harbor_pilot_clients_ended_total{reason="stalled"} 1"#,
        r#"harbor_pilot_digest_mismatches_total{tier="core"} 1"#,
        r#"harbor_pilot_endpoint_healthy{tier="replica",endpoint="203.0.113.7:443"} 1"#,
        r#"harbor_pilot_endpoint_healthy{tier="upstream",endpoint="198.51.100.1:443"} 0"#,
        r#"harbor_pilot_tier_ready{tier="replica"} 1"#,
        r#"harbor_pilot_probe_duration_seconds_count{tier="replica"} 1"#,
        r#"harbor_pilot_dns_refreshes_total{tier="replica",result="ok"} 1"#,
        r#"harbor_pilot_dns_stale_seconds{tier="replica"} 0.0"#,
        r#"harbor_pilot_token_fetches_total{tier="core",result="denied"} 1"#,
        r#"harbor_pilot_hosts_writes_total{runtime="k3s",result="ok"} 1"#,
        "harbor_pilot_hosts_conflicts_total 1",
        r#"harbor_pilot_node_files_state{state="current"} 1"#,
        r#"harbor_pilot_policy_denials_total{tier="core",reason="vulnerability"} 1"#,
        r#"harbor_pilot_upstream_quota_remaining{registry="docker.io"} 76"#,
        "harbor_pilot_config_last_reload_successful 1",
        "harbor_pilot_log_dropped_total 5",
        "harbor_pilot_spans_exported_total 7",
        "harbor_pilot_spans_dropped_total 6",
        "harbor_pilot_span_exports_failed_total 1",
        "harbor_pilot_task_panics_total 2",
        concat!(
            r#"harbor_pilot_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
    assert!(!text.contains(r#"tier_ready{tier="upstream"}"#));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_older_format_names_its_counters_with_total() {
    let text = render(&exercised(), Format::Text);
    assert!(
        text.contains("# TYPE harbor_pilot_requests_total counter\nharbor_pilot_requests_total{")
    );
    assert!(text.contains("# HELP harbor_pilot_requests_total Requests of clients.\n"));
    assert!(text.contains("# TYPE harbor_pilot_tier_ready gauge\n"));
    assert!(!text.contains("# EOF"));
    assert_eq!(Format::accepted_by(None), Format::Text);
    assert_eq!(Format::accepted_by(Some("*/*")), Format::Text);
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
    assert_eq!(Format::accepted_by(Some(prometheus)), Format::OpenMetrics);
}

#[test]
fn a_scrape_shows_only_tiers_that_are_there() {
    let metrics = Metrics::default();
    let mut scrape = Scrape {
        tiers: &tiers(),
        log_dropped: 0,
        spans: [0; 3],
        task_panics: 0,
        memory: &Usage::default(),
        node_files: "waiting",
        now: Instant::now(),
    };
    let text = metrics.render(&scrape, Format::Text);
    assert!(text.contains("tier_ready{"));
    scrape.node_files = "degraded";
    scrape.tiers = &[];
    scrape.now += Duration::from_secs(16 * 60);
    let text = metrics.render(&scrape, Format::Text);
    assert!(!text.contains("tier_ready{"));
    assert!(text.contains("node_files_state{state=\"degraded\"} 1\n"));
    assert!(!text.contains("waiting"));
    assert!(!text.contains("endpoint_healthy{"));
}

#[tokio::test(start_paused = true)]
async fn dns_staleness_counts_from_the_first_failure_to_the_next_success() {
    let metrics = Metrics::default();
    metrics.dns_refresh("replica", "failed");
    tokio::time::advance(Duration::from_secs(30)).await;
    metrics.dns_refresh("replica", "failed");
    tokio::time::advance(Duration::from_secs(12)).await;
    let text = render(&metrics, Format::Text);
    assert!(
        text.contains("dns_stale_seconds{tier=\"replica\"} 42.0\n"),
        "{text}"
    );
    metrics.dns_refresh("replica", "changed");
    let text = render(&metrics, Format::Text);
    assert!(
        text.contains("dns_stale_seconds{tier=\"replica\"} 0.0\n"),
        "{text}"
    );
}

#[test]
fn label_values_stay_few() {
    let metrics = Metrics::default();
    for number in 0..6000 {
        let mut record = record();
        record.registry = Some(format!("r{number}.example").parse().unwrap());
        metrics.request(&record);
        metrics.attempt(&format!("t{number}"), "ok");
    }
    let text = render(&metrics, Format::Text);
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert!(series("harbor_pilot_requests_total{") <= 257);
    assert!(series("harbor_pilot_attempts_total{") <= 257);
    assert_eq!(metrics.traffic().requests["served"], 6000);
}

#[test]
fn traffic_adds_up() {
    let metrics = exercised();
    let mut failed = record();
    failed.outcome = RequestOutcome::Failed;
    failed.tier = "".into();
    failed.registry = None;
    metrics.request(&failed);
    let mut other = record();
    other.kind = "blob";
    metrics.request(&other);
    metrics.relayed("replica", 100);
    let traffic = metrics.traffic();
    assert_eq!(
        traffic.requests,
        BTreeMap::from([("failed", 1), ("served", 2)])
    );
    let bytes = BTreeMap::from([("replica".to_owned(), 1000)]);
    assert_eq!(traffic.relayed_bytes, bytes);
    let text = render(&metrics, Format::Text);
    assert!(text.contains(
        r#"harbor_pilot_requests_total{kind="manifest",registry="none",outcome="failed",tier="none"} 1"#
    ));
}

/// `increase()` sees the first refusal.
#[test]
fn reasons_to_end_a_client_are_there_before_the_first() {
    let text = render(&Metrics::default(), Format::Text);
    for reason in ["refused", "made_way", "stalled"] {
        let line = format!("harbor_pilot_clients_ended_total{{reason=\"{reason}\"}} 0");
        assert!(text.contains(&line), "{text}");
    }
}
