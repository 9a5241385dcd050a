//! Tests of topology/select.

mod held;
mod world;

use super::super::Failure;
use super::*;
use proptest::prelude::*;
use std::net::SocketAddr;
use world::*;

#[test]
fn two_of_a_tier_then_the_next_then_the_rest_then_upstream() {
    let world = World::new(&[
        (tier("replica"), (1..=4).map(v4).collect()),
        (tier("core"), (11..=13).map(v4).collect()),
        (upstream(), vec![v4(21), v4(22)]),
    ]);
    let candidates = world.select("docker.io/library/nginx");
    let expected = [
        "replica", "replica", "core", "core", "replica", "replica", "upstream", "upstream", "core",
    ];
    assert_eq!(labels(&candidates), expected, "six of tiers, then upstream");
}

#[test]
fn the_hash_spreads_repositories_and_is_fixed() {
    let world = World::new(&[(tier("replica"), (1..=4).map(v4).collect())]);
    let mut first = [0_u32; 5];
    for number in 0..4000 {
        let candidates = world.select(&format!("docker.io/library/image-{number}"));
        first[usize::from(addresses(&candidates)[0].1)] += 1;
    }
    for address in 1..=4 {
        assert!((800..1200).contains(&first[address]), "{first:?}");
    }
    // Fixed for ever: a changed hash would move every repository of a fleet to another cache.
    assert_eq!(
        rendezvous("docker.io/library/nginx", v4(1)),
        5_856_780_040_244_052_772
    );
    let moved = |removed: u8| {
        let fewer: Vec<_> = (1..=4).filter(|n| *n != removed).map(v4).collect();
        let fewer = World::new(&[(tier("replica"), fewer)]);
        (0..1000)
            .filter(|number| {
                let key = format!("docker.io/library/image-{number}");
                let before = world.select(&key)[0].endpoint.address;
                before != v4(removed) && before != fewer.select(&key)[0].endpoint.address
            })
            .count()
    };
    assert_eq!(moved(3), 0, "only the removed address's repositories move");
}

#[test]
fn the_less_loaded_of_two_goes_first_and_latency_breaks_ties() {
    let mut world = World::new(&[(tier("replica"), (1..=4).map(v4).collect())]);
    let key = "docker.io/library/nginx";
    let unloaded = World::new(&[(tier("replica"), (1..=4).map(v4).collect())]).select(key);
    let order: Vec<_> = unloaded.iter().map(|c| c.endpoint.address).collect();
    world.load(&tier("replica"), order[0], 2);
    let now = addresses(&world.select(key));
    assert_eq!(now[0], addresses(&unloaded)[1]);
    assert_eq!(now[1], addresses(&unloaded)[0]);
    world.load(&tier("replica"), order[1], 2);
    world.state(&tier("replica"), order[0]).latency = Some(Duration::from_millis(9));
    world.state(&tier("replica"), order[1]).latency = Some(Duration::from_millis(3));
    // The third is idle, but not one of the two.
    assert_eq!(world.select(key)[0].endpoint.address, order[1]);
}

#[test]
fn sticky_and_learned_lead_within_their_tier_only() {
    let world = World::new(&[
        (tier("replica"), (1..=4).map(v4).collect()),
        (tier("core"), (11..=13).map(v4).collect()),
    ]);
    for last in 1..=4 {
        let sticky = endpoint(&tier("replica"), v4(last));
        let candidates = world.select_with("k", Some(&sticky), None, &[]);
        assert_eq!(candidates[0].endpoint, sticky);
        let learned = endpoint(&tier("replica"), v4(5 - last));
        let candidates = world.select_with("k", Some(&sticky), Some(&learned), &[]);
        assert_eq!(candidates[0].endpoint, learned);
        assert_eq!(candidates[1].endpoint, sticky);
    }
    let sticky = endpoint(&tier("core"), v4(13));
    let candidates = world.select_with("k", Some(&sticky), None, &[]);
    assert_eq!(labels(&candidates)[..2], ["replica", "replica"]);
    assert_eq!(candidates[2].endpoint, sticky);
}

#[test]
fn families_take_turns() {
    let world = World::new(&[(
        tier("replica"),
        [1, 2, 3]
            .map(v4)
            .into_iter()
            .chain([1, 2].map(v6))
            .collect(),
    )]);
    for number in 0..50 {
        let candidates = world.select(&format!("docker.io/library/image-{number}"));
        let is_v4 = |at: usize| candidates[at].endpoint.address.is_ipv4();
        assert_ne!(is_v4(0), is_v4(1), "{:?}", addresses(&candidates));
        assert_ne!(is_v4(1), is_v4(2), "{:?}", addresses(&candidates));
    }
}

