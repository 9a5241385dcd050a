//! Sources that say no, and what containerd hears of it (design P3, P5).

use crate::node::{Node, REPOSITORY, Setup, TIERED, target};
use crate::support::{FakeRegistry, Fault, Image, On, RateLimit, Realm, Reply};
use harbor_pilot::telemetry::{EventName, RequestOutcome};

async fn tier(image: &Image) -> FakeRegistry {
    let tier = FakeRegistry::builder().harbor();
    tier.with_image(TIERED, "1", image).start().await
}

async fn upstream(image: &Image) -> FakeRegistry {
    let upstream = FakeRegistry::builder();
    upstream.with_image(REPOSITORY, "1", image).start().await
}

/// Tier 1 answers so; who serves instead, with which word for tier 1.
async fn instead_of(first: &FakeRegistry, keys: &str) -> (Node, crate::client::Got) {
    let image = Image::random(1, 1);
    let (second, upstream) = (tier(&image).await, upstream(&image).await);
    let node = Setup::of(&[first, &second], &upstream)
        .and(keys)
        .start()
        .await;
    let got = node.pull("manifests/1").await;
    let again = node.pull("manifests/1").await;
    assert_eq!(again.status, got.status);
    (node, got)
}

/// A tier's no is not final, and none of these makes it ill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_tier_is_asked_and_the_first_stays_healthy() {
    let image = Image::random(1, 1);
    let reply = |status| Fault::Reply(Reply::error(status, "DENIED", "no"));
    let faults = [
        ("not_found", reply(404)),
        ("policy", reply(403)),
        ("policy", reply(412)),
        ("unusable_answer", reply(400)),
        ("unusable_answer", Fault::Reply(Reply::new(304))),
        (
            "unusable_answer",
            Fault::Reply(Reply::to(302, "relative/../x")),
        ),
        ("too_many_requests", reply(429)),
    ];
    for (word, fault) in faults {
        let first = tier(&image).await;
        let shown = format!("{word} {fault:?}");
        first.set_fault_on(On::Manifests, fault);
        let (node, got) = instead_of(&first, "").await;
        assert_eq!(got.body, image.top.body, "{shown}");
        let record = node.record(&got).await;
        assert_eq!(&*record.tier, "t2", "{shown}");
        if word != "unusable_answer" {
            assert!(record.error.contains(word), "{shown}: {record:?}");
        }
        assert_eq!(node.count(EventName::EndpointEjected), 0, "{shown}");
    }
    let other = tier(&image).await;
    other.change(|it| it.project_missing = true);
    let (node, got) = instead_of(&other, "").await;
    assert_eq!(&*node.record(&got).await.tier, "t2");
    assert!(node.record(&got).await.error.contains("denied"));
    assert_eq!(node.count(EventName::EndpointEjected), 0);
}

/// A Harbor without its database refuses every token in its own way: it is left as one that answers 5xx is, and asked once per
/// pull until then (harbor-facts 13.4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_harbor_without_its_database_is_ejected() {
    let image = Image::multi_platform(2, 4, 1);
    let (down, healthy) = (tier(&image).await, tier(&image).await);
    down.change(|it| it.database_down = true);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let node = Setup::of(&[&down, &healthy], &upstream.start().await);
    let node = node.start().await;
    let mut asked = Vec::new();
    for child in &image.children {
        down.forget_requests();
        let got = node.pull(&format!("manifests/{}", child.digest)).await;
        let record = node.record(&got).await;
        assert_eq!((got.status, &*record.tier), (200, "t2"), "{record:?}");
        asked.push(down.requests().len());
    }
    // The challenge, the token and the refusal; then the refusal alone; after three of them nobody asks.
    assert_eq!(asked, [3, 1, 1, 0]);
    let ejected = node.event(EventName::EndpointEjected).await;
    assert_eq!(ejected.tier.as_deref(), Some("t1"));
    assert!(ejected.reason.contains("database is down"), "{ejected:?}");
}

/// Harbor behind an outer nginx names a realm without its port (harbor-facts 2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_without_its_port_is_the_tiers_own() {
    let image = Image::random(1, 1);
    let first = tier(&image).await;
    first.change(|it| it.realm = Realm::OwnWithoutPort);
    let (node, got) = instead_of(&first, "").await;
    assert_eq!(&*node.record(&got).await.tier, "t1");
    assert_eq!(first.token_fetches(), 1, "one token for both pulls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_final_where_it_is_wanted() {
    let image = Image::random(1, 1);
    let first = tier(&image).await;
    let reason = "current image with 3 vulnerabilities cannot be pulled";
    let policy = Reply::error(412, "PROJECTPOLICYVIOLATION", reason);
    first.set_fault_on(On::Manifests, Fault::Reply(policy));
    let (node, got) = instead_of(&first, "[failover]\nharbor_policy = \"final\"\n").await;
    assert_eq!(got.status, 404);
    assert!(got.message().contains(reason), "{got:?}");
    let record = node.record(&got).await;
    assert_eq!(
        (record.outcome, record.attempts),
        (RequestOutcome::Refused, 1)
    );
}

