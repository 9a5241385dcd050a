//! What upstream denies, and what containerd makes of the answer (design P4, P5).

use crate::client::{Client, End};
use crate::node::{CONTAINERD_2, REPOSITORY, Setup, target};
use crate::support::{Builder, FakeRegistry, Fault, Image, On, Reply};
use base64::Engine as _;
use harbor_pilot::telemetry::RequestOutcome;

/// Upstream's denial is 404 to containerd, which then asks with the pod's secret; and remembered (P5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_denial_is_remembered() {
    let image = Image::random(1, 1);
    let hub = || {
        FakeRegistry::builder()
            .docker_hub()
            .with(|it| it.private = true)
    };
    let ghcr = || FakeRegistry::builder().ghcr().with(|it| it.private = true);
    for upstream in [hub(), ghcr()] {
        let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
        let node = Setup::of(&[], &upstream).start().await;
        let got = node.pull("manifests/1").await;
        assert_eq!((got.status, got.end), (404, End::Clean));
        assert!(got.message().contains("denied by upstream"), "{got:?}");
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::Refused);
        upstream.forget_requests();
        let blob = format!("blobs/{}", image.layer().digest);
        for what in ["manifests/1", "manifests/2", blob.as_str()] {
            let got = node.pull(what).await;
            assert_eq!(got.status, 404, "{what}");
            assert!(got.message().contains("denied by upstream"), "{got:?}");
        }
        assert!(upstream.requests().is_empty(), "{:?}", upstream.lines());
        // Of that repository only.
        let _ = node.get("/v2/library/other/manifests/1?ns=docker.io").await;
        assert!(!upstream.requests().is_empty());
    }
}

/// containerd 2 tells its user of a 403, and goes on to the registry with the pod's secret; it would call a 404 "not found" (P4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_2_hears_of_a_denial() {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder()
        .docker_hub()
        .with(|it| it.private = true);
    let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
    let setup = Setup::default();
    let setup = setup.registry(&upstream.base_url(), "private = [\"library/closed\"]");
    let node = setup.start().await;
    let by = |agent: &'static str| [("User-Agent", agent)];
    let blob = format!("blobs/{}", image.layer().digest);
    // The first is upstream's own word, the others remember it.
    for method in ["HEAD", "GET"] {
        for what in ["manifests/1", "manifests/2", blob.as_str()] {
            let (what, agent) = (target(what), by(CONTAINERD_2));
            let got = node.ask(method, &what, &agent).await;
            assert_eq!(got.status, 403, "{method} {what}: {got:?}");
            assert_eq!(node.record(&got).await.outcome, RequestOutcome::Refused);
            if method == "GET" {
                assert_eq!(got.code(), "DENIED");
                assert!(got.message().contains("denied by upstream"), "{got:?}");
            }
            for older in ["containerd/1.7.24", "docker/28.0", "crictl"] {
                let got = node.ask(method, &what, &by(older)).await;
                assert_eq!(got.status, 404, "{older} {method} {what}");
            }
        }
    }
    // What is not asked for is not denied.
    for other in [
        "/v2/library/closed/manifests/1?ns=docker.io",
        "/v2/o/r/manifests/1?ns=nowhere.example.com",
        "/v2/library/app/manifests/..%2f",
    ] {
        let got = node.ask("GET", other, &by(CONTAINERD_2)).await;
        assert_eq!(got.status, 404, "{other}");
    }
    upstream.change(|it| it.private = false);
    let absent = "/v2/library/absent/manifests/1?ns=docker.io";
    let got = node.ask("GET", absent, &by(CONTAINERD_2)).await;
    assert_eq!(got.status, 404, "{got:?}");
}

/// What containerd 2 shows where no host served: of failures to get a token, of 404 and of other statuses the first of the highest
/// kind (containerd-k3s-facts 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// The token service's own word, or that there is no secret.
    Token,
    NotFound,
    Status(u16),
    /// Nothing: the pull goes well.
    Served,
}

impl Shown {
    fn of(status: u16) -> Self {
        match status {
            200 => Self::Served,
            404 => Self::NotFound,
            status => Self::Status(status),
        }
    }

    /// Of the agent and the registry behind it.
    fn first(agent: Self, registry: Self) -> Self {
        match (agent, registry) {
            (Self::Served, _) | (_, Self::Served) => Self::Served,
            (Self::Status(status), Self::Status(_)) => Self::Status(status),
            (agent, registry) => agent.max(registry),
        }
    }

    /// Whether it says no less than the other.
    fn is_no_worse_than(self, other: Self) -> bool {
        let is_no = |shown| matches!(shown, Self::Status(401 | 403));
        self == other || other == Self::NotFound || (is_no(self) && is_no(other))
    }
}

