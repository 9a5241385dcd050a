//! Tables of what stands in the files.

use super::super::report::{Severity, State};
use super::*;
use crate::node::detect::Finding;
use crate::node::{hosts_toml, registries_yaml};

const AGENT: &str = "http://127.0.0.1:290";
const FIRST: &str = "server = \"https://registry-1.docker.io\"\n\n[host.\"http://127.0.0.1:290\"]\n  capabilities = [\"pull\", \"resolve\"]\n";
const LATER: &str = "server = \"https://registry-1.docker.io\"\n\n[host.\"https://mirror.example.com\"]\n  capabilities = [\"pull\"]\n\n[host.\"http://127.0.0.1:290\"]\n  capabilities = [\"pull\", \"resolve\"]\n";
const EMBEDDED: &str = "server = \"https://registry-1.docker.io\"\n\n[host.\"https://127.0.0.1:6443/v2\"]\n  capabilities = [\"pull\"]\n\n[host.\"http://127.0.0.1:290\"]\n  capabilities = [\"pull\", \"resolve\"]\n";
const ALONE: &str = "server = \"http://127.0.0.1:290\"\n\n[host]\n";
const OTHERS: &str = "server = \"https://registry-1.docker.io\"\n\n[host.\"https://mirror.example.com\"]\n  capabilities = [\"pull\"]\n";

fn file(text: Option<&str>) -> HostsFile {
    HostsFile {
        registry: "docker.io".to_owned(),
        path: "/c/docker.io/hosts.toml".into(),
        view: text.map(|text| hosts_toml::read(text).map_err(|error| error.to_string())),
        missing: Vec::new(),
    }
}

fn facts(manage: bool, text: Option<&str>) -> FilesFacts {
    FilesFacts {
        manage,
        has_tiers: true,
        detected: Detected {
            runtime: Found::K3sAgent,
            running: true,
            certs_d: Some("/c".into()),
            ..Detected::default()
        },
        agent_url: Some(AGENT.to_owned()),
        agent_alive: true,
        hosts: vec![file(text)],
        ..FilesFacts::default()
    }
}

fn unprivileged(allowed: bool) -> Option<Unprivileged> {
    Some(Unprivileged {
        agent: "127.0.0.1:5000".parse().unwrap(),
        first: 1024,
        allowed,
    })
}

#[test]
fn where_the_agent_stands() {
    let none: &[&str] = &[];
    let table = [
        (true, Some(FIRST), none),
        (true, Some(EMBEDDED), none),
        (true, Some(ALONE), none),
        (false, Some(FIRST), none),
        (true, Some(LATER), &["agent-not-first"]),
        (false, Some(LATER), &["agent-not-first"]),
        (false, Some(OTHERS), &["files-not-managed"]),
        (false, None, &["files-not-managed"]),
        (true, Some("[host"), &["hosts-unreadable"]),
    ];
    for (manage, text, due) in table {
        assert_eq!(
            files(&facts(manage, text)).codes(),
            due,
            "{manage} {text:?}"
        );
    }
    assert_eq!(
        facts(true, Some(FIRST)).registries_of_agent(),
        ["docker.io"]
    );
    assert!(facts(true, Some(LATER)).registries_of_agent().is_empty());
}

