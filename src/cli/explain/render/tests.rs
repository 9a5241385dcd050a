//! Golden reports, for people and for programs.

use super::*;
use crate::cli::explain::report::Report;
use crate::cli::explain::tests::{Stage, address, looked_up, status};
use crate::cli::status::node::tests::found;
use crate::node::shown::Who;
use serde_json::json;

/// A tier with an ejected address, a mirror without one, an upstream that the agent has not used.
fn report() -> Report {
    let stage = Stage::new("nginx:1.27");
    let ejected = json!({
        "state": "ejected", "ejected_for_seconds": 25, "latency_ms": null,
        "reason": "connect_timeout: no answer within 2.5 s",
    });
    let status = status(&[(
        "replica",
        "https://replicas.example.com",
        vec![
            address("203.0.113.7:443", &json!({"in_flight": 3})),
            address("203.0.113.8:443", &ejected),
        ],
    )]);
    let here = looked_up(
        &stage,
        &[("spegel", &[]), ("upstream", &["198.51.100.1:443"])],
    );
    stage.report(Some(&status), &here)
}

fn answers() -> Vec<ProbeReport> {
    let no = |status: Option<u16>, ms, error: &str| ProbeReport {
        has_manifest: false,
        status,
        digest: None,
        ms,
        error: Some(error.to_owned()),
        no: None,
    };
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let found = ProbeReport {
        has_manifest: true,
        status: Some(200),
        digest: Some(digest.to_owned()),
        ms: 212,
        error: None,
        no: None,
    };
    vec![
        no(Some(404), 35, "NOT_FOUND: artifact\u{1b}[31m not found"),
        found,
        no(
            None,
            2500,
            "no connection to replica/203.0.113.8:443 within 2.5 s",
        ),
    ]
}

const ROUTE: &str = "\
docker.io/library/nginx:1.27
containerd asks the agent for /v2/library/nginx/manifests/1.27?ns=docker.io

Why
  ns=docker.io is a configured registry
  tier replica has it as proxy-docker-io/library/nginx
  tier spegel has it as library/nginx
  the direct upstream https://registry-1.docker.io comes last

Sources, in order of preference
  replica (harbor)  ready
    GET https://replicas.example.com/v2/proxy-docker-io/library/nginx/manifests/1.27
    with the configured credential; after its \"not found\" the next is asked
  spegel (mirror)
    GET http://spegel.example.com:5000/cache/v2/library/nginx/manifests/1.27?ns=docker.io
    without a credential; after its \"not found\" the next is asked
    DNS fails: no such name
  upstream (the registry itself)
    GET https://registry-1.docker.io/v2/library/nginx/manifests/1.27
    without a credential; its \"not found\" is final

Addresses, in the order in which a request would ask them now
    #  SOURCE    ADDRESS           STATE    SINCE      FIRST BYTE  NOTE
    1  replica   203.0.113.7:443   healthy  2 h 3 min  12 ms
    2  upstream  198.51.100.1:443  unknown  -          -
    3  replica   203.0.113.8:443   ejected  2 h 3 min  -           asked only if all others fail; connect_timeout: no answer within 2.5 s; tried again in 25 s
";

#[test]
fn a_route_for_people() {
    let expected = format!("{ROUTE}\nAsked first: replica at 203.0.113.7:443.\n");
    assert_eq!(render(&report(), false), expected);
}

#[test]
fn the_node_and_its_file_for_people() {
    let mut report = report();
    report.on(found(), None);
    let expected = "\
docker.io/library/nginx:1.27
containerd asks the agent for /v2/library/nginx/manifests/1.27?ns=docker.io

Node
    runtime       k3s agent, not running, containerd 2.1.5-k3s1
    data-dir      /data
    config_path   /data/certs.d
    at its start  /etc/rancher/k3s/registries.yaml
    flags         --embedded-registry
    restart pending: registries.yaml has changed

For docker.io containerd reads /data/certs.d/docker.io/hosts.toml
    1  https://127.0.0.1:6443/v2     k3s' embedded registry
    2  http://127.0.0.1:290          the agent
    3  https://core.example.com      tier core
    4  https://registry-1.docker.io  the registry itself (server)

Why
";
    let text = render(&report, false);
    assert!(text.starts_with(expected), "{text}");
    let file = report.hosts_file.as_mut().unwrap();
    file.hosts.retain(|host| host.who == Who::Other);
    (file.agent, file.then_registry) = (None, true);
    for (change, expected) in [
        ((true, true, None), ""),
        ((true, false, None), "    it is not there\n"),
        (
            (true, true, Some("bad\u{1b}[31m")),
            "    it is ignored: bad\\u{1b}[31m\n",
        ),
        (
            (false, true, None),
            "    its directory is not in config_path\n",
        ),
    ] {
        let file = report.hosts_file.as_mut().unwrap();
        let error: Option<&str>;
        (file.read, file.exists, error) = change;
        file.error = error.map(ToOwned::to_owned);
        let text = render(&report, false);
        let expected = format!(
            "hosts.toml\n{expected}    1  docker.io itself  asked by containerd by itself\n    the agent is not asked: pulls go past it\n"
        );
        assert!(text.contains(&expected), "{text}");
    }
}

