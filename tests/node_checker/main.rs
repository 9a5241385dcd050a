//! What we write, read by the parsers of containerd and k3s themselves: go-toml v1 and v2, gopkg.in/yaml.v2.
//!
//! Needs a Go toolchain (`make deps` brings Debian's) and once the Go module proxy, so a plain `cargo test` leaves
//! it out: `cargo test --test node_checker`. Without Go it fails; it is never skipped.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's own helpers end the test"
)]

#[path = "../node_files/corpus.rs"]
mod corpus;

use corpus::{Case, Kind, Settings};
use harbor_pilot::config::{Config, Existing};
use harbor_pilot::node::desired::{Situation, desired};
use harbor_pilot::node::{hosts_toml, registries_yaml};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The checker, built once.
fn checker() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node_checker");
        let built = Command::new("go")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_checker"))
            .args(["build", "-mod=readonly", "-o"])
            .arg(&program)
            .arg(".")
            .output()
            .expect("there is no go; `make deps` installs Debian's golang-go");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "go build failed: {said}");
        program
    })
}

/// What the Go parsers see in texts, in their order.
fn seen(texts: &[(&str, String)]) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |at: usize, extension: &str| directory.path().join(format!("{at}.{extension}"));
    let mut command = Command::new(checker());
    for (at, (extension, text)) in texts.iter().enumerate() {
        fs::write(path(at, extension), text).expect("the directory is writable");
        command.arg(path(at, extension));
    }
    let output = command.output().expect("the checker starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).expect("the checker prints JSON");
    let seen: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("the checker prints JSON"))
        .collect();
    assert_eq!(seen.len(), texts.len());
    seen
}

fn settings() -> Vec<Settings> {
    let default = Settings::default();
    vec![
        default,
        Settings {
            tiers_whole: true,
            ..default
        },
        Settings {
            agent_alive: false,
            ..default
        },
        Settings {
            agent_alive: false,
            tiers_whole: true,
            ..default
        },
        Settings {
            closed: true,
            ..default
        },
        Settings {
            closed: true,
            tiers_whole: true,
            ..default
        },
        Settings {
            closed: true,
            agent_alive: false,
            tiers_whole: true,
            ..default
        },
        Settings {
            existing: Existing::Keep,
            tiers_whole: true,
            ..default
        },
    ]
}

/// Every case in its own settings and all others, as far as it is not refused.
fn applied(kind: Kind) -> Vec<(Case, String)> {
    let mut applied = Vec::new();
    for case in corpus::all().into_iter().filter(|case| case.kind == kind) {
        let own = [case.settings].into_iter();
        for settings in own.chain(settings().into_iter().filter(|_| case.name != "huge")) {
            let case = case.with(settings);
            if let Ok(text) = case.apply(&case.text) {
                applied.push((case, text));
            }
        }
    }
    applied
}

fn strings(value: &Value) -> Vec<&str> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_str).collect()
}

/// One host of the checker's, ours, and the table as it is written.
fn same_host(seen: &Value, ours: &hosts_toml::SeenHost, table: &toml::Value, what: &str) {
    assert_eq!(seen["url"], ours.url.as_str(), "{what}");
    assert_eq!(strings(&seen["capabilities"]), ours.capabilities, "{what}");
    assert_eq!(seen["override_path"], ours.override_path, "{what}");
    let skips = table.get("skip_verify").and_then(toml::Value::as_bool);
    assert_eq!(seen["skip_verify"], skips.unwrap_or_default(), "{what}");
    let timeout = table.get("dial_timeout").and_then(toml::Value::as_str);
    assert_eq!(seen["dial_timeout"], timeout.unwrap_or_default(), "{what}");
    let ca: Vec<PathBuf> = strings(&seen["ca"]).iter().map(PathBuf::from).collect();
    assert_eq!(ca, ours.ca, "{what}");
    let headers = table.get("header").and_then(toml::Value::as_table);
    let mut headers: Vec<&str> = headers
        .into_iter()
        .flat_map(toml::Table::keys)
        .map(String::as_str)
        .collect();
    headers.sort_unstable();
    assert_eq!(strings(&seen["headers"]), headers, "{what}");
}