#[test]
fn what_the_daemon_and_the_plan_say() {
    let left = |waits| Left {
        path: "/c/ghcr.io/hosts.toml".into(),
        why: "is not UTF-8 text".to_owned(),
        waits,
    };
    let trouble = |kind: &str| FileTrouble {
        path: "/c/quay.io/hosts.toml".to_owned(),
        kind: kind.to_owned(),
        why: "read-only file system".to_owned(),
    };
    type Change = Box<dyn Fn(&mut FilesFacts)>;
    let change = |change: fn(&mut FilesFacts)| -> Change { Box::new(change) };
    let none: &[&str] = &[];
    let table: Vec<(&str, Change, &[&str])> = vec![
        (
            "left",
            Box::new(move |f| f.left.push(left(false))),
            &["file-left"],
        ),
        ("waits", Box::new(move |f| f.left.push(left(true))), none),
        (
            "not writable",
            Box::new(move |f| f.troubles.push(trouble("not_writable"))),
            &["files-not-writable"],
        ),
        (
            "conflict",
            Box::new(move |f| {
                f.troubles.push(trouble("conflict"));
                f.changes.push("/c/quay.io/hosts.toml".into());
            }),
            &["files-conflict"],
        ),
        (
            "a conflict that is over",
            Box::new(move |f| f.troubles.push(trouble("conflict"))),
            none,
        ),
        (
            "said by the plan",
            Box::new(move |f| f.troubles.push(trouble("left"))),
            none,
        ),
        (
            "differs",
            change(|f| f.changes.push("/c/docker.io/hosts.toml".into())),
            &["files-differ"],
        ),
        (
            "differs, no agent",
            change(|f| {
                f.changes.push("/c/docker.io/hosts.toml".into());
                f.agent_alive = false;
            }),
            none,
        ),
        (
            "not writable, so it differs",
            Box::new(move |f| {
                f.troubles.push(trouble("not_writable"));
                f.changes.push("/c/quay.io/hosts.toml".into());
            }),
            &["files-not-writable"],
        ),
        (
            "unprivileged",
            change(|f| f.unprivileged = unprivileged(false)),
            &["port-unprivileged"],
        ),
        (
            "unprivileged by hand",
            change(|f| {
                f.unprivileged = unprivileged(false);
                f.manage = false;
            }),
            &["port-unprivileged"],
        ),
        (
            "unprivileged and in no file",
            change(|f| {
                f.unprivileged = unprivileged(false);
                f.manage = false;
                f.hosts = vec![file(Some(OTHERS))];
            }),
            &["files-not-managed"],
        ),
        (
            "unprivileged and allowed",
            change(|f| f.unprivileged = unprivileged(true)),
            none,
        ),
        (
            "released",
            change(|f| f.released = true),
            &["files-released"],
        ),
        (
            "ledger",
            change(|f| f.ledger = Some("damaged".to_owned())),
            &["file-left"],
        ),
        (
            "certificate",
            change(|f| f.hosts[0].missing.push("/c/docker.io/ca.pem".into())),
            &["ca-missing"],
        ),
        (
            "restart",
            change(|f| f.detected.restart_pending = Some("has changed".to_owned())),
            &["restart-pending"],
        ),
        (
            "config_path",
            change(|f| {
                f.detected.findings.push(Finding {
                    what: "containerd does not read /c".to_owned(),
                    instead: "add …".to_owned(),
                    degraded: true,
                })
            }),
            &["config-path-not-read"],
        ),
        (
            "remark",
            change(|f| {
                f.detected.findings.push(Finding {
                    what: "x".to_owned(),
                    instead: "y".to_owned(),
                    degraded: false,
                })
            }),
            none,
        ),
    ];
    for (name, change, due) in table {
        let mut facts = facts(true, Some(FIRST));
        change(&mut facts);
        assert_eq!(files(&facts).codes(), due, "{name}");
    }
}

#[test]
fn registries_yaml_is_read_as_the_next_start_will() {
    let none: &[&str] = &[];
    let listed =
        "mirrors:\n  docker.io:\n    endpoint: [\"http://127.0.0.1:290\", \"https://x\"]\n";
    let later = "mirrors:\n  docker.io:\n    endpoint: [\"https://x\", \"http://127.0.0.1:290\"]\n";
    let rewrite = "mirrors:\n  docker.io:\n    endpoint: [\"https://x\"]\n    rewrite:\n      \"^(.*)$\": \"proxy/$1\"\n";
    let both = "mirrors:\n  docker.io:\n    endpoint: [\"http://127.0.0.1:290\"]\n    rewrite:\n      \"^(.*)$\": \"proxy/$1\"\n";
    let other = "mirrors:\n  example.com:\n    endpoint: [\"https://x\"]\n";
    let config =
        format!("{listed}configs:\n  docker.io:\n    tls: {{insecure_skip_verify: true}}\n");
    let table: [(&str, bool, bool, &[&str]); 10] = [
        (listed, false, false, none),
        (other, false, false, none),
        (later, false, false, &["restart-loses-agent"]),
        (rewrite, false, false, &["registries-rewrite"]),
        (both, false, false, &["registries-rewrite"]),
        (listed, true, false, &["default-endpoint-open"]),
        (listed, true, true, none),
        (&config, true, true, &["default-endpoint-open"]),
        (other, true, false, none),
        (
            "mirrors:\n\tx: 1\n",
            false,
            false,
            &["registries-unreadable"],
        ),
    ];
    for (text, closed, disabled, due) in table {
        let mut facts = facts(true, Some(FIRST));
        if closed {
            facts.closed.push("docker.io".to_owned());
        }
        facts.detected.disable_default_registry_endpoint = disabled;
        let read = registries_yaml::read(text).map_err(|error| error.to_string());
        facts.registries = Some(("/r.yaml".into(), read));
        assert_eq!(files(&facts).codes(), due, "{text} {closed} {disabled}");
    }
    let severity = |text: &str| {
        let mut facts = facts(true, Some(FIRST));
        facts.registries = Some(("/r.yaml".into(), Ok(registries_yaml::read(text).unwrap())));
        files(&facts).findings[0].severity
    };
    assert_eq!(
        (severity(rewrite), severity(both)),
        (Severity::Warning, Severity::Error)
    );
}