/// A CDN's 403 is about the signed URL: nothing was denied, and nothing is remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cdns_403_is_no_denial() {
    let image = Image::random(1, 1);
    let cdn = FakeRegistry::builder()
        .cdn()
        .with(|it| it.signatures_from = 9);
    let cdn = cdn.with_image(REPOSITORY, "1", &image).start().await;
    let upstream = upstream(&image).await;
    upstream.change(|it| it.blobs_redirect_to = Some(cdn.base_url()));
    let node = Setup::of(&[], &upstream).start().await;
    let blob = format!("blobs/{}", image.layer().digest);
    let got = node.pull(&blob).await;
    assert_eq!(got.status, 503, "{got:?}");
    assert_eq!(node.record(&got).await.outcome, RequestOutcome::Failed);
    cdn.change(|it| it.signatures_from = 0);
    let got = node.pull(&blob).await;
    assert!(got.status == 200 && got.body == image.layer().body);
    // One that has lost the blob neither says that upstream has not got it.
    let empty = FakeRegistry::builder().cdn().start().await;
    upstream.change(|it| it.blobs_redirect_to = Some(empty.base_url()));
    assert_eq!(node.pull(&blob).await.status, 503);
    assert_eq!(node.count(EventName::EndpointEjected), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_are_a_pause() {
    let image = Image::random(1, 1);
    let limits = [
        RateLimit::HarborUpstream,
        RateLimit::HubQuota,
        RateLimit::HubAbuse,
        RateLimit::Ghcr,
    ];
    for limit in limits {
        let first = tier(&image).await;
        first.change(|it| it.rate_limit = Some(limit));
        let (node, got) = instead_of(&first, "").await;
        assert_eq!(&*node.record(&got).await.tier, "t2", "{limit:?}");
        assert_eq!(node.count(EventName::EndpointEjected), 0);
        // Alone it is 503, never 429 (P4).
        let only = upstream(&image).await;
        only.change(|it| it.rate_limit = Some(limit));
        let node = Setup::of(&[], &only).start().await;
        let got = node.pull("manifests/1").await;
        assert_eq!((got.status, got.header("retry-after")), (503, None));
        assert!(got.message().contains("429"), "{got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_repositories_are_left_to_containerd() {
    let image = Image::random(1, 1);
    let (tier, upstream) = (tier(&image).await, upstream(&image).await);
    let setup = Setup::default().tier(&tier.base_url(), "");
    let setup = setup.registry(&upstream.base_url(), "private = [\"library/*\"]");
    let node = setup.start().await;
    for what in ["manifests/1", "tags/list"] {
        let got = node.pull(what).await;
        assert_eq!((got.status, got.code().as_str()), (404, "NAME_UNKNOWN"));
        assert_eq!(node.record(&got).await.outcome, RequestOutcome::Refused);
    }
    assert_eq!(tier.connections() + upstream.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_upstream_all_failed_is_503_and_names_them() {
    let image = Image::random(1, 1);
    let (mut dead, sick, empty) = (
        tier(&image).await,
        tier(&image).await,
        FakeRegistry::builder().harbor().start().await,
    );
    dead.refuse().await;
    sick.set_fault_on(On::Registry, Fault::Reply(Reply::html_502()));
    let upstream = upstream(&image).await;
    let setup = [&dead, &sick, &empty].into_iter();
    let setup = setup.fold(Setup::default(), |setup, tier| {
        setup.tier(&tier.base_url(), "")
    });
    let node = setup
        .registry(&upstream.base_url(), "direct = false")
        .start()
        .await;
    for what in [
        "manifests/1".to_owned(),
        format!("blobs/{}", image.layer().digest),
    ] {
        let got = node.pull(&what).await;
        assert_eq!((got.status, got.code().as_str()), (503, "UNAVAILABLE"));
        let message = got.message();
        assert!(message.len() <= 256, "{message}");
        for (tier, reason) in [("t1", "refused"), ("t2", "502"), ("t3", "404")] {
            let entry = message
                .split(&[':', ';'])
                .find(|part| part.trim().starts_with(tier));
            assert!(
                entry.is_some() || message.contains(&format!("{tier}/")),
                "{message}"
            );
            assert!(message.contains(reason), "{message}");
        }
        assert_eq!(node.record(&got).await.outcome, RequestOutcome::Failed);
    }
    assert_eq!(upstream.connections(), 0);
}

/// Where upstream may not be asked the healthy tiers have the last word together; a tier that is down has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_upstream_what_no_healthy_tier_has_is_not_found() {
    let image = Image::random(1, 1);
    let empty = || FakeRegistry::builder().harbor().start();
    let (first, second) = (empty().await, empty().await);
    let upstream = upstream(&image).await;
    let setup = |tiers: &[&FakeRegistry]| {
        let tiers = tiers.iter().fold(Setup::default(), |setup, tier| {
            setup.tier(&tier.base_url(), "")
        });
        tiers.registry(&upstream.base_url(), "direct = false")
    };
    let blob = format!("blobs/{}", image.layer().digest);
    let node = setup(&[&first, &second]).start().await;
    for (what, code) in [("manifests/1", "MANIFEST_UNKNOWN"), (&blob, "BLOB_UNKNOWN")] {
        let got = node.pull(what).await;
        assert_eq!((got.status, got.code().as_str()), (404, code), "{got:?}");
        let message = got.message();
        assert!(message.contains("no healthy tier has it"), "{message}");
        assert!(
            message.contains("t1") && message.contains("t2"),
            "{message}"
        );
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::NotFound);
        assert_eq!(node.head(what).await.status, 404);
    }
    // Nobody knows what a tier would say that is in use and does not answer.
    let sick = empty().await;
    sick.set_fault_on(
        On::Registry,
        Fault::Reply(Reply::error(500, "UNKNOWN", "x")),
    );
    let node = setup(&[&sick, &first]).start().await;
    assert_eq!(node.pull("manifests/1").await.status, 503);
    // One that is down is not asked any more.
    let mut dead = empty().await;
    dead.refuse().await;
    let node = setup(&[&dead, &first]).start().await;
    let got = node.pull("manifests/1").await;
    assert!([404, 503].contains(&got.status), "{got:?}");
    node.event(EventName::TierDown).await;
    let got = node.pull("manifests/2").await;
    assert_eq!(got.status, 404, "{got:?}");
    assert_eq!(upstream.connections(), 0);
}

/// A digest stands behind an @, in what people read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_found_is_named_as_people_write_it() {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().start().await;
    let tier = FakeRegistry::builder().harbor().start().await;
    tier.set_fault_on(
        On::Manifests,
        Fault::Reply(Reply::error(404, "NOT_FOUND", "repository x not found")),
    );
    let node = Setup::of(&[&tier], &upstream).start().await;
    let digest = &image.top.digest;
    let got = node.pull(&format!("manifests/{digest}")).await;
    let due = format!("docker.io/{REPOSITORY}@{digest}: not found at upstream");
    assert!(got.message().starts_with(&due), "{}", got.message());
    // Harbor says of its own that it did not ask.
    let record = node.record(&got).await;
    let words = "not_found (status 404, repository x not found)";
    assert!(record.error.contains(words), "{record:?}");
    // To HEAD, by which it is asked for tags, it has no words: it is asked for them by GET, once a minute for each tag.
    tier.forget_requests();
    for method in ["HEAD", "GET", "HEAD"] {
        let got = node.ask(method, &target("manifests/7"), &[]).await;
        let record = node.record(&got).await;
        assert!(record.error.contains(words), "{method}: {record:?}");
    }
    let asked = tier.lines();
    let gets = asked.iter().filter(|line| line.starts_with("GET /v2/"));
    assert_eq!(gets.count(), 1, "{asked:?}");
    let got = node.pull("manifests/7").await;
    let due = format!("docker.io/{REPOSITORY}:7: not found at upstream");
    assert!(got.message().starts_with(&due), "{}", got.message());
}

/// Clients go on to the referrers' tag where there is no such endpoint, and stop where there is no such name (OCI distribution
/// spec, "Unavailable Referrers API"; oras reads the code).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_upstream_referrers_are_looked_for_by_their_tag() {
    let image = Image::random(1, 1);
    let tag = image.top.digest.to_string().replace(':', "-");
    let tier = FakeRegistry::builder().harbor();
    let tier = tier.with_image(TIERED, &tag, &image).start().await;
    let upstream = upstream(&image).await;
    let setup = Setup::default().tier(&tier.base_url(), "");
    let setup = setup.registry(&upstream.base_url(), "direct = false");
    let node = setup.start().await;
    let got = node.pull(&format!("referrers/{}", image.top.digest)).await;
    assert_eq!((got.status, got.code().as_str()), (404, "UNSUPPORTED"));
    assert!(tier.requests().is_empty());
    let got = node.pull(&format!("manifests/{tag}")).await;
    assert!(got.status == 200 && got.body == image.top.body);
    let got = node.pull("manifests/sha256-0000").await;
    assert_eq!(got.status, 404, "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstream_does_not_take_of_a_request_for_a_list_is_said() {
    let image = Image::random(1, 1);
    let upstream = upstream(&image).await;
    let node = Setup::of(&[], &upstream).start().await;
    let referrers = format!("referrers/{}", image.top.digest);
    for status in [400, 405] {
        upstream.script(move |request| {
            let is_list = request.path.contains("/tags/") || request.path.contains("/referrers/");
            let said = "number of results requested cannot be negative";
            is_list.then(|| Reply::error(status, "PAGINATION_NUMBER_INVALID", said))
        });
        for what in ["tags/list", &referrers] {
            let got = node.pull(what).await;
            assert_eq!(got.status, status, "{got:?}");
            assert!(got.message().contains("cannot be negative"), "{got:?}");
            assert_eq!(got.header("allow").is_some(), status == 405, "{got:?}");
            let got = node.head(what).await;
            assert_eq!(got.status, status, "{got:?}");
            assert_eq!(got.header("allow"), (status == 405).then_some("GET"));
        }
        assert_eq!(node.pull("manifests/1").await.status, 200);
    }
    assert_eq!(node.count(EventName::EndpointEjected), 0);
}
