//! Redirects and connections: what is followed, with what, and what is not.

use super::support::{FakeRegistry, Fault, On, Reply, TestCa, credential};
use super::{Lab, NGINX, assert_serves, blob, image, manifest};
use harbor_pilot::exchange::{Error, Place};
use harbor_pilot::topology::{Failure, SourceKind};
use std::time::Duration;

/// A Docker Hub whose blobs lie at a CDN of another origin.
async fn hub_and_cdn() -> (FakeRegistry, FakeRegistry) {
    let cdn = FakeRegistry::builder().cdn();
    let cdn = cdn.with_image("x", "1", &image()).start().await;
    let hub = FakeRegistry::builder()
        .docker_hub()
        .with(|it| it.blobs_redirect_to = Some(cdn.url_as("cdn.test")))
        .with_image("library/nginx", "1", &image())
        .start()
        .await;
    (hub, cdn)
}

fn lab(hub: &FakeRegistry) -> Lab {
    let lab = Lab::upstream(hub);
    lab.names.set("cdn.test", &["127.0.0.1"]);
    lab
}

#[tokio::test]
async fn to_another_origin_without_the_credential_and_with_the_range() {
    let (hub, cdn) = hub_and_cdn().await;
    let lab = lab(&hub);
    let image = image();
    let layer = image.layer();
    let mut ask = blob("library/nginx", layer.digest.as_str());
    assert_eq!(lab.get(&ask).await, (200, layer.body.clone()));

    ask.range = Some("bytes=1000-".to_owned());
    assert_eq!(lab.get(&ask).await, (206, layer.body[1000..].to_vec()));
    let at_cdn = cdn.requests();
    assert_eq!(at_cdn.len(), 2);
    for request in &at_cdn {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(
            request.header("host"),
            Some(format!("cdn.test:{}", cdn.addr.port()).as_str())
        );
        assert_eq!(request.header("x-request-id"), Some("3f2a"));
    }
    assert_eq!(at_cdn[1].header("range"), Some("bytes=1000-"));
    // Both connections were used again.
    assert_eq!((hub.connections(), cdn.connections()), (1, 1));
}

#[tokio::test]
async fn within_the_origin_with_the_credential_at_the_same_address() {
    let harbor = FakeRegistry::builder().harbor();
    let harbor = harbor.with_image(NGINX, "1", &image()).start().await;
    let lab = Lab::harbor(&harbor);
    // Harbor inserts library/ by a path-only 301.
    let found = lab.get(&manifest("proxy-docker-io/nginx", "1")).await;
    assert_serves(found, &image());
    let requests = harbor.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.path, format!("/v2/{NGINX}/manifests/1"));
    assert!(last.header("authorization").unwrap().starts_with("Bearer "));
    assert!(lab.names.asked().is_empty());
    assert_eq!(harbor.connections(), 1);
}

#[tokio::test]
async fn back_home_from_elsewhere_without_the_credential() {
    let (hub, cdn) = hub_and_cdn().await;
    let back = hub.base_url() + "/v2/library/nginx/manifests/1";
    cdn.script(move |_| Some(Reply::to(302, back.clone())));
    hub.change(|it| {
        it.private = true;
        it.credential = Some(("me".to_owned(), "pw".to_owned()));
    });
    let lab = Lab::new(&hub, SourceKind::Upstream, |source| {
        source.credential = credential("me", "pw");
    });
    lab.names.set("cdn.test", &["127.0.0.1"]);
    let answer = lab
        .ask(&blob("library/nginx", image().layer().digest.as_str()))
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.denied.unwrap().contains("redirect"));
    assert!(answer.elsewhere, "it is not the source that says so");
    // An anonymous token is all that it gets.
    let requests = hub.requests();
    let fetches: Vec<_> = requests.iter().filter(|it| it.path == "/token").collect();
    assert_eq!(fetches.len(), 2, "{:?}", hub.lines());
    assert!(fetches[0].header("authorization").is_some());
    assert_eq!(fetches[1].header("authorization"), None);
    let last = requests.last().unwrap().header("authorization").unwrap();
    assert!(last.starts_with("Bearer fake.anonymous."), "{last}");
}

#[tokio::test]
async fn a_signed_url_that_ran_out_is_asked_for_once_more() {
    let (hub, cdn) = hub_and_cdn().await;
    let image = image();
    let layer = image.layer();
    cdn.change(|it| it.signatures_from = 1);
    let url = format!("{}/cdn/{}", cdn.url_as("cdn.test"), layer.digest);
    let mut signatures = 0..;
    hub.script(move |request| {
        let authorized = request.header("authorization").is_some();
        let signature =
            (authorized && request.path.contains("/blobs/")).then(|| signatures.next())??;
        Some(Reply::to(307, format!("{url}?X-Signature={signature}")))
    });
    let ask = blob("library/nginx", layer.digest.as_str());
    assert_eq!(lab(&hub).get(&ask).await, (200, layer.body.clone()));
    assert_eq!(cdn.requests().len(), 2);

    // Once, not for ever.
    cdn.change(|it| it.signatures_from = 1000);
    cdn.forget_requests();
    assert_eq!(lab(&hub).get(&ask).await.0, 403);
    assert_eq!(cdn.requests().len(), 2);
}