/// Only root may read what the runtime read at its start; the agent has.
#[test]
fn what_the_agent_alone_knows_of_a_restart_is_taken_over() {
    let mut status = status(&[]);
    status.restart_pending = Some("says the agent".to_owned());
    let mut report = report();
    let (mut node, file) = found();
    node.restart_pending = None;
    report.on((node, file), Some(&status));
    let pending = report.node.as_ref().unwrap().restart_pending.as_deref();
    assert_eq!(pending, Some("says the agent"));
    let json = serde_json::to_value(&report).unwrap();
    let shown = serde_json::to_value(&report.node).unwrap();
    assert_eq!(json["node"], shown);
    assert_eq!(json["hosts_file"]["hosts"][1]["who"], "agent");
}

#[test]
fn answers_for_people() {
    let mut report = report();
    report.probed(answers());
    let expected = format!(
        "{ROUTE}
What they answered
    #  SOURCE    ADDRESS           STATUS  TIME    DIGEST OR ERROR
    1  replica   203.0.113.7:443   404     35 ms   NOT_FOUND: artifact\\u{{1b}}[31m not found
    2  upstream  198.51.100.1:443  200     212 ms  \
         sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    3  replica   203.0.113.8:443   none    2.5 s   no connection to replica/203.0.113.8:443 within 2.5 s

The first that has the manifest: upstream at 198.51.100.1:443.
"
    );
    assert_eq!(render(&report, false), expected);
    let colored = render(&report, true);
    assert!(colored.contains("\u{1b}[31mejected\u{1b}[0m"), "{colored}");
    assert!(colored.contains("\u{1b}[32m200\u{1b}[0m"), "{colored}");
}

#[test]
fn no_path_for_people() {
    let mut report = report();
    let mut answers = answers();
    answers[1] = answers[0].clone();
    report.probed(answers);
    assert!(!report.has_path);
    let text = render(&report, false);
    assert!(
        text.ends_with("\nNo path: nobody has the manifest.\n"),
        "{text}"
    );
    let stage = Stage::new("nginx:1.27");
    let nowhere = stage.report(None, &looked_up(&stage, &[("replica", &[])]));
    assert!(!nowhere.has_path);
    let text = render(&nowhere, false);
    assert!(text.contains("    none known\n"), "{text}");
    assert!(text.ends_with("\nNo path: no address of any source is known.\n"));
}

/// A change of these names breaks scripts.
#[test]
fn the_shape_for_programs_is_kept() {
    let mut report = report();
    report.probed(answers());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["sources"][0],
        json!({
            "name": "replica", "kind": "harbor",
            "url": "https://replicas.example.com/v2/proxy-docker-io/library/nginx/manifests/1.27",
            "authoritative": false, "credential": true, "proxy": null, "insecure_skip_verify": false,
            "ready": true, "dns_stale": false, "dns_error": null,
        })
    );
    assert_eq!(json["sources"][1]["ready"], json!(null));
    assert_eq!(json["sources"][1]["dns_error"], "no such name");
    assert_eq!(
        json["candidates"][0],
        json!({
            "position": 1, "source": "replica", "address": "203.0.113.7:443",
            "url": "https://replicas.example.com/v2/proxy-docker-io/library/nginx/manifests/1.27",
            "state": "healthy", "why": "healthy", "since_seconds": 7380, "ejected_for_seconds": null,
            "reason": null, "lowered": false, "latency_ms": 12, "in_flight": 3,
            "held_back": [],
            "probe": {
                "has_manifest": false, "status": 404, "digest": null, "ms": 35,
                "error": "NOT_FOUND: artifact\u{1b}[31m not found",
            },
        })
    );
    assert_eq!(json["candidates"][1]["state"], "unknown");
    assert_eq!(json["candidates"][2]["why"], "fail_open");
    let mut rest = json.clone();
    let object = rest.as_object_mut().unwrap();
    assert_eq!(
        object.remove("sources").unwrap().as_array().unwrap().len(),
        3
    );
    assert_eq!(
        object
            .remove("candidates")
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        object.remove("reasons").unwrap().as_array().unwrap().len(),
        4
    );
    assert_eq!(
        rest,
        json!({
            "image": "docker.io/library/nginx:1.27",
            "request": "/v2/library/nginx/manifests/1.27?ns=docker.io",
            "registry": "docker.io", "repository": "library/nginx", "reference": "1.27",
            "has_path": true, "probed": true, "router": null, "refusal": null, "node": null, "hosts_file": null,
            "stale_seconds": null,
            "agent": {"address": "127.0.0.1:291", "reachable": true, "note": null},
        })
    );
    assert!(!json.to_string().contains("never-shown"));
}
