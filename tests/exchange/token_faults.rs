//! Token endpoints that fail, and realms that lead where nobody may go.

use super::support::{FakeRegistry, Fault, On, Realm, Reply};
use super::{Lab, NGINX, assert_serves, blob, image, manifest};
use harbor_pilot::exchange::Place;
use harbor_pilot::topology::Failure;
use std::time::Duration;

async fn harbor() -> FakeRegistry {
    let builder = FakeRegistry::builder().harbor();
    builder.with_image(NGINX, "1.27", &image()).start().await
}

#[tokio::test]
async fn a_broken_token_endpoint_is_a_failure_of_its_own_place() {
    let harbor = harbor().await;
    let cases = [
        (Reply::new(503), Failure::Token),
        (Reply::html_502(), Failure::Token),
        (Reply::new(400), Failure::TokenRefused),
        (Reply::new(404), Failure::TokenRefused),
        (Reply::to(302, "/elsewhere"), Failure::TokenRefused),
        (Reply::new(200).body("text/html", "<html>"), Failure::Token),
        (
            Reply::json(200, r#"{"token":"","access_token":""}"#),
            Failure::Token,
        ),
        (Reply::json(200, vec![b' '; 300_000]), Failure::Token),
        (Reply::new(429), Failure::TooManyRequests),
    ];
    for (reply, failure) in cases {
        harbor.heal();
        harbor.set_fault_on(On::Tokens, Fault::Reply(reply.clone()));
        let error = Lab::harbor(&harbor)
            .ask(&manifest(NGINX, "1.27"))
            .await
            .unwrap_err();
        assert_eq!(
            (error.at, error.failure),
            (Place::Token, failure),
            "{reply:?}"
        );
        assert!(error.detail().contains("token"), "{}", error.detail());
    }
    harbor.heal();
    harbor.set_fault_on(On::Tokens, Fault::ResetInsteadOfAnswer);
    let error = Lab::harbor(&harbor)
        .ask(&manifest(NGINX, "1.27"))
        .await
        .unwrap_err();
    assert_eq!(error.at, Place::Token);
    // And it recovers at once.
    harbor.heal();
    assert_serves(
        Lab::harbor(&harbor).get(&manifest(NGINX, "1.27")).await,
        &image(),
    );
}

#[tokio::test]
async fn a_realm_on_a_forbidden_address_is_not_dialled() {
    let trap = FakeRegistry::builder().docker_hub().start().await;
    let builder = FakeRegistry::builder().docker_hub();
    let hub = builder
        .with_image("library/nginx", "1", &image())
        .start()
        .await;
    let realms = [
        "http://169.254.169.254/token",
        "http://[fe80::1]/token",
        "http://[fd00:ec2::254]/token",
        "http://[::ffff:169.254.169.254]/token",
        "http://metadata.test/token",
        "http://user:pw@auth.test/token",
        "http://0/token",
        "ftp://auth.test/token",
        "http://unknown.test/token",
        "",
    ];
    for realm in realms {
        hub.change(|it| it.realm = Realm::Url(realm.to_owned()));
        let lab = Lab::upstream(&hub);
        lab.names
            .set("metadata.test", &["169.254.169.254", "fe80::1"]);
        lab.names.set("auth.test", &["127.0.0.1"]);
        let ask = manifest("library/nginx", "1");
        let asked = lab.ask(&ask);
        // A dialled link-local address would hang until the connect's limit.
        let error = tokio::time::timeout(Duration::from_secs(2), asked)
            .await
            .expect(realm);
        let error = error.unwrap_err();
        assert_eq!(error.at, Place::Token, "{realm}: {error}");
        assert_ne!(error.failure, Failure::ConnectTimeout, "{realm}: {error}");
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn a_long_401_costs_its_connection_only() {
    let harbor = harbor().await;
    let challenge = format!(
        "Bearer realm=\"{}/service/token\",service=\"harbor-registry\"",
        harbor.base_url()
    );
    let long = Reply::new(401)
        .header("WWW-Authenticate", "Negotiate")
        .header("WWW-Authenticate", challenge);
    let long = long.body("text/html", vec![b'x'; 1 << 20]);
    harbor.set_fault_times(On::Blobs, Fault::Reply(long), 1);
    let lab = Lab::harbor(&harbor);
    let image = image();
    let layer = image.layer();
    let found = lab.get(&blob(NGINX, layer.digest.as_str())).await;
    assert_eq!(found, (200, layer.body.clone()));
    assert_eq!(harbor.connections(), 2);
}
