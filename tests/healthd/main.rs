//! `harbor-pilot healthd` as a process, in front of a scripted Harbor.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "it is test code, in which a panic is a failed test"
)]

#[path = "../support/ca.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is shared with other tests")]
mod ca;
mod harbor;
#[path = "../support/port.rs"]
#[allow(unreachable_pub, reason = "it is shared with other tests")]
mod port;

use ca::TestCa;
use harbor::{Harbor, Word, ask};
use port::free_address;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");
const GET: &str = "GET / HTTP/1.1\r\nHost: health\r\n\r\n";

/// The process; ends with the value.
struct Responder {
    child: Child,
    at: SocketAddr,
    said: Receiver<String>,
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Responder {
    fn start(url: &str, options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["healthd", "--harbor", url, "--listen", "127.0.0.1:0"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, said) = sync_channel(10_000);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut responder = Self {
            child,
            at: SocketAddr::from(([0, 0, 0, 0], 0)),
            said,
        };
        let line = responder.line("answers at ");
        let at = line.split("answers at ").nth(1).unwrap();
        responder.at = at.split_whitespace().next().unwrap().parse().unwrap();
        responder
    }

    fn of(harbor: &Harbor, options: &[&str]) -> Self {
        Self::start(&format!("http://{}", harbor.address), options)
    }

    /// The next line of the log that says so.
    fn line(&self, what: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no line says {what:?}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    fn get(&self) -> (String, String) {
        ask(self.at, GET)
    }

    /// 503 with this in the header and in the body.
    fn assert_unhealthy(&self, reason: &str) {
        let (head, body) = self.get();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}\n{body}");
        let header = head
            .lines()
            .find_map(|line| line.strip_prefix("x-harbor-pilot-reason: "));
        assert!(header.unwrap_or_default().contains(reason), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], "unhealthy", "{body}");
        assert!(body["reason"].as_str().unwrap().contains(reason), "{body}");
    }

    fn assert_healthy(&self) {
        let (head, body) = self.get();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
        assert!(!head.contains("x-harbor-pilot-reason"), "{head}");
    }
}

#[test]
fn it_says_what_harbor_says_and_the_journal_says_when_that_changes() {
    let harbor = Harbor::start(None);
    let responder = Responder::of(&harbor, &["--cache", "0s"]);
    responder.line("is healthy: answering 200");
    responder.assert_healthy();
    let (_, body) = responder.get();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["components"].as_array().unwrap().len(), 8, "{body}");

    harbor.says(Word::list(&["trivy"]));
    responder.assert_unhealthy("trivy: refused");
    responder.assert_unhealthy("trivy: refused");
    let line = responder.line("answering 503");
    assert!(line.contains("trivy: refused"), "{line}");
    harbor.says(Word::list(&[]));
    responder.assert_healthy();
    responder.line("is healthy: answering 200");
}

#[test]
fn what_is_no_list_of_healthy_components_is_503() {
    let harbor = Harbor::start(None);
    let responder = Responder::of(&harbor, &["--cache", "0s", "--timeout", "300ms"]);
    let whole = Word::list(&[]).body;
    let half = whole.get(..whole.len() / 2).unwrap();
    let rows = [
        (
            Word::says("200 OK", "<html>Harbor</html>"),
            "HTML instead of JSON",
        ),
        (Word::says("422 Unprocessable Entity", "{}"), "status 422"),
        (Word::says("503 Service Unavailable", &whole), "status 503"),
        (Word::says("200 OK", half), "no health report"),
        (
            Word::says("200 OK", r#"{"components":[],"status":"healthy"}"#),
            "lists 0 components",
        ),
        (
            Word::says("200 OK", &whole.replacen("healthy", "starting", 1)),
            "unknown status \"starting\"",
        ),
        (
            Word {
                waits: Duration::from_secs(2),
                ..Word::list(&[])
            },
            "no answer from Harbor within 300ms",
        ),
        (
            Word {
                cut: true,
                ..Word::list(&[])
            },
            "",
        ),
        (Word::says("200 OK", &"x".repeat(100_000)), ""),
    ];
    for (word, reason) in rows {
        harbor.says(word);
        responder.assert_unhealthy(reason);
        harbor.says(Word::list(&[]));
        responder.assert_healthy();
    }
}

#[test]
fn nobody_at_harbors_address_is_503() {
    let free = free_address();
    let responder = Responder::start(&format!("http://{free}"), &[]);
    responder.assert_unhealthy("refused");
    let responder = Responder::start("http://nowhere.invalid", &["--timeout", "500ms"]);
    responder.assert_unhealthy("");
}

#[test]
fn required_components_alone_count() {
    let harbor = Harbor::start(None);
    harbor.says(Word::list(&["trivy", "portal"]));
    let pulls = ["--require", "core,database,redis,registry", "--cache", "0s"];
    let responder = Responder::of(&harbor, &pulls);
    responder.assert_healthy();
    harbor.says(Word::list(&["trivy", "redis"]));
    responder.assert_unhealthy("redis: refused");
}

/// Route 53 sends 15 checkers at a time; each request is a session in Harbor's Redis.
#[test]
fn however_many_ask_harbor_is_asked_once() {
    let harbor = Harbor::start(None);
    harbor.says(Word {
        waits: Duration::from_millis(200),
        ..Word::list(&[])
    });
    let responder = Responder::of(&harbor, &["--cache", "60s"]);
    let at = responder.at;
    thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| assert!(ask(at, GET).0.starts_with("HTTP/1.1 200 ")));
        }
    });
    assert_eq!((harbor.asked(), harbor.connections()), (1, 1));

    // One connection and one session for all that follow.
    let responder = Responder::of(&harbor, &["--cache", "0s"]);
    for _ in 0..5 {
        responder.assert_healthy();
    }
    let heads = harbor.heads();
    assert!(heads.len() >= 6, "{}", heads.len());
    assert_eq!(harbor.connections(), 2);
    for head in heads.iter().skip(2) {
        let head = head.to_ascii_lowercase();
        assert!(head.contains("cookie: sid=abc123\r\n"), "{head}");
        assert!(head.starts_with("get /api/v2.0/health "), "{head}");
        assert!(head.contains("accept: application/json\r\n"), "{head}");
    }
}

