//! What a Harbor lists, for an agent that it does not answer.

use crate::client::Client;
use crate::cluster::{Cluster, PATIENCE};
use crate::lab::until_connected;
use crate::node::{Node, REPOSITORY, Setup};
use crate::support::{Api, FakeRegistry, Fault, Image, On};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What `/status` says of the tier's projects.
async fn projects(node: &Node) -> Value {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", "/status", &[]).await;
    let status: Value = serde_json::from_slice(&client.answer(false).await.body).unwrap();
    status["tiers"][0]["projects"].clone()
}

async fn until(node: &Node, is_so: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let projects = projects(node).await;
        if is_so(&projects) {
            return projects;
        }
        assert!(since.elapsed() < PATIENCE, "{projects}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is said of projects is in force a moment later: the tier is asked for images then.
async fn in_force(node: &Node, tier: &FakeRegistry) {
    let since = Instant::now();
    for number in 0.. {
        // Each another: what nobody has is remembered.
        let tag = format!("none{number}");
        node.pull(&format!("manifests/{tag}")).await;
        if tier.lines().iter().any(|line| line.contains(&tag)) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "the tier is not asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_are_known_to_an_agent_that_harbor_does_not_answer() {
    let image = Image::random(81, 1);
    let api = Api::of(&[("proxy-docker-io", "docker-hub", "https://hub.docker.com")]);
    let harbor = FakeRegistry::builder()
        .harbor()
        .with(|it| it.api = Some(api));
    let harbor = harbor
        .with_image("proxy-docker-io/library/app", "1", &image)
        .start()
        .await;
    let upstream = FakeRegistry::builder().docker_hub();
    let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
    let redis = Cluster::start();
    let tier = format!(
        "[[tier]]\nname = \"core\"\nurl = \"{}\"\n[tier.discovery]\nenabled = true\n\
         [tier.health]\nprobe = \"none\"\n",
        harbor.base_url()
    );
    let setup = Setup::default()
        .and(&tier)
        .registry(&upstream.base_url(), "");
    let setup = setup.and("[router]\nnames = [\"registry.example.com\"]\n");
    let setup = setup.and(&redis.config());

    let first = setup.start().await;
    until_connected(&first).await;
    let key = format!("hp:1:projects:@{}", harbor.base_url());
    redis.until(|it| it.at_master(&["exists", &key]).trim() == "1");

    harbor.set_fault_on(
        On::Ending("/api/v2.0/projects".to_owned()),
        Fault::CloseInsteadOfAnswer,
    );
    let served_by = |got: crate::client::Got| {
        assert_eq!((got.status, &got.body), (200, &image.top.body), "{got:?}");
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        by.split('/').next().unwrap().to_owned()
    };
    let late = setup.start().await;
    let said = until(&late, |said| said["found"]["docker.io"].is_object()).await;
    assert_eq!(said["found"]["docker.io"]["project"], "proxy-docker-io");
    assert!(said["error"].is_string(), "{said}");
    in_force(&late, &harbor).await;
    assert_eq!(served_by(late.pull("manifests/1").await), "core");

    // Bytes of others are nothing.
    redis.at_master(&["set", &key, "{\"url\": 7}"]);
    let other = setup.start().await;
    until(&other, |said| said["error"].is_string()).await;
    assert_eq!(served_by(other.pull("manifests/1").await), "upstream");
}