async fn refusal(location: &str, tls: Option<&TestCa>) -> (Error, FakeRegistry, Lab) {
    let mut builder = FakeRegistry::builder();
    if let Some(ca) = tls {
        builder = builder.tls(ca, &["127.0.0.1"]);
    }
    let registry = builder.start().await;
    let location = location.to_owned();
    registry.script(move |_| Some(Reply::to(307, location.clone())));
    let lab = Lab::new(&registry, SourceKind::Upstream, |source| {
        source.tls.ca = tls.map(|ca| ca.pem().as_bytes().into());
    });
    lab.names.set("cdn.test", &["127.0.0.1"]);
    lab.names.set("metadata.test", &["169.254.169.254"]);
    let ask = manifest("library/nginx", "1");
    let asked = lab.ask(&ask);
    let result = tokio::time::timeout(Duration::from_secs(2), asked).await;
    let error = result.expect("refused at once").unwrap_err();
    (error, registry, lab)
}

#[tokio::test]
async fn nowhere_forbidden_and_nothing_is_said_of_the_query() {
    for location in [
        "http://169.254.169.254/latest?sig=secret",
        "http://[::ffff:169.254.169.254]/?sig=secret",
        "http://[fe80::1]/?sig=secret",
        "http://0.0.0.0/?sig=secret",
        "http://metadata.test/?sig=secret",
        "http://unknown.test/?sig=secret",
        "http://127.1/?sig=secret",
        "http://u:p@cdn.test/?sig=secret",
        "file:///etc/passwd?sig=secret",
        "http://\u{e9}.test/?sig=secret",
    ] {
        let (error, registry, _) = refusal(location, None).await;
        assert_eq!(error.at, Place::Redirect, "{location}: {error}");
        let failure = match location.contains("unknown.test") {
            true => Failure::NoAddress,
            false => Failure::Refused,
        };
        assert_eq!(error.failure, failure, "{location}: {error}");
        assert!(!error.detail().contains("secret"), "{error}");
        assert_eq!(registry.requests().len(), 1, "{location}");
    }
}

#[tokio::test]
async fn never_from_https_to_http() {
    let ca = TestCa::new();
    let cdn = FakeRegistry::builder().cdn().start().await;
    let (error, _, lab) = refusal(&(cdn.url_as("cdn.test") + "/x?sig=secret"), Some(&ca)).await;
    assert_eq!(error.at, Place::Redirect);
    assert!(error.detail().contains("from https to http"), "{error}");
    assert_eq!(cdn.connections(), 0);
    assert!(lab.names.asked().is_empty());
}

#[tokio::test]
async fn a_loop_ends() {
    let (error, registry, _) = refusal("/v2/library/nginx/manifests/1", None).await;
    assert_eq!(error.at, Place::Redirect);
    assert!(error.detail().contains("more than 10"), "{error}");
    assert_eq!(registry.requests().len(), 11);
}

#[tokio::test]
async fn a_cdn_that_cannot_be_reached_is_not_the_registrys_fault() {
    let (hub, mut cdn) = hub_and_cdn().await;
    cdn.refuse().await;
    let ask = blob("library/nginx", image().layer().digest.as_str());
    let error = lab(&hub).ask(&ask).await.unwrap_err();
    assert_eq!(
        (error.at, error.failure),
        (Place::Redirect, Failure::Refused),
        "{error}"
    );
    assert!(!error.detail().contains("X-Signature"), "{error}");
    cdn.listen_again().await;
    assert_eq!(lab(&hub).get(&ask).await.0, 200);
}

#[tokio::test]
async fn what_is_no_redirect_is_an_answer() {
    let registry = FakeRegistry::builder().start().await;
    let lab = Lab::upstream(&registry);
    for status in [300, 302, 304, 307, 403, 404, 429, 500, 503] {
        registry.set_fault_times(On::All, Fault::Reply(Reply::new(status)), 1);
        let answer = lab.ask(&manifest("library/nginx", "1")).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.denied, None);
        assert!(!answer.elsewhere);
    }
}

#[tokio::test]
async fn a_kept_alive_connection_that_died_costs_nothing() {
    let builder = FakeRegistry::builder();
    let registry = builder
        .with_image("library/nginx", "1", &image())
        .start()
        .await;
    let lab = Lab::upstream(&registry);
    let ask = manifest("library/nginx", "1");
    assert_serves(lab.get(&ask).await, &image());
    registry.set_fault(Fault::CloseWhenReused);
    assert_serves(lab.get(&ask).await, &image());
    assert_eq!(registry.connections(), 2);

    // A fresh one that dies is a failure.
    registry.heal();
    registry.set_fault(Fault::ResetInsteadOfAnswer);
    let error = lab.ask(&ask).await.unwrap_err();
    assert_eq!(
        (error.at, error.failure),
        (Place::Endpoint, Failure::Reset),
        "{error}"
    );
}
