//! One REPLICA address loses power: packets to and from it are dropped.

use crate::lab::{AgentOptions, Image, Lab, Place};
use crate::{assert_not_asked, pull_well};
use std::time::Duration;

/// What a pull may take longer than a healthy one. The goal is one second (the demonstration and
/// `make compare-containerd-alone` print the figure); a busy CI machine gets three times that.
const LIMIT: Duration = Duration::from_secs(3);

struct Before {
    lab: Lab,
    image: Image,
    /// The address that serves this image, and the other.
    preferred: Place,
    other: Place,
    healthy: Duration,
}

/// A healthy pull by a fresh agent, which tells which address it prefers; then everything is forgotten.
fn before() -> Before {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.start_agent(&AgentOptions::default());
    let healthy = pull_well(&lab, &image, &image.by_tag("docker.io"));
    let (preferred, other) = if lab.take_requests(Place::ReplicaA).is_empty() {
        (Place::ReplicaB, Place::ReplicaA)
    } else {
        (Place::ReplicaA, Place::ReplicaB)
    };
    lab.containerd().forget_images();
    lab.forget_requests();
    Before {
        lab,
        image,
        preferred,
        other,
        healthy,
    }
}

fn pull_again(before: &Before, what: &str) {
    let took = pull_well(
        &before.lab,
        &before.image,
        &before.image.by_tag("docker.io"),
    );
    let more = took.saturating_sub(before.healthy);
    println!(
        "{what}: {:.2} s, {:.2} s more than a healthy pull",
        took.as_secs_f32(),
        more.as_secs_f32()
    );
    assert!(
        more < LIMIT,
        "{what}: {more:?} more\n{}",
        before.lab.agent().log()
    );
    assert!(
        !before.lab.take_requests(before.other).is_empty(),
        "the other address served"
    );
    assert_not_asked(
        &before.lab,
        &[before.preferred, Place::Upstream, Place::Cdn],
    );
    before.lab.containerd().forget_images();
}

#[test]
fn a_new_agent_gets_round_a_dead_address() {
    let mut before = before();
    before.lab.stop_agent();
    before.lab.power_off(before.preferred);
    before.lab.start_agent(&AgentOptions::default());
    pull_again(&before, "first pull by a new agent with a dead address");
    pull_again(&before, "second pull");
}

#[test]
fn an_agent_with_open_connections_gets_round_the_address_that_dies() {
    let before = before();
    before.lab.power_off(before.preferred);
    pull_again(&before, "first pull after the power loss");
    pull_again(&before, "second pull");
}

#[test]
fn an_address_that_comes_back_serves_again() {
    let before = before();
    before.lab.power_off(before.preferred);
    pull_again(&before, "pull after the power loss");
    before.lab.power_off(before.other);
    before.lab.power_on(before.preferred);
    // Whether from the address that came back or from CORE: the pull succeeds and stays within the tiers.
    pull_well(
        &before.lab,
        &before.image,
        &before.image.by_tag("docker.io"),
    );
    assert_not_asked(&before.lab, &[Place::Upstream, Place::Cdn]);
    crate::lab::wait_until("the address serves again", Duration::from_secs(60), || {
        before.lab.containerd().forget_images();
        pull_well(
            &before.lab,
            &before.image,
            &before.image.by_tag("docker.io"),
        );
        if before.lab.take_requests(before.preferred).is_empty() {
            Err(before.lab.agent().log())
        } else {
            Ok(())
        }
    });
}
