//! A project that goes away takes no image with it, and lets nobody else's image in.

use super::order::{OLD, direct};
use super::*;

/// Harbor says that it has no such project; then the project is not mapped any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_image_whose_project_goes_is_pulled_from_its_registry() {
    for (keys, restarts) in [("", false), (OLD, false), ("", true)] {
        let lab = Lab::new(false, true).await;
        let hub = FakeRegistry::builder().docker_hub().start().await;
        let ghcr = FakeRegistry::builder().ghcr();
        let ghcr = ghcr.with_image("org/app", "1", &lab.other).start().await;
        let mut node = direct(&lab, keys, &hub, &ghcr).await;
        assert_eq!(record_of(&node, "manifests/1").await.status, 200);
        // Another image of this name, which nobody may be given for the known one.
        lab.hub
            .change_content(|content| content.add(AT_HUB, "1", &lab.image));

        lab.ghcr.change(|it| it.project_missing = true);
        is_pulled(&node, &lab.other).await;

        ghcr_loses_its_project(&mut node, restarts).await;
        is_pulled(&node, &lab.other).await;
        assert_eq!(node.count(EventName::MappingChanged), 0);
    }
}

/// The registry itself may not be asked either: that is no "not found".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_image_that_no_source_is_left_for_is_not_taken_from_elsewhere() {
    for (keys, restarts) in [("", false), (OLD, false), (STRICT, false), ("", true)] {
        let lab = Lab::new(false, true).await;
        let mut node = lab.setup(keys).start().await;
        assert_eq!(record_of(&node, "manifests/1").await.status, 200);
        lab.hub
            .change_content(|content| content.add(AT_HUB, "1", &lab.image));
        let before = std::fs::read_to_string(node.config_file()).unwrap();
        ghcr_loses_its_project(&mut node, restarts).await;
        for method in ["GET", "HEAD"] {
            let got = node.ask(method, &target("manifests/1"), &[]).await;
            assert_eq!(got.status, 503, "{method} {keys}: {}", got.text());
        }
        let got = node.get(&target("manifests/1")).await;
        let why = "no tier serves ghcr.io and it may not be pulled directly";
        assert!(got.message().contains(why), "{}", got.message());
        assert_eq!(node.count(EventName::MappingChanged), 0);
        crate::node::write(&node.config_file(), &before);
        node.signal(RawSignal::Hangup).await;
        let since = Instant::now();
        while node.get(&target("manifests/1")).await.status != 200 {
            assert!(since.elapsed() < Duration::from_secs(15), "{keys}");
        }
        is_pulled(&node, &lab.other).await;
    }
}

async fn ghcr_loses_its_project(node: &mut Node, restarts: bool) {
    let text = std::fs::read_to_string(node.config_file()).unwrap();
    let gone = text.replace(
        "\"ghcr.io\" = \"proxy-ghcr-io\"",
        "\"quay.io\" = \"proxy-quay-io\"",
    );
    assert_ne!(text, gone);
    crate::node::write(&node.config_file(), &gone);
    if restarts {
        node.signal(RawSignal::Terminate).await;
        node.ended().await.unwrap();
        let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
        *node = Node::start_with_files(home).await;
    } else {
        node.signal(RawSignal::Hangup).await;
        node.event(EventName::ConfigReloaded).await;
    }
}

/// All of it, from ghcr.io.
async fn is_pulled(node: &Node, image: &Image) {
    let (top, layer) = (&image.top, image.layer());
    for (what, body) in [
        ("manifests/1".to_owned(), &top.body),
        (format!("manifests/{}", top.digest), &top.body),
        (format!("blobs/{}", layer.digest), &layer.body),
    ] {
        let got = node.get(&target(&what)).await;
        assert_eq!(
            (got.status, &got.body),
            (200, body),
            "{what}: {}",
            got.text()
        );
        let registry = node.record(&got).await.registry;
        assert_eq!(registry, Some("ghcr.io".parse().unwrap()), "{what}");
    }
}
