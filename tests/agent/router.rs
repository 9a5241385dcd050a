//! `[router]`: images that name no registry are looked for in the projects of all tiers, and pulled from where they are.

#[path = "router/gone.rs"]
mod gone;
#[path = "router/holders.rs"]
mod holders;
#[path = "router/hostile.rs"]
mod hostile;
#[path = "router/node_file.rs"]
mod node_file;
#[path = "router/order.rs"]
mod order;

use crate::node::{Node, Setup};
use crate::support::{FakeRegistry, Fault, Image, On};
use harbor_pilot::lifecycle::RawSignal;
use harbor_pilot::telemetry::{AccessRecord, EventName, RequestOutcome};
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Where `org/app` is at each of the two Harbors.
const AT_HUB: &str = "proxy-docker-io/org/app";
const AT_GHCR: &str = "proxy-ghcr-io/org/app";

const STRICT: &str = "order = [\"docker.io\", \"ghcr.io\"]";

/// Two Harbors: one has a project for docker.io, the other one for ghcr.io. Nobody goes to the registries themselves.
struct Lab {
    hub: FakeRegistry,
    ghcr: FakeRegistry,
    image: Image,
    other: Image,
}

impl Lab {
    /// `org/app:1` is at those of the two.
    async fn new(at_hub: bool, at_ghcr: bool) -> Self {
        let (image, other) = (Image::random(91, 1), Image::random(92, 1));
        let (mut hub, mut ghcr) = (harbor(), harbor());
        if at_hub {
            hub = hub.with_image(AT_HUB, "1", &image);
        }
        if at_ghcr {
            ghcr = ghcr.with_image(AT_GHCR, "1", &other);
        }
        Self {
            hub: hub.start().await,
            ghcr: ghcr.start().await,
            image,
            other,
        }
    }

    fn setup(&self, keys: &str) -> Setup {
        let tier = |name: &str, registry: &str, project: &str, at: &FakeRegistry| {
            format!(
                "[[tier]]\nname = \"{name}\"\nurl = \"{}\"\n[tier.projects]\n\"{registry}\" = \"{project}\"\n\
                 [tier.health]\nprobe = \"none\"\n",
                at.base_url()
            )
        };
        Setup::default()
            .and(&tier("hub", "docker.io", "proxy-docker-io", &self.hub))
            .and(&tier("cat", "ghcr.io", "proxy-ghcr-io", &self.ghcr))
            .and("[direct]\nenabled = false\n")
            .and(&format!(
                "[router]\nnames = [\"registry.example.com\"]\n{keys}\n"
            ))
    }
}

fn harbor() -> crate::support::Builder {
    FakeRegistry::builder().harbor()
}

/// `org/app` under the router's name.
fn target(what: &str) -> String {
    format!("/v2/proxy/org/app/{what}?ns=registry.example.com")
}

/// Requests for manifests, by method.
fn manifests(of: &FakeRegistry, method: &str) -> usize {
    let requests = of.requests();
    let asked = requests
        .iter()
        .filter(|one| one.path.contains("/manifests/"));
    asked
        .filter(|one| one.method == method && one.header("authorization").is_some())
        .count()
}

async fn record_of(node: &Node, what: &str) -> AccessRecord {
    let got = node.get(&target(what)).await;
    node.record(&got).await
}

