//! Where tokens come from, as a table.

use super::*;
use crate::auth::testing::{endpoint, source};

/// `host target credential`, or the refusal.
fn plan(kind: SourceKind, url: &str, realm: Option<&str>, with_credential: bool) -> String {
    let source = source(kind, url, Some(("robot$node", "s")));
    let challenge = BearerChallenge {
        realm,
        service: Some("svc name"),
        scope: Some("repository:other/x:pull aws registry:catalog:*"),
    };
    let wanted = Wanted {
        repository: "proxy-docker-io/library/nginx",
        with_credential,
        trust: Trust::Trusted,
    };
    match TokenPlan::of(&source, &endpoint(&source), challenge, wanted) {
        Ok(plan) => {
            let at = match plan.at {
                Hop::Endpoint => "endpoint".to_owned(),
                Hop::Named(url) => url.to_string(),
            };
            let who = plan
                .credential
                .map_or("anonymous".to_owned(), |c| c.username);
            format!("{at} {} {who}", plan.target)
        }
        Err(refusal) => format!("refused: {refusal}"),
    }
}

const SCOPE: &str = "scope=repository:proxy-docker-io/library/nginx:pull";

#[test]
fn harbor_is_asked_at_its_own_address() {
    let harbor = |realm| plan(SourceKind::Harbor, "https://h.example:8443", realm, true);
    let own = format!("endpoint /service/token?service=svc%20name&{SCOPE} robot$node");
    // Its own name, with the port, without it, and with the other scheme.
    assert_eq!(harbor(Some("https://h.example:8443/service/token")), own);
    assert_eq!(harbor(Some("https://h.example/service/token")), own);
    assert_eq!(harbor(Some("http://h.example/service/token")), own);
    assert_eq!(harbor(None), own);
    // A foreign host with Harbor's path: the path, never the host.
    assert_eq!(harbor(Some("https://169.254.169.254/service/token")), own);
    // Its own host with another path.
    let other = harbor(Some("https://h.example/harbor/token"));
    assert!(
        other.starts_with("endpoint /harbor/token?service="),
        "{other}"
    );
    for refused in [
        "https://evil.example/steal",
        "https://u@h.example/service/token",
        "x",
    ] {
        let answer = harbor(Some(refused));
        assert!(answer.starts_with("refused: "), "{refused}: {answer}");
    }
}

#[test]
fn other_sources_may_name_another_host() {
    use SourceKind::*;
    let query = format!("service=svc%20name&{SCOPE}");
    let other_realm = "https://auth.example/token";
    let own_realm = "https://reg.example/v2/auth";
    let cases = [
        // A registry's own realm gets its credential, a tier's foreign realm none.
        (
            Upstream,
            other_realm,
            true,
            format!("https://auth.example /token?{query}&scope=aws robot$node"),
        ),
        (
            Upstream,
            other_realm,
            false,
            format!("https://auth.example /token?{query}&scope=aws anonymous"),
        ),
        (
            Path,
            other_realm,
            true,
            format!("https://auth.example /token?{query} anonymous"),
        ),
        (
            Mirror,
            other_realm,
            true,
            format!("https://auth.example /token?{query} anonymous"),
        ),
        (
            Path,
            own_realm,
            true,
            format!("endpoint /v2/auth?{query} robot$node"),
        ),
        (
            Mirror,
            own_realm,
            false,
            format!("endpoint /v2/auth?{query} anonymous"),
        ),
        // Another port is another origin.
        (
            Path,
            "https://reg.example:444/t",
            true,
            format!("https://reg.example:444 /t?{query} anonymous"),
        ),
        // A realm with a query keeps it.
        (
            Path,
            "https://reg.example/jwt?a=b",
            true,
            format!("endpoint /jwt?a=b&{query} robot$node"),
        ),
    ];
    for (kind, realm, with_credential, expected) in cases {
        let found = plan(kind, "https://reg.example", Some(realm), with_credential);
        assert_eq!(found, expected, "{kind:?} {realm}");
    }
    for refused in [
        "http://auth.example/token",
        "http://reg.example/token",
        "ftp://x/",
        "/token",
    ] {
        let found = plan(Upstream, "https://reg.example", Some(refused), true);
        assert!(found.starts_with("refused: "), "{refused}: {found}");
    }
    assert!(plan(Upstream, "https://reg.example", None, true).starts_with("refused: "));
    // Where the source itself has no TLS, neither need its realm.
    let plain = plan(
        Upstream,
        "http://reg.example",
        Some("http://auth.example/t"),
        false,
    );
    assert!(plain.starts_with("http://auth.example /t?"), "{plain}");
}