/// What the registry says to containerd itself, with the pod's secret.
async fn by_itself(registry: &FakeRegistry, service: &str, password: Option<&str>) -> Shown {
    let address = registry.base_url();
    let address = address.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = async |method: &'static str, target: String, shown: Option<String>| {
        let mut client = Client::connect(address).await;
        let fields: Vec<_> = shown
            .iter()
            .map(|it| ("Authorization", it.as_str()))
            .collect();
        client.ask(method, &target, &fields).await;
        client.answer(method == "HEAD").await
    };
    let got = ask("HEAD", target("manifests/1"), None).await;
    let challenge = got.header("www-authenticate").unwrap_or_default();
    if got.status != 401 || challenge.is_empty() {
        return Shown::of(got.status);
    }
    let is_basic = challenge.starts_with("Basic");
    let encode =
        |password| base64::engine::general_purpose::STANDARD.encode(format!("lab:{password}"));
    let secret = password.map(|password| format!("Basic {}", encode(password)));
    if is_basic {
        let Some(secret) = secret else {
            return Shown::Token;
        };
        let got = ask("HEAD", target("manifests/1"), Some(secret)).await;
        return Shown::of(got.status);
    }
    let scope = format!("repository:{REPOSITORY}:pull");
    let got = ask(
        "GET",
        format!("/token?service={service}&scope={scope}"),
        secret,
    )
    .await;
    if got.status != 200 {
        return Shown::Token;
    }
    let token: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    let got = ask("HEAD", target("manifests/1"), Some(token)).await;
    let challenge = got.header("www-authenticate").unwrap_or_default();
    if challenge.contains("error=") {
        return Shown::Token;
    }
    Shown::of(got.status)
}

/// Whatever the registry and its token service say, to whichever secret, and whether upstream's denial is remembered: containerd 2
/// shows no less of it than behind the 404 that a denial was answered with before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_containerd_2_shows_is_nowhere_worse_than_behind_a_404() {
    let image = Image::random(1, 1);
    let secrets = [None, Some("wrong"), Some("right")];
    let no_fault = [(On::Tokens, 200)];
    let statuses = [401, 403, 429, 503];
    let faults = [On::Registry, On::Tokens]
        .into_iter()
        .flat_map(|on| statuses.map(|status| (on.clone(), status)));
    let kinds: [fn() -> (&'static str, Builder); 3] = [
        || ("registry.docker.io", FakeRegistry::builder().docker_hub()),
        || ("ghcr.io", FakeRegistry::builder().ghcr()),
        || ("basic", FakeRegistry::builder().basic()),
    ];
    let kinds = kinds
        .into_iter()
        .flat_map(|kind| [(kind, false), (kind, true)]);
    for (on, status) in no_fault.into_iter().chain(faults) {
        for (kind, remembered) in kinds.clone() {
            let (service, upstream) = kind();
            let upstream = upstream.account("lab", "right");
            let upstream = upstream.with(|it| it.private = true);
            let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
            let node = Setup::of(&[], &upstream).start().await;
            let agent = [("User-Agent", CONTAINERD_2)];
            if remembered {
                let got = node.ask("HEAD", &target("manifests/1"), &agent).await;
                assert_eq!(got.status, 403);
            }
            if status != 200 {
                let says = Fault::Reply(Reply::error(status, "X", "x"));
                upstream.set_fault_on(on.clone(), says);
            }
            for secret in secrets {
                let got = node.ask("HEAD", &target("manifests/1"), &agent).await;
                let registry = by_itself(&upstream, service, secret).await;
                let before = match got.status {
                    403 => 404,
                    _ if remembered => 404,
                    status => status,
                };
                let before = Shown::first(Shown::of(before), registry);
                let now = Shown::first(Shown::of(got.status), registry);
                let case = format!(
                    "{service}: {on:?} {status}, remembered {remembered}, secret {secret:?}, registry {registry:?}"
                );
                assert!(
                    now.is_no_worse_than(before),
                    "{case}: {now:?} beside {before:?}"
                );
                if now == Shown::Served {
                    assert_eq!(secret, Some("right"), "{case}");
                } else if matches!(status, 200 | 401 | 403) {
                    assert_eq!(now, Shown::Status(403), "{case}");
                }
                // What fails is not said to be denied.
                if on == On::Registry && [429, 503].contains(&status) {
                    let due = if remembered { status } else { 503 };
                    assert_eq!(now, Shown::Status(due), "{case}");
                }
            }
        }
    }
}

/// A registry may fail to the pod's secret alone, which nobody knows but containerd: the agent's 403, which is what its user
/// sees, says whose it is and where the other answer stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_403_says_that_it_is_not_about_the_pods_secret() {
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().docker_hub().account("lab", "right");
    let upstream = upstream.with(|it| it.private = true);
    let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
    let node = Setup::of(&[], &upstream).start().await;
    for status in [429, 503] {
        upstream.script(move |request| {
            let shown = request.header("authorization").unwrap_or_default();
            let is_users = shown.starts_with("Bearer fake.user");
            is_users.then(|| Reply::error(status, "X", "x"))
        });
        let registry = by_itself(&upstream, "registry.docker.io", Some("right")).await;
        assert_eq!(registry, Shown::Status(status));
        for method in ["HEAD", "GET"] {
            let agent = [("User-Agent", CONTAINERD_2)];
            let got = node.ask(method, &target("manifests/1"), &agent).await;
            let due = "Forbidden without a secret (containerd's log has the registry's own answer)";
            assert_eq!((got.status, got.reason.as_str()), (403, due));
        }
    }
    let got = node.pull("manifests/1").await;
    assert_eq!((got.status, got.reason.as_str()), (404, "Not Found"));
}
