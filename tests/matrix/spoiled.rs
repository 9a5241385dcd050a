//! Both addresses of REPLICA fail in the same way with every layer: what is learned of one address, and by one layer, is not
//! learned again by the others of the pull (docs/failure-table.md, "Reputation").

use crate::Tests;
use crate::note;
use crate::plan::Fault;
use crate::scripted::{Held, REPLICA, Scripted};
use crate::sources::{Order, Strike};
use std::time::Duration;

pub(crate) const TESTS: Tests<Scripted> = &[
    (
        "after_wrong_bytes_in_every_layer_the_next_pull_is_good",
        after_wrong_bytes_in_every_layer_the_next_pull_is_good,
    ),
    ("every_layer_stalls", every_layer_stalls),
    ("every_layer_drips", every_layer_drips),
];

const LAYERS: [usize; 30] = [200_000; 30];
const MIDDLE: usize = 100_000;

fn strike_all(it: &mut Scripted, held: &Held, fault: Fault) {
    for (index, blob) in held.image.blobs.iter().take(LAYERS.len()).enumerate() {
        for source in REPLICA {
            it.control.tell(&Order::Strike(Strike {
                source,
                fault: Some(fault),
                ending: blob.digest.to_string(),
                blob: Some(index),
                at: MIDDLE,
                once: false,
            }));
        }
    }
}

fn after_wrong_bytes_in_every_layer_the_next_pull_is_good(it: &mut Scripted) {
    let held = it.hold(&LAYERS);
    strike_all(it, &held, Fault::CorruptByte);
    let (first, _) = it.pull(&held);
    assert!(!first.succeeded, "wrong bytes are not taken for right");
    // kubelet waits longer.
    std::thread::sleep(Duration::from_secs(2));
    let (second, asked) = it.pull(&held);
    it.assert_well(&second, &held);
    let at_replica = asked.iter().filter_map(|asked| asked.source);
    let at_replica = at_replica.filter(|source| REPLICA.contains(source));
    assert_eq!(at_replica.count(), 0, "{asked:#?}");
    let wrong = it.said(&["digest_mismatch:"]).len();
    note(format!("{wrong} layers had come with wrong bytes"));
}

/// How much longer than without a fault the pull takes that meets it in every layer.
fn costs(it: &mut Scripted, fault: Fault) -> Duration {
    let held = it.hold(&LAYERS);
    let (healthy, _) = it.pull(&held);
    it.assert_well(&healthy, &held);
    let held = it.hold(&LAYERS);
    strike_all(it, &held, fault);
    let (struck, _) = it.pull(&held);
    it.assert_well(&struck, &held);
    note(format!(
        "healthy {:.1} s, then {:.1} s",
        healthy.took.as_secs_f32(),
        struck.took.as_secs_f32()
    ));
    struck.took.saturating_sub(healthy.took)
}

fn every_layer_stalls(it: &mut Scripted) {
    let more = costs(it, Fault::Stall);
    assert!(more < Duration::from_secs(3), "{more:?}");
}

fn every_layer_drips(it: &mut Scripted) {
    let more = costs(it, Fault::Drip);
    assert!(more < Duration::from_secs(13), "{more:?}");
}