async fn metrics(node: &Node) -> String {
    let mut client = crate::client::Client::connect(node.admin).await;
    client.ask("GET", "/metrics", &[]).await;
    client.answer(false).await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_pulled_from_the_registry_that_has_it() {
    let lab = Lab::new(false, true).await;
    let node = lab.setup("").start().await;
    let head = node.ask("HEAD", &target("manifests/1"), &[]).await;
    assert_eq!(head.status, 200);
    let digest = lab.other.top.digest.to_string();
    assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
    let record = node.record(&head).await;
    assert_eq!(record.registry, Some("ghcr.io".parse().unwrap()));
    assert_eq!(record.outcome, RequestOutcome::Served);

    let hub_heard = lab.hub.requests().len();
    let top = node.get(&target(&format!("manifests/{digest}"))).await;
    assert_eq!((top.status, &top.body), (200, &lab.other.top.body));
    let layer = lab.other.layer();
    let blob = format!("blobs/{}", layer.digest);
    let got = node.get(&target(&blob)).await;
    assert_eq!((got.status, &got.body), (200, &layer.body));
    assert_eq!(
        got.header("x-harbor-pilot-served-by").map(|by| &by[..4]),
        Some("cat/")
    );
    assert_eq!(
        lab.hub.requests().len(),
        hub_heard,
        "only manifests are looked for"
    );

    let said = metrics(&node).await;
    assert!(
        said.contains("harbor_pilot_router_lookups_total{result=\"found\"} 1"),
        "{said}"
    );
    assert!(
        said.contains("harbor_pilot_router_fanout_seconds_count 1"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_a_blob_never_goes_to_a_harbor() {
    let lab = Lab::new(false, true).await;
    let node = lab.setup("").start().await;
    assert_eq!(node.get(&target("manifests/1")).await.status, 200);
    let blob = format!("blobs/{}", lab.other.layer().digest);
    let got = node.ask("HEAD", &target(&blob), &[]).await;
    assert_eq!(got.status, 200);
    let heads = |of: &FakeRegistry| {
        let requests = of.requests();
        let blobs = requests.iter().filter(|one| one.path.contains("/blobs/"));
        blobs.filter(|one| one.method == "HEAD").count()
    };
    assert_eq!((heads(&lab.hub), heads(&lab.ghcr)), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_a_repository_that_nobody_pulled_is_not_looked_for() {
    let lab = Lab::new(true, true).await;
    let node = lab.setup("").start().await;
    let blob = format!("blobs/{}", lab.image.layer().digest);
    let got = node.get(&target(&blob)).await;
    assert_eq!((got.status, got.code().as_str()), (404, "BLOB_UNKNOWN"));
    assert!(lab.hub.requests().is_empty() && lab.ghcr.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_looked_for_like_a_tag() {
    let lab = Lab::new(false, true).await;
    let node = lab.setup(STRICT).start().await;
    let reference = format!("manifests/{}", lab.other.top.digest);
    let got = node.get(&target(&reference)).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
    assert!(manifests(&lab.hub, "GET") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_official_image_is_found_without_library() {
    let image = Image::random(93, 1);
    let lab = Lab::new(false, false).await;
    lab.hub.change_content(|content| {
        content.add("proxy-docker-io/library/nginx", "1.27", &image);
    });
    let node = lab.setup("").start().await;
    for name in ["nginx", "library/nginx"] {
        let path = format!("/v2/proxy/{name}/manifests/1.27?ns=registry.example.com");
        let got = node.get(&path).await;
        assert_eq!((got.status, &got.body), (200, &image.top.body), "{name}");
    }
    // As a client asks that knows no ns.
    let path = "/v2/registry.example.com/proxy/nginx/manifests/1.27";
    assert_eq!(node.get(path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_order_an_outage_of_the_first_lets_nobody_elses_image_in() {
    let faults: [fn(&FakeRegistry); 4] = [
        |hub| hub.set_fault(Fault::CloseInsteadOfAnswer),
        |hub| {
            hub.set_fault_on(
                On::Manifests,
                Fault::Reply(crate::support::Reply::html_502()),
            )
        },
        // Harbor's own word: its upstream may be out, and may deny.
        |hub| hub.change(|it| it.upstream_out = true),
        |hub| hub.change(|it| it.database_down = true),
    ];
    for fault in faults {
        let lab = Lab::new(true, true).await;
        let node = lab
            .setup(&format!("{STRICT}\nnegative_ttl = \"1ms\""))
            .start()
            .await;
        fault(&lab.hub);
        let got = node.get(&target("manifests/1")).await;
        assert_eq!(got.status, 503, "{}", got.text());
        let why = "proxy/org/app: docker.io is placed before others";
        assert!(got.message().contains(why), "{}", got.message());
        let record = node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::Failed);

        lab.hub.heal();
        lab.hub
            .change(|it| (it.upstream_out, it.database_down) = (false, false));
        let since = Instant::now();
        loop {
            let got = node.get(&target("manifests/1")).await;
            if got.status == 200 {
                assert_eq!(got.body, lab.image.top.body, "the first one's");
                break;
            }
            assert_eq!(got.status, 503);
            assert!(since.elapsed() < Duration::from_secs(75), "{}", got.text());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_order_the_first_that_says_no_passes_on() {
    let lab = Lab::new(false, true).await;
    let node = lab.setup(STRICT).start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_cascade_the_same_no_is_not_definite() {
    let lab = Lab::new(false, true).await;
    let setup = lab.setup(STRICT);
    let node = setup.start().await;
    let text = setup.text(node.home.path());
    let text = text.replace(
        "[tier.projects]\n\"docker.io\"",
        "cascade = true\n[tier.projects]\n\"docker.io\"",
    );
    crate::node::write(&node.config_file(), &text);
    node.signal(RawSignal::Hangup).await;
    node.event(EventName::ConfigReloaded).await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!(got.status, 503, "{}", got.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_image_is_pulled_while_a_better_placed_registry_is_out() {
    let lab = Lab::new(false, true).await;
    let node = lab.setup(STRICT).start().await;
    assert_eq!(node.get(&target("manifests/1")).await.status, 200);
    lab.hub.set_fault(Fault::CloseInsteadOfAnswer);
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_order_the_best_placed_within_the_grace_is_taken() {
    let lab = Lab::new(true, true).await;
    let slow = Fault::SlowFirstByte(Duration::from_millis(300));
    lab.hub.set_fault_on(On::Manifests, slow);
    let node = lab.setup("grace = \"5s\"").start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.image.top.body));

    lab.hub
        .set_fault_on(On::Manifests, Fault::SlowFirstByte(Duration::from_secs(3)));
    let node = lab.setup("grace = \"10ms\"").start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_order_an_outage_hides_nobody_elses_image() {
    let lab = Lab::new(false, true).await;
    lab.hub.set_fault(Fault::CloseInsteadOfAnswer);
    let node = lab.setup("").start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
    // What nobody else has may be where nobody answers.
    let got = node.get(&target("manifests/2")).await;
    assert_eq!(got.status, 503);
    assert!(
        got.message().contains("docker.io has not said"),
        "{}",
        got.message()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_several_have_is_counted_and_said_once() {
    let lab = Lab::new(true, true).await;
    lab.hub
        .change_content(|content| content.add(AT_HUB, "2", &lab.image));
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "2", &lab.other));
    let node = lab.setup(STRICT).start().await;
    for tag in ["1", "2"] {
        let got = node.get(&target(&format!("manifests/{tag}"))).await;
        assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
    }
    let said = node.event(EventName::AmbiguousImage).await;
    assert!(
        said.reason.ends_with(": docker.io, ghcr.io have it"),
        "{}",
        said.reason
    );
    let since = Instant::now();
    while !metrics(&node)
        .await
        .contains("lookups_total{result=\"ambiguous\"} 2")
    {
        assert!(since.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.count(EventName::AmbiguousImage), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_another_registry_has_moves_no_other_tag() {
    let lab = Lab::new(true, false).await;
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "evil", &lab.other));
    let node = lab.setup("").start().await;
    let got = node.get(&target("manifests/evil")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
    // Content of both is found, whoever was last.
    for image in [&lab.other, &lab.image] {
        let layer = image.layer();
        let got = node.get(&target(&format!("blobs/{}", layer.digest))).await;
        assert_eq!((got.status, &got.body), (200, &layer.body));
    }
    assert_eq!(node.count(EventName::MappingChanged), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_of_an_unknown_image_ask_each_project_once() {
    let lab = Lab::new(false, true).await;
    let slow = Fault::SlowFirstByte(Duration::from_millis(1500));
    lab.ghcr.set_fault_on(On::Manifests, slow);
    // Places for all of them.
    let node = lab.setup("[limits]\nconnections = 1500").start().await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = node.client().await;
        client.ask("HEAD", &target("manifests/1"), &[]).await;
        clients.push(client);
    }
    for mut client in clients {
        assert_eq!(client.answer(true).await.status, 200);
    }
    let said = metrics(&node).await;
    assert!(
        said.contains("harbor_pilot_router_fanout_seconds_count 1"),
        "{said}"
    );
    assert_eq!(manifests(&lab.hub, "HEAD"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_has_is_not_looked_for_again_at_once() {
    let lab = Lab::new(false, false).await;
    let node = lab.setup("negative_ttl = \"2s\"").start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, got.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(
        got.message(),
        "proxy/org/app is in none of docker.io, ghcr.io"
    );
    assert_eq!(node.record(&got).await.outcome, RequestOutcome::NotFound);
    let heard = lab.hub.requests().len();
    assert_eq!(node.get(&target("manifests/1")).await.status, 404);
    assert_eq!(lab.hub.requests().len(), heard);
    lab.hub
        .change_content(|content| content.add(AT_HUB, "1", &lab.image));
    let since = Instant::now();
    while node.get(&target("manifests/1")).await.status != 200 {
        assert!(since.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_changes_on_a_definite_no_alone_and_says_so() {
    let keys =
        "ttl = \"1ms\"\nstale_while_revalidate = \"0s\"\norder = [\"ghcr.io\", \"docker.io\"]";
    let lab = Lab::new(true, false).await;
    let node = lab.setup(keys).start().await;
    let first = node.get(&target("manifests/1")).await;
    assert_eq!((first.status, &first.body), (200, &lab.image.top.body));

    // The other one gets an image of that name, and the one that is known fails: it is not left for that.
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "1", &lab.other));
    let got = node.get(&target("manifests/1")).await;
    assert_eq!(got.body, lab.image.top.body);
    lab.hub
        .set_fault_on(On::Manifests, Fault::CloseInsteadOfAnswer);
    let got = node.get(&target("manifests/1")).await;
    assert_ne!(got.body, lab.other.top.body, "{}", got.text());
    assert_eq!(node.count(EventName::MappingChanged), 0);

    // It says that it has it no more.
    lab.hub.heal();
    let gone = "resource not found: repo proxy-docker-io/org/app, tag 1 not found";
    let gone = crate::support::Reply::error(404, "NOT_FOUND", gone);
    lab.hub.set_fault_on(On::Manifests, Fault::Reply(gone));
    let since = Instant::now();
    loop {
        let got = node.get(&target("manifests/1")).await;
        if got.body == lab.other.top.body {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(40), "{}", got.text());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let said = node.event(EventName::MappingChanged).await;
    assert_eq!(
        said.reason,
        "org/app:1: ghcr.io has it, and docker.io had it before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_mapping_answers_at_once_and_is_looked_up_behind_that() {
    let keys = "ttl = \"1ms\"\nstale_while_revalidate = \"1h\"";
    let lab = Lab::new(true, false).await;
    let node = lab.setup(keys).start().await;
    assert_eq!(node.get(&target("manifests/1")).await.status, 200);
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "1", &lab.other));
    let gone = "resource not found: repo proxy-docker-io/org/app, tag 1 not found";
    let gone = crate::support::Reply::error(404, "NOT_FOUND", gone);
    lab.hub.set_fault_on(On::Manifests, Fault::Reply(gone));
    // `ttl` is over by then.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(node.get(&target("manifests/1")).await.status, 404);
    node.event(EventName::MappingChanged).await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_outlives_a_restart() {
    let lab = Lab::new(false, true).await;
    let setup = lab.setup(STRICT);
    let mut node = setup.start().await;
    assert_eq!(node.get(&target("manifests/1")).await.status, 200);
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    lab.hub.set_fault(Fault::CloseInsteadOfAnswer);
    lab.hub.forget_requests();
    let node = Node::start(&setup, home).await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
    let layer = lab.other.layer();
    let got = node.get(&target(&format!("blobs/{}", layer.digest))).await;
    assert_eq!((got.status, &got.body), (200, &layer.body));
    assert!(lab.hub.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_keeps_failing_is_left_out_for_a_while() {
    let lab = Lab::new(false, true).await;
    let broken = crate::support::Reply::error(500, "UNKNOWN", "internal server error");
    lab.hub.set_fault_on(On::Manifests, Fault::Reply(broken));
    let node = lab.setup("negative_ttl = \"1ms\"").start().await;
    for tag in 0..5 {
        let got = node.get(&target(&format!("manifests/none-{tag}"))).await;
        assert_eq!(got.status, 503, "{}", got.text());
    }
    let asked = || {
        let requests = lab.hub.requests();
        requests
            .iter()
            .filter(|one| one.path.contains("/manifests/"))
            .count()
    };
    let heard = asked();
    assert!(heard > 0);
    let got = node.get(&target("manifests/none-6")).await;
    assert_eq!(got.status, 503);
    assert_eq!(asked(), heard);
    assert_eq!(node.get(&target("manifests/1")).await.status, 200);
}

/// Answers of 4xx, however many, leave no project out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_says_no_is_asked_for_the_next_image() {
    let limited = crate::support::Reply::error(429, "TOOMANYREQUESTS", "slow down");
    for reply in [None, Some(limited)] {
        let lab = Lab::new(false, true).await;
        let node = lab.setup("negative_ttl = \"1ms\"").start().await;
        if let Some(reply) = reply {
            lab.hub.set_fault_on(On::Manifests, Fault::Reply(reply));
        }
        for tag in 0..8 {
            node.get(&target(&format!("manifests/none-{tag}"))).await;
        }
        lab.hub.heal();
        lab.hub
            .change_content(|content| content.add(AT_HUB, "1", &lab.image));
        let since = Instant::now();
        // Of a 429 the address rests for some seconds, which is no matter of the project.
        while node.get(&target("manifests/1")).await.body != lab.image.top.body {
            assert!(since.elapsed() < Duration::from_secs(15));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_private_at_a_registry_is_not_asked_for_there_and_blocks_the_others() {
    let lab = Lab::new(true, true).await;
    let private = "[[registry]]\nname = \"docker.io\"\nupstream = \"https://registry-1.docker.io\"\nprivate = [\"org/*\"]\n";
    let node = lab.setup(STRICT).and(private).start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!(got.status, 503, "{}", got.text());
    assert!(lab.hub.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_names_below_the_routers_name_are_refused() {
    let lab = Lab::new(true, true).await;
    let node = lab.setup("").start().await;
    let got = node
        .get("/v2/org/app/manifests/1?ns=registry.example.com")
        .await;
    assert_eq!((got.status, got.code().as_str()), (404, "NAME_UNKNOWN"));
    let why = "looked for as registry.example.com/proxy/REPOSITORY alone";
    assert!(got.message().contains(why), "{}", got.message());
    let record = node.record(&got).await;
    assert_eq!(record.outcome, RequestOutcome::Refused);
    assert!(lab.hub.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_project_there_is_nothing_to_look_in() {
    let node = Setup::default()
        .and("[router]\nnames = [\"registry.example.com\"]\n")
        .start()
        .await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!(got.status, 503);
    let why = "no tier has a project to look in";
    assert!(got.message().ends_with(why), "{}", got.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_listed_from_the_registry_that_has_the_repository() {
    let (lab, image) = (Lab::new(false, false).await, Image::random(94, 1));
    let hub = FakeRegistry::builder().docker_hub().start().await;
    let ghcr = FakeRegistry::builder().ghcr();
    let ghcr = ghcr.with_image("org/app", "7", &image).start().await;
    let missing = crate::support::Reply::error(404, "NAME_UNKNOWN", "repository name not known");
    hub.set_fault_on(On::Registry, Fault::Reply(missing));
    let registry = |name: &str, at: &FakeRegistry| {
        format!(
            "[[registry]]\nname = \"{name}\"\nupstream = \"{}\"\n",
            at.base_url()
        )
    };
    let setup = lab.setup(STRICT);
    let setup = setup
        .and(&registry("docker.io", &hub))
        .and(&registry("ghcr.io", &ghcr));
    let home = tempfile::tempdir().unwrap();
    let text = setup
        .text(home.path())
        .replace("[direct]\nenabled = false\n", "");
    crate::node::write(&home.path().join("config.toml"), &text);
    let node = Node::start_with_files(home).await;
    let got = node.get(&target("tags/list")).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert!(got.text().contains("\"7\""), "{}", got.text());
    let record = record_of(&node, "tags/list").await;
    assert_eq!(record.registry, Some("ghcr.io".parse().unwrap()));
    // The registry's own word is definite, where it may be asked.
    let got = node.get(&target("manifests/7")).await;
    assert_eq!((got.status, &got.body), (200, &image.top.body));
}

/// This machine's own address, as other machines know it.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel says which address it would send from.
    socket.connect("198.18.0.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_machine_that_asks_too_often_is_told_so_and_no_other() {
    let lab = Lab::new(true, false).await;
    let home = tempfile::tempdir().unwrap();
    let text = lab.setup("requests_per_second = 1").text(home.path());
    let text = text.replace(
        "listen = [\"127.0.0.1:0\"]",
        "listen = [\"0.0.0.0:0\"]\nallow_non_loopback = true",
    );
    crate::node::write(&home.path().join("config.toml"), &text);
    let node = Node::start_with_files(home).await;
    let outside = (own_address(), node.addr.port()).into();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = crate::client::Client::connect(outside).await;
        client.ask("HEAD", &target("manifests/1"), &[]).await;
        clients.push(client);
    }
    let mut statuses = Vec::new();
    for mut client in clients {
        let got = client.answer(true).await;
        if got.status == 429 {
            assert_eq!(got.header("retry-after"), Some("1"));
        }
        statuses.push(got.status);
    }
    for due in [200, 429] {
        assert!(statuses.contains(&due), "{statuses:?}");
    }
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    let inside = (IpAddr::from([127, 0, 0, 1]), node.addr.port()).into();
    for _ in 0..8 {
        let mut client = crate::client::Client::connect(inside).await;
        client.ask("HEAD", &target("manifests/1"), &[]).await;
        assert_eq!(client.answer(true).await.status, 200);
    }
}
