//! Two scripted Harbors, one with a project for docker.io and one for ghcr.io, and agents beside them that share a Redis.

use crate::client::Client;
use crate::node::{Node, Setup};
use crate::support::{FakeRegistry, Image};
use harbor_pilot::telemetry::AccessRecord;
use serde_json::Value;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// `org/app:N` is an image of its own for each N, at one of the two.
pub struct Lab {
    pub hub: FakeRegistry,
    pub ghcr: FakeRegistry,
    pub images: Vec<Image>,
}

impl Lab {
    /// `org/app:1` and so on are at ghcr.io.
    pub async fn new(images: u64) -> Self {
        let images: Vec<Image> = (1..=images).map(|seed| Image::random(seed, 1)).collect();
        let (hub, mut ghcr) = (
            FakeRegistry::builder().harbor(),
            FakeRegistry::builder().harbor(),
        );
        for (image, tag) in images.iter().zip(1..) {
            ghcr = ghcr.with_image("proxy-ghcr-io/org/app", &tag.to_string(), image);
        }
        Self {
            hub: hub.start().await,
            ghcr: ghcr.start().await,
            images,
        }
    }

    pub fn setup(&self, redis: &str) -> Setup {
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
            .and("[router]\nnames = [\"registry.example.com\"]\norder = [\"docker.io\", \"ghcr.io\"]\n")
            .and(redis)
    }

    /// An agent that has heard of the master.
    pub async fn agent(&self, redis: &str) -> Node {
        let node = self.setup(redis).start().await;
        until_connected(&node).await;
        node
    }
}

/// `org/app` under the router's name.
pub fn target(what: &str) -> String {
    format!("/v2/proxy/org/app/{what}?ns=registry.example.com")
}

/// Pulls a tag. Who served it, and how long it took.
pub async fn pull(node: &Node, tag: &str) -> (AccessRecord, Duration) {
    let since = Instant::now();
    let got = node.get(&target(&format!("manifests/{tag}"))).await;
    let took = since.elapsed();
    assert_eq!(got.status, 200, "{tag}: {got:?}");
    (node.record(&got).await, took)
}

async fn admin(node: &Node, path: &str) -> String {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", path, &[]).await;
    client.answer(false).await.text()
}

/// `router` of `/status`.
pub async fn status(node: &Node) -> Value {
    let status: Value = serde_json::from_str(&admin(node, "/status").await).unwrap();
    status["router"].clone()
}

/// A counter's value; 0 where there is none.
pub async fn counter(node: &Node, name: &str) -> u64 {
    let metrics = admin(node, "/metrics").await;
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix(&format!("harbor_pilot_{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

pub async fn errors(node: &Node) -> u64 {
    counter(node, "router_redis_errors_total").await
}

pub async fn until(node: &Node, is_so: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let status = status(node).await;
        if is_so(&status) {
            return status;
        }
        assert!(since.elapsed() < PATIENCE, "{status}\n{:#?}", node.journal);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Until the master answers.
pub async fn until_connected(node: &Node) -> Value {
    until(node, |status| status["redis"]["master"].is_string()).await
}

/// Until it is given up, for a reason that names this.
pub async fn until_failed(node: &Node, why: &str) -> Value {
    let failed = |status: &Value| {
        let redis = &status["redis"];
        redis["master"].is_null()
            && redis["error"]
                .as_str()
                .is_some_and(|said| said.contains(why))
    };
    until(node, failed).await
}
