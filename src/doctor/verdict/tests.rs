//! Tests of doctor/verdict: what the agent says is never lost, and never said twice.

use super::*;
use crate::doctor::agent::Listener;
use crate::doctor::agent::tests::status;
use serde_json::json;

fn facts(answers: bool, change: impl FnOnce(&mut serde_json::Value)) -> AgentFacts {
    AgentFacts {
        listen: vec![Listener {
            address: "127.0.0.1:290".parse().unwrap(),
            taken: answers,
            holder: None,
            answers,
        }],
        admin: None,
        status: answers.then(|| Ok(status(change))),
    }
}

fn tier_in_probation(status: &mut serde_json::Value) {
    status["tiers"] = json!([{
        "name": "replica", "kind": "harbor", "url": "https://replica.example:8443", "ready": false,
        "reason": "203.0.113.7:443 probation, next try in 12 s", "dns_stale": false, "dns_error": null,
        "insecure_skip_verify": false, "endpoints": [],
    }]);
}

fn all() -> Vec<Check> {
    ["agent", "files", "dns", "connections"]
        .map(|name| Check::made(name, ""))
        .to_vec()
}

fn codes(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().flat_map(Check::codes).collect()
}

#[test]
fn the_agents_verdict_is_doctors() {
    let mut checks = all();
    assert_eq!(settle(&mut checks, &facts(true, |_| {})), Verdict::Ready);
    assert_eq!(settle(&mut checks, &facts(false, |_| {})), Verdict::Down);
    assert_eq!(codes(&checks), [""; 0]);
    let verdict = settle(&mut checks, &facts(true, tier_in_probation));
    assert_eq!(
        (verdict, codes(&checks)),
        (Verdict::Degraded, vec!["agent-not-ready"])
    );
    let what = &checks[0].findings[0].what;
    let said = "it says that it is degraded: tier replica: not ready: 203.0.113.7:443 probation, next try in 12 s";
    assert_eq!(what, said);
    let mut checks = all();
    let stopping = facts(true, |status| {
        status["ready"] = json!(false);
        status["not_ready"] = json!(["stopping"]);
    });
    assert_eq!(settle(&mut checks, &stopping), Verdict::Down);
    assert_eq!(codes(&checks), ["agent-not-ready"]);
}

#[test]
fn what_a_check_has_found_is_not_said_again() {
    for (check, subject) in [
        (3, "replica/203.0.113.7:443"),
        (3, "tier replica"),
        (2, "core.example, replica.example"),
    ] {
        let mut checks = all();
        checks[check].error(Code::TlsFails, subject, "x", "y");
        let verdict = settle(&mut checks, &facts(true, tier_in_probation));
        assert_eq!(
            (verdict, codes(&checks)),
            (Verdict::Degraded, vec!["tls-fails"]),
            "{subject}"
        );
    }
    let mut checks = all();
    checks[3].error(Code::TlsFails, "core/203.0.113.9:443", "x", "y");
    settle(&mut checks, &facts(true, tier_in_probation));
    assert_eq!(codes(&checks), ["agent-not-ready", "tls-fails"]);
    let mut checks = all();
    checks[1].error(Code::FilesReleased, "containerd", "x", "y");
    let released = facts(true, |status| {
        status["node_files_state"] = json!("released")
    });
    assert_eq!(settle(&mut checks, &released), Verdict::Degraded);
    assert_eq!(codes(&checks), ["files-released"]);
}

#[test]
fn that_no_source_is_left_is_said_by_the_checks_of_the_sources() {
    let lost = |status: &mut serde_json::Value| {
        status["ready"] = json!(false);
        status["not_ready"] = json!(["no tier is ready, and no registry can be asked directly"]);
    };
    let mut checks = all();
    checks[3].error(Code::TlsExpired, "core/203.0.113.9:443", "x", "y");
    let verdict = settle(&mut checks, &facts(true, lost));
    assert_eq!(
        (verdict, codes(&checks)),
        (Verdict::Down, vec!["tls-expired"])
    );
    let mut checks = all();
    settle(&mut checks, &facts(true, lost));
    assert_eq!(codes(&checks), ["agent-not-ready"]);
}

#[test]
fn an_error_is_degraded_and_a_warning_is_not() {
    let mut checks = all();
    checks[1].warn(Code::RestartPending, "k3s", "x", "y");
    assert_eq!(settle(&mut checks, &facts(true, |_| {})), Verdict::Ready);
    checks[1].error(Code::FilesDiffer, "/c/hosts.toml", "x", "y");
    assert_eq!(settle(&mut checks, &facts(true, |_| {})), Verdict::Degraded);
}
