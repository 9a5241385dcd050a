//! What the agent says and what DNS says, put together, and the order that comes of it.

use super::*;
use crate::cli::explain::tests::{Stage, address, looked_up, status};
use crate::topology::select::Why;
use serde_json::{Value, json};

const URL: &str = "https://replicas.example.com";

fn asked(stage: &Stage, view: &View) -> Vec<(String, Why)> {
    let order = stage.order(view);
    let named = order.iter().map(|candidate| {
        let endpoint = &candidate.endpoint;
        (endpoint.to_string(), candidate.why)
    });
    named.collect()
}

fn replica(endpoints: Vec<Value>) -> Status {
    status(&[("replica", URL, endpoints)])
}

#[test]
fn the_agent_is_asked_about_what_it_knows_and_dns_about_the_rest() {
    let stage = Stage::new("nginx:1.27");
    let names = |status: Option<&Status>| -> Vec<String> {
        let unknown = unknown_to(status, &stage.sources);
        unknown.iter().map(ToString::to_string).collect()
    };
    let everybody = ["replica", "spegel", "upstream(docker.io)"];
    assert_eq!(names(None), everybody);
    let known = replica(vec![address("203.0.113.7:443", &json!({}))]);
    assert_eq!(names(Some(&known)), everybody[1..]);
    assert_eq!(names(Some(&replica(Vec::new()))), everybody, "no address");
    let moved = status(&[(
        "replica",
        "https://elsewhere.example",
        vec![address("203.0.113.7:443", &json!({}))],
    )]);
    assert_eq!(names(Some(&moved)), everybody, "an older configuration");
    let upstream = status(&[(
        "docker.io",
        "https://registry-1.docker.io",
        vec![address("198.51.100.1:443", &json!({}))],
    )]);
    assert_eq!(names(Some(&upstream)), everybody[..2]);
}

#[test]
fn the_order_is_that_of_a_request() {
    let stage = Stage::new("nginx:1.27");
    let here = looked_up(
        &stage,
        &[
            ("spegel", &["192.0.2.5:5000"]),
            ("upstream", &["198.51.100.1:443"]),
        ],
    );
    let one = |change: Value| replica(vec![address("203.0.113.7:443", &change)]);
    let rows = [
        (json!({}), 0, Why::Healthy),
        (json!({"state": "probation"}), 0, Why::Probation),
        (
            json!({"state": "probation", "in_flight": 1}),
            0,
            Why::Probation,
        ),
        (json!({"in_flight": 16}), 2, Why::Loaded),
        (json!({"suspect": true}), 2, Why::Suspect),
        (
            json!({"state": "ejected", "ejected_for_seconds": 9}),
            2,
            Why::FailOpen,
        ),
    ];
    for (change, place, why) in rows {
        let view = stage.view(Some(&one(change.clone())), &here);
        let mut expected = vec![
            ("spegel/192.0.2.5:5000".to_owned(), Why::Healthy),
            ("upstream/198.51.100.1:443".to_owned(), Why::Healthy),
        ];
        expected.insert(place, ("replica/203.0.113.7:443".to_owned(), why));
        assert_eq!(asked(&stage, &view), expected, "{change}");
    }
    let full = one(json!({"in_flight": u32::MAX}));
    let view = stage.view(Some(&full), &here);
    assert_eq!(asked(&stage, &view).len(), 2, "full addresses are left out");
}

#[test]
fn without_the_agent_everything_is_as_dns_says() {
    let stage = Stage::new("nginx:1.27");
    let here = looked_up(
        &stage,
        &[("replica", &["203.0.113.7:443"]), ("upstream", &[])],
    );
    let view = stage.view(None, &here);
    assert_eq!(
        asked(&stage, &view),
        [("replica/203.0.113.7:443".to_owned(), Why::Healthy)]
    );
    let order = stage.order(&view);
    assert!(view.said_of(&order[0].endpoint).is_none());
    let upstream = view.source(&stage.sources[2].id).unwrap();
    assert_eq!(upstream.dns_error.as_deref(), Some("no such name"));
    assert!(!upstream.dns_stale, "there is nothing that could be old");
    assert!(!view.is_of_agent(&stage.sources[0].id));
}

/// Of containerd's own requests for the image; what counts for others alone is left out.
#[test]
fn what_the_agent_knows_against_an_address_puts_it_back_and_is_said() {
    let stage = Stage::new("nginx:1.27");
    let here = looked_up(&stage, &[("spegel", &["192.0.2.5:5000"])]);
    let row = |change: Value| -> ReputationStatus {
        let mut row = json!({
            "source": "replica", "upstream": false, "address": "203.0.113.7:443", "registry": null,
            "repository": null, "reference": null, "effect": "behind", "reason": "silent",
            "why": "it let a request wait", "seconds": 25, "clients": "all",
        });
        let changed = change.as_object().unwrap().clone();
        row.as_object_mut().unwrap().extend(changed);
        serde_json::from_value(row).unwrap()
    };
    let table = [
        (json!({}), true),
        (json!({"address": null}), true),
        (json!({"registry": "docker.io", "reference": "1.27"}), true),
        (json!({"repository": "library/other"}), false),
        (json!({"registry": "quay.io"}), false),
        (json!({"reference": "1.28"}), false),
        (json!({"clients": "untrusted"}), false),
        (json!({"upstream": true, "source": "docker.io"}), false),
        (json!({"effect": "something new"}), false),
    ];
    for (change, counts) in table {
        let mut said = replica(vec![address("203.0.113.7:443", &json!({}))]);
        said.reputation = vec![row(change.clone())];
        let view = stage.view(Some(&said), &here);
        let first = &asked(&stage, &view)[0].0;
        assert_eq!(first.starts_with("spegel"), counts, "{change}");
        let report = stage.report(Some(&said), &here);
        let its = report.candidates.iter().find(|one| one.source == "replica");
        let due = "stands behind the others for 25 s: it let a request wait (silent)";
        let due: &[&str] = if counts { &[due] } else { &[] };
        assert_eq!(its.unwrap().held_back, due, "{change}");
    }
}
