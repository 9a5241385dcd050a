//! Tests of cli/status.

use super::*;
use crate::admin::{
    Change, ConfigStatus, EndpointStatus, MemoryStatus, ReputationStatus, RouterStatus,
    SourceStatus, State, TrafficStatus,
};
use crate::node::detect::Detected;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn endpoint(address: &str, state: State, reason: Option<&str>) -> EndpointStatus {
    EndpointStatus {
        address: address.to_owned(),
        state,
        reason: reason.map(str::to_owned),
        since_seconds: 7380,
        ejected_for_seconds: (state == State::Ejected).then_some(25),
        next_try_seconds: match state {
            State::Healthy | State::Expired => None,
            State::Ejected => Some(25),
            State::Probation => Some(12),
        },
        lowered: false,
        suspect: false,
        latency_ms: (state == State::Healthy).then_some(12),
        in_flight: 3,
    }
}

fn source(name: &str, kind: &str, endpoints: Vec<EndpointStatus>) -> SourceStatus {
    SourceStatus {
        name: name.to_owned(),
        kind: kind.to_owned(),
        url: format!("https://{name}.example"),
        ready: true,
        reason: None,
        dns_stale: false,
        dns_error: None,
        insecure_skip_verify: false,
        endpoints,
        robot: None,
        projects: None,
    }
}

fn status() -> Status {
    let mut suspect = endpoint("203.0.113.9:443", State::Probation, None);
    suspect.suspect = true;
    let late = Some("connect_timeout: no answer within 2.5 s");
    Status {
        version: "0.1.0".to_owned(),
        verdict: Verdict::Ready,
        uptime_seconds: 12_000,
        ready: true,
        generation: 9,
        config: ConfigStatus {
            generation: 3,
            file: Some("/etc/harbor-pilot/config.toml".to_owned()),
            loaded_at: "2026-11-21T01:31:08Z".to_owned(),
            last_reload_ok: true,
            error: None,
            from_last_accepted: false,
        },
        tiers: vec![source(
            "replica",
            "harbor",
            vec![
                endpoint("203.0.113.7:443", State::Healthy, None),
                endpoint("203.0.113.8:443", State::Ejected, late),
                suspect,
            ],
        )],
        reputation: vec![ReputationStatus {
            source: "replica".to_owned(),
            upstream: false,
            address: Some("203.0.113.7:443".to_owned()),
            registry: Some("docker.io".to_owned()),
            repository: None,
            reference: None,
            effect: "last".to_owned(),
            reason: "too_many_requests".to_owned(),
            why: "it wants fewer requests".to_owned(),
            seconds: 25,
            clients: "all".to_owned(),
        }],
        router: RouterStatus {
            images: 3,
            ..RouterStatus::default()
        },
        changes: vec![Change {
            at: "2026-11-21T03:00:00Z".to_owned(),
            event: "endpoint_ejected".to_owned(),
            tier: Some("replica".to_owned()),
            endpoint: None,
            message: "replica/203.0.113.8:443 is no longer used".to_owned(),
        }],
        traffic: TrafficStatus {
            requests: BTreeMap::from([("failover".to_owned(), 2), ("served".to_owned(), 40)]),
            relayed_bytes: BTreeMap::from([("replica".to_owned(), 12_897_485)]),
        },
        node_files: "not managed".to_owned(),
        memory: MemoryStatus {
            limit: 64 << 20,
            bytes: BTreeMap::from([
                ("lists".to_owned(), 0),
                ("manifests".to_owned(), 3 << 20),
                ("tokens".to_owned(), 2048),
            ]),
            refused: 0,
        },
        ..Status::default()
    }
}

#[test]
fn a_report_for_people() {
    assert_eq!(
        render(&status(), false),
        "\
harbor-pilot 0.1.0: ready, up 3 h 20 min
configuration: /etc/harbor-pilot/config.toml, generation 3, loaded 2026-11-21T01:31:08Z
node files: not managed

Tiers
  replica  ready  https://replica.example (harbor)
    ADDRESS          STATE      SINCE      FIRST BYTE  IN FLIGHT  REASON
    203.0.113.7:443  healthy    2 h 3 min  12 ms       3
    203.0.113.8:443  ejected    2 h 3 min  -           3          connect_timeout: no answer within 2.5 s; next try in 25 s
    203.0.113.9:443  probation  2 h 3 min  -           3          [suspect] next try in 12 s

Upstreams in use
  none

Held back
  replica/203.0.113.7:443, docker.io: is asked last for 25 s: it wants fewer requests (too_many_requests)

Images without a registry
  the registry of 3 images is known

Traffic since the start
  requests: failover 2, served 40
  bytes: replica 12.3 MiB
  waiting in memory: 3.0 MiB of 64.0 MiB (manifests 3.0 MiB, tokens 2.0 KiB)

Last changes
  2026-11-21T03:00:00Z  endpoint_ejected: replica/203.0.113.8:443 is no longer used
"
    );
}

