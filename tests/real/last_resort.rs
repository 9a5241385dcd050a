//! All tiers are gone: upstream serves, or, where it may not be asked, the error says who was tried.

use crate::lab::{AgentOptions, Fault, Lab, Place};
use crate::{assert_not_asked, pull_well, served};

#[test]
fn with_all_tiers_refusing_the_image_comes_from_upstream() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    for place in Place::TIERS {
        lab.set_fault(place, Fault::Refused);
    }
    lab.start_agent(&AgentOptions::default());
    assert_upstream_serves(&lab, &image);
}

#[test]
fn with_all_tiers_without_power_the_image_comes_from_upstream() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    for place in Place::TIERS {
        lab.power_off(place);
    }
    lab.start_agent(&AgentOptions::default());
    assert_upstream_serves(&lab, &image);
    assert_not_asked(&lab, &Place::TIERS);
}

#[test]
fn with_all_tiers_answering_503_the_image_comes_from_upstream() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    for place in Place::TIERS {
        lab.set_fault(place, Fault::Status(503));
    }
    lab.start_agent(&AgentOptions::default());
    assert_upstream_serves(&lab, &image);
}

/// The agent itself asks upstream and follows its redirects: containerd has not turned to upstream on its own.
fn assert_upstream_serves(lab: &Lab, image: &crate::lab::Image) {
    lab.forget_requests();
    let reference = image.by_tag("docker.io");
    pull_well(lab, image, &reference);
    let manifests = lab.take_requests(Place::Upstream);
    let blobs = lab.take_requests(Place::Cdn);
    assert!(!served(&manifests).is_empty(), "{manifests:#?}");
    for layer in image.layers() {
        assert!(
            served(&blobs)
                .iter()
                .any(|request| request.uri.contains(layer.as_str())),
            "{layer} did not come from the CDN: {blobs:#?}"
        );
    }
    for request in manifests.iter().chain(&blobs) {
        assert!(
            !request.user_agent.starts_with("containerd/"),
            "containerd went round the agent: {request:?}\n{}",
            lab.agent().log()
        );
    }
    assert_eq!(lab.containerd().run(&reference), image.greeting());
}

#[test]
fn without_the_agent_containerd_goes_to_upstream() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.start_agent(&AgentOptions::default());
    lab.forget_requests();
    lab.stop_agent();
    let reference = image.by_tag("docker.io");
    let pull = lab.containerd().pull(&reference);
    assert!(pull.succeeded, "{}", pull.output);
    assert!(lab.containerd().is_complete(&reference));
    let requests = lab.take_requests(Place::Upstream);
    assert!(
        requests
            .iter()
            .any(|request| request.user_agent.starts_with("containerd/")),
        "{requests:#?}"
    );
}

#[test]
fn with_direct_off_the_error_names_every_source_tried() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.hosts_agent_only("docker.io");
    lab.set_fault(Place::ReplicaA, Fault::Status(503));
    lab.set_fault(Place::ReplicaB, Fault::Refused);
    lab.set_fault(Place::Core, Fault::Status(404));
    let options = AgentOptions {
        direct: false,
        ..AgentOptions::default()
    };
    lab.start_agent(&options);
    lab.forget_requests();
    let pull = lab.containerd().pull(&image.by_tag("docker.io"));
    assert!(!pull.succeeded, "{}", pull.output);
    assert!(pull.output.contains("503"), "{}", pull.output);

    // A new one: containerd 2 asks so often that REPLICA is ejected as a whole, and CORE's 404 is the word of all healthy tiers then.
    lab.start_agent(&options);
    let answer = lab.agent().get("/v2/library/app/manifests/1?ns=docker.io");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("headers and a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("the OCI error JSON");
    let message = body["errors"][0]["message"].as_str().expect("a message");
    println!("direct = false, all tiers down: {message}");
    for reason in [
        "replica/198.18.1.11:443 503",
        "replica/198.18.1.12:443 refused",
        "core/198.18.2.11:443 404",
    ] {
        assert!(message.contains(reason), "{reason} is not named: {message}");
    }
    assert!(
        message.len() <= 256 && !message.contains('\n'),
        "one short line: {message}"
    );
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}
