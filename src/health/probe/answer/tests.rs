//! Tests of health/probe/answer.

use super::*;

/// As Harbor 2.8–2.15 sends it (harbor-facts 1.1).
const ALL_HEALTHY: &str = r#"{"components":[{"name":"core","status":"healthy"},{"name":"database","status":"healthy"},{"name":"jobservice","status":"healthy"},{"name":"portal","status":"healthy"},{"name":"redis","status":"healthy"},{"name":"registry","status":"healthy"},{"name":"registryctl","status":"healthy"},{"name":"trivy","status":"healthy"}],"status":"healthy"}"#;

fn of(body: &str) -> Verdict {
    harbor(StatusCode::OK, body.as_bytes())
}

fn without(name: &str) -> String {
    let healthy = format!(r#"{{"name":"{name}","status":"healthy"}}"#);
    let unhealthy = format!(r#"{{"error":"it\nfailed","name":"{name}","status":"unhealthy"}}"#);
    let body = ALL_HEALTHY.replace(&healthy, &unhealthy);
    assert_ne!(body, ALL_HEALTHY);
    body.replace(r#"}],"status":"healthy"#, r#"}],"status":"unhealthy"#)
}

#[test]
fn only_what_a_pull_needs_counts() {
    assert_eq!(of(ALL_HEALTHY), Verdict::Passed);
    for needed in NEEDED {
        let expected = Verdict::Unhealthy(format!("{needed}: it failed"));
        assert_eq!(of(&without(needed)), expected);
    }
    for other in ["jobservice", "portal", "registryctl", "trivy"] {
        assert_eq!(of(&without(other)), Verdict::Passed, "{other}");
    }
}

#[test]
fn numbers_are_no_health() {
    let long = "9".repeat(400);
    let numbers = [
        "0",
        "-1",
        "2147483648",
        "9007199254740992",
        "9223372036854775808",
        "18446744073709551616",
        "1e308",
        "1e999",
        "NaN",
        &long,
    ];
    for number in numbers {
        for place in [
            r#"{"status":N}"#,
            r#"{"components":N,"status":"healthy"}"#,
            r#"{"components":[N]}"#,
            r#"{"components":[{"name":N,"status":"healthy"}]}"#,
            r#"{"components":[{"name":"core","status":N}]}"#,
            r#"{"components":[{"name":"core","status":"unhealthy","error":N}]}"#,
            "N",
        ] {
            let verdict = of(&place.replace('N', number));
            assert!(
                matches!(verdict, Verdict::Failed { .. }),
                "{place} {number}: {verdict:?}"
            );
        }
    }
}

#[test]
fn other_shapes() {
    let unhealthy = |text: &str| Verdict::Unhealthy(text.to_owned());
    let table = [
        // Names of older and coming versions.
        (
            r#"{"components":[{"name":"notary","status":"unhealthy"},{"name":"core","status":"healthy","x":1}]}"#,
            Verdict::Passed,
        ),
        (
            r#"{"components":[{"name":"redis","status":"unhealthy"}]}"#,
            unhealthy("redis: unhealthy"),
        ),
        (
            r#"{"components":[{"name":"core","status":"unhealthy","error":"a"},{"name":"redis","status":"unhealthy","error":"b"}]}"#,
            unhealthy("core: a; redis: b"),
        ),
        (r#"{"components":[]}"#, Verdict::Passed),
        (r#"{"status":"healthy"}"#, Verdict::Passed),
        (r#"{"status":"unhealthy"}"#, unhealthy("unhealthy")),
    ];
    for (body, expected) in table {
        assert_eq!(of(body), expected, "{body}");
    }
    for nonsense in [
        "",
        "Pong",
        "{}",
        "[]",
        "<html>",
        r#"{"components":[{"name":1}]}"#,
    ] {
        let Verdict::Failed { failure, .. } = of(nonsense) else {
            panic!("{nonsense} passed");
        };
        assert_eq!(failure, Failure::Content, "{nonsense}");
    }
    let long = format!(
        r#"{{"components":[{{"name":"core","status":"unhealthy","error":"{}"}}]}}"#,
        "é".repeat(4000)
    );
    assert!(matches!(of(&long), Verdict::Unhealthy(text) if text.chars().count() < 140));
}

#[test]
fn statuses() {
    // (status, of the health resource, of /v2/)
    let table = [
        (200, Ok(()), Ok(())),
        (401, Err(Failure::Content), Ok(())),
        (403, Err(Failure::Content), Err(Failure::Content)),
        (404, Err(Failure::Content), Err(Failure::Content)),
        (302, Err(Failure::Content), Err(Failure::Content)),
        (429, Ok(()), Ok(())),
        (500, Err(Failure::ServerError), Err(Failure::ServerError)),
        (503, Err(Failure::ServerError), Err(Failure::ServerError)),
    ];
    let short = |verdict| match verdict {
        Verdict::Passed => Ok(()),
        Verdict::Failed { failure, .. } => Err(failure),
        Verdict::Unhealthy(text) => panic!("{text}"),
    };
    for (status, of_harbor, of_v2) in table {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            short(harbor(status, ALL_HEALTHY.as_bytes())),
            of_harbor,
            "{status}"
        );
        assert_eq!(short(v2(status)), of_v2, "{status}");
    }
}
