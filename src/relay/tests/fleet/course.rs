//! What happens to a fleet, minute by minute.

use super::node::Node;
use super::world::{Dice, World};
use crate::lifecycle;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A node pulls so often on average, besides rollouts.
const PULLS_EVERY: Duration = Duration::from_secs(150);

/// A rollout has every node pull the same image within this.
const ROLLOUT: Duration = Duration::from_secs(20);

/// Rollouts begin at these seconds: in peace, at the moment of the worst loss, and at the return.
const ROLLOUTS: [u64; 3] = [120, 480, 1130];

/// REPLICA a loses its power.
pub(super) const ONE_LOST: usize = 300;
/// REPLICA b and c as well, in the middle of a rollout.
pub(super) const ALL_LOST: usize = 485;
/// REPLICA a is back.
pub(super) const ONE_BACK: usize = 1115;
/// REPLICA b and c as well.
pub(super) const ALL_BACK: usize = 1320;
/// All is over.
pub(super) const END: usize = 1500;

/// Seconds with a name.
pub(super) const PHASES: [(&str, Range<usize>); 9] = [
    ("a rollout in peace", ROLLOUT_IN_PEACE),
    ("usual load", 180..ONE_LOST),
    ("REPLICA a lost, 10 s", ONE_LOST..ONE_LOST + 10),
    ("REPLICA a lost, later", ONE_LOST + 10..480),
    ("all REPLICAs lost in a rollout", 480..515),
    ("all REPLICAs lost, later", 540..ONE_BACK),
    ("REPLICA a back, then a rollout", ONE_BACK..1170),
    ("REPLICA a back, later", 1200..ALL_BACK),
    ("all back", ALL_BACK..END),
];

/// What the others are compared with.
pub(super) const ROLLOUT_IN_PEACE: Range<usize> = 120..150;

/// Lives through all of it, or the first seconds, as fast as the machine can.
pub(super) fn live(nodes: u32, seed: u64, until: usize) -> Arc<World> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(run(nodes, seed, until))
}

async fn run(nodes: u32, seed: u64, until: usize) -> Arc<World> {
    let (began, world) = (Instant::now(), World::new(nodes));
    let mut dice = Dice(seed);
    for index in 0..nodes {
        let node = Node::start(&world, index, dice.next());
        node.clone().keep_busy(PULLS_EVERY, Dice(dice.next()));
        for (number, at) in ROLLOUTS.into_iter().enumerate() {
            let (node, image) = (node.clone(), world.rolled_out(number));
            let at = began + Duration::from_secs(at) + ROLLOUT.mul_f64(dice.fraction());
            lifecycle::spawn_detached("a rollout", async move {
                sleep_until(at).await;
                node.pull(image).await;
            });
        }
    }
    let [a, b, c] = ["REPLICA a", "REPLICA b", "REPLICA c"].map(|name| world.named(name).clone());
    let at = |second: usize| sleep_until(began + Duration::from_secs(second.min(until) as u64));
    at(ONE_LOST).await;
    a.power_off();
    at(ALL_LOST).await;
    b.power_off();
    c.power_off();
    at(ONE_BACK).await;
    a.power_on();
    at(ALL_BACK).await;
    b.power_on();
    c.power_on();
    at(END).await;
    world
}
