//! The normal case: everything comes from REPLICA, once.

use crate::lab::{AgentOptions, Image, Lab, Place, Request};
use crate::{assert_not_asked, pull_well, served};

const ELSEWHERE: [Place; 4] = [Place::Core, Place::Upstream, Place::Cdn, Place::Private];

fn healthy() -> (Lab, Image) {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.start_agent(&AgentOptions::default());
    lab.forget_requests();
    (lab, image)
}

fn asked_of_replica(lab: &Lab) -> Vec<Request> {
    let mut requests = lab.take_requests(Place::ReplicaA);
    requests.extend(lab.take_requests(Place::ReplicaB));
    requests
}

fn answers_for(requests: &[Request], digest: &str) -> usize {
    served(requests)
        .iter()
        .filter(|request| request.method == "GET" && request.uri.ends_with(digest))
        .count()
}

#[test]
fn a_pull_by_tag_comes_from_replica_alone() {
    let (lab, image) = healthy();
    let reference = image.by_tag("docker.io");
    pull_well(&lab, &image, &reference);
    let requests = asked_of_replica(&lab);
    for request in &requests {
        let path = "/v2/proxy-docker-io/library/app/";
        assert!(
            request.uri.starts_with(path),
            "{request:?} is not below {path}"
        );
        assert_eq!(request.status, 200, "{request:?}");
    }
    for blob in image
        .layers()
        .iter()
        .map(String::as_str)
        .chain([image.config_digest()])
    {
        assert_eq!(answers_for(&requests, blob), 1, "{blob} in {requests:#?}");
    }
    assert_eq!(
        answers_for(&requests, image.manifest_digest()),
        1,
        "{requests:#?}"
    );
    assert_not_asked(&lab, &ELSEWHERE);
    assert_eq!(lab.containerd().run(&reference), image.greeting());
}

#[test]
fn a_pull_by_digest_comes_from_replica_alone() {
    let (lab, image) = healthy();
    pull_well(&lab, &image, &image.by_digest("docker.io"));
    let requests = asked_of_replica(&lab);
    assert!(
        answers_for(&requests, image.index_digest()) >= 1,
        "{requests:#?}"
    );
    for layer in image.layers() {
        assert_eq!(answers_for(&requests, layer), 1, "{layer} in {requests:#?}");
    }
    assert_not_asked(&lab, &ELSEWHERE);
}

#[test]
fn every_platform_of_an_image_comes_from_replica() {
    let (lab, image) = healthy();
    let reference = image.by_tag("docker.io");
    let pull = lab.containerd().pull_with(&reference, &["--all-platforms"]);
    assert!(pull.succeeded, "{}\n{}", pull.output, lab.agent().log());
    // The index; a manifest, a configuration and a greeting per platform; two layers that both share.
    assert_eq!(lab.containerd().content().len(), 1 + 2 * 3 + 2);
    assert!(!asked_of_replica(&lab).is_empty());
    assert_not_asked(&lab, &ELSEWHERE);
}

#[test]
fn a_second_pull_stays_with_the_address_that_answered() {
    let (lab, image) = healthy();
    pull_well(&lab, &image, &image.by_tag("docker.io"));
    let first = [Place::ReplicaA, Place::ReplicaB].map(|place| lab.take_requests(place).len());
    assert!(
        first.contains(&0),
        "one address served the whole image: {first:?}"
    );
    lab.containerd().forget_images();
    pull_well(&lab, &image, &image.by_tag("docker.io"));
    let second = [Place::ReplicaA, Place::ReplicaB].map(|place| lab.take_requests(place).len());
    assert_eq!(
        first.map(|count| count == 0),
        second.map(|count| count == 0)
    );
}

#[test]
fn the_answer_says_who_served_it() {
    let (lab, _image) = healthy();
    let answer = lab
        .agent()
        .get("/v2/library/app/manifests/1?ns=docker.io")
        .to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let from_a = answer.contains("x-harbor-pilot-served-by: replica/198.18.1.11:443\r\n");
    let from_b = answer.contains("x-harbor-pilot-served-by: replica/198.18.1.12:443\r\n");
    assert!(from_a || from_b, "{answer}");
    assert!(answer.contains("x-harbor-pilot-request-id: "), "{answer}");
}

#[test]
fn status_and_explain_tell_the_way() {
    let (lab, _image) = healthy();
    let status = lab.agent().command(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(
        status.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&status.stderr)
    );
    for word in [
        "replica",
        "core",
        "198.18.1.11",
        "198.18.1.12",
        "198.18.2.11",
    ] {
        assert!(
            text.contains(word),
            "status does not mention {word}:\n{text}"
        );
    }
    let explain = lab.agent().command(&["explain", "docker.io/library/app:1"]);
    let text = String::from_utf8_lossy(&explain.stdout).into_owned();
    assert_eq!(
        explain.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&explain.stderr)
    );
    for url in [
        "https://replicas.lab.example/v2/proxy-docker-io/library/app/manifests/1",
        "https://core.lab.example/v2/proxy-docker-io/library/app/manifests/1",
        "https://registry.lab.example/v2/library/app/manifests/1",
    ] {
        assert!(text.contains(url), "explain does not show {url}:\n{text}");
    }
}

#[test]
fn an_address_that_left_dns_is_not_asked_again() {
    let (mut lab, image) = healthy();
    pull_well(&lab, &image, &image.by_tag("docker.io"));
    let (left, stayed) = if lab.take_requests(Place::ReplicaA).is_empty() {
        (Place::ReplicaB, Place::ReplicaA)
    } else {
        (Place::ReplicaA, Place::ReplicaB)
    };
    lab.set_dns("replicas.lab.example", &[stayed]);
    let address = left.address().to_string();
    crate::lab::wait_until(
        "the agent follows DNS",
        std::time::Duration::from_secs(30),
        || {
            let status = lab.agent().command(&["explain", "docker.io/library/app:1"]);
            let text = String::from_utf8_lossy(&status.stdout).into_owned();
            if text.contains(&address) {
                Err(text)
            } else {
                Ok(())
            }
        },
    );
    lab.forget_requests();
    lab.containerd().forget_images();
    pull_well(&lab, &image, &image.by_tag("docker.io"));
    assert_not_asked(&lab, &[left]);
    assert!(!lab.take_requests(stayed).is_empty());
}
