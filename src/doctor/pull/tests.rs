//! What a pull of the test image says, with scripts in containerd's client's place.

use super::super::report::State;
use super::*;
use crate::lifecycle::spawn_detached;
use crate::node::detect::Found;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;

const NONCE: u64 = 0x0123_4567_89ab_cdef;

/// An agent that lists these tags, or answers 404.
async fn agent(tags: Option<&'static str>) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let hears = heard.clone();
    spawn_detached("agent", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 2048];
            let length = stream.read(&mut request).await.unwrap_or_default();
            hears
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&request[..length]));
            let answer = match tags {
                Some(tags) => format!(
                    "HTTP/1.1 200 OK\r\n\r\n{{\"name\":\"{REPOSITORY}\",\"tags\":[{tags}]}}"
                ),
                None => "HTTP/1.1 404 Not Found\r\n\r\n{}".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, heard)
}

/// A machine whose crictl is this script.
fn machine(script: &str) -> (TempDir, Tool) {
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr/bin", "run/containerd"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::write(root.path().join("run/containerd/containerd.sock"), "").unwrap();
    let crictl = root.path().join("usr/bin/crictl");
    fs::write(
        &crictl,
        format!(
            "#!/bin/sh\nshift 6\necho \"$*\" >>{}/calls\n{script}",
            root.path().display()
        ),
    )
    .unwrap();
    fs::set_permissions(&crictl, fs::Permissions::from_mode(0o755)).unwrap();
    let tool = Tool::find(root.path(), Found::Containerd, None, &BTreeMap::new()).unwrap();
    (root, tool)
}

async fn outcome(tags: Option<&'static str>, script: &str) -> (Check, String, String) {
    let (root, tool) = machine(script);
    let (agent, heard) = agent(tags).await;
    let trial = Trial {
        tool: tool.clone(),
        agent,
        key: Some(Secret::new("open sesame")),
        registry: "docker.io".to_owned(),
        certs_d: "/c".into(),
        nonce: NONCE,
    };
    let reference = trial.reference();
    let check = pull(&reference, &tool, &trial.run().await);
    let calls = fs::read_to_string(root.path().join("calls")).unwrap_or_default();
    let heard = heard.lock().unwrap().clone();
    (check, calls, heard)
}

const SEEN: Option<&str> = Some("\"check-0123456789abcdef\"");
const UNSEEN: Option<&str> = Some("\"check-0000000000000000\"");
const IMAGE: &str = "docker.io/harbor-pilot.invalid/doctor:check-0123456789abcdef";

#[tokio::test]
async fn a_pull_that_works_is_taken_away_again() {
    let (check, calls, heard) = outcome(SEEN, "exit 0").await;
    assert_eq!(check.state, State::Ok, "{check:?}");
    assert_eq!(calls, format!("version\npull {IMAGE}\nrmi {IMAGE}\n"));
    assert!(
        heard.contains("x-harbor-pilot-key: open sesame\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn who_was_asked_decides_between_bypass_and_failure() {
    let fails = "[ \"$1\" = version ] || { echo 'no such image' >&2; exit 1; }";
    let (check, calls, _) = outcome(UNSEEN, fails).await;
    assert_eq!(check.codes(), ["pull-bypasses-agent"]);
    assert!(
        check.findings[0].what.contains("no such image"),
        "{check:?}"
    );
    assert!(!calls.contains("rmi"), "{calls}");
    let (check, _, _) = outcome(SEEN, fails).await;
    assert_eq!(check.codes(), ["pull-fails"]);
}

#[tokio::test]
async fn without_containerd_or_with_an_old_agent_nothing_is_said_about_pulls() {
    let (check, calls, _) = outcome(SEEN, "echo 'connection refused' >&2; exit 1").await;
    assert_eq!((check.state, calls.as_str()), (State::NotMade, "version\n"));
    assert!(check.said.contains("connection refused"), "{check:?}");
    let (check, calls, _) = outcome(None, "exit 0").await;
    assert_eq!((check.state, calls.as_str()), (State::NotApplicable, ""));
}
