//! Sources and token services that moved: to another registry, from http to https, to another path; and answers that are not quite
//! as the specification has them.

use super::support::{
    FakeRegistry, Fault, Framing, On, Realm, Reply, TestCa, credential, endpoint,
};
use super::{Lab, NGINX, assert_serves, image, manifest};
use harbor_pilot::exchange::Place;
use harbor_pilot::topology::{Failure, SourceKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const IMAGE: &str = "library/nginx";

/// A registry that sends every request to another one, which wants tokens of its own.
async fn moved_to_a_hub() -> (FakeRegistry, FakeRegistry, Lab) {
    let hub = FakeRegistry::builder().docker_hub().account("me", "pw");
    let hub = hub.with_image(IMAGE, "1", &image()).start().await;
    let old = FakeRegistry::builder().start().await;
    let to = hub.url_as("hub.test");
    old.script(move |request| Some(Reply::to(307, format!("{to}{}", request.path))));
    let lab = Lab::new(&old, SourceKind::Upstream, |source| {
        source.credential = credential("me", "pw");
    });
    lab.names.set("hub.test", &["127.0.0.1"]);
    (old, hub, lab)
}

#[tokio::test]
async fn another_registry_is_asked_with_an_anonymous_token_of_its_own() {
    let (_old, hub, lab) = moved_to_a_hub().await;
    let ask = manifest(IMAGE, "1");
    assert_serves(lab.get(&ask).await, &image());
    assert_serves(lab.get(&ask).await, &image());
    assert_eq!(hub.token_fetches(), 1, "{:?}", hub.lines());
    assert_eq!(hub.requests().len(), 4, "{:?}", hub.lines());
    for request in hub.requests() {
        let shown = request.header("authorization").unwrap_or_default();
        assert!(!shown.starts_with("Basic"), "{}", request.line());
    }
    // A token that has been revoked meanwhile is fetched anew.
    hub.forget_requests();
    let first = std::sync::atomic::AtomicBool::new(true);
    hub.script(move |request| {
        let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        let challenge = format!(
            "Bearer realm=\"http://{}/token\",service=\"registry.docker.io\"",
            request.header("host").unwrap()
        );
        first.then(|| Reply::new(401).header("WWW-Authenticate", challenge))
    });
    assert_serves(lab.get(&ask).await, &image());
    assert_eq!(hub.token_fetches(), 1, "{:?}", hub.lines());
}

#[tokio::test]
async fn what_an_anonymous_token_does_not_open_there_stays_closed() {
    let (_old, hub, lab) = moved_to_a_hub().await;
    hub.change(|it| it.private = true);
    let answer = lab.ask(&manifest(IMAGE, "1")).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.elsewhere);
    let why = answer.denied.unwrap();
    assert!(why.contains("in spite of a fresh token"), "{why}");
    for request in hub.requests() {
        let shown = request.header("authorization").unwrap_or_default();
        assert!(!shown.starts_with("Basic"), "{}", request.line());
    }
    // Nor does it get a password that it asks for.
    let (_old, hub, lab) = moved_to_a_hub().await;
    hub.script(|_| Some(Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")));
    let answer = lab.ask(&manifest(IMAGE, "1")).await.unwrap();
    let why = answer.denied.unwrap();
    assert!(why.contains("credentials, which stay here"), "{why}");
}

/// Its token service is the fault of whoever was led to, not of the registry that leads there.
#[tokio::test]
async fn a_token_service_elsewhere_that_fails_is_not_the_registrys_fault() {
    let (_old, hub, lab) = moved_to_a_hub().await;
    hub.set_fault_on(On::Tokens, Fault::Reply(Reply::new(503)));
    let error = lab.ask(&manifest(IMAGE, "1")).await.unwrap_err();
    assert_eq!((error.at, error.failure), (Place::Redirect, Failure::Token));
    hub.heal();
    for realm in ["http://169.254.169.254/token", "http://metadata.test/token"] {
        hub.change(|it| it.realm = Realm::Url(realm.to_owned()));
        lab.names.set("metadata.test", &["169.254.169.254"]);
        let asked = manifest("library/redis", "1");
        let asked = lab.ask(&asked);
        let result = tokio::time::timeout(Duration::from_secs(2), asked).await;
        let error = result.expect("refused at once").unwrap_err();
        assert_eq!(error.at, Place::Redirect, "{error}");
        assert!(error.detail().contains("never dialled"), "{error}");
    }
}

#[tokio::test]
async fn relative_forms_and_unencoded_characters_are_followed() {
    let registry = FakeRegistry::builder().start().await;
    let lab = Lab::upstream(&registry);
    let rows = [
        ("../blobs/x", "/v2/library/nginx/blobs/x", ""),
        ("other tag", "/v2/library/nginx/manifests/other%20tag", ""),
        ("?again=a b", "/v2/library/nginx/manifests/1", "again=a%20b"),
        (
            "/sto\u{e9}\"re/x?sig=<1>",
            "/sto%C3%A9%22re/x",
            "sig=%3C1%3E",
        ),
    ];
    for (location, path, query) in rows {
        registry.forget_requests();
        registry.script(move |request| {
            let is_first = request.path.ends_with("/1") && request.query.is_empty();
            Some(match is_first {
                true => Reply::to(302, location),
                false => Reply::json(200, "{}"),
            })
        });
        assert_eq!(lab.get(&manifest(IMAGE, "1")).await.0, 200, "{location}");
        let last = registry.requests().pop().unwrap();
        assert_eq!((last.path.as_str(), last.query.as_str()), (path, query));
    }
}

/// A server behind a TLS proxy names itself by http.
#[tokio::test]
async fn its_own_host_by_http_is_asked_by_https() {
    let ca = TestCa::new();
    let builder = FakeRegistry::builder().docker_hub().account("me", "pw");
    let builder = builder.tls(&ca, &["127.0.0.1"]);
    let hub = builder.with_image(IMAGE, "1", &image()).start().await;
    hub.change(|it| {
        it.private = true;
        it.realm = Realm::Url("http://127.0.0.1/token".to_owned());
    });
    hub.script(|request| {
        let old = request.path.strip_prefix("/v2/old/")?;
        Some(Reply::to(301, format!("http://127.0.0.1/v2/library/{old}")))
    });
    let lab = Lab::new(&hub, SourceKind::Upstream, |source| {
        source.tls.ca = Some(ca.pem().as_bytes().into());
        source.credential = credential("me", "pw");
    });
    let mut ask = manifest(IMAGE, "1");
    ask.target = "/v2/old/nginx/manifests/1".to_owned();
    assert_serves(lab.get(&ask).await, &image());
    assert!(lab.names.asked().is_empty());
}

/// A tier that is written down by http and leads to https of the same host: the same address, without its credential.
#[tokio::test]
async fn from_http_to_https_of_the_same_host() {
    let ca = TestCa::new();
    let builder = FakeRegistry::builder().harbor().account("robot$n", "pw");
    let builder = builder.tls(&ca, &["127.0.0.1"]);
    let harbor = builder.with_image(NGINX, "1", &image()).start().await;
    let plain = FakeRegistry::builder().start().await;
    let to = harbor.base_url();
    plain.script(move |request| Some(Reply::to(308, format!("{to}{}", request.path))));
    let lab = Lab::new(&plain, SourceKind::Harbor, |source| {
        source.tls.ca = Some(ca.pem().as_bytes().into());
        source.credential = credential("robot$n", "pw");
    });
    assert_serves(lab.get(&manifest(NGINX, "1")).await, &image());
    assert!(lab.names.asked().is_empty());
    harbor.change(|it| it.private = true);
    let answer = lab.ask(&manifest(NGINX, "1")).await.unwrap();
    let why = answer.denied.unwrap();
    let advice = format!("write \"{}\" in its place", harbor.base_url());
    assert!(why.contains(&advice), "{why}");
    for request in harbor.requests() {
        let shown = request.header("authorization").unwrap_or_default();
        assert!(!shown.starts_with("Basic"), "{}", request.line());
    }
}

/// A public Harbor, whose token endpoint moved; any token opens it.
async fn moved_token_service(location: &'static str) -> (FakeRegistry, Lab) {
    let builder = FakeRegistry::builder().harbor().account("robot$n", "pw");
    let harbor = builder.with_image(NGINX, "1", &image()).start().await;
    let realm = harbor.base_url() + "/service/token";
    harbor.change(|it| {
        it.private = true;
        it.realm = Realm::Url(realm);
        it.token_path = "/new/token".to_owned();
    });
    harbor.script(move |request| {
        let moved = request.path == "/service/token";
        moved.then(|| Reply::to(301, format!("{location}?{}", request.query)))
    });
    let lab = Lab::new(&harbor, SourceKind::Harbor, |source| {
        source.credential = credential("robot$n", "pw");
    });
    (harbor, lab)
}

#[tokio::test]
async fn a_token_endpoint_that_moved_within_its_origin_gets_the_credential() {
    for location in ["/new/token", "../new/token"] {
        let (harbor, lab) = moved_token_service(location).await;
        assert_serves(lab.get(&manifest(NGINX, "1")).await, &image());
        let mut requests = harbor.requests().into_iter();
        let fetch = requests.rfind(|it| it.path == "/new/token").unwrap();
        let shown = fetch.header("authorization").unwrap();
        assert!(shown.starts_with("Basic "), "{shown}");
    }
}

#[tokio::test]
async fn a_token_endpoint_that_moved_elsewhere_gets_no_credential() {
    let other = FakeRegistry::builder().harbor().start().await;
    let (harbor, lab) = moved_token_service("/new/token").await;
    let to = other.url_as("auth.test");
    harbor.script(move |request| {
        let moved = request.path == "/service/token";
        moved.then(|| Reply::to(307, format!("{to}/service/token?{}", request.query)))
    });
    harbor.change(|it| it.private = false);
    lab.names.set("auth.test", &["127.0.0.1"]);
    assert_serves(lab.get(&manifest(NGINX, "1")).await, &image());
    let fetches = other.requests();
    assert_eq!(fetches.len(), 1, "{:?}", other.lines());
    assert_eq!(fetches[0].header("authorization"), None);

    // Without end, and to where nobody may go.
    for to in ["/service/token", "http://169.254.169.254/token"] {
        let (harbor, lab) = moved_token_service("/new/token").await;
        harbor.script(move |request| {
            let moved = request.path == "/service/token";
            moved.then(|| Reply::to(307, to))
        });
        let error = lab.ask(&manifest(NGINX, "1")).await.unwrap_err();
        assert_eq!(error.at, Place::Token, "{to}: {error}");
        let asked = harbor.requests().into_iter();
        let asked = asked.filter(|it| it.path == "/service/token").count();
        assert!(asked <= 11, "{asked}");
    }
}

#[tokio::test]
async fn token_answers_that_are_not_quite_the_specifications() {
    let builder = FakeRegistry::builder().harbor();
    let harbor = builder.with_image(NGINX, "1", &image()).start().await;
    let document = br#"{"token":"t"}"#;
    let packed = {
        use std::io::Write as _;
        let level = flate2::Compression::best();
        let mut packing = flate2::write::GzEncoder::new(Vec::new(), level);
        packing.write_all(document).unwrap();
        packing.finish().unwrap()
    };
    let marked = [b"\xef\xbb\xbf", document.as_slice()].concat();
    let json = |status, body: &[u8]| Reply::json(status, body);
    for reply in [
        json(201, document),
        json(203, document),
        json(200, &packed).header("Content-Encoding", "gzip"),
        json(200, &packed),
        json(200, &marked),
        json(200, document).framing(Framing::Close),
        json(200, document).framing(Framing::Chunked),
    ] {
        harbor.heal();
        harbor.set_fault_on(On::Tokens, Fault::Reply(reply.clone()));
        let found = Lab::harbor(&harbor).get(&manifest(NGINX, "1")).await;
        assert_eq!(found.0, 200, "{reply:?}");
    }
}

/// A token service that speaks HTTP/1.0: its answer ends with its connection.
#[tokio::test]
async fn a_token_service_may_speak_http_1_0() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"token\":\"t\"}";
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let builder = FakeRegistry::builder().harbor();
    let registry = builder.with_image(NGINX, "1", &image()).start().await;
    registry.change(|it| it.realm = Realm::Url(realm));
    let lab = Lab::upstream(&registry);
    let wanted = manifest(NGINX, "1");
    let (found, ()) = tokio::join!(lab.get(&wanted), serving);
    assert_serves(found, &image());
}

#[tokio::test]
async fn a_token_service_says_for_how_long_it_wants_to_be_left_alone() {
    let builder = FakeRegistry::builder().harbor();
    let harbor = builder.with_image(NGINX, "1", &image()).start().await;
    for (reply, wait) in [
        (Reply::new(429).header("Retry-After", "7"), Some(7)),
        (Reply::new(429), None),
        (Reply::new(503).header("Retry-After", "7"), None),
    ] {
        harbor.heal();
        harbor.set_fault_on(On::Tokens, Fault::Reply(reply));
        let lab = Lab::harbor(&harbor);
        let error = lab.ask(&manifest(NGINX, "1")).await.unwrap_err();
        assert_eq!(error.retry_after.map(|wait| wait.as_secs()), wait);
    }
}

/// A front that renames repositories, whose challenge names the real one.
#[tokio::test]
async fn the_scope_of_another_repository_is_asked_for_too() {
    let registry = FakeRegistry::builder().start().await;
    let realm = registry.base_url() + "/token";
    let body = image().top.body.clone();
    registry.script(move |request| {
        if request.path == "/token" {
            let ours = request.query.contains("scope=repository:library/nginx:pull");
            let real = request.query.contains("scope=repository:real/nginx:pull");
            let token = if ours && real { "good" } else { "bad" };
            return Some(Reply::json(200, format!("{{\"token\":\"{token}\"}}")));
        }
        if request.header("authorization") == Some("Bearer good") {
            return Some(Reply::json(200, body.clone()));
        }
        let challenge = format!(
            "Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:real/nginx:pull repository:base:pull\""
        );
        Some(Reply::new(401).header("WWW-Authenticate", challenge))
    });
    let lab = Lab::upstream(&registry);
    assert_serves(lab.get(&manifest(IMAGE, "1")).await, &image());
    assert_eq!(lab.endpoint, endpoint(&lab.source, &registry));
}
