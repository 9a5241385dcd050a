//! One node of the fleet whose addresses are all busy (design P12): 16 requests make an address loaded, and a request waits
//! up to 2 s for a place at any of them.

use super::node::Node;
use super::world::{Dice, Image, World};
use crate::cache::Trust;
use crate::relay::candidates::Candidates;
use crate::relay::reputation::Subject;
use crate::topology::InFlight;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// So many requests at every address whose name begins so.
fn occupy(node: &Node, names: &[&str], requests: usize) -> Vec<InFlight> {
    let snapshot = node.parts.snapshots.borrow().clone();
    let endpoints = snapshot.sources.iter().flat_map(|state| &state.endpoints);
    let wanted = endpoints.filter(|state| names.contains(&state.id.source.label()));
    wanted
        .flat_map(|state| (0..requests).map(|_| state.gauges.enter(Trust::Trusted)))
        .collect()
}

fn candidates(node: &Node, image: &Image) -> Candidates {
    let subject = Subject::new(&image.route, None, Trust::Trusted);
    Candidates::new(&node.parts, image.route.clone(), subject, None)
}

async fn waits(world: &World, node: &Arc<Node>) -> Duration {
    let image = world.image(&mut Dice(1));
    let mut candidates = candidates(node, &image);
    let began = Instant::now();
    candidates.wait_while_all_are_loaded(&node.parts).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_place_and_not_for_ever() {
    const ALL: [&str; 3] = ["replica", "core", "upstream"];
    let world = World::new(1);
    let node = Node::start(&world, 0, 1);
    let mut snapshots = node.parts.snapshots.clone();
    let known = snapshots.wait_for(|snapshot| !snapshot.sources.is_empty());
    drop(known.await.unwrap());
    let seconds = Duration::from_secs;

    assert_eq!(waits(&world, &node).await, Duration::ZERO, "nobody is busy");
    {
        let _busy = occupy(&node, &ALL, 15);
        assert_eq!(
            waits(&world, &node).await,
            Duration::ZERO,
            "15 are not many"
        );
    }
    {
        let _busy = occupy(&node, &["replica", "core"], 16);
        let waited = waits(&world, &node).await;
        assert_eq!(waited, Duration::ZERO, "upstream has a place");
    }
    {
        let _busy = occupy(&node, &ALL, 16);
        assert_eq!(waits(&world, &node).await, seconds(2), "then more than 16");
    }
    {
        let mut busy = occupy(&node, &ALL, 16);
        let leaving = async {
            sleep(seconds(1)).await;
            busy.pop();
        };
        let (waited, ()) = tokio::join!(waits(&world, &node), leaving);
        assert!(
            waited >= seconds(1) && waited < Duration::from_millis(1100),
            "one place became free after a second: {waited:?}"
        );
    }
    {
        let _busy = occupy(&node, &ALL, 64);
        assert_eq!(waits(&world, &node).await, seconds(2));
        let image = world.image(&mut Dice(1));
        let mut candidates = candidates(&node, &image);
        assert!(
            candidates.more(&node.parts, Instant::now()),
            "all are full: asked all the same"
        );
    }
}
