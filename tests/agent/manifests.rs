//! Manifests and lists: complete answers, ranges, and whose word counts.

use crate::client::End;
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Reply, random_bytes};
use harbor_pilot::telemetry::{EventName, RequestOutcome};

async fn tier(image: &Image) -> FakeRegistry {
    let tier = FakeRegistry::builder().harbor();
    tier.with_image(TIERED, "1", image).start().await
}

async fn upstream(image: &Image) -> FakeRegistry {
    let upstream = FakeRegistry::builder();
    upstream.with_image(REPOSITORY, "1", image).start().await
}

/// Everything that is no token fetch and no 401.
fn manifests(registry: &FakeRegistry) -> Vec<String> {
    let mut asked = registry.requests();
    asked.retain(|request| request.path.contains("/manifests/"));
    asked.iter().map(|request| request.line()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_get_are_complete() {
    let image = Image::random(1, 2);
    let hub = FakeRegistry::builder().docker_hub();
    let hub = hub.with_image(REPOSITORY, "1", &image).start().await;
    let tier = tier(&image).await;
    let through_tier = Setup::of(&[&tier], &hub).start().await;
    let direct = Setup::of(&[], &hub).start().await;
    for (node, served_by) in [(&through_tier, &tier), (&direct, &hub)] {
        let head = node.head("manifests/1").await;
        assert_complete(&head, &image);
        assert!(head.body.is_empty());
        let got = node.pull(&format!("manifests/{}", image.top.digest)).await;
        assert_complete(&got, &image);
        assert_eq!(got.body, image.top.body);
        let label = if served_by.addr == tier.addr {
            "t1"
        } else {
            "upstream"
        };
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        assert!(
            by.starts_with(label) && by.ends_with(&served_by.addr.to_string()),
            "{by}"
        );
        assert_eq!(got.header("x-harbor-pilot-request-id").unwrap().len(), 16);
    }
    // As containerd asks (design P6), with the first 401: Harbor attaches a tag after that alone, and Docker Hub counts GETs and
    // not HEADs.
    for (registry, repository) in [(&tier, TIERED), (&hub, REPOSITORY)] {
        let by_tag = format!("HEAD /v2/{repository}/manifests/1");
        let by_digest = format!("GET /v2/{repository}/manifests/{}", image.top.digest);
        assert_eq!(manifests(registry), [by_tag.clone(), by_tag, by_digest]);
    }
}

#[track_caller]
fn assert_complete(got: &crate::client::Got, image: &Image) {
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), Some(image.top.media_type));
    let length = image.top.body.len().to_string();
    assert_eq!(got.header("content-length"), Some(length.as_str()));
    assert_eq!(
        got.header("docker-content-digest"),
        Some(image.top.digest.as_str())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_a_manifest_is_a_part() {
    let image = Image::random(2, 2);
    let upstream = upstream(&image).await;
    let node = Setup::of(&[], &upstream).start().await;
    let what = format!("manifests/{}", image.top.digest);
    let total = image.top.body.len();
    let got = node.range(&what, "bytes=10-").await;
    assert_eq!(got.status, 206);
    let range = format!("bytes 10-{}/{total}", total - 1);
    assert_eq!(got.header("content-range"), Some(range.as_str()));
    assert_eq!(got.body, image.top.body[10..]);
    let got = node.range(&what, "bytes=0-9").await;
    assert_eq!(
        (got.status, got.body.as_slice()),
        (206, &image.top.body[..10])
    );
}

/// Wrong manifests, however they are wrong, from the first tier: the next one serves, in the same request (P13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_manifest_is_never_sent() {
    let image = Image::random(3, 1);
    let other = Image::random(4, 1);
    let json = "application/vnd.oci.image.manifest.v1+json";
    let wrong: Vec<(&str, Fault)> = vec![
        (
            "another one",
            Fault::Reply(Reply::new(200).body(json, other.top.body.clone())),
        ),
        ("a bit", Fault::CorruptAt(40)),
        (
            "HTML",
            Fault::Reply(Reply::new(200).body("text/html", "<html>log in</html>")),
        ),
        (
            "error JSON",
            Fault::Reply(Reply::error(200, "UNKNOWN", "oops")),
        ),
        ("nothing", Fault::Reply(Reply::new(200).body(json, ""))),
        (
            "noise",
            Fault::Reply(Reply::new(200).body(json, random_bytes(1, 500))),
        ),
        ("half", Fault::CloseAt(100)),
        ("reset", Fault::ResetAt(100)),
        ("502", Fault::Reply(Reply::html_502())),
        (
            "too large",
            Fault::Reply(Reply::new(200).body(json, random_bytes(1, 5 << 20))),
        ),
    ];
    for (what, fault) in wrong {
        let (first, second) = (tier(&image).await, tier(&image).await);
        first.set_fault_on(On::Manifests, fault);
        let node = Setup::of(&[&first, &second], &upstream(&other).await)
            .start()
            .await;
        let got = node.pull(&format!("manifests/{}", image.top.digest)).await;
        assert_eq!((got.status, got.end), (200, End::Clean), "{what}: {got:?}");
        assert!(got.body == image.top.body, "{what}");
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::Failover, "{what}");
        assert_eq!((&*record.tier, record.attempts), ("t2", 2), "{what}");
        assert!(record.error.starts_with("t1/"), "{what}: {record:?}");
        let mismatches = usize::from(["another one", "a bit"].contains(&what));
        assert!(node.count(EventName::DigestMismatch) <= 1, "{what}");
        if what == "another one" {
            assert_eq!(node.count(EventName::DigestMismatch), mismatches, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_upstreams_word_with_links_led_back() {
    let image = Image::random(6, 1);
    let (tier, upstream) = (tier(&image).await, upstream(&image).await);
    let digest = image.top.digest.clone();
    let tags = format!("/v2/{REPOSITORY}/tags/list");
    let referrers = format!("/v2/{REPOSITORY}/referrers/{digest}");
    upstream.script(move |request| {
        let link = |target: &str| format!("<{target}?n=2&last=b>; rel=\"next\"");
        if request.path == tags {
            let reply = Reply::json(200, r#"{"name":"library/app","tags":["a","b"]}"#);
            return Some(reply.header("Link", link(&tags)));
        }
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let found = Reply::new(200).body("application/vnd.oci.image.index.v1+json", index);
        (request.path == referrers).then(|| found.header("OCI-Filters-Applied", "artifactType"))
    });
    let node = Setup::of(&[&tier], &upstream).start().await;
    let got = node
        .get(&format!(
            "/v2/{REPOSITORY}/tags/list?n=2&evil=1&ns=docker.io"
        ))
        .await;
    assert_eq!(got.text(), r#"{"name":"library/app","tags":["a","b"]}"#);
    let link = got.header("link").unwrap();
    assert_eq!(
        link,
        "</v2/library/app/tags/list?n=2&last=b&ns=docker.io>; rel=\"next\""
    );
    assert_eq!(upstream.requests()[0].query, "n=2");
    let got = node
        .pull(
            &format!("referrers/{}?artifactType=x", image.top.digest)
                .replace("?artifactType=x", ""),
        )
        .await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(
        got.header("content-type"),
        Some("application/vnd.oci.image.index.v1+json")
    );
    assert!(tier.requests().is_empty(), "{:?}", tier.lines());
    // Without upstream nobody's word counts.
    let setup = Setup::default().tier(&tier.base_url(), "");
    let node = setup
        .registry(&upstream.base_url(), "direct = false")
        .start()
        .await;
    assert_eq!(node.pull("tags/list").await.status, 404);
    assert!(tier.requests().is_empty());
}

/// The built-in `library/`, a name in the path, and the plain path lead to the same (P1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spelling_of_a_name_is_routed() {
    let image = Image::random(7, 1);
    let (tier, upstream) = (tier(&image).await, upstream(&image).await);
    let tier_name = tier.addr.to_string();
    let node = Setup::of(&[&tier], &upstream).start().await;
    let spellings = [
        "/v2/library/app/manifests/1?ns=docker.io".to_owned(),
        "/v2/library/app/manifests/1?ns=registry-1.docker.io".to_owned(),
        "/v2/library/app/manifests/1?ns=index.docker.io".to_owned(),
        "/v2/app/manifests/1".to_owned(),
        "/v2/library/app/manifests/1".to_owned(),
        "/v2/docker.io/library/app/manifests/1".to_owned(),
        "/v2/docker.io/library/app/manifests/1?ns=registry-1.docker.io".to_owned(),
        format!("/v2/{TIERED}/manifests/1?ns={tier_name}"),
    ];
    for target in &spellings {
        let got = node.get(target).await;
        assert_eq!((got.status, &got.body), (200, &image.top.body), "{target}");
        let record = node.record(&got).await;
        assert_eq!(record.registry.unwrap().as_str(), "docker.io", "{target}");
        assert_eq!(&*record.repository, REPOSITORY, "{target}");
    }
    assert!(upstream.requests().is_empty());
    serves_ping(&node).await;
}

async fn serves_ping(node: &Node) {
    let got = node.get("/v2/").await;
    assert_eq!((got.status, got.text().as_str()), (200, "{}"));
    assert_eq!(
        got.header("docker-distribution-api-version"),
        Some("registry/2.0")
    );
}