fn same_file(seen: &Value, text: &str, what: &str) {
    let ours = hosts_toml::read(text).expect("it was read back already");
    let root: toml::Value = toml::from_str(text).expect("it was read back already");
    for generation in ["containerd1", "containerd2"] {
        let seen = &seen[generation];
        assert_eq!(seen["error"], Value::Null, "{what} {generation}\n{text}");
        let hosts = seen["hosts"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        assert_eq!(hosts.len(), ours.hosts.len(), "{what} {generation}");
        for (seen, ours) in hosts.iter().zip(&ours.hosts) {
            same_host(seen, ours, &root["host"][&ours.url], what);
        }
        match &ours.server {
            Some(server) => same_host(&seen["server"], server, &root, what),
            // As in the user's own file.
            None => assert_eq!(seen["server"]["url"], "", "{what} {generation}"),
        }
    }
}

#[test]
fn both_generations_of_containerd_read_what_we_write() {
    let applied = applied(Kind::HostsToml);
    assert!(applied.len() > 150, "{}", applied.len());
    let texts: Vec<_> = applied
        .iter()
        .map(|(_, text)| ("toml", text.clone()))
        .collect();
    for ((case, text), seen) in applied.iter().zip(seen(&texts)) {
        same_file(&seen, text, &case.name);
    }
}

#[test]
fn both_generations_read_every_key_that_we_write() {
    let config = r#"
[server]
listen = ["127.0.0.1:290"]
[[tier]]
name = "core"
url = "https://harbor.example.com:8443"
project = "a/{registry}"
in_file = true
insecure_skip_verify = true
[[tier]]
name = "plain"
kind = "mirror"
url = "http://mirror.example.com"
registries = ["*"]
in_file = true
[[registry]]
name = "quay.io"
direct = false
"#;
    let mut config = Config::from_toml(config).expect("a valid configuration");
    let key = harbor_pilot::config::Secret::new("a \"quoted\" \\ key");
    config.server.require_header = Some(key);
    let whole: BTreeSet<_> = ["core".into(), "plain".into()].into();
    let mut texts = Vec::new();
    for agent_alive in [true, false] {
        let situation = Situation {
            agent: corpus::AGENT,
            agent_alive,
            whole_tiers: &whole,
        };
        for host in desired(&config, &situation) {
            let merged = hosts_toml::merge(None, &host, Existing::Adopt);
            texts.push(("toml", merged.expect("a new file").text));
        }
    }
    for ((_, text), seen) in texts.iter().zip(seen(&texts)) {
        same_file(&seen, text, "every key");
    }
    let first = &texts[0].1;
    for word in [
        "dial_timeout = \"2s\"",
        "skip_verify = true",
        "[host.\"http://127.0.0.1:290\".header]",
    ] {
        assert!(first.contains(word), "{word} is not in\n{first}");
    }
}

#[test]
fn k3s_reads_what_we_write() {
    let applied = applied(Kind::RegistriesYaml);
    assert!(applied.len() > 200, "{}", applied.len());
    let texts: Vec<_> = applied
        .iter()
        .map(|(_, text)| ("yaml", text.clone()))
        .collect();
    for ((case, text), seen) in applied.iter().zip(seen(&texts)) {
        let seen = &seen["yaml"];
        assert_eq!(seen["error"], Value::Null, "{}\n{text}", case.name);
        let ours = registries_yaml::read(text).expect("it was read back already");
        let mirrors = seen["mirrors"]
            .as_object()
            .expect("the checker prints a map");
        assert_eq!(mirrors.len(), ours.mirrors.len(), "{}", case.name);
        for (name, mirror) in &ours.mirrors {
            // An alias is k3s's to follow: such entries are not touched.
            if !text.contains(&format!("{name}: *")) {
                assert_eq!(
                    strings(&mirrors[name]),
                    mirror.endpoints,
                    "{} {name}",
                    case.name
                );
            }
        }
    }
}

/// What we call unreadable is, and what is unreadable we refuse.
#[test]
fn what_we_refuse_as_unreadable_they_cannot_read() {
    let mut count = 0;
    for case in corpus::all() {
        let (unreadable, refused, extension, reader) = match case.kind {
            Kind::HostsToml => {
                let read = hosts_toml::read(&case.text);
                let unreadable = matches!(read, Err(hosts_toml::Refused::Unreadable(_)));
                // A file of root keys alone fails in containerd 1 only, and gets a `[host]`.
                (unreadable, read.is_err(), "toml", "containerd2")
            }
            Kind::RegistriesYaml => {
                let read = registries_yaml::read(&case.text);
                let unreadable = matches!(read, Err(registries_yaml::Refused::Unreadable(_)));
                (unreadable, read.is_err(), "yaml", "yaml")
            }
        };
        let seen = seen(&[(extension, case.text.clone())]);
        let fails = seen[0][reader]["error"].is_string();
        assert!(fails || !unreadable, "{} can be read", case.name);
        assert!(refused || !fails, "{} cannot be read", case.name);
        count += usize::from(unreadable);
    }
    assert!(count >= 6, "{count}");
}
