//! The same power loss with and without the agent, measured in one run.

use crate::lab::{AgentOptions, Lab, Place};
use std::time::Duration;

/// Prints how long pulls take while the first mirror is dead. Takes some minutes.
pub(crate) fn measure() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    let reference = image.by_tag("docker.io");
    let pull = |lab: &Lab, who: &str| -> Option<Duration> {
        let pull = lab.containerd().pull(&reference);
        let took = pull.took.as_secs_f32();
        if pull.succeeded {
            println!("{who}: {took:.2} s");
            lab.containerd().forget_images();
            return Some(pull.took);
        }
        println!("{who}: gave up after {took:.2} s\n{}", pull.output);
        None
    };

    println!("containerd alone: REPLICA a, REPLICA b, CORE and upstream in its hosts.toml");
    lab.hosts_without_agent();
    let alone_healthy = pull(&lab, "  healthy");
    lab.power_off(Place::ReplicaA);
    let alone_dead = pull(&lab, "  REPLICA a without power");
    lab.power_on(Place::ReplicaA);

    println!("through the agent");
    lab.hosts_through_agent();
    lab.start_agent(&AgentOptions::default());
    lab.forget_requests();
    let agent_healthy = pull(&lab, "  healthy");
    let preferred = if lab.take_requests(Place::ReplicaA).is_empty() {
        Place::ReplicaB
    } else {
        Place::ReplicaA
    };
    lab.stop_agent();
    lab.power_off(preferred);
    lab.start_agent(&AgentOptions::default());
    let agent_first = pull(
        &lab,
        "  new agent, its preferred address without power, first pull",
    );
    let agent_next = pull(&lab, "  next pull");
    lab.power_on(preferred);

    let more = |dead: Option<Duration>, healthy: Option<Duration>| match (dead, healthy) {
        (Some(dead), Some(healthy)) => {
            format!("{:.2} s more", dead.saturating_sub(healthy).as_secs_f32())
        }
        _ => "no image".to_owned(),
    };
    println!("\na dead address costs");
    println!("  containerd alone: {}", more(alone_dead, alone_healthy));
    println!(
        "  through the agent, first pull: {}",
        more(agent_first, agent_healthy)
    );
    println!(
        "  through the agent, next pull: {}",
        more(agent_next, agent_healthy)
    );
}
