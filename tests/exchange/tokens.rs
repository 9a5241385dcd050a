//! Tokens and passwords: Harbor, Docker Hub and GHCR as they behave, and as they behave when something is wrong.

use super::support::{FakeRegistry, Realm, Recorded, TestCa, credential};
use super::{Lab, NGINX, REDIS, assert_serves, image, manifest};
use harbor_pilot::exchange::Place;
use harbor_pilot::topology::{Failure, SourceKind};
use http::Method;
use std::time::{Duration, Instant};

fn authorizations(requests: &[Recorded]) -> Vec<&str> {
    let of = |request: &'_ Recorded| -> &'static str {
        match request.header("authorization") {
            None => "-",
            Some(value) if value.starts_with("Bearer ") => "Bearer",
            Some(value) if value.starts_with("Basic ") => "Basic",
            Some(_) => "?",
        }
    };
    requests.iter().map(of).collect()
}

async fn harbor() -> FakeRegistry {
    let builder = FakeRegistry::builder()
        .harbor()
        .account("robot$node", "s3cret");
    let builder = builder.with_image(NGINX, "1.27", &image());
    builder.with_image(REDIS, "7", &image()).start().await
}

#[tokio::test]
async fn harbor_anonymous_one_token_per_project() {
    let harbor = harbor().await;
    let lab = Lab::harbor(&harbor);
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(
        harbor.lines(),
        [
            format!("GET /v2/{NGINX}/manifests/1.27"),
            "GET /service/token".to_owned(),
            format!("GET /v2/{NGINX}/manifests/1.27"),
        ]
    );
    assert_eq!(authorizations(&harbor.requests()), ["-", "-", "Bearer"]);
    let fetch = &harbor.requests()[1];
    assert_eq!(fetch.parameter("service").unwrap(), "harbor-registry");
    assert_eq!(
        fetch.parameter("scope").unwrap(),
        format!("repository:{NGINX}:pull")
    );
    // One connection carried all of it.
    assert_eq!(harbor.connections(), 1);

    // The token opens the whole project and comes along at once.
    harbor.forget_requests();
    assert_serves(lab.get(&manifest(REDIS, "7")).await, &image());
    assert_eq!(authorizations(&harbor.requests()), ["Bearer"]);
}

#[tokio::test]
async fn what_every_request_carries_and_what_none_does() {
    let harbor = harbor().await;
    let lab = Lab::harbor(&harbor);
    lab.get(&manifest(NGINX, "1.27")).await;
    lab.get(&manifest(NGINX, "1.27")).await;
    for request in harbor.requests() {
        let agent = request.header("user-agent").unwrap();
        assert!(agent.starts_with("harbor-pilot/"), "{agent}");
        assert_eq!(
            request.header("host"),
            Some(harbor.addr.to_string().as_str())
        );
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        // Every answer set one.
        assert_eq!(request.header("cookie"), None);
        if request.path.starts_with("/v2/") {
            assert_eq!(request.header("x-request-id"), Some("3f2a"));
            let accept = request.header("accept").unwrap();
            assert!(
                accept.contains("application/vnd.oci.image.index.v1+json"),
                "{accept}"
            );
        }
    }
}

#[tokio::test]
async fn harbor_over_tls_whose_realm_lost_its_port() {
    let ca = TestCa::new();
    let builder = FakeRegistry::builder().harbor().tls(&ca, &["127.0.0.1"]);
    let harbor = builder
        .with(|it| it.realm = Realm::OwnWithoutPort)
        .with_image(NGINX, "1.27", &image())
        .start()
        .await;
    let lab = Lab::new(&harbor, SourceKind::Harbor, |source| {
        source.tls.ca = Some(ca.pem().as_bytes().into());
    });
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(harbor.token_fetches(), 1);
    assert!(lab.names.asked().is_empty());
}

