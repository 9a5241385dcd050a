//! The commands as the user runs them: the real binary, its exit statuses, and the shapes of its JSON.

use crate::node::{REPOSITORY, Setup, write};
use crate::support::{FakeRegistry, Image, free_address};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"));
    command.args(arguments).env_clear().env("NO_COLOR", "1");
    command
}

fn ran(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn help_is_success_and_bad_usage_is_64() {
    let (status, stdout, stderr) = ran(&["--help"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    for name in [
        "run",
        "check",
        "init",
        "status",
        "explain",
        "doctor",
        "completions",
    ] {
        assert!(stdout.contains(name), "{stdout}");
        assert_eq!(ran(&[name, "--help"]).0, 0, "{name}");
    }
    assert_eq!(
        ran(&["--version"]).1,
        format!("harbor-pilot {}\n", env!("CARGO_PKG_VERSION"))
    );
    for bad in [
        &[][..],
        &["pull"],
        &["run", "--nonsense"],
        &["explain"],
        &["completions", "x"],
    ] {
        let (status, stdout, stderr) = ran(bad);
        assert_eq!((status, stdout.as_str()), (64, ""), "{bad:?}");
        assert!(!stderr.is_empty(), "{bad:?}");
    }
}

#[test]
fn check_reports_and_init_passes_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let path = file.to_str().unwrap();
    let init = ran(&[
        "init",
        "--replica",
        "https://replicas.example.com",
        "--core",
        "https://core.example.com",
    ]);
    assert_eq!((init.0, init.2.as_str()), (0, ""));
    write(&file, &init.1);
    let (status, stdout, stderr) = ran(&["check", "--config", path]);
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains("replicas.example.com"));
    let report = json(&ran(&["check", "--json", "--config", path]).1);
    assert_eq!(report["valid"], true);
    assert!(report["settings"].as_array().unwrap().len() > 30);
    write(&file, "[server]\nlisten = 5\n[dns]\nmin_tll = 3\n");
    let (status, stdout, stderr) = ran(&["check", "--json", "--config", path]);
    assert_eq!((status, stderr.as_str()), (64, ""));
    assert_eq!(json(&stdout)["problems"].as_array().unwrap().len(), 2);
    // The environment names the file as well; a file that was named must exist.
    let output = command(&["check"])
        .env("HARBOR_PILOT_CONFIG", path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(ran(&["check", "--config", "/nonexistent.toml"]).0, 64);
    assert_eq!(
        ran(&["run", "--config", path]).0,
        64,
        "and nothing was accepted before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_asks_the_running_agent() {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let node = Setup::of(&[], &upstream).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let file = node.home.path().join("status.toml");
    write(&file, &format!("[server]\nadmin = \"{}\"\n", node.admin));
    let path = file.to_str().unwrap();
    let asked = |arguments: &[&str]| tokio::task::block_in_place(|| ran(arguments));
    let (status, stdout, stderr) = asked(&["status", "--config", path]);
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    assert!(
        stdout.contains("ready") && !stdout.contains('\u{1b}'),
        "{stdout}"
    );
    let (status, stdout, _) = asked(&["status", "--json", "--config", path]);
    assert_eq!(status, 0);
    let report = json(&stdout);
    for key in [
        "version",
        "ready",
        "generation",
        "config",
        "tiers",
        "upstreams",
        "changes",
        "traffic",
    ] {
        assert!(!report[key].is_null(), "{key} in {stdout}");
    }
    assert_eq!(report["traffic"]["requests"]["direct"], 1);
    // Nobody there.
    let gone = free_address();
    write(&file, &format!("[server]\nadmin = \"{gone}\"\n"));
    let (status, _, stderr) = asked(&["status", "--config", path]);
    assert_eq!(status, 2);
    assert!(stderr.contains(&gone.to_string()), "{stderr}");
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let (status, stdout, stderr) = ran(&["completions", shell]);
        assert_eq!((status, stderr.as_str()), (0, ""), "{shell}");
        assert!(
            stdout.contains("harbor-pilot") && stdout.contains("explain"),
            "{shell}"
        );
    }
}

/// The daemon as a process: it says where it serves, a second one cannot have its port, SIGTERM ends it with 0.
#[test]
fn run_serves_until_it_is_told_to_stop() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    write(&file, &Setup::default().text(home.path()));
    let mut first = daemon(&file);
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines();
    let serving = lines.find_map(|line| {
        let line = line.unwrap();
        let (_, at) = line.split_once("serving on ")?;
        Some(at.split_whitespace().next().unwrap().to_owned())
    });
    let at = serving.expect("it says where it serves");
    let text = Setup::default().text(home.path());
    write(&file, &text.replacen("127.0.0.1:0", &at, 1));
    let (status, stdout, stderr) = ran(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!((status, stdout.as_str()), (1, ""), "{stderr}");
    assert!(
        stderr.contains(&format!("cannot listen on {at}")),
        "{stderr}"
    );
    let told = Command::new("kill")
        .args(["-TERM", &first.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    let since = Instant::now();
    let ended = loop {
        if let Some(ended) = first.try_wait().unwrap() {
            break ended;
        }
        if since.elapsed() > Duration::from_secs(10) {
            first.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(ended.code(), Some(0));
}

fn daemon(file: &Path) -> Child {
    let mut run = command(&["run", "--config", file.to_str().unwrap()]);
    run.stderr(Stdio::piped()).stdout(Stdio::null());
    run.spawn().unwrap()
}

#[test]
fn a_taken_port_is_exit_1_with_the_port_in_the_message() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let text = Setup::default()
        .registry("http://127.0.0.1:9", "")
        .text(home.path())
        .replace(
            "listen = [\"127.0.0.1:0\"]",
            &format!("listen = [\"{address}\"]"),
        );
    write(&file, &text);
    let (status, stdout, stderr) = ran(&["run", "--config", file.to_str().unwrap()]);
    let said = stdout + &stderr;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(&address.to_string()), "{said}");
    let holder = format!("(pid {}", std::process::id());
    assert!(said.contains(&holder), "{said}");
}