#[test]
fn what_is_unwell_comes_last_and_in_order() {
    let mut world = World::new(&[
        (tier("replica"), (1..=5).map(v4).collect()),
        (tier("core"), vec![v4(11)]),
        (upstream(), vec![v4(21)]),
    ]);
    let replica = tier("replica");
    world.eject(&replica, v4(1), 3);
    world.suspect(&replica, v4(2));
    world.load(&replica, v4(3), 16);
    world.state(&replica, v4(4)).lowered = true;
    world.eject(&tier("core"), v4(11), 1);
    let name = |n: &str| n.to_owned();
    let expected = [
        (name("replica"), 5, Why::Healthy),
        (name("replica"), 4, Why::Healthy),
        (name("upstream"), 21, Why::Healthy),
        (name("replica"), 3, Why::Loaded),
        (name("replica"), 2, Why::Suspect),
        (name("replica"), 1, Why::FailOpen),
        (name("core"), 11, Why::FailOpen),
    ];
    assert_eq!(addresses(&world.select("k")), expected);
}

#[test]
fn whom_asking_means_waiting() {
    let mut world = World::new(&[(tier("replica"), (1..=6).map(v4).collect())]);
    let replica = tier("replica");
    let causes = [
        Failure::Refused,
        Failure::ServerError,
        Failure::ConnectTimeout,
        Failure::Timeout,
    ];
    for (last, cause) in (1..).zip(causes) {
        let until = world.now + Duration::from_secs(5);
        world.state(&replica, v4(last)).status = EndpointStatus::Ejected {
            until,
            cause,
            strikes: 1,
        };
    }
    world.suspect(&replica, v4(5));
    let make_wait = |world: &World| {
        let selected = world.select("k").into_iter();
        let silent = selected.filter(|one| one.makes_wait);
        let mut silent: Vec<_> = silent.map(|one| one.endpoint.address).collect();
        silent.sort();
        silent
    };
    assert_eq!(make_wait(&world), [v4(3), v4(4), v4(5)]);
    // Who serves is there.
    let now = world.now;
    for last in [3, 5] {
        world.state(&replica, v4(last)).gauges.serves(now);
    }
    assert_eq!(make_wait(&world), [v4(4)]);
    // Where all are full they are selected, and asking them means waiting.
    for last in 1..=6 {
        world.load(&replica, v4(last), 64);
    }
    assert_eq!(make_wait(&world).len(), 6);
}

#[test]
fn full_addresses_are_left_out_unless_all_are() {
    let mut world = World::new(&[
        (tier("replica"), vec![v4(1), v4(2)]),
        (upstream(), vec![v4(21)]),
    ]);
    world.load(&tier("replica"), v4(1), 64);
    world.load(&tier("replica"), v4(2), 63);
    let left = addresses(&world.select("k"));
    let expected = [
        ("upstream".to_owned(), 21, Why::Healthy),
        ("replica".to_owned(), 2, Why::Loaded),
    ];
    assert_eq!(left, expected);
    world.load(&tier("replica"), v4(2), 1);
    world.load(&upstream(), v4(21), 64);
    assert_eq!(world.select("k").len(), 3);
    // All that were not tried are full: they are offered all the same.
    let tried = Vec::from([endpoint(&upstream(), v4(21))]);
    assert_eq!(world.select_with("k", None, None, &tried).len(), 2);
}

#[test]
fn probation_admits_one_request_at_a_time() {
    let mut world = World::new(&[(tier("replica"), (1..=4).map(v4).collect())]);
    let replica = tier("replica");
    for last in [2, 3] {
        let status = EndpointStatus::Probation { successes: 0 };
        world.state(&replica, v4(last)).status = status;
    }
    let candidates = addresses(&world.select("k"));
    assert_eq!(candidates[0].2, Why::Probation);
    assert_eq!(candidates[1].2, Why::Healthy);
    assert_eq!(candidates[3].2, Why::Probation, "only one is tried at once");
    world.load(&replica, v4(2), 1);
    world.load(&replica, v4(3), 1);
    let why: Vec<_> = world.select("k").iter().map(|c| c.why).collect();
    assert_eq!(why[..2], [Why::Healthy, Why::Healthy]);
    assert_eq!(why[2..], [Why::Probation, Why::Probation]);
}

