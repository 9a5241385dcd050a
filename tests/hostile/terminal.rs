//! Whoever answers on the admin port, or as a source, gets no say over the terminal on which root reads a report.

use crate::node;
use harbor_pilot::cli::{Invocation, doctor, explain, status};
use harbor_pilot::config::Loader;
use harbor_pilot::node::detect::Machine;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A title, a cleared screen, a colour by a C1 control, text from right to left, a character without a width, a line
/// separator, and a line that is not ours.
const HOSTILE: &str =
    "\u{1b}]0;mine\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\u{2066}\u{200b}\u{2028}\u{7f}\r\nforged line";

/// Answers every request with this document.
async fn impostor(status: u16, document: Value) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = document.to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 8192];
            if stream.read(&mut head).await.unwrap_or(0) == 0 {
                continue;
            }
            let head = format!(
                "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            // Whoever asked may have gone.
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    address
}

/// A status whose every text is hostile.
fn status_document(state: &str) -> Value {
    let source = json!({
        "name": HOSTILE, "kind": HOSTILE, "url": HOSTILE, "ready": true, "dns_stale": true, "dns_error": HOSTILE,
        "insecure_skip_verify": true,
        "endpoints": [{
            "address": HOSTILE, "state": state, "reason": HOSTILE, "since_seconds": u64::MAX, "ejected_for_seconds": u64::MAX,
            "lowered": true, "suspect": true, "latency_ms": u64::MAX, "in_flight": 1,
        }],
    });
    // explain takes over what is said of the sources that it knows.
    let mut known = source.clone();
    (known["name"], known["endpoints"][0]["address"]) = (json!("replica"), json!("127.0.0.1:9"));
    json!({
        "version": HOSTILE, "uptime_seconds": u64::MAX, "ready": false, "not_ready": [HOSTILE], "generation": 9,
        "config": {
            "generation": 1, "file": HOSTILE, "loaded_at": HOSTILE, "last_reload_ok": false, "error": HOSTILE,
            "from_last_accepted": true,
        },
        "tiers": [source, known], "upstreams": [source],
        "changes": [{"at": HOSTILE, "event": HOSTILE, "tier": HOSTILE, "endpoint": HOSTILE, "message": HOSTILE}],
        "traffic": {"requests": {HOSTILE: u64::MAX}, "relayed_bytes": {HOSTILE: u64::MAX}},
        "node_files": HOSTILE, "log_dropped": 1, "task_panics": 1, "runtime": HOSTILE, "restart_pending": HOSTILE,
        "node": {
            "runtime": HOSTILE, "running": true, "containerd_version": HOSTILE, "data_dir": HOSTILE,
            "config_path": [HOSTILE], "certs_d": HOSTILE, "registries_yaml": HOSTILE, "embedded_registry": true,
            "disable_default_registry_endpoint": true, "without_certs_d": true, "cleans_certs_d": true,
            "restart_pending": HOSTILE, "findings": [{"what": HOSTILE, "instead": HOSTILE, "degraded": true}],
        },
        "memory": {"limit": u64::MAX, "bytes": {HOSTILE: u64::MAX, "lists": u64::MAX}, "refused": u64::MAX},
        "node_troubles": [{"path": HOSTILE, "kind": "failed", "why": HOSTILE}],
    })
}

/// Nothing but lines of characters that show as themselves, none of which somebody else began.
fn assert_harmless(text: &str) {
    let steers = |c: char| {
        c != '\n' && c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}')
    };
    let found: Vec<char> = text.chars().filter(|c| steers(*c)).collect();
    assert!(found.is_empty(), "{found:?} in {text:?}");
    let forged = text.lines().any(|line| line.starts_with("forged"));
    assert!(!forged, "{text}");
}

/// It was shown at all.
fn assert_shown(text: &str) {
    assert!(text.contains("evil"), "{text}");
    assert_harmless(text);
}

/// The same document reaches a program.
fn assert_same_document(text: &str) {
    assert_harmless(text);
    let document: Value = serde_json::from_str(text).unwrap();
    assert!(document.to_string().contains('\u{202e}'), "{text}");
}