#[test]
fn a_file_that_is_left_alone_is_said_with_the_reason() {
    let mut facts = facts(true, Some(FIRST));
    facts.left.push(Left {
        path: "/c/ghcr.io/hosts.toml".into(),
        why: "containerd 2.1 ignores a file with the capability \"fly\"".to_owned(),
        waits: false,
    });
    let check = files(&facts);
    let finding = &check.findings[0];
    assert_eq!(finding.subject, "/c/ghcr.io/hosts.toml");
    assert!(
        finding.what.contains("the capability \"fly\""),
        "{finding:?}"
    );
    assert_eq!(finding.severity, Severity::Error);
}

#[test]
fn without_a_runtime_or_a_tier_there_is_nothing_to_check() {
    let mut bare = facts(true, None);
    bare.has_tiers = false;
    assert_eq!(files(&bare).state, State::NotApplicable);
    let mut bare = facts(true, None);
    bare.detected = Detected::default();
    assert_eq!(files(&bare).state, State::NotApplicable);
}

#[test]
fn one_of_those_that_are_alike_is_pulled_and_each_that_says_of_others() {
    let mut all = facts(true, Some(FIRST));
    for registry in ["ghcr.io", "quay.io", "gcr.io"] {
        all.hosts.push(HostsFile {
            registry: registry.to_owned(),
            ..file(Some(FIRST))
        });
    }
    assert_eq!(all.registries_of_agent(), ["docker.io"]);
    all.shared = vec!["quay.io".to_owned()];
    assert_eq!(all.registries_of_agent(), ["docker.io", "quay.io"]);
}

#[test]
fn files_that_are_left_without_a_tier_are_a_warning() {
    let mut left = facts(true, Some(FIRST));
    left.has_tiers = false;
    assert_eq!(files(&left).state, State::NotApplicable);
    left.ours = vec!["/c/docker.io/hosts.toml".into()];
    let check = files(&left);
    assert_eq!(check.codes(), ["files-left"]);
    assert_eq!(check.findings[0].severity, Severity::Warning);
    let command = check.findings[0].instead.lines().next();
    assert_eq!(command, Some("harbor-pilot restore"));
}

#[test]
fn a_read_only_file_system_is_said_once_with_its_mount() {
    let mut locked = facts(true, Some(FIRST));
    locked.read_only = vec![("/c/docker.io".into(), "/c".into())];
    let by_itself = files(&locked);
    assert_eq!(by_itself.codes(), ["files-not-writable"]);
    locked.troubles = vec![FileTrouble {
        path: "/c/docker.io".to_owned(),
        kind: "not_writable".to_owned(),
        why: "it cannot be written: its file system is read-only".to_owned(),
    }];
    // It would be changed, if it could.
    locked.changes = vec!["/c/docker.io/hosts.toml".into()];
    let by_agent = files(&locked);
    assert_eq!(by_agent.codes(), ["files-not-writable"]);
    for check in [by_itself, by_agent] {
        let command = check.findings[0].instead.lines().next();
        assert_eq!(command, Some("mount -o remount,rw /c"));
    }
}

#[test]
fn what_an_ordinary_user_may_not_read_could_not_be_checked() {
    let mut hidden = facts(true, Some(FIRST));
    hidden.hidden =
        vec!["what the agent has written (/var/lib/harbor-pilot cannot be read)".to_owned()];
    let check = files(&hidden);
    assert_eq!((check.state, check.codes()), (State::NotMade, vec![]));
    assert!(
        check.unchecked[0].ends_with("run doctor as root"),
        "{check:?}"
    );
    hidden.hosts = vec![file(Some("[host"))];
    assert_eq!(files(&hidden).state, State::Findings);
}
