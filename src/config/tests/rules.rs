//! The rules of the reference: what is refused, what is doubtful.

mod router;
mod table;

use super::*;
use table::WRONG;

#[test]
fn each_thing_that_may_not_be_written_is_reported() {
    for (text, key, said) in WRONG.iter().chain(router::WRONG) {
        let found = problems(text);
        let one = found.iter().find(|problem| {
            problem.key == *key && (problem.what.contains(said) || problem.instead.contains(said))
        });
        assert!(
            one.is_some(),
            "{text}\nwanted {key}: {said}\nfound {found:#?}"
        );
    }
}

#[test]
fn one_mistake_is_reported_once() {
    // Mistakes from which others follow are few; all others have exactly one report.
    let several = [
        "tier.a.in_file",
        "tier.a.password_file",
        "tier.a.username",
        "tier.a.credential",
        "tier.a.projects",
        "timeouts.total",
    ];
    let all = WRONG.iter().chain(router::WRONG);
    for (text, key, _) in all.filter(|(_, key, _)| !several.contains(key)) {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}\n{key}\n{found:#?}");
    }
}

#[test]
fn what_is_doubtful_is_a_warning_and_no_error() {
    let rows = [
        (
            "[server]\nlisten = [\"0.0.0.0:290\"]\nallow_non_loopback = true".to_owned(),
            "server.listen",
            "require_header_file",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:0\"]".to_owned(),
            "server.listen",
            "fixed port",
        ),
        (
            format!("{TIER}insecure_skip_verify = true"),
            "tier.t.insecure_skip_verify",
            "ca_file",
        ),
        (
            format!("{TIER}[tier.health]\ninterval = \"5s\""),
            "tier.t.health.interval",
            "60s",
        ),
        (
            TIER.replace("t.example.com", "t.example.com/proxy-docker-io"),
            "tier.t.url",
            "before /v2",
        ),
        (
            format!("{TIER}registries = [\"docker.io\"]\n[tier.projects]\n\"ghcr.io\" = \"x\""),
            "tier.t.projects",
            "leaves out",
        ),
        (
            "[[registry]]\nname = \"docker.io\"\ndirect = false\nprivate = [\"a/*\"]".to_owned(),
            "registry.\"docker.io\".private",
            "direct = false",
        ),
        (
            "[direct]\nenabled = false\n[[registry]]\nname = \"docker.io\"\nprivate = [\"a/*\"]"
                .to_owned(),
            "registry.\"docker.io\".private",
            "direct = false",
        ),
        (
            "[[registry]]\nname = \"dokcer.io\"\nenabled = false".to_owned(),
            "registry.\"dokcer.io\".enabled",
            "nothing defines",
        ),
        (
            "[[tier]]\nname = \"t\"\nenabled = false".to_owned(),
            "tier.t.enabled",
            "nothing defines",
        ),
        ("[node]\nmanage = true".to_owned(), "node.manage", "no tier"),
        (
            "[timeouts]\ntotal = \"30s\"".to_owned(),
            "timeouts.total",
            "containerd",
        ),
        (
            "[timeouts]\ndrain = \"10s\"".to_owned(),
            "timeouts.drain",
            "TimeoutStopSec",
        ),
    ];
    for (text, key, said) in rows {
        let warnings = good(&text).warnings;
        let one = warnings.iter().find(|problem| {
            problem.key == key && (problem.what.contains(said) || problem.instead.contains(said))
        });
        assert!(
            one.is_some(),
            "{text}\nwanted {key}: {said}\nfound {warnings:#?}"
        );
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        // Probes share a session of Harbor's (harbor-facts 13.10).
        let all = format!("{warnings:?}").to_lowercase();
        assert!(!all.contains("session") && !all.contains("redis"), "{all}");
    }
}
