//! Tests of traces/collector.

use super::*;
use crate::config::Config;
use crate::lifecycle::Tasks;
use crate::telemetry::{AccessRecord, Journal, RequestId};
use crate::topology::Sources;
use crate::traces::Traces;
use std::net::TcpListener;
use std::process::Command;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const WITHOUT_VARIABLES: &str = "traces::collector::tests::a_batch_can_be_sent_by_both_protocols";

fn config(endpoint: &str, protocol: &str) -> Config {
    let text = format!("[otel]\nendpoint = \"{endpoint}\"\nprotocol = \"{protocol}\"\n");
    Config::from_toml(&text).unwrap()
}

fn discovery(config: &Config, tasks: &Tasks) -> Discovery {
    let (_, sources) = watch::channel(Arc::new(Sources::from_config(config, 1)));
    let (_, dns) = watch::channel(config.dns.clone());
    let home = tempfile::tempdir().unwrap();
    let (directory, journal) = (home.path().to_owned(), Journal::discarding());
    Discovery::start(sources, dns, directory, journal, Arc::default(), tasks)
}

/// The collector's exporter, and what runs as long as that is kept.
fn made(endpoint: &str, protocol: &str) -> (Exporter, Tasks) {
    let (config, tasks) = (config(endpoint, protocol), Tasks::default());
    let discovery = discovery(&config, &tasks);
    let exporter = exporter(config.otel.as_ref().unwrap(), discovery);
    (exporter.unwrap(), tasks)
}

#[tokio::test]
async fn a_batch_can_be_sent_by_both_protocols() {
    for protocol in ["http", "grpc"] {
        made("http://127.0.0.1:4317", protocol);
    }
}

/// What cannot be used is said from the start, and what is lost for it is counted.
#[tokio::test(start_paused = true)]
async fn settings_of_no_use_are_said_and_their_spans_counted() {
    let mut config = config("https://127.0.0.1:4318", "http");
    let otel = Arc::make_mut(config.otel.as_mut().unwrap());
    otel.sample_ratio = 1.0;
    otel.tls.ca = Some(b"no certificate".as_slice().into());
    let (tasks, journal) = (Tasks::default(), Journal::discarding());
    let discovery = discovery(&config, &tasks);
    let traces = Traces::start(&config, &discovery, &journal, &tasks, 7).unwrap();
    let why = "`ca_file` holds no certificate";
    assert_eq!(traces.failing().as_deref(), Some(why));
    assert_eq!(traces.totals(), [0, 0, 0]);
    let trace = journal.tracer().unwrap().begin(None, None);
    journal.access(Box::new(AccessRecord {
        request_id: RequestId::from("1").traced(Some(trace)),
        ..AccessRecord::default()
    }));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(traces.totals(), [0, 1, 1]);
    assert_eq!(traces.failing().as_deref(), Some(why));
}

/// Not even one that asks for what was not built in. Variables can be set for a process of its own alone.
#[test]
fn no_variable_keeps_batches_from_being_sent() {
    for value in ["gzip", "zstd", "none", "nonsense"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([WITHOUT_VARIABLES, "--exact"])
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", value)
            .env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", value)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{value}: {text}");
        assert!(text.contains("1 passed"), "{value}: {text}");
    }
}

/// An address that drops SYN, as one behind a firewall: its backlog is full.
#[tokio::test]
async fn a_silent_address_leaves_time_for_the_next_one() {
    let (next, socket, silent) = loop {
        let next = TcpListener::bind("[::1]:0").unwrap();
        let port = next.local_addr().unwrap().port();
        let silent = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v4().unwrap();
        // Another test may have that port.
        if socket.bind(silent).is_ok() {
            break (next, socket, silent);
        }
    };
    let port = silent.port();
    let _silent = socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    let soon = Duration::from_millis(200);
    while let Ok(stream) = timeout(soon, TcpStream::connect(silent)).await {
        waiting.push(stream.unwrap());
    }
    for protocol in ["http", "grpc"] {
        let (exporter, _tasks) = made(&format!("http://localhost:{port}"), protocol);
        let since = Instant::now();
        let reached = exporter.connector.connect().await.unwrap();
        let Either::Left(stream) = reached else {
            panic!("no TLS was asked for");
        };
        assert_eq!(stream.peer_addr().unwrap(), next.local_addr().unwrap());
        assert!(since.elapsed() < Duration::from_secs(3));
    }
}

/// It took a connection, and its node lost power: nothing says so.
#[tokio::test(start_paused = true)]
async fn a_grpc_collector_that_fell_silent_is_connected_to_again() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (exporter, _tasks) = made(&endpoint, "grpc");
    let (mut connections, since) = (Vec::new(), Instant::now());
    while connections.len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(30), "{connections:?}");
        // As the task does.
        let sent = timeout(Duration::from_secs(5), exporter.export(Vec::new())).await;
        assert!(!matches!(sent, Ok(Ok(()))));
        while let Ok((stream, _)) = collector.accept() {
            connections.push(stream);
        }
    }
}