/// A command's status, report and diagnostics. It brings its own runtime.
fn ran(command: impl FnOnce(&mut dyn Write, &mut dyn Write) -> u8) -> (u8, String, String) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let exit = tokio::task::block_in_place(|| command(&mut out, &mut errors));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit, text(out), text(errors))
}

/// A node whose configuration names that admin endpoint and that source.
fn node(admin: SocketAddr, source: SocketAddr) -> (TempDir, Loader) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let absent = [
        "ghcr.io",
        "quay.io",
        "gcr.io",
        "public.ecr.aws",
        "mcr.microsoft.com",
        "registry.k8s.io",
    ];
    let absent = absent.map(|name| format!("[[registry]]\nname = \"{name}\"\nenabled = false\n"));
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:9\"]\nadmin = \"{admin}\"\n\
         [[tier]]\nname = \"replica\"\nkind = \"mirror\"\nurl = \"http://{source}\"\nregistries = [\"docker.io\"]\n\
         [[registry]]\nname = \"docker.io\"\nupstream = \"http://{source}\"\n{}[state]\ndirectory = {:?}\n",
        absent.concat(),
        home.path().join("state"),
    );
    node::write(&file, &text);
    let mut loader = Loader::packaged(BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]));
    loader.config_file = file;
    loader.explicit = true;
    (home, loader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_an_impostor_harmlessly() {
    let asked = |admin, json| {
        ran(|out, errors| {
            let arguments = status::Arguments {
                admin: Some(admin),
                watch: false,
                json,
                color: false,
            };
            status::run(arguments, out, errors)
        })
    };
    let admin = impostor(200, status_document("ejected")).await;
    let (exit, out, errors) = asked(admin, false);
    assert_eq!((exit, errors.as_str()), (1, ""));
    assert_shown(&out);
    let (_, out, _) = asked(admin, true);
    assert_same_document(&out);

    // A word that no agent says, which the error repeats.
    let admin = impostor(200, status_document(HOSTILE)).await;
    let (exit, out, errors) = asked(admin, false);
    assert_eq!((exit, out.as_str()), (2, ""));
    assert_shown(&errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_impostors_harmlessly() {
    let refusal = json!({"errors": [{"code": HOSTILE, "message": HOSTILE}]});
    let source = impostor(404, refusal).await;
    for state in ["ejected", HOSTILE] {
        let admin = impostor(200, status_document(state)).await;
        let (home, loader) = node(admin, source);
        let asked = |image: &str, json| {
            let args = Invocation {
                loader: loader.clone(),
                json,
                machine: Arc::new(Machine::below(&home.path().join("root"), Vec::new())),
            };
            ran(|out, errors| explain::run(&args, image, true, out, errors).unwrap())
        };
        let (exit, out, errors) = asked("nginx:1.27", false);
        assert_eq!(exit, 1, "{errors}");
        assert_shown(&out);
        assert_harmless(&errors);
        let (_, out, errors) = asked("nginx:1.27", true);
        assert_same_document(&out);
        assert_harmless(&errors);
        let (exit, _, errors) = asked(&format!("https://{HOSTILE}"), false);
        assert_eq!(exit, 64);
        assert_shown(&errors);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_shows_impostors_harmlessly() {
    let refusal = json!({"errors": [{"code": HOSTILE, "message": HOSTILE}]});
    let source = impostor(403, refusal).await;
    for state in ["ejected", HOSTILE] {
        let admin = impostor(200, status_document(state)).await;
        let (home, loader) = node(admin, source);
        let asked = |json| {
            let args = Invocation {
                loader: loader.clone(),
                json,
                machine: Arc::new(Machine::below(&home.path().join("root"), Vec::new())),
            };
            ran(|out, errors| doctor::run(&args, Some(BTreeMap::new()), out, errors).unwrap())
        };
        let (exit, out, errors) = asked(false);
        assert_eq!((exit, errors.as_str()), (1, ""));
        assert_shown(&out);
        let (_, out, _) = asked(true);
        assert_harmless(&out);
    }
}
