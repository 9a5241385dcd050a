//! `--each-address`: Harbors behind one DNS name have caches of their own.

use super::{config_of, json, ran};
use crate::node::{REPOSITORY, Setup, TIERED};
use crate::support::{FakeDns, FakeRegistry, Image};
use harbor_pilot::lifecycle::RawSignal;

const NAME: &str = "replicas.example.test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_address_of_a_name_is_filled() {
    let image = Image::random(102, 2);
    let tier = || FakeRegistry::builder().harbor();
    let tier = || tier().with_image(TIERED, "1", &image);
    let first = tier().start().await;
    let port = first.addr.port();
    let second = tier().bind(([127, 0, 0, 2], port).into()).start().await;
    let upstream = FakeRegistry::builder().docker_hub();
    let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
    let dns = FakeDns::start().await;
    dns.set(NAME, &["127.0.0.1", "127.0.0.2"]);
    let setup = Setup::default().tier(&format!("http://{NAME}:{port}"), "");
    let setup = setup.registry(&upstream.base_url(), "");
    let setup = setup.and(&format!("[dns]\nnameservers = [\"{}\"]\n", dns.addr));
    let blobs = |at: &FakeRegistry| {
        let mut lines = at.lines();
        at.forget_requests();
        lines.retain(|line| line.contains("/blobs/"));
        lines.sort();
        lines.dedup();
        lines.len()
    };

    // With the agent's word on the addresses.
    let mut node = setup.start().await;
    let config = config_of(&node);
    let image = "docker.io/library/app:1";
    let ways = |arguments: &[&str]| {
        let (code, stdout, stderr) = ran(&config, &[arguments, &[image, "--json"]].concat());
        assert_eq!(code, 0, "{stdout}{stderr}");
        let report = json(&stdout);
        let rows = report["images"].as_array().unwrap().iter();
        let mut ways: Vec<_> = rows
            .map(|row| {
                let way = row["through"].as_str().unwrap();
                // It is served by whom it is fetched from alone.
                let alone: &[&str] = &[way];
                assert!(!way.contains('/') || row["served_by"] == serde_json::json!(alone));
                way.to_owned()
            })
            .collect();
        ways.sort();
        ways
    };
    let both = ["127.0.0.1", "127.0.0.2"].map(|ip| format!("t1/{ip}:{port}"));
    assert_eq!(ways(&["--each-address"]), both);
    assert_eq!((blobs(&first), blobs(&second)), (3, 3));
    assert_eq!(ways(&["--each-address", "--tier", "t1"]), both);
    assert_eq!((blobs(&first), blobs(&second)), (3, 3));
    // A tier is filled once, wherever.
    assert_eq!(ways(&["--each-tier"]), ["t1"]);
    assert!(blobs(&first) + blobs(&second) >= 3);
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();

    // Without an agent the command asks DNS itself.
    assert_eq!(ways(&["--each-address"]), both);
    assert_eq!((blobs(&first), blobs(&second)), (3, 3));
}
