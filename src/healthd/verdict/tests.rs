//! The table of what Harbor may answer.

use super::{Require, judge};
use http::StatusCode;

/// Harbor 2.13's list, with what is wrong in it.
fn list(overall: &str, wrong: &[(&str, &str)]) -> String {
    let names = [
        "core",
        "database",
        "jobservice",
        "portal",
        "redis",
        "registry",
        "registryctl",
        "trivy",
    ];
    let components = names.map(|name| {
        let wrong = wrong.iter().find(|(which, _)| *which == name);
        match wrong {
            None => format!(r#"{{"name":"{name}","status":"healthy"}}"#),
            Some((_, error)) => {
                format!(r#"{{"error":"{error}","name":"{name}","status":"unhealthy"}}"#)
            }
        }
    });
    format!(
        r#"{{"components":[{}],"status":"{overall}"}}"#,
        components.join(",")
    )
}

#[test]
fn the_verdict_follows_what_is_required() {
    let whole = list("healthy", &[]);
    let trivy = list("unhealthy", &[("trivy", "no route")]);
    let redis = list(
        "unhealthy",
        &[("redis", "refused"), ("portal", "status 502")],
    );
    let unknown = whole.replace(
        r#""name":"redis","status":"healthy""#,
        r#""name":"redis","status":"unknown status""#,
    );
    let without_redis = whole.replace(r#"{"name":"redis","status":"healthy"},"#, "");
    let pulls = "core,database,redis,registry";
    let rows: [(&str, &str, &str); 22] = [
        (&whole, "all", ""),
        (&whole, pulls, ""),
        (&trivy, "all", "trivy: no route"),
        (&trivy, pulls, ""),
        (&redis, "all", "portal: status 502; redis: refused"),
        (&redis, pulls, "redis: refused"),
        (&redis, "portal", "portal: status 502"),
        (&redis, "core", ""),
        (&unknown, "all", "redis: unknown status \"unknown status\""),
        (&unknown, pulls, "redis: unknown status \"unknown status\""),
        (&unknown, "core", ""),
        (&without_redis, "all", ""),
        (&without_redis, pulls, "redis: not in Harbor's answer"),
        (&whole, "chartmuseum", "chartmuseum: not in Harbor's answer"),
        (
            &list("unhealthy", &[]),
            "all",
            "Harbor's overall status is unhealthy",
        ),
        (
            r#"{"components":[{"name":"core","status":"healthy"}]}"#,
            "all",
            "Harbor's overall status is missing",
        ),
        (
            r#"{"components":[],"status":"healthy"}"#,
            "all",
            "Harbor's answer lists 0 components",
        ),
        (
            r#"{"status":"healthy"}"#,
            pulls,
            "Harbor's answer lists 0 components",
        ),
        (
            "<!doctype html><title>Harbor</title>",
            "all",
            "Harbor answered with HTML instead of JSON",
        ),
        (
            "\n <html>",
            pulls,
            "Harbor answered with HTML instead of JSON",
        ),
        (
            r#"{"components":[{"name":"core","status":"unhealthy"}],"status":"unhealthy"}"#,
            "all",
            "core: unhealthy",
        ),
        (
            r#"{"components":[{"name":"core","status":"Healthy"}],"status":"healthy"}"#,
            "all",
            "core: unknown status \"Healthy\"",
        ),
    ];
    for (body, require, reason) in rows {
        let require = Require::parse(require).unwrap();
        let verdict = judge(StatusCode::OK, body.as_bytes(), &require);
        assert_eq!(verdict.reason, reason, "{body} {require:?}");
        assert_eq!(verdict.is_healthy(), reason.is_empty());
        let word = if reason.is_empty() {
            "healthy"
        } else {
            "unhealthy"
        };
        assert_eq!(verdict.status, word);
    }
}

#[test]
fn what_cannot_be_read_is_unhealthy() {
    let whole = list("healthy", &[]);
    for end in 0..whole.len() {
        let cut = &whole.as_bytes()[..end];
        let verdict = judge(StatusCode::OK, cut, &Require::All);
        assert!(!verdict.is_healthy(), "{:?}", &whole[..end]);
    }
    let odd = [
        "",
        "null",
        "[]",
        "true",
        "{}",
        "\"healthy\"",
        "healthy",
        "{\"components\":{}}",
        "Pong",
        "{\"components\":[{\"name\":\"core\"}]}",
        "{\"components\":[null],\"status\":\"healthy\"}",
        "{\"components\":[{\"name\":\"core\",\"status\":true}],\"status\":\"healthy\"}",
    ];
    for body in odd {
        let verdict = judge(StatusCode::OK, body.as_bytes(), &Require::All);
        assert!(!verdict.is_healthy(), "{body}");
        assert!(!verdict.reason.is_empty(), "{body}");
    }
    for status in [201, 204, 301, 401, 404, 422, 429, 500, 502, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let verdict = judge(status, whole.as_bytes(), &Require::All);
        let expected = format!("Harbor answered with status {}", status.as_u16());
        assert_eq!(verdict.reason, expected);
    }
}

#[test]
fn harbors_words_are_made_safe_and_short() {
    let long = "x".repeat(5000);
    let body = list("unhealthy", &[("redis", &format!("\\u001b[31m\\n{long}"))]);
    let verdict = judge(StatusCode::OK, body.as_bytes(), &Require::All);
    assert!(
        !verdict.reason.contains(['\u{1b}', '\n']),
        "{}",
        verdict.reason
    );
    assert!(verdict.reason.len() < 300, "{}", verdict.reason.len());
    let many = vec![r#"{"name":"core","status":"healthy"}"#; 65].join(",");
    let body = format!(r#"{{"components":[{many}],"status":"healthy"}}"#);
    let verdict = judge(StatusCode::OK, body.as_bytes(), &Require::All);
    assert_eq!(verdict.reason, "Harbor's answer lists 65 components");
}

#[test]
fn required_components_are_names() {
    for good in ["all", " all ", "core", "core,database , redis"] {
        assert!(Require::parse(good).is_ok(), "{good}");
    }
    for bad in ["", ",", "core,", "Core", "core;redis", "core redis"] {
        assert!(
            Require::parse(bad).unwrap_err().contains("write all"),
            "{bad}"
        );
    }
}