#[tokio::test]
async fn harbor_with_a_foreign_realm_is_asked_itself_or_not_at_all() {
    let elsewhere = FakeRegistry::builder().harbor().start().await;
    let harbor = harbor().await;
    let realm = Realm::Url(elsewhere.url_as("auth.test") + "/service/token");
    harbor.change(|it| it.realm = realm);
    let lab = Lab::harbor(&harbor);
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());

    let realm = Realm::Url(elsewhere.url_as("auth.test") + "/steal");
    harbor.change(|it| it.realm = realm);
    let error = Lab::harbor(&harbor)
        .ask(&manifest(NGINX, "1.27"))
        .await
        .unwrap_err();
    assert_eq!((error.at, error.failure), (Place::Token, Failure::Token));
    assert_eq!(elsewhere.connections(), 0);
    assert!(lab.names.asked().is_empty());
}

#[tokio::test]
async fn harbor_robot_for_a_private_project() {
    let harbor = harbor().await;
    harbor.change(|it| it.private = true);
    let lab = Lab::new(&harbor, SourceKind::Harbor, |source| {
        source.credential = credential("robot$node", "s3cret");
    });
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(authorizations(&harbor.requests()), ["-", "Basic", "Bearer"]);

    // Where the credential may not be used, it is not: the same source, another project.
    harbor.forget_requests();
    let mut ask = manifest(NGINX, "1.27");
    ask.with_credential = false;
    let answer = lab.ask(&ask).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .denied
            .unwrap()
            .contains("401 in spite of a fresh token")
    );
    assert_eq!(authorizations(&harbor.requests()), ["-", "-", "Bearer"]);
}

/// Harbor's challenge is Basic when a request with a dead token fails (harbor-facts 2).
#[tokio::test]
async fn harbor_token_revoked_behind_our_back() {
    let harbor = harbor().await;
    harbor.change(|it| it.private = true);
    let lab = Lab::new(&harbor, SourceKind::Harbor, |source| {
        source.credential = credential("robot$node", "s3cret");
    });
    lab.get(&manifest(NGINX, "1.27")).await;
    harbor.revoke_tokens();
    harbor.forget_requests();
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(
        authorizations(&harbor.requests()),
        ["Bearer", "-", "Basic", "Bearer"]
    );
}

/// The address is at fault, not the token: it says so once in full, and then in one request (harbor-facts 13.4).
#[tokio::test]
async fn harbor_whose_database_is_down_has_failed() {
    for method in [Method::GET, Method::HEAD] {
        let harbor = harbor().await;
        let lab = Lab::harbor(&harbor);
        let mut ask = manifest(NGINX, "1.27");
        lab.get(&ask).await;
        harbor.forget_requests();
        harbor.change(|it| it.database_down = true);
        ask.method = method.clone();
        let in_full = match method {
            // The answer to HEAD has no words.
            Method::HEAD => ["Bearer", "-", "-", "Bearer", "Bearer"].as_slice(),
            _ => &["Bearer", "-", "-", "Bearer"],
        };
        for asked in [in_full, &["Bearer"], &["Bearer"]] {
            let error = lab.ask(&ask).await.unwrap_err();
            let found = (error.at, error.failure);
            assert_eq!(found, (Place::Endpoint, Failure::ServerError), "{error}");
            assert!(error.detail().contains("database is down"), "{error}");
            assert_eq!(authorizations(&harbor.requests()), asked, "{method}");
            harbor.forget_requests();
        }
        // It is back: a token of that time opens nothing, and is not taken for the project's.
        harbor.change(|it| it.database_down = false);
        assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
        assert_eq!(
            authorizations(&harbor.requests()),
            ["Bearer", "-", "-", "Bearer"]
        );
    }
}

