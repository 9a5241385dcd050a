//! Where tokens come from, as a table.

use super::*;
use crate::auth::testing::{endpoint, source};

/// `host target credential`, or the refusal.
fn plan(kind: SourceKind, url: &str, realm: Option<&str>, with_credential: bool) -> String {
    let source = source(kind, url, Some(("robot$node", "s")));
    let challenge = BearerChallenge {
        realm: realm.map(str::to_owned),
        service: Some("svc name".to_owned()),
        scope: Some("repository:other/x:pull aws registry:catalog:*".to_owned()),
    };
    let wanted = TokenRequest {
        repository: "proxy-docker-io/library/nginx",
        with_credential,
        trust: Trust::Trusted,
    };
    match TokenPlan::new(
        &source,
        &endpoint(&source),
        &Hop::Endpoint,
        &challenge,
        wanted,
    ) {
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

/// Its own, and what the challenge names besides: of another repository, of another type.
const SCOPE: &str = "scope=repository:proxy-docker-io/library/nginx:pull&scope=repository:other/x:pull&scope=aws&scope=registry:catalog:%2A";

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
            format!("https://auth.example /token?{query} robot$node"),
        ),
        (
            Upstream,
            other_realm,
            false,
            format!("https://auth.example /token?{query} anonymous"),
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
    for refused in ["http://auth.example/token", "ftp://x/", "/token"] {
        let found = plan(Upstream, "https://reg.example", Some(refused), true);
        assert!(found.starts_with("refused: "), "{refused}: {found}");
    }
    assert!(plan(Upstream, "https://reg.example", None, true).starts_with("refused: "));
    // Its own realm by http, as from behind a TLS proxy: by https, at the port that was asked.
    for own in ["http://reg.example/token", "http://reg.example:8080/token"] {
        let found = plan(Upstream, "https://reg.example:8443", Some(own), true);
        assert_eq!(
            found,
            format!("endpoint /token?{query} robot$node"),
            "{own}"
        );
    }
    // Where the source itself has no TLS, neither need its realm.
    let plain = plan(
        Upstream,
        "http://reg.example",
        Some("http://auth.example/t"),
        false,
    );
    assert!(plain.starts_with("http://auth.example /t?"), "{plain}");
}

#[test]
fn our_own_scope_is_not_asked_for_twice_and_others_not_without_end() {
    let query = |scope: &str| {
        let challenge = BearerChallenge {
            scope: Some(scope.to_owned()),
            ..BearerChallenge::default()
        };
        with_query("/t", &challenge, "a/b")
    };
    let own = "/t?scope=repository:a/b:pull";
    assert_eq!(query("repository:a/b:pull"), own);
    assert_eq!(query(" repository:a/b:pull  "), own);
    let both = format!("{own}&scope=repository:real/b:pull&scope=repository:c/d:pull%2Cpush");
    assert_eq!(
        query("repository:real/b:pull repository:c/d:pull,push"),
        both
    );
    let many = "repository:x:pull ".repeat(1000);
    assert_eq!(query(&many).matches("repository:x").count(), SCOPES);
}

#[test]
fn the_host_of_a_redirect_gets_an_anonymous_token_from_where_it_says() {
    let source = source(
        SourceKind::Upstream,
        "https://reg.example",
        Some(("robot$node", "s")),
    );
    let host = NamedUrl::parse("https://other.example:5000")
        .unwrap()
        .origin;
    let plan = |realm: Option<&str>| {
        let challenge = BearerChallenge {
            realm: realm.map(str::to_owned),
            service: Some("svc".to_owned()),
            scope: Some("repository:moved/app:pull".to_owned()),
        };
        let wanted = TokenRequest {
            repository: "team/app",
            with_credential: true,
            trust: Trust::Trusted,
        };
        let at = endpoint(&source);
        TokenPlan::new(&source, &at, &Hop::Named(host.clone()), &challenge, wanted)
    };
    let query = "?service=svc&scope=repository:team/app:pull&scope=repository:moved/app:pull";
    let rows = [
        ("https://auth.example/token", "https://auth.example /token"),
        (
            "https://other.example:5000/token",
            "https://other.example:5000 /token",
        ),
        (
            "http://other.example/token",
            "https://other.example:5000 /token",
        ),
        // The source's own, as a stranger.
        ("https://reg.example/token", "https://reg.example /token"),
    ];
    for (realm, due) in rows {
        let plan = plan(Some(realm)).unwrap();
        let Hop::Named(at) = &plan.at else {
            panic!("{realm}: {:?}", plan.at);
        };
        assert_eq!(format!("{at} {}", plan.target), format!("{due}{query}"));
        assert!(plan.credential.is_none(), "{realm}");
    }
    for refused in [None, Some("http://auth.example/token"), Some("x")] {
        assert!(plan(refused).is_err(), "{refused:?}");
    }
}
