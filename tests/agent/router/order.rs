//! Whose image it is: what strangers ask for, and what an outage hides, must not choose that.

use super::*;
use crate::support::Reply;

/// Every mapping is out of date at once.
pub(super) const OLD: &str = "ttl = \"1ms\"\nstale_while_revalidate = \"0s\"";

/// With the registries themselves behind the tiers.
pub(super) async fn direct(lab: &Lab, keys: &str, hub: &FakeRegistry, ghcr: &FakeRegistry) -> Node {
    let registry = |name: &str, at: &FakeRegistry| {
        let url = at.base_url();
        format!("[[registry]]\nname = \"{name}\"\nupstream = \"{url}\"\n")
    };
    let setup = lab.setup(keys);
    let setup = setup.and(&registry("docker.io", hub));
    let setup = setup.and(&registry("ghcr.io", ghcr));
    let home = tempfile::tempdir().unwrap();
    let text = setup.text(home.path());
    let text = text.replace("[direct]\nenabled = false\n", "");
    crate::node::write(&home.path().join("config.toml"), &text);
    Node::start_with_files(home).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_asks_for_first_decides_for_no_trusted_client() {
    let lab = Lab::new(false, true).await;
    let node = lab.setup(STRICT).start().await;
    let got = node.ask_as_stranger(&target("manifests/1"), &[]).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
    lab.hub
        .change_content(|content| content.add(AT_HUB, "1", &lab.image));
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_registry_denies_while_a_tier_is_out_lets_nobody_elses_image_in() {
    let words = [
        Reply::error(401, "UNAUTHORIZED", "authentication required"),
        Reply::error(403, "DENIED", "denied"),
        Reply::error(404, "NAME_UNKNOWN", "repository name not known"),
    ];
    for denied in words {
        let lab = Lab::new(true, true).await;
        let hub = FakeRegistry::builder().docker_hub().start().await;
        let ghcr = FakeRegistry::builder().ghcr().start().await;
        hub.set_fault_on(On::Registry, Fault::Reply(denied));
        let node = direct(&lab, STRICT, &hub, &ghcr).await;
        lab.hub.set_fault(Fault::CloseInsteadOfAnswer);
        let got = node.get(&target("manifests/1")).await;
        assert_eq!(got.status, 503, "{}", got.text());
        let why = "docker.io is placed before others";
        assert!(got.message().contains(why), "{}", got.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_image_moves_for_a_denial() {
    let lab = Lab::new(true, false).await;
    let hub = FakeRegistry::builder().docker_hub().start().await;
    let ghcr = FakeRegistry::builder().ghcr().start().await;
    let denied = Reply::error(401, "UNAUTHORIZED", "authentication required");
    hub.set_fault_on(On::Registry, Fault::Reply(denied));
    let node = direct(&lab, &format!("{STRICT}\n{OLD}"), &hub, &ghcr).await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "1", &lab.other));
    let gone = Reply::error(404, "NOT_FOUND", "artifact org/app:1 not found");
    let faults = [Fault::CloseInsteadOfAnswer, Fault::Reply(gone)];
    for fault in faults {
        lab.hub.set_fault_on(On::Manifests, fault);
        let got = node.get(&target("manifests/1")).await;
        assert_ne!(got.body, lab.other.top.body, "{}", got.text());
    }
    assert_eq!(node.count(EventName::MappingChanged), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_the_order_without_a_project_still_counts() {
    let lab = Lab::new(true, true).await;
    let setup = lab.setup(&format!("{STRICT}\n{OLD}"));
    let node = setup.start().await;
    let text = setup.text(node.home.path());
    let without = text.replace("\"docker.io\" = \"proxy-", "\"quay.io\" = \"proxy-");
    assert_ne!(text, without);
    let pulls = async |tag: &str| node.get(&target(&format!("manifests/{tag}"))).await;
    assert_eq!(pulls("1").await.body, lab.image.top.body);
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "2", &lab.other));
    crate::node::write(&node.config_file(), &without);
    node.signal(RawSignal::Hangup).await;
    node.event(EventName::ConfigReloaded).await;
    for tag in ["1", "2"] {
        let got = pulls(tag).await;
        assert_eq!(got.status, 503, "{tag}: {}", got.text());
    }
    assert_eq!(node.count(EventName::MappingChanged), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_strangers_leaves_no_project_out_for_trusted_clients() {
    let lab = Lab::new(true, true).await;
    let broken = Reply::error(500, "UNKNOWN", "internal server error");
    lab.hub.set_fault_on(On::Manifests, Fault::Reply(broken));
    let node = lab.setup("grace = \"5s\"").start().await;
    for tag in 0..6 {
        let tag = target(&format!("manifests/none-{tag}"));
        assert_eq!(node.ask_as_stranger(&tag, &[]).await.status, 503);
    }
    lab.hub.heal();
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_words_of_a_no_are_waited_for() {
    let lab = Lab::new(false, true).await;
    let slow = Fault::SlowFirstByte(Duration::from_millis(600));
    lab.hub.set_fault_on(On::Manifests, slow);
    let node = lab.setup(STRICT).start().await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_and_a_silent_registry_hold_no_place() {
    let lab = Lab::new(true, false).await;
    for tag in 0..20 {
        let tag = format!("known-{tag}");
        lab.hub
            .change_content(|content| content.add(AT_HUB, &tag, &lab.image));
    }
    let silent = Fault::SlowFirstByte(Duration::from_secs(60));
    lab.ghcr.set_fault_on(On::Manifests, silent);
    let node = lab.setup("").start().await;
    // These wait for ghcr.io's word, and leave.
    for tag in 0..20 {
        let mut client = crate::client::Client::connect_as_stranger(node.addr).await;
        let unknown = target(&format!("manifests/unknown-{tag}"));
        client.ask("GET", &unknown, &[]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // These are decided, and their rest is not waited for by others.
    let since = Instant::now();
    for tag in 0..20 {
        let known = target(&format!("manifests/known-{tag}"));
        let got = node.ask_as_stranger(&known, &[]).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_tags_is_looked_for_by_the_order_and_again() {
    let (image, other) = (Image::random(95, 1), Image::random(96, 1));
    let lab = Lab::new(false, false).await;
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "evil", &other));
    let hub = FakeRegistry::builder().docker_hub();
    let hub = hub.with_image("org/app", "7", &image).start().await;
    let ghcr = FakeRegistry::builder().ghcr();
    let ghcr = ghcr.with_image("org/app", "evil", &other).start().await;
    let node = direct(&lab, &format!("{STRICT}\n{OLD}"), &hub, &ghcr).await;
    let got = node.ask_as_stranger(&target("manifests/evil"), &[]).await;
    assert_eq!((got.status, &got.body), (200, &other.top.body));
    for got in [
        node.ask_as_stranger(&target("tags/list"), &[]).await,
        node.get(&target("tags/list")).await,
    ] {
        assert!(got.text().contains("\"7\""), "{}", got.text());
    }
    // The repository is deleted there.
    let missing = Reply::error(404, "NAME_UNKNOWN", "repository name not known");
    hub.set_fault_on(On::Registry, Fault::Reply(missing));
    // `ttl` is over by then.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let got = node.get(&target("tags/list")).await;
    assert!(got.text().contains("\"evil\""), "{}", got.text());
    let said = node.event(EventName::MappingChanged).await;
    assert_eq!(
        said.reason,
        "org/app: ghcr.io has it, and docker.io had it before"
    );
}