#[test]
fn slow_start_grows_the_share() {
    let mut world = World::new(&[(tier("replica"), vec![v4(1), v4(2)])]);
    let replica = tier("replica");
    world.state(&replica, v4(1)).readmitted = Some(world.now);
    let readmitted = world.now;
    let sticky = endpoint(&replica, v4(1));
    let targets = targets();
    let mut share_after = |age: u64| {
        world.now = readmitted + Duration::from_secs(age);
        (0..1000_u64)
            .filter(|number| {
                let request = Selection {
                    targets: &targets,
                    key: "k",
                    sticky: Some(&sticky),
                    learned_at: None,
                    first: None,
                    held_back: &[],
                    limits: LIMITS,
                    is_after_no: false,
                    trust: Trust::Trusted,
                };
                let random = mix(*number + 1);
                select(&request, &world.snapshot, world.now, random)[0].endpoint == sticky
            })
            .count()
    };
    assert_eq!(share_after(0), 0);
    assert!((200..300).contains(&share_after(7)));
    assert!((450..550).contains(&share_after(15)));
    assert_eq!(share_after(30), 1000);
}

#[derive(Clone, Debug)]
struct Anything {
    status: u8,
    lowered: bool,
    suspect: bool,
    requests: u32,
    excluded: bool,
    ipv6: bool,
    readmitted: bool,
}

fn anything() -> impl Strategy<Value = Anything> {
    let requests = prop_oneof![Just(0), Just(1), 14_u32..18, 62_u32..66];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (0_u8..3, requests, flags, 0_u8..4).prop_map(
        |(status, requests, (lowered, ipv6, readmitted, suspect), excluded)| Anything {
            status,
            lowered,
            suspect,
            requests,
            excluded: excluded == 0,
            ipv6,
            readmitted,
        },
    )
}

proptest! {
    /// Whatever the snapshot says: every address that is neither excluded nor full appears exactly once, and
    /// whatever was not tried yet leaves at least one candidate.
    #[test]
    fn is_a_permutation_and_never_strands(
        endpoints in proptest::collection::vec(
            proptest::collection::vec(anything(), 0..6), 3),
        random in any::<u64>(),
    ) {
        let address = |at: usize, target: usize, ipv6: bool| {
            let last = u8::try_from(target * 10 + at + 1).unwrap();
            if ipv6 { v6(last.into()) } else { v4(last) }
        };
        let targets = targets();
        let sources: Vec<_> = targets.iter().enumerate().map(|(target, id)| {
            let all = endpoints[target].iter().enumerate();
            (id.clone(), all.map(|(at, any)| address(at, target, any.ipv6)).collect())
        }).collect();
        let mut world = World::new(&sources);
        let (mut expected, mut full, mut excluded) = (vec![], vec![], vec![]);
        for (target, id) in targets.iter().enumerate() {
            for (at, any) in endpoints[target].iter().enumerate() {
                let address = address(at, target, any.ipv6);
                match any.status {
                    0 => {}
                    1 => world.eject(id, address, 1),
                    _ => {
                        let status = EndpointStatus::Probation { successes: 0 };
                        world.state(id, address).status = status;
                    }
                }
                let readmitted = any.readmitted.then_some(world.now);
                let state = world.state(id, address);
                state.lowered = any.lowered;
                state.readmitted = readmitted;
                if any.suspect {
                    world.suspect(id, address);
                }
                world.load(id, address, any.requests);
                let name = endpoint(id, address);
                if any.excluded {
                    excluded.push(HeldBack::endpoint(&name, Effect::Never));
                } else if any.requests >= LIMITS.per_address {
                    full.push(name);
                } else {
                    expected.push(name);
                }
            }
        }
        if expected.is_empty() {
            expected = full;
        }
        let request = Selection {
            targets: &targets,
            key: "docker.io/library/nginx",
            sticky: None,
            learned_at: None,
            first: None,
            held_back: &excluded,
            limits: LIMITS,
            is_after_no: false,
            trust: Trust::Trusted,
        };
        let candidates = select(&request, &world.snapshot, world.now, random);
        let mut got: Vec<_> = candidates.iter().map(|c| c.endpoint.clone()).collect();
        // Fail open is the last resort.
        let first_ejected = candidates.iter().position(|c| c.why == Why::FailOpen);
        let last_other = candidates.iter().rposition(|c| c.why != Why::FailOpen);
        if let (Some(ejected), Some(other)) = (first_ejected, last_other) {
            prop_assert!(other < ejected);
        }
        let again = select(&request, &world.snapshot, world.now, random);
        prop_assert_eq!(
            got.clone(),
            again.iter().map(|c| c.endpoint.clone()).collect::<Vec<_>>()
        );
        got.sort();
        expected.sort();
        prop_assert_eq!(got, expected);
    }
}
