//! Tests of admin.

mod page;
mod serving;

use super::answer::{answer, gauge, gauges};
use super::names::Names;
use super::*;
use crate::admission::Lookup;
use crate::lifecycle::Drain;
use crate::node::{Trouble, TroubleKind};
use crate::telemetry::Text;
use crate::telemetry::{AccessRecord, EventName, RequestOutcome, StateChange};
use crate::topology::{
    EndpointId, EndpointState, EndpointStatus, Failure, Source, SourceId, SourceKind, SourceState,
    testing,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

pub(super) struct Stage {
    pub(super) view: View,
    pub(super) listening: watch::Sender<bool>,
    pub(super) config: watch::Sender<Arc<ConfigState>>,
    pub(super) node_files: watch::Sender<Arc<NodeFilesStatus>>,
    drain: Drain,
    pub(super) snapshots: watch::Sender<Arc<Snapshot>>,
}

fn source(id: SourceId, host: &str) -> Arc<Source> {
    let mut source = testing::source(id, &format!("https://{host}"));
    source.tls.insecure_skip_verify = source.kind == SourceKind::Harbor;
    Arc::new(source)
}

fn endpoint(source: &Source, address: &str, status: EndpointStatus, now: Instant) -> EndpointState {
    EndpointState {
        id: EndpointId {
            source: source.id.clone(),
            address: address.parse().unwrap(),
        },
        status,
        lowered: false,
        since: now,
        readmitted: None,
        gauges: Arc::default(),
        next_try: None,
        reason: Some("<b>connect_timeout</b>: no\u{202e} answer within\u{9b} 2.5 s".into()),
        latency: Some(Duration::from_millis(12)),
    }
}

fn snapshot(now: Instant) -> Snapshot {
    let tier = source(SourceId::Tier("replica".into()), "r.example");
    let ejected = EndpointStatus::Ejected {
        until: now + Duration::from_secs(25),
        cause: Failure::ConnectTimeout,
        strikes: 1,
    };
    let endpoints = vec![
        endpoint(&tier, "203.0.113.7:443", EndpointStatus::Healthy, now),
        endpoint(&tier, "203.0.113.8:443", ejected, now),
    ];
    let upstream = |registry: &str, addresses: &[&str]| {
        let id = SourceId::Upstream(registry.parse().unwrap());
        let source = source(id, registry);
        let endpoints = addresses.iter();
        Arc::new(SourceState {
            endpoints: endpoints
                .map(|address| endpoint(&source, address, EndpointStatus::Healthy, now))
                .collect(),
            source,
            ready: true,
            dns_stale: false,
            dns_error: None,
            refused: None,
        })
    };
    Snapshot {
        generation: 9,
        sources: vec![
            Arc::new(SourceState {
                source: tier,
                endpoints,
                ready: true,
                dns_stale: true,
                dns_error: Some("timed out".into()),
                refused: None,
            }),
            upstream("docker.io", &["198.51.100.1:443"]),
            upstream("quay.io", &[]),
        ],
    }
}

pub(super) fn stage() -> Stage {
    let started = Instant::now();
    let (snapshots, snapshot) = watch::channel(Arc::new(snapshot(started)));
    let (config, configs) = watch::channel(Arc::new(ConfigState {
        generation: 3,
        file: Some("/etc/harbor-pilot/config.toml".into()),
        loaded_at: "2026-11-21T01:31:08Z".to_owned(),
        rejected: None,
        from_last_accepted: false,
    }));
    let (node_files_in, node_files) = watch::channel(Arc::new(NodeFilesStatus::unheard()));
    let (listening, is_listening) = watch::channel(false);
    let (drain, draining) = Drain::new();
    let (journal, _) = Journal::capturing();
    journal.event(StateChange {
        event: EventName::EndpointEjected,
        tier: Some("replica".to_owned()),
        endpoint: Some("203.0.113.8:443".to_owned()),
        reason: "connect_timeout".to_owned(),
        message: "<script>alert(1)</script>".to_owned(),
    });
    let metrics = Arc::new(Metrics::default());
    metrics.relayed("replica", 4096);
    metrics.request(&AccessRecord {
        request_id: "1".into(),
        registry: None,
        repository: Text::default(),
        reference: Text::default(),
        kind: "blob",
        method: "GET",
        status: 200,
        outcome: RequestOutcome::Served,
        tier: "replica".into(),
        endpoint: Text::default(),
        attempts: 1,
        resumes: 0,
        bytes: 4096,
        time_to_first_byte: None,
        duration: Duration::ZERO,
        generation: 1,
        error: String::new(),
        asked_by: None,
    });
    let token = watch::channel(None);
    let view = View {
        snapshot,
        config: configs,
        clients: Vec::new(),
        node_files,
        listening: is_listening,
        drain: draining,
        projects: watch::channel(Arc::default()).1,
        robots: watch::channel(Arc::default()).1,
        metrics,
        journal,
        traces: None,
        reputation: Arc::default(),
        lookups: Arc::default(),
        budget: Budget::new(64 << 20),
        token: token.1,
        configured: watch::channel(Arc::new(Config::built_in())).1,
        files: FileDiffs::new(std::path::Path::new("/nonexistent")),
        explain: None,
        started,
    };
    Stage {
        view,
        listening,
        config,
        node_files: node_files_in,
        drain,
        snapshots,
    }
}

pub(super) fn get(path: &str) -> Request<()> {
    let request = Request::get(path).header("host", "127.0.0.1:291");
    request.body(()).unwrap()
}

pub(super) async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn readiness_follows_the_listener_and_the_drain() {
    let stage = stage();
    let ready = || answer(Surface::Admin, &get("/readyz"), &stage.view);
    let first = ready();
    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        text(first)
            .await
            .contains("does not accept connections yet")
    );
    stage.listening.send(true).unwrap();
    assert_eq!(ready().status(), StatusCode::OK);
    stage.drain.begin(Duration::from_secs(3));
    let last = ready();
    assert_eq!(last.status(), StatusCode::SERVICE_UNAVAILABLE);
    let last = text(last).await;
    assert!(last.starts_with("down\nthe agent: stopping\n"), "{last}");
    let alive = answer(Surface::Admin, &get("/livez"), &stage.view);
    assert_eq!(alive.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn status_shows_the_published_state() {
    let stage = stage();
    stage.listening.send(true).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    let response = answer(Surface::Admin, &get("/status"), &stage.view);
    assert_eq!(response.headers()["content-type"], "application/json");
    let document = text(response).await;
    assert!(
        document.contains(r"no\u202e answer within\u009b 2.5 s"),
        "{document}"
    );
    let status: Status = serde_json::from_str(&document).unwrap();
    assert_eq!(status.uptime_seconds, 10);
    assert_eq!(status.generation, 9);
    assert_eq!(status.config.loaded_at, "2026-11-21T01:31:08Z");
    assert_eq!(status.tiers.len(), 1);
    let tier = &status.tiers[0];
    assert_eq!(
        (tier.name.as_str(), tier.kind.as_str()),
        ("replica", "harbor")
    );
    assert_eq!(tier.url, "https://r.example");
    assert!(tier.dns_stale && tier.insecure_skip_verify);
    assert_eq!(tier.endpoints[0].state, State::Healthy);
    assert_eq!(tier.endpoints[0].latency_ms, Some(12));
    let ejected = &tier.endpoints[1];
    assert_eq!(ejected.state, State::Ejected);
    assert_eq!(ejected.since_seconds, 10);
    assert_eq!(ejected.ejected_for_seconds, Some(15));
    assert_eq!(status.upstreams.len(), 1, "quay.io was not used");
    assert_eq!(status.upstreams[0].name, "docker.io");
    assert_eq!(status.changes[0].event, "endpoint_ejected");
    assert_eq!(status.traffic.requests["served"], 1);
    assert_eq!(status.traffic.relayed_bytes["replica"], 4096);
    assert_eq!(status.node_files, "not managed: [server] listen is empty");
}

#[test]
fn a_file_that_is_left_alone_is_shown_with_the_reason() {
    let mut stage = stage();
    let trouble = Trouble {
        path: "/c/ghcr.io/hosts.toml".into(),
        kind: TroubleKind::Left,
        why: "containerd ignores it".to_owned(),
    };
    let files = NodeFilesStatus {
        state: FilesState::Degraded,
        reason: "/c/ghcr.io/hosts.toml: containerd ignores it".to_owned(),
        troubles: vec![trouble],
        ..NodeFilesStatus::default()
    };
    stage.view.node_files = watch::channel(Arc::new(files)).1;
    let status = Status::new(&stage.view, Names::Shown, Instant::now());
    let shown = &status.node_troubles[0];
    assert_eq!(
        [&shown.path, &shown.kind, &shown.why],
        ["/c/ghcr.io/hosts.toml", "left", "containerd ignores it"]
    );
    let said = status
        .reasons
        .iter()
        .any(|reason| reason.what.contains("containerd ignores it"));
    assert!(said, "{:?}", status.reasons);
}

/// `systemctl start` has returned, and the files are being looked at: the answer waits for that.
#[tokio::test(start_paused = true)]
async fn the_first_answer_comes_after_the_first_look() {
    let mut stage = stage();
    let (files, shown) = watch::channel(Arc::default());
    stage.view.node_files = shown;
    let line = || Status::new(&stage.view, Names::Shown, Instant::now()).node_files;
    assert_eq!(line(), "not looked at yet");
    let start = Instant::now();
    let look = async {
        sleep(Duration::from_millis(200)).await;
        files.send_replace(Arc::new(NodeFilesStatus {
            state: FilesState::Current,
            ..NodeFilesStatus::default()
        }));
    };
    tokio::join!(stage.view.first_look(), look);
    assert_eq!(
        (line().as_str(), start.elapsed()),
        ("as they should be", Duration::from_millis(200))
    );
    // A look that takes long holds up no answer for long.
    files.send_replace(Arc::default());
    stage.view.first_look().await;
    assert_eq!(start.elapsed(), Duration::from_millis(1700));
    let shows = |path: &str| answer::shows_the_node(Surface::Admin, &get(path));
    for path in ["/", "/explain", "/readyz", "/status"] {
        assert!(shows(path), "{path}");
    }
    assert_eq!([shows("/livez"), shows("/metrics")], [false, false]);
}

/// A change of these names breaks scripts.
#[tokio::test]
async fn the_shape_of_the_status_is_kept() {
    let stage = stage();
    let json =
        serde_json::to_value(Status::new(&stage.view, Names::Shown, Instant::now())).unwrap();
    let keys = |value: &serde_json::Value| {
        let keys = value.as_object().unwrap().keys();
        keys.cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        keys(&json),
        "changes config generation log_dropped memory names_hidden node node_files node_files_left node_files_state node_troubles not_ready ready reasons reputation reputation_hidden restart_pending router runtime task_panics tiers traces traffic upstreams uptime_seconds verdict version"
    );
    assert_eq!(
        keys(&json["config"]),
        "error file from_last_accepted generation last_reload_ok loaded_at"
    );
    let tier = &json["tiers"][0];
    assert_eq!(
        keys(tier),
        "dns_error dns_stale endpoints insecure_skip_verify kind name ready reason url"
    );
    assert_eq!(
        keys(&tier["endpoints"][0]),
        "address ejected_for_seconds in_flight latency_ms lowered next_try_seconds reason since_seconds state suspect"
    );
    assert_eq!(tier["endpoints"][1]["state"], "ejected");
    assert_eq!(keys(&json["changes"][0]), "at endpoint event message tier");
    assert_eq!(keys(&json["traffic"]), "relayed_bytes requests");
}

#[tokio::test]
async fn a_scrape_shows_the_snapshot() {
    let stage = stage();
    let response = answer(Surface::MetricsOnly, &get("/metrics"), &stage.view);
    let text = text(response).await;
    for line in [
        r#"harbor_pilot_endpoint_healthy{tier="replica",endpoint="203.0.113.7:443"} 1"#,
        r#"harbor_pilot_endpoint_healthy{tier="replica",endpoint="203.0.113.8:443"} 0"#,
        r#"harbor_pilot_endpoint_healthy{tier="upstream",endpoint="198.51.100.1:443"} 1"#,
        r#"harbor_pilot_tier_ready{tier="replica"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line}");
    }
    let gauges = gauges(&stage.view, Instant::now());
    assert_eq!(gauges[1].ready, None, "upstreams have no readiness");
    let now = std::time::SystemTime::now();
    let mut tier = Status::new(&stage.view, Names::Shown, Instant::now())
        .tiers
        .remove(0);
    tier.endpoints[0].expire(Some(now - Duration::from_secs(60)), now);
    let shown = gauge(&SourceId::Tier("replica".into()), tier);
    let (_, is_healthy) = &shown.endpoints[0];
    assert!(!is_healthy, "nobody gets through with an ended certificate");
}
