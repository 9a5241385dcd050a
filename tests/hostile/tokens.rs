//! What anybody may ask for costs the robot account of a tier nothing.

use crate::node::{self, Node, Setup, TIERED};
use crate::support::{FakeRegistry, Image};
use harbor_pilot::telemetry::RequestOutcome;

/// `ns=TIER` with a project's bare name is asked for without the credential: the tier's token, which belongs to the project,
/// stays where it is, and the next pull does not fetch another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_request_does_not_throw_the_robots_token_away() {
    let image = Image::with_layers(41, &[3000, 3000, 3000]);
    let tier = FakeRegistry::builder().harbor().account("robot$node", "s");
    let tier = tier.with(|it| it.private = true);
    let tier = tier.with_image(TIERED, "1", &image).start().await;
    let upstream = FakeRegistry::builder().start().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    node::write(&file, "s");
    let keys = format!(
        "username = \"robot$node\"\npassword_file = \"{}\"",
        file.display()
    );
    let setup = Setup::default().tier(&tier.base_url(), &keys);
    let setup = setup.registry(&upstream.base_url(), "");
    let node = Node::start(&setup, home).await;
    assert_eq!(node.pull("manifests/1").await.body, image.top.body);
    let with_password = || {
        let fetches = tier.requests().into_iter().filter(|asked| {
            asked.path == "/service/token" && asked.header("authorization").is_some()
        });
        fetches.count()
    };
    assert_eq!(with_password(), 1);
    for layer in &image.blobs {
        let name = tier.addr.to_string().replace(':', "%3A");
        let got = node
            .get(&format!("/v2/proxy-docker-io/manifests/1?ns={name}"))
            .await;
        let outcome = node.record(&got).await.outcome;
        assert_ne!(outcome, RequestOutcome::Served, "{got:?}");
        let got = node.pull(&format!("blobs/{}", layer.digest)).await;
        assert!(got.body == layer.body, "{got:?}");
    }
    let anonymous =
        |asked: &crate::support::Recorded| asked.path == "/v2/proxy-docker-io/manifests/1";
    assert!(tier.requests().iter().any(anonymous), "it was asked");
    assert_eq!(with_password(), 1, "one token for all");
}
