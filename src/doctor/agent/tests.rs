//! Tables of ports and of what the agent says.

use super::super::report::State;
use super::*;
use serde_json::json;

fn holder(name: &str) -> Option<Holder> {
    Some(Holder {
        pid: 7,
        name: name.to_owned(),
        unit: None,
    })
}

fn facts(taken: bool, holder: Option<Holder>, answers: bool) -> AgentFacts {
    AgentFacts {
        listen: vec![Listener {
            address: "127.0.0.1:290".parse().unwrap(),
            taken,
            holder,
            answers,
        }],
        admin: Some("127.0.0.1:291".parse().unwrap()),
        status: Some(Err("no agent answers\nIs it running?".to_owned())),
    }
}

pub(in crate::doctor) fn status(change: impl FnOnce(&mut serde_json::Value)) -> Status {
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"), "uptime_seconds": 1, "ready": true, "not_ready": [], "generation": 1,
        "config": {
            "generation": 1, "file": "/etc/harbor-pilot/config.toml", "loaded_at": "2026-11-21T01:31:08Z",
            "last_reload_ok": true, "error": null, "from_last_accepted": false,
        },
        "tiers": [], "upstreams": [], "changes": [], "traffic": {"requests": {}, "relayed_bytes": {}},
        "node_files": "not managed", "log_dropped": 0, "task_panics": 0,
    });
    change(&mut status);
    serde_json::from_value(status).unwrap()
}

#[test]
fn whoever_holds_the_port_is_named() {
    let none: &[&str] = &[];
    let table = [
        (
            facts(true, holder("harbor-pilot"), true),
            &["admin-unreachable"][..],
        ),
        (facts(false, None, false), &["agent-not-running"]),
        (facts(true, holder("harbor-pilot"), false), &["agent-hangs"]),
        (facts(true, holder("nginx"), false), &["port-stolen"]),
        (facts(true, None, false), &["port-stolen"]),
    ];
    for (facts, due) in table {
        let check = agent(&facts);
        assert_eq!(check.codes(), due, "{facts:?}");
        // A unit that has just failed five times is started only after this.
        let forgiven = check.findings[0]
            .instead
            .contains("systemctl reset-failed harbor-pilot; systemctl restart harbor-pilot");
        assert_eq!(forgiven, due != ["admin-unreachable"], "{check:?}");
    }
    let mut healthy = facts(true, holder("harbor-pilot"), true);
    healthy.status = Some(Ok(status(|_| {})));
    let check = agent(&healthy);
    assert_eq!((check.codes(), check.state), (none.to_vec(), State::Ok));
    assert!(
        check.said.contains("127.0.0.1:290, harbor-pilot (pid 7)"),
        "{}",
        check.said
    );
    healthy.status = None;
    assert!(agent(&healthy).codes().is_empty(), "admin may be off");
    let stolen = agent(&facts(true, holder("nginx"), false));
    assert!(
        stolen.findings[0].what.contains("nginx (pid 7)"),
        "{stolen:?}"
    );
    assert_eq!(agent(&AgentFacts::default()).state, State::NotApplicable);
}

#[test]
fn an_agent_of_another_version_is_noted() {
    let mut healthy = facts(true, None, true);
    healthy.status = Some(Ok(status(|status| status["version"] = json!("0.0.1"))));
    let check = agent(&healthy);
    assert!(check.codes().is_empty(), "{check:?}");
    assert!(check.notes[0].contains("0.0.1"), "{check:?}");
}

#[test]
fn the_files_and_what_runs_are_compared() {
    let file = "/etc/harbor-pilot/config.toml";
    let problem = Problem {
        file: Some(file.into()),
        line: Some(3),
        key: "tier".to_owned(),
        what: "is a text".to_owned(),
        instead: "write a table".to_owned(),
    };
    let of = |problems: Vec<Problem>, status: Option<&Status>| {
        let facts = ConfigFacts {
            file: file.to_owned(),
            problems,
            ..ConfigFacts::default()
        };
        configuration(&facts, status)
    };
    assert!(of(vec![], None).codes().is_empty());
    assert!(of(vec![], Some(&status(|_| {}))).codes().is_empty());
    let bad = of(vec![problem.clone(), problem.clone()], None);
    assert_eq!(bad.codes(), ["config-invalid"]);
    assert!(bad.findings[0].what.contains("and 1 more"), "{bad:?}");
    let older = status(|status| {
        status["config"]["last_reload_ok"] = json!(false);
        status["config"]["error"] = json!("line 3\nline 4");
    });
    assert_eq!(of(vec![], Some(&older)).codes(), ["config-not-in-force"]);
    let other = status(|status| status["config"]["file"] = json!("/elsewhere.toml"));
    assert_eq!(of(vec![], Some(&other)).codes(), ["config-not-in-force"]);
    // What an ordinary user may not read is no fault.
    let secret = Problem {
        what: "cannot read /etc/harbor-pilot/robot.secret: Permission denied (os error 13)"
            .to_owned(),
        ..problem.clone()
    };
    let by = |unprivileged, problems: Vec<Problem>| {
        let facts = ConfigFacts {
            problems,
            unprivileged,
            ..ConfigFacts::default()
        };
        configuration(&facts, None).state
    };
    assert_eq!(by(true, vec![secret.clone()]), State::NotMade);
    assert_eq!(by(false, vec![secret.clone()]), State::Findings);
    assert_eq!(by(true, vec![secret, problem]), State::Findings);
}
