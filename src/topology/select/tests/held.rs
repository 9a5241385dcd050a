//! What is known against addresses, and who has just served.

use super::*;

#[test]
fn what_is_known_against_addresses_orders_what_health_and_load_leave() {
    let mut world = World::new(&[
        (tier("replica"), vec![v4(1), v4(2)]),
        (tier("core"), vec![v4(3), v4(6)]),
        (upstream(), vec![v4(4), v4(5)]),
    ]);
    world.eject(&tier("core"), v4(6), 1);
    let last = |endpoint: &EndpointId| match endpoint.address {
        SocketAddr::V4(v4) => v4.ip().octets()[3],
        SocketAddr::V6(_) => 0,
    };
    type Known<'a> = (&'a str, Option<u8>, Effect);
    let asked = |held: &[Known<'_>], first: Option<&EndpointId>, is_after_no| -> Vec<u8> {
        let held = held.iter().map(|(source, address, effect)| HeldBack {
            source: match *source {
                "upstream" => upstream(),
                name => tier(name),
            },
            address: address.map(v4),
            effect: *effect,
        });
        let held: Vec<_> = held.collect();
        let request = Selection {
            targets: &targets(),
            key: "k",
            sticky: None,
            learned_at: None,
            first,
            held_back: &held,
            limits: LIMITS,
            is_after_no,
            trust: Trust::Trusted,
        };
        let selected = select(&request, &world.snapshot, world.now, 0);
        selected.iter().map(|one| last(&one.endpoint)).collect()
    };
    let ordered = |held: &[Known<'_>], first| asked(held, first, false);
    let [a, b, core, c, d, ejected] = ordered(&[], None)[..] else {
        panic!("six addresses");
    };
    assert_eq!((core, ejected), (3, 6));
    let behind = |source, address| (source, Some(address), Effect::Behind);
    let (of_a, of_b) = (behind("replica", a), behind("replica", b));
    let replica = |effect| ("replica", None, effect);
    let of_core = ("core", Some(core), Effect::Last);
    type Row<'a> = (&'a [Known<'a>], &'a [u8]);
    let table: [Row<'_>; 9] = [
        (&[of_a], &[b, core, a, c, d, ejected]),
        (&[of_a, of_b], &[core, a, b, c, d, ejected]),
        (
            &[behind("upstream", c), behind("core", ejected)],
            &[a, b, core, d, c, ejected],
        ),
        (&[behind("core", a)], &[a, b, core, c, d, ejected]),
        (&[replica(Effect::Behind)], &[core, a, b, c, d, ejected]),
        (
            &[replica(Effect::Behind), of_a],
            &[core, b, a, c, d, ejected],
        ),
        (&[replica(Effect::Last), of_a], &[core, c, d, b, a, ejected]),
        (
            &[of_a, ("replica", Some(a), Effect::Last), of_core],
            &[b, c, d, a, core, ejected],
        ),
        (
            &[("core", Some(core), Effect::Never)],
            &[a, b, c, d, ejected],
        ),
    ];
    for (held, due) in table {
        assert_eq!(ordered(held, None), due, "{held:?}");
    }
    // After a source's "no" who is last comes behind those whom health or load would put there.
    let held = [replica(Effect::Last), ("upstream", None, Effect::Never)];
    assert_eq!(ordered(&held, None), [core, a, b, ejected]);
    assert_eq!(asked(&held, None, true), [core, ejected, a, b]);
    let of_d = endpoint(&upstream(), v4(d));
    assert_eq!(ordered(&[], Some(&of_d)), [d, a, b, core, c, ejected]);
    let not_first = ordered(&[behind("upstream", d)], Some(&of_d));
    assert_eq!(not_first, [a, b, core, c, d, ejected]);
    let ill = endpoint(&tier("core"), v4(ejected));
    assert_eq!(ordered(&[], Some(&ill)), [a, b, core, c, d, ejected]);
}

/// Probes say no of all tiers, which serve, and upstream has no power: no request waits for a connect that others wait for.
#[test]
fn who_has_just_served_stands_before_a_suspect() {
    let mut world = World::new(&[
        (tier("replica"), vec![v4(1)]),
        (tier("core"), vec![v4(2), v4(3)]),
        (upstream(), vec![v4(4)]),
    ]);
    for (source, last) in [("replica", 1), ("core", 2)] {
        world.eject(&tier(source), v4(last), 1);
    }
    world.suspect(&tier("core"), v4(3));
    world.suspect(&upstream(), v4(4));
    let who = |world: &World| -> Vec<u16> {
        let all = addresses(&world.select("k"));
        all.iter().map(|(_, last, _)| *last).collect()
    };
    assert_eq!(who(&world), [3, 4, 1, 2]);
    let now = world.now;
    world.state(&tier("core"), v4(2)).gauges.serves(now);
    assert_eq!(who(&world), [2, 3, 4, 1]);
    world.state(&upstream(), v4(4)).gauges.serves(now);
    assert_eq!(who(&world), [2, 4, 3, 1]);
    let why = world.select("k")[..2]
        .iter()
        .map(|c| c.why)
        .collect::<Vec<_>>();
    assert_eq!(why, [Why::FailOpen, Why::Suspect]);
    world.now += Duration::from_secs(10);
    assert_eq!(who(&world), [3, 4, 1, 2], "that is over");
}