/// The same without the error: there is no such project, and the address is healthy.
#[tokio::test]
async fn harbor_without_the_project_denies() {
    for method in [Method::GET, Method::HEAD] {
        let harbor = harbor().await;
        harbor.change(|it| it.project_missing = true);
        let lab = Lab::harbor(&harbor);
        let mut ask = manifest(NGINX, "1.27");
        ask.method = method.clone();
        let in_full = match method {
            Method::HEAD => ["-", "-", "Bearer", "Bearer"].as_slice(),
            _ => &["-", "-", "Bearer"],
        };
        for asked in [in_full, &["Bearer"]] {
            let answer = lab.ask(&ask).await.unwrap();
            assert_eq!(answer.status, 401);
            assert!(answer.denied.unwrap().contains("there is no such project"));
            assert_eq!(authorizations(&harbor.requests()), asked, "{method}");
            harbor.forget_requests();
        }
        // Somebody makes it.
        harbor.change(|it| it.project_missing = false);
        assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    }
}

/// Harbor lets a wrong secret wait for 1.5 s: once a minute, not with each request. Another secret is tried at once.
#[tokio::test]
async fn harbor_robot_with_a_wrong_secret_waits_once() {
    let harbor = harbor().await;
    harbor.change(|it| it.private = true);
    let lab = Lab::new(&harbor, SourceKind::Harbor, |source| {
        source.credential = credential("robot$node", "wr0ng");
    });
    let began = Instant::now();
    for asked in [
        ["-", "Basic", "Bearer"].as_slice(),
        &["Bearer"],
        &["Bearer"],
    ] {
        let answer = lab.ask(&manifest(NGINX, "1.27")).await.unwrap();
        assert_eq!(answer.status, 401);
        assert!(
            answer
                .denied
                .unwrap()
                .contains("401 in spite of a fresh token")
        );
        assert_eq!(authorizations(&harbor.requests()), asked);
        harbor.forget_requests();
    }
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(1500),
        "{took:?}: the fake sleeps"
    );
    assert!(took < Duration::from_millis(3000), "{took:?}");

    let lab = lab.with_credential(credential("robot$node", "s3cret"));
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(authorizations(&harbor.requests()), ["-", "Basic", "Bearer"]);
}

#[tokio::test]
async fn docker_hub_with_its_realm_on_another_host() {
    let auth = FakeRegistry::builder()
        .docker_hub()
        .account("me", "pw")
        .start()
        .await;
    let hub = FakeRegistry::builder()
        .docker_hub()
        .tokens_of(&auth)
        .with(|it| it.realm = Realm::Url(auth.url_as("auth.docker.test") + "/token"))
        .with_image("library/nginx", "1.27", &image())
        .with_image("library/redis", "7", &image())
        .start()
        .await;
    let lab = Lab::upstream(&hub);
    lab.names.set("auth.docker.test", &["127.0.0.1"]);
    assert_serves(lab.get(&manifest("library/nginx", "1.27")).await, &image());
    // A registry's tokens open one repository, whatever project the route names.
    assert_serves(lab.get(&manifest("library/redis", "7")).await, &image());
    assert_serves(lab.get(&manifest("library/nginx", "1.27")).await, &image());
    assert_eq!(auth.token_fetches(), 2);
    assert_eq!(authorizations(&auth.requests()), ["-", "-"]);
    assert_eq!(
        authorizations(&hub.requests()),
        ["-", "Bearer", "-", "Bearer", "Bearer"]
    );
    let host = auth.requests()[0].header("host").unwrap().to_owned();
    assert_eq!(host, format!("auth.docker.test:{}", auth.addr.port()));

    // The registry's own realm may have its credential; a tier's foreign realm may not.
    auth.forget_requests();
    for (kind, shown) in [(SourceKind::Upstream, "Basic"), (SourceKind::Path, "-")] {
        let lab = Lab::new(&hub, kind, |source| {
            source.credential = credential("me", "pw")
        });
        lab.names.set("auth.docker.test", &["127.0.0.1"]);
        assert_serves(lab.get(&manifest("library/nginx", "1.27")).await, &image());
        assert_eq!(authorizations(&auth.requests()), [shown], "{kind:?}");
        auth.forget_requests();
    }
}