/// An answer that stands for a while is not used when it is older.
#[test]
fn an_answer_stands_as_long_as_it_was_told() {
    let harbor = Harbor::start(None);
    let responder = Responder::of(&harbor, &["--cache", "1s"]);
    responder.assert_healthy();
    harbor.says(Word::list(&["core"]));
    let told = Instant::now();
    while responder.get().0.starts_with("HTTP/1.1 200 ") {
        assert!(told.elapsed() < Duration::from_secs(3), "it stays healthy");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(harbor.asked() <= 3, "{}", harbor.asked());
}

#[test]
fn get_and_head_of_any_path_and_nothing_else() {
    let harbor = Harbor::start(None);
    let responder = Responder::of(&harbor, &[]);
    let (head, body) = ask(responder.at, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-length: "), "{head}");
    assert_eq!(body, "");
    let (head, _) = ask(responder.at, "GET /healthz?x=1 HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        let (head, _) = ask(responder.at, &request);
        assert!(head.starts_with("HTTP/1.1 405 "), "{method}: {head}");
        assert!(head.contains("allow: GET, HEAD"), "{head}");
    }
}

/// Connections that ask nothing keep nobody out, and Harbor hears of none.
#[test]
fn silent_clients_and_a_flood_keep_no_checker_out() {
    let harbor = Harbor::start(None);
    let responder = Responder::of(&harbor, &["--cache", "60s"]);
    responder.assert_healthy();
    let silent: Vec<TcpStream> = (0..600)
        .map(|_| TcpStream::connect(responder.at).unwrap())
        .collect();
    for _ in 0..20 {
        responder.assert_healthy();
    }
    drop(silent);
    assert_eq!(harbor.asked(), 1);
}

#[test]
fn harbors_certificate_is_checked_unless_that_is_switched_off() {
    let ca = TestCa::new();
    let acceptor = ca.acceptor(&["127.0.0.1"]);
    let harbor = Harbor::start(Some(acceptor.config().clone()));
    let url = format!("https://{}", harbor.address);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    Responder::start(&url, &["--ca", file.to_str().unwrap()]).assert_healthy();
    Responder::start(&url, &["--insecure"]).assert_healthy();
    let responder = Responder::start(&url, &[]);
    responder.assert_unhealthy("certificate");
}

#[test]
fn metrics_are_answered_where_they_were_asked_for() {
    let harbor = Harbor::start(None);
    harbor.says(Word::list(&["redis"]));
    let metrics = free_address();
    let responder = Responder::of(&harbor, &["--metrics", &metrics.to_string()]);
    responder.assert_unhealthy("redis");
    let (head, text) = ask(metrics, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for line in [
        "harbor_pilot_healthd_healthy 0",
        "harbor_pilot_healthd_component_healthy{component=\"redis\"} 0",
        "harbor_pilot_healthd_component_healthy{component=\"core\"} 1",
        "harbor_pilot_healthd_questions_total{result=\"unhealthy\"} 1",
        "harbor_pilot_healthd_answers_total{status=\"503\"} 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    let (head, _) = ask(metrics, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn sigterm_ends_it_with_0() {
    let harbor = Harbor::start(None);
    let mut responder = Responder::of(&harbor, &[]);
    responder.assert_healthy();
    let pid = responder.child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
    assert_eq!(responder.child.wait().unwrap().code(), Some(0));
}

#[test]
fn options_that_cannot_be_used_say_what_to_write() {
    let rows: [(&[&str], &str); 8] = [
        (&["--harbor", "harbor.example.com"], "https://"),
        (&["--harbor", "ftp://harbor.example.com"], "https://"),
        (
            &["--harbor", "http://h", "--cache", "2"],
            "write 2s, 1.5s or 500ms",
        ),
        (&["--harbor", "http://h", "--timeout", "0s"], "write 1.5s"),
        (&["--harbor", "http://h", "--timeout", "2m"], "up to 60s"),
        (&["--harbor", "http://h", "--require", "Core"], "write all"),
        (
            &["--harbor", "https://h", "--ca", "/nowhere.pem"],
            "/nowhere.pem",
        ),
        (&["--listen", "127.0.0.1:1337"], "--harbor"),
    ];
    for (options, text) in rows {
        let said = Command::new(PROGRAM)
            .arg("healthd")
            .args(options)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(64), "{options:?} {error}");
        assert!(error.contains(text), "{options:?} {error}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let said = Command::new(PROGRAM)
        .args(["healthd", "--harbor", "http://h", "--listen", &taken])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("listening at {taken}")), "{error}");
}
