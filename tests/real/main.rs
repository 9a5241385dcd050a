//! Pulls by the real containerd (and skopeo) through the agent, in the laboratory. Needs root; `make test-real`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and ends"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests and the demonstration use different parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;

mod doctor;
mod drop_ins;
mod faults;
mod last_resort;
mod other_clients;
mod own_death;
mod power_loss;
mod private_images;
mod served_by_replica;
mod without_agent;
mod wrong_bytes;

use lab::{Image, Lab, Place, Request};

/// A pull through the agent that must succeed: the image is whole, unpacked, and the very one that was made.
fn pull_well(lab: &Lab, image: &Image, reference: &str) -> std::time::Duration {
    let pull = lab.containerd().pull(reference);
    assert!(
        pull.succeeded,
        "the pull of {reference} failed after {:.1} s:\n{}\nthe agent's log:\n{}",
        pull.took.as_secs_f32(),
        pull.output,
        lab.agent().log()
    );
    let containerd = lab.containerd();
    assert!(
        containerd.is_complete(reference),
        "{reference} is not complete"
    );
    assert_eq!(
        containerd.digest_of(reference).as_deref(),
        Some(image.index_digest()),
        "another image than the one that was made"
    );
    pull.took
}

/// What a place was asked for and answered well.
fn served(requests: &[Request]) -> Vec<&Request> {
    requests
        .iter()
        .filter(|request| (200..300).contains(&request.status))
        .collect()
}

/// Asserts that nobody asked these places for anything.
fn assert_not_asked(lab: &Lab, places: &[Place]) {
    for place in places {
        let requests = lab.take_requests(*place);
        assert!(
            requests.is_empty(),
            "{place:?} was asked: {requests:#?}\nthe agent's log:\n{}",
            lab.agent().log()
        );
    }
}