#[tokio::test]
async fn ghcr_refuses_at_its_token_endpoint() {
    let builder = FakeRegistry::builder().ghcr();
    let ghcr = builder.with_image("o/public", "1", &image()).start().await;
    let lab = Lab::upstream(&ghcr);
    // Without expires_in.
    assert_serves(lab.get(&manifest("o/public", "1")).await, &image());

    ghcr.change(|it| it.private = true);
    ghcr.forget_requests();
    for _ in 0..5 {
        let answer = lab.ask(&manifest("o/private", "1")).await.unwrap();
        assert_eq!(answer.status, 401);
        let why = answer.denied.unwrap();
        assert!(
            why.contains("refuses a token (403 Forbidden) without a credential"),
            "{why}"
        );
    }
    // The refusal is believed for a while.
    assert_eq!(ghcr.token_fetches(), 1);
}

#[tokio::test]
async fn basic() {
    let builder = FakeRegistry::builder()
        .basic()
        .account("robot$node", "s3cret");
    let registry = builder.with_image(NGINX, "1.27", &image()).start().await;
    let with = |password: &'static str| {
        Lab::new(&registry, SourceKind::Harbor, move |source| {
            source.credential = credential("robot$node", password);
        })
    };
    let lab = with("s3cret");
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    // From then on it comes along.
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(
        authorizations(&registry.requests()),
        ["-", "Basic", "Basic"]
    );

    registry.forget_requests();
    let answer = with("wrong").ask(&manifest(NGINX, "1.27")).await.unwrap();
    assert!(
        answer
            .denied
            .unwrap()
            .contains("refuses the configured credential")
    );
    assert_eq!(authorizations(&registry.requests()), ["-", "Basic"]);

    registry.forget_requests();
    let answer = Lab::harbor(&registry)
        .ask(&manifest(NGINX, "1.27"))
        .await
        .unwrap();
    assert!(answer.denied.unwrap().contains("none is configured"));
    assert_eq!(authorizations(&registry.requests()), ["-"]);
}

#[tokio::test]
async fn fifty_at_once_fetch_one_token() {
    let harbor = harbor().await;
    harbor.change(|it| it.token_delay = Duration::from_millis(300));
    let lab = Lab::harbor(&harbor);
    let ask = manifest(NGINX, "1.27");
    let all = futures_util::future::join_all((0..50).map(|_| lab.get(&ask))).await;
    for found in all {
        assert_serves(found, &image());
    }
    assert_eq!(harbor.token_fetches(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_fetch_to_others() {
    let harbor = harbor().await;
    harbor.change(|it| it.token_delay = Duration::from_millis(500));
    let lab = Lab::harbor(&harbor);
    let ask = manifest(NGINX, "1.27");
    // Until its fetch is under way.
    let gone = async {
        while harbor.token_fetches() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = lab.get(&ask) => panic!("it was answered before it went away"),
        () = gone => {}
    }
    assert_serves(lab.get(&ask).await, &image());
    assert_eq!(harbor.token_fetches(), 1);
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    let harbor = harbor().await;
    harbor.change(|it| {
        it.token_life = Some(Duration::from_secs(1));
        it.private = true;
    });
    let lab = Lab::new(&harbor, SourceKind::Harbor, |source| {
        source.credential = credential("robot$node", "s3cret");
    });
    lab.get(&manifest(NGINX, "1.27")).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
    assert_eq!(harbor.token_fetches(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_nobody_notices() {
    let harbor = harbor().await;
    harbor.change(|it| it.token_life = Some(Duration::from_secs(8)));
    let lab = Lab::harbor(&harbor);
    lab.get(&manifest(NGINX, "1.27")).await;
    harbor.forget_requests();
    while harbor.token_fetches() == 0 {
        assert_serves(lab.get(&manifest(NGINX, "1.27")).await, &image());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let requests = harbor.requests();
    let pulls: Vec<_> = requests
        .iter()
        .filter(|r| r.path.starts_with("/v2/"))
        .cloned()
        .collect();
    assert!(
        authorizations(&pulls)
            .iter()
            .all(|shown| *shown == "Bearer")
    );
}
