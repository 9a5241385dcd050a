//! A private image for which the agent has no credentials: containerd pulls it with its own.

use crate::lab::{AgentOptions, Lab, PRIVATE_USER, Place};

const REGISTRY: &str = "private.lab.example";

#[test]
fn containerd_pulls_a_private_image_with_its_own_credentials() {
    let mut lab = Lab::start();
    let image = lab.publish_private("team/secret");
    lab.start_agent(&AgentOptions::default());
    lab.forget_requests();
    let reference = image.by_tag(REGISTRY);
    let user = format!("{}:{}", PRIVATE_USER.0, PRIVATE_USER.1);
    let pull = lab.containerd().pull_with(&reference, &["--user", &user]);
    assert!(pull.succeeded, "{}\n{}", pull.output, lab.agent().log());
    assert!(lab.containerd().is_complete(&reference));
    assert_eq!(
        lab.containerd().digest_of(&reference).as_deref(),
        Some(image.index_digest())
    );

    let requests = lab.take_requests(Place::Private);
    let (by_containerd, by_agent): (Vec<_>, Vec<_>) = requests
        .iter()
        .partition(|request| request.user_agent.starts_with("containerd/"));
    assert!(
        by_containerd.iter().any(|request| request.status == 200),
        "{requests:#?}"
    );
    assert!(
        !by_agent.is_empty(),
        "the agent has asked first: {requests:#?}"
    );
    for request in by_agent {
        assert_eq!(
            request.status, 401,
            "the agent has no credentials: {request:?}"
        );
    }
    assert!(
        !lab.agent().log().contains(PRIVATE_USER.1),
        "the agent logged a password"
    );
}

#[test]
fn a_denial_is_answered_404_without_a_challenge() {
    let mut lab = Lab::start();
    lab.publish_private("team/secret");
    lab.start_agent(&AgentOptions::default());
    let answer = lab
        .agent()
        .get(&format!("/v2/team/secret/manifests/1?ns={REGISTRY}"));
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("www-authenticate"),
        "{answer}"
    );
}
