//! A fleet in paused time: many nodes with the real search, selection, attempt timing and health, at modelled addresses that
//! lose their power and come back (design H2–H5, P12). docs/fleet.md says what is modelled, and has the figures of a
//! run. `FLEET_NODES` makes the fleet larger (`make fleet`).

mod busy;
mod counts;
mod course;
mod network;
mod node;
mod pull;
mod report;
mod site;
mod world;

use counts::What;
use course::{ALL_BACK, ALL_LOST, END, ONE_BACK, ONE_LOST, ROLLOUT_IN_PEACE};
use report::{refused, sent_per_request};
use std::ops::Range;
use std::sync::atomic::Ordering;
use world::World;

/// The most requests per second, over ten seconds, that these addresses got together.
fn most(world: &World, names: &[&str], seconds: &Range<usize>) -> f64 {
    let counts: Vec<_> = names.iter().map(|name| &world.named(name).counts).collect();
    counts::most_of_ten(&counts, What::Request, seconds)
}

#[test]
fn lost_addresses_stampede_nobody() {
    let nodes: u32 =
        std::env::var("FLEET_NODES").map_or(1000, |text| text.parse().expect("a number"));
    let world = course::live(nodes, 20_261_121, END);
    println!("{}", report::tables(&world, nodes));
    let asked =
        |seconds: &Range<usize>| counts::most_of_ten(&[&world.requests], What::Request, seconds);
    let (core, all) = (["CORE a", "CORE b"], 0..END);

    // No request failed and nobody was overrun. Upstream is spared, but for the few manifests that waited for 3 s at the
    // moment of the worst loss.
    assert_eq!(world.requests.sum(What::Refused, &all), 0);
    assert_eq!(refused(&world, &all), 0, "an address was overrun");
    let lookups = world.lookups.load(Ordering::Relaxed);
    assert_eq!(lookups, 0, "an address was looked up, though all are known");
    let upstream = |seconds| world.named("upstream").counts.sum(What::Request, &seconds);
    let (moment, whole) = (upstream(ALL_LOST..ALL_LOST + 10), upstream(0..END));
    assert_eq!(moment, whole, "upstream was asked at another time");
    assert!(
        whole * 100 <= nodes.into(),
        "upstream was asked {whole} times"
    );

    // One REPLICA lost: its others take over, CORE does not notice.
    let one_lost = ONE_LOST..480;
    let at_core = core.map(|name| world.named(name).counts.sum(What::Request, &one_lost));
    let of_all = world.requests.sum(What::Request, &one_lost);
    assert!(
        at_core.iter().sum::<u64>() * 100 <= of_all,
        "{at_core:?} of {of_all}"
    );
    assert!(sent_per_request(&world, &one_lost) <= 1.01);

    // All lost in the middle of a rollout: CORE gets what containerd asks for, once, and what was under way again.
    let all_lost = 480..ONE_BACK;
    let (peak, due) = (most(&world, &core, &all_lost), asked(&all_lost));
    assert!(
        peak <= due * 1.1,
        "CORE got {peak}/s, containerd asked for {due}/s"
    );
    let in_peace = asked(&ROLLOUT_IN_PEACE);
    assert!(
        peak <= in_peace * 1.25,
        "{peak}/s; the same rollout in peace: {in_peace}/s"
    );
    let sent = sent_per_request(&world, &all_lost);
    assert!(sent <= 1.02, "{sent} requests sent for each");
    let longest = world.percentile(100, &all);
    assert!(longest.as_secs_f32() <= 5.0, "{longest:?} to a first byte");

    // One is back alone, and then a rollout comes: its share grows with the nodes that have found it.
    let first_moments = ONE_BACK..ONE_BACK + 10;
    let early = most(&world, &["REPLICA a"], &first_moments);
    let due = asked(&first_moments);
    assert!(early <= due / 2.0, "{early}/s of {due}/s");
    let a = world.named("REPLICA a");
    let busiest = a.counts.busiest(&(ONE_BACK..ALL_BACK));
    assert!(busiest <= a.kind.capacity, "{busiest} requests at once");
    for name in ["REPLICA b", "REPLICA c"] {
        let site = world.named(name);
        let busiest = site.counts.busiest(&(ALL_BACK..END));
        assert!(
            busiest <= site.kind.capacity,
            "{busiest} requests at once at {name}"
        );
    }
    assert_eq!(
        most(&world, &core, &(ALL_BACK + 90..END)),
        0.0,
        "CORE is left alone again"
    );

    probes_keep_to_their_budget(&world, nodes);
}

/// H2: at most 0.02 per second and node at a healthy address, 15 in ten minutes at an ejected one, and the two that find it
/// dead on a node that does not pull; and no beat in which the whole fleet asks at once.
fn probes_keep_to_their_budget(world: &World, nodes: u32) {
    let nodes = f64::from(nodes);
    for site in &world.sites {
        let (name, counts) = (site.kind.name, &site.counts);
        let (up, down) = match name {
            "upstream" => {
                assert_eq!(counts.sum(What::Probe, &(0..END)), 0, "upstream was probed");
                continue;
            }
            "REPLICA a" => (100..ONE_LOST, ONE_LOST..ONE_BACK),
            "REPLICA b" | "REPLICA c" => (100..ALL_LOST, ALL_LOST..ALL_BACK),
            _ => (100..END, END..END),
        };
        let mean = counts.mean(What::Probe, &up) / nodes;
        assert!(mean <= 0.02, "{name}: {mean} per second and node");
        let most = site.most_probes_in_ten_minutes(&down);
        assert!(
            most <= 15 + 2,
            "{name}: {most} probes of one node in ten minutes"
        );
        // At the loss a rollout has everybody look again after 5 to 7.5 s; at the return each node looks three times
        // within 30 s. Without the spread of the waits a fifth of the fleet keeps asking in one second, and at the return too.
        let share = |seconds| f64::from(counts.peak(What::Probe, &seconds)) / nodes;
        let at_the_loss = share(down.start..(down.start + 30).min(END));
        let later = share(100..down.start).max(share((down.start + 30).min(END)..END));
        assert!(
            at_the_loss <= 0.2,
            "{name}: {at_the_loss} of all nodes within one second"
        );
        assert!(
            later <= 0.12,
            "{name}: {later} of all nodes within one second"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_course() {
    let until = ALL_LOST + 60;
    let fingerprint = |seed| {
        let world = course::live(40, seed, until);
        let sites = world.sites.iter().map(|site| site.counts.fingerprint());
        sites
            .chain([world.requests.fingerprint()])
            .collect::<Vec<_>>()
    };
    assert_eq!(fingerprint(1), fingerprint(1));
    assert_ne!(fingerprint(1), fingerprint(2));
}