#[test]
fn a_report_of_trouble() {
    let mut status = status();
    status.ready = false;
    status.not_ready = vec!["stopping".to_owned()];
    status.config.file = None;
    status.config.last_reload_ok = false;
    status.config.error = Some("config.toml: unknown key\nconfig.toml: bad\u{1b}[31m".to_owned());
    status.config.from_last_accepted = true;
    status.tiers[0].ready = false;
    status.tiers[0].insecure_skip_verify = true;
    status.tiers[0].dns_stale = true;
    status.tiers[0].dns_error = Some("timed out".to_owned());
    status.tiers[0].endpoints.clear();
    status.upstreams = vec![source("docker.io", "upstream", Vec::new())];
    status.changes.clear();
    status.reputation.clear();
    status.router = RouterStatus::default();
    status.traffic = TrafficStatus::default();
    status.log_dropped = 7;
    status.task_panics = 1;
    status.memory.refused = 4;
    status.memory.bytes.clear();
    assert_eq!(
        render(&status, false),
        "\
harbor-pilot 0.1.0: down, up 3 h 20 min
  the agent: stopping
  the configuration: it was refused, and an older configuration is in force: config.toml: unknown key
  tier replica: not ready: no address can be used
configuration: built in, no file, generation 3, loaded 2026-11-21T01:31:08Z
  started with the last accepted configuration
  the file on disk was refused; an older one is in force:
    config.toml: unknown key
    config.toml: bad\\u{1b}[31m
node files: not managed

Tiers
  replica  not ready  https://replica.example (harbor)
    certificates are NOT checked (insecure_skip_verify)
    DNS fails, last known addresses are used: timed out
    no address known

Upstreams in use
  docker.io  ready  https://docker.io.example (upstream)
    no address known

Traffic since the start
  requests: none
  bytes: none
  waiting in memory: 0 B of 64.0 MiB
  4 answers were refused, as memory was full: see [limits] memory
  7 log records were lost
  1 connection ended by a defect: see the journal

Last changes
  none
"
    );
}

#[test]
fn colours_do_not_move_columns() {
    let colored = render(&status(), true);
    assert!(colored.contains("\u{1b}[31mejected\u{1b}[0m    2 h 3 min"));
    let mut plain = colored;
    for code in ["31", "32", "33", "0"] {
        plain = plain.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(plain, render(&status(), false));
}

/// Answers one request with these bytes.
async fn agent(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_detached("agent", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        assert!(request.starts_with("GET /status HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains(&format!("host: {address}\r\n")),
            "{request}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    address
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn asking(admin: Option<SocketAddr>) -> Arguments {
    Arguments {
        admin,
        watch: false,
        json: false,
        color: false,
    }
}

/// The command as a whole, beside an agent that lives on another runtime.
fn run_beside(answer: &str, json: bool) -> (u8, String, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let admin = runtime.block_on(agent(answer.to_owned()));
    let arguments = Arguments {
        json,
        ..asking(Some(admin))
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let exit = run(arguments, &mut out, &mut errors);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit, text(out), text(errors))
}

#[test]
fn the_exit_status_says_how_it_is() {
    let mut status = status();
    let json = |status: &Status| ok(&serde_json::to_string(status).unwrap());
    let (exit, out, errors) = run_beside(&json(&status), false);
    assert_eq!((exit, errors.as_str()), (0, ""));
    assert_eq!(out, render(&status, false));
    status.tiers[0].ready = false;
    let (exit, out, _) = run_beside(&json(&status), true);
    assert_eq!(exit, 1);
    assert_eq!(serde_json::from_str::<Status>(&out).unwrap(), status);
}

#[test]
fn a_newer_agent_is_understood() {
    let mut json = serde_json::to_value(status()).unwrap();
    json["new"] = 1.into();
    let (exit, _, errors) = run_beside(&ok(&json.to_string()), false);
    assert_eq!((exit, errors.as_str()), (0, ""));
}

#[test]
fn without_an_agent_the_message_says_what_to_do() {
    // It is bound and does not listen: refused, and nobody else gets the port.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    assert_eq!(run(asking(Some(address)), &mut out, &mut errors), 2);
    let errors = String::from_utf8(errors).unwrap();
    assert!(
        errors.contains("no agent answers at 127.0.0.1:"),
        "{errors}"
    );
    assert!(errors.contains("systemctl status harbor-pilot"), "{errors}");
    assert!(out.is_empty());

    let mut errors = Vec::new();
    assert_eq!(run(asking(None), &mut out, &mut errors), 2);
    assert!(String::from_utf8(errors).unwrap().contains("[server]"));
}

#[test]
fn another_program_at_the_port_is_recognised() {
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "404",
        ),
        (ok("<html>"), "cannot be read"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "is not this agent"),
    ] {
        let (exit, _, errors) = run_beside(&answer, false);
        assert_eq!(exit, 2, "{answer}");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[tokio::test]
async fn a_silent_agent_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let error = fetch(address).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
}

/// Takes two reports and closes.
struct Pipe(Vec<String>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() == 2 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn watching_survives_an_agent_that_goes_away() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let json = serde_json::to_string(&status()).unwrap();
    let admin = runtime.block_on(agent(ok(&json)));
    let arguments = Arguments {
        watch: true,
        ..asking(Some(admin))
    };
    let mut pipe = Pipe(Vec::new());
    assert_eq!(run(arguments, &mut pipe, &mut io::sink()), 2);
    assert_eq!(pipe.0[0], format!("{CLEAR}{}", render(&status(), false)));
    assert!(pipe.0[1].contains("no agent answers"), "{}", pipe.0[1]);
}

#[test]
fn what_was_found_on_the_node_stands_before_the_tiers() {
    let mut status = status();
    status.node = Some(Detected::default());
    let text = render(&status, false);
    let expected =
        "node files: not managed\n\nNode\n    no k3s, rke2 or containerd was found\n\nTiers\n";
    assert!(text.contains(expected), "{text}");
}
