//! Tests of health/table.

use super::*;
use crate::health::probe::Verdict;
use crate::health::testing::{refused, report, sets, sources};
use crate::telemetry::EventName;
use crate::topology::Outcome;
use crate::topology::testing::{endpoint, tier, upstream};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A table with two addresses of the replica and one of the core, whose first snapshot was taken.
fn table(start: Instant) -> Table {
    let mut table = Table::new(7, start);
    table.set_sources(sources(&["replica", "core"]), start);
    let all = sets(&[(tier("replica"), &[1, 2]), (tier("core"), &[11])]);
    table.set_addresses(all, start);
    assert_eq!(table.take_snapshot().unwrap().generation, 1);
    assert!(table.take_events().is_empty());
    table
}

fn passed() -> ProbeReport {
    ProbeReport {
        verdict: Verdict::Passed,
        took: Duration::from_millis(5),
        lowered: false,
        cookie: Some("sid=1".to_owned()),
    }
}

fn events(table: &mut Table) -> Vec<(EventName, String)> {
    let events = table.take_events().into_iter();
    let place = |event: &StateChange| event.endpoint.clone().or_else(|| event.tier.clone());
    events
        .map(|event| (event.event, place(&event).unwrap()))
        .collect()
}

fn statuses(snapshot: &Snapshot, source: &SourceId) -> Vec<&'static str> {
    let endpoints = snapshot.source(source).unwrap().endpoints.iter();
    let words = endpoints.map(|endpoint| match endpoint.status {
        EndpointStatus::Healthy => "healthy",
        EndpointStatus::Ejected { .. } => "ejected",
        EndpointStatus::Probation { .. } => "probation",
    });
    words.collect()
}

#[test]
fn what_dns_names_is_believed_to_be_healthy() {
    let start = Instant::now();
    let mut table = Table::new(7, start);
    table.set_sources(sources(&["replica"]), start);
    let snapshot = table.take_snapshot().unwrap();
    let replica = snapshot.source(&tier("replica")).unwrap();
    assert!(replica.endpoints.is_empty());
    assert!(!replica.ready, "DNS has not answered yet");
    assert!(table.take_snapshot().is_none());
    table.set_addresses(sets(&[(tier("replica"), &[1, 2])]), start);
    let snapshot = table.take_snapshot().unwrap();
    assert_eq!(statuses(&snapshot, &tier("replica")), ["healthy"; 2]);
    assert!(snapshot.source(&tier("replica")).unwrap().ready);
    assert!(!snapshot.source(&upstream()).unwrap().ready);
    assert!(table.take_events().is_empty(), "it was never down");
}

#[test]
fn an_outcome_is_seen_in_the_next_snapshot_and_only_there() {
    let start = Instant::now();
    let mut table = table(start);
    let first = endpoint(&tier("replica"), 1);
    table.outcome(&report(&first, Outcome::Success), start);
    assert!(table.take_snapshot().is_none(), "nothing to see");
    table.outcome(&refused(&first), start);
    let snapshot = table.take_snapshot().unwrap();
    assert_eq!(snapshot.generation, 2);
    assert_eq!(
        statuses(&snapshot, &tier("replica")),
        ["ejected", "healthy"]
    );
    let replica = snapshot.source(&tier("replica")).unwrap();
    assert!(replica.ready, "another is left");
    let reason = replica.endpoints[0].reason.as_deref();
    assert_eq!(reason, Some("refused: for a reason"));
    let expected = [(EventName::EndpointEjected, "203.0.113.1:443".to_owned())];
    assert_eq!(events(&mut table), expected);
    table.outcome(&refused(&endpoint(&tier("replica"), 2)), start);
    assert!(table.take_snapshot().is_some());
    // Endpoints that nobody knows are nobody's.
    table.outcome(&refused(&endpoint(&tier("other"), 1)), start);
    assert!(table.take_snapshot().is_none());
}

#[test]
fn a_tier_that_refuses_everything_is_not_ready_until_it_lets_somebody_in() {
    let start = Instant::now();
    let mut table = table(start);
    let (replica, later) = (tier("replica"), start + seconds(60));
    let first = endpoint(&replica, 1);
    for _ in 0..2 {
        table.outcome(&report(&first, Outcome::Denied), later);
    }
    assert!(table.take_snapshot().is_none(), "a project may be closed");
    let gauges = table.rows[&first].gauges.clone();
    assert!(gauges.is_denied(), "the next success counts");
    table.outcome(&report(&endpoint(&replica, 2), Outcome::Denied), later);
    let snapshot = table.take_snapshot().unwrap();
    let state = snapshot.source(&replica).unwrap();
    let said = "it refused the last 3 requests: for a reason";
    assert_eq!((state.ready, state.refused.as_deref()), (false, Some(said)));
    // Its addresses are asked as before.
    assert_eq!(statuses(&snapshot, &replica), ["healthy"; 2]);
    let down = table.take_events();
    assert_eq!(
        (down[0].event, down[0].reason.as_str()),
        (EventName::TierDown, said)
    );
    table.outcome(&report(&first, Outcome::Success), later);
    let snapshot = table.take_snapshot().unwrap();
    let state = snapshot.source(&replica).unwrap();
    assert_eq!((state.ready, state.refused.as_deref()), (true, None));
    assert_eq!(
        events(&mut table),
        [(EventName::TierUp, "replica".to_owned())]
    );
    assert!(!gauges.is_denied());
    // Nobody asks: what is old is not believed for ever.
    for _ in 0..3 {
        table.outcome(&report(&first, Outcome::Denied), later);
    }
    assert!(
        !table
            .take_snapshot()
            .unwrap()
            .source(&replica)
            .unwrap()
            .ready
    );
    assert_eq!(table.wakes(0), Some(later + seconds(600)));
    table.tick(later + seconds(600));
    assert!(
        table
            .take_snapshot()
            .unwrap()
            .source(&replica)
            .unwrap()
            .ready
    );
}

#[test]
fn an_address_that_is_not_healthy_says_when_it_is_tried_next() {
    let start = Instant::now();
    let mut table = table(start);
    let first = endpoint(&tier("replica"), 1);
    let next_try = |table: &mut Table| {
        let snapshot = table.take_snapshot().unwrap();
        snapshot.source(&tier("replica")).unwrap().endpoints[0].next_try
    };
    table.outcome(&refused(&first), start);
    let probe = next_try(&mut table).unwrap();
    assert!(probe >= start + seconds(5), "the first probe");
    table.due_probes(9, probe);
    table.probed(&first, passed(), probe);
    let in_probation = next_try(&mut table).unwrap();
    assert!(in_probation >= probe + seconds(5), "the next probe");
}

#[test]
fn a_tier_goes_down_at_once_and_comes_back_when_steady() {
    let start = Instant::now();
    let mut table = table(start);
    let replica = tier("replica");
    table.outcome(&refused(&endpoint(&replica, 1)), start);
    table.take_events();
    table.outcome(&refused(&endpoint(&replica, 2)), start + seconds(1));
    let down = events(&mut table);
    assert_eq!(down[1], (EventName::TierDown, "replica".to_owned()));
    assert!(
        !table
            .take_snapshot()
            .unwrap()
            .source(&replica)
            .unwrap()
            .ready
    );

    let second = endpoint(&replica, 2);
    table.probed(&second, passed(), start + seconds(10));
    assert!(events(&mut table).is_empty(), "probation is not enough");
    for _ in 0..3 {
        let success = report(&second, Outcome::Success);
        table.outcome(&success, start + seconds(11));
    }
    let readmitted = (EventName::EndpointReadmitted, "203.0.113.2:443".to_owned());
    assert_eq!(events(&mut table), [readmitted]);
    let steady = start + seconds(13);
    assert!(table.wakes(0).unwrap() <= steady);
    table.tick(steady - Duration::from_millis(1));
    assert!(events(&mut table).is_empty());
    table.tick(steady);
    assert_eq!(
        events(&mut table),
        [(EventName::TierUp, "replica".to_owned())]
    );
    assert!(
        table
            .take_snapshot()
            .unwrap()
            .source(&replica)
            .unwrap()
            .ready
    );
}

#[test]
fn health_outlives_an_absence_from_dns() {
    for (absence, forgotten) in [(899, false), (900, true)] {
        let start = Instant::now();
        let mut table = table(start);
        let replica = tier("replica");
        let gauges = |snapshot: Snapshot| {
            let replica = snapshot.source(&replica).unwrap();
            replica.endpoints[0].gauges.clone()
        };
        table.outcome(&refused(&endpoint(&replica, 1)), start);
        let before = gauges(table.take_snapshot().unwrap());
        let fewer = sets(&[(replica.clone(), &[2]), (tier("core"), &[11])]);
        table.set_addresses(fewer, start);
        let snapshot = table.take_snapshot().unwrap();
        assert_eq!(
            statuses(&snapshot, &replica),
            ["healthy"],
            "no new requests"
        );
        let later = start + seconds(absence);
        table.tick(later);
        let again = sets(&[(replica.clone(), &[1, 2]), (tier("core"), &[11])]);
        table.set_addresses(again, later);
        let snapshot = table.take_snapshot().unwrap();
        let first = statuses(&snapshot, &replica)[0];
        assert_eq!(first == "healthy", forgotten, "after {absence} s");
        assert_eq!(!Arc::ptr_eq(&gauges(snapshot), &before), forgotten);
    }
}

#[test]
fn stale_dns_is_seen() {
    let start = Instant::now();
    let mut table = table(start);
    let mut stale = EndpointSets::clone(&table.sets);
    let set = EndpointSet {
        stale: true,
        error: Some("SERVFAIL".into()),
        ..EndpointSet::clone(&stale[&tier("core")])
    };
    stale.insert(tier("core"), Arc::new(set));
    table.set_addresses(Arc::new(stale), start);
    let snapshot = table.take_snapshot().unwrap();
    let core = snapshot.source(&tier("core")).unwrap();
    assert!(core.dns_stale && core.ready);
    assert_eq!(core.dns_error.as_deref(), Some("SERVFAIL"));
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    let start = Instant::now();
    let mut table = table(start);
    for id in [endpoint(&tier("replica"), 1), endpoint(&tier("core"), 11)] {
        table.outcome(&refused(&id), start);
    }
    let before = table.take_snapshot().unwrap();
    let mut changed = Sources::clone(&sources(&["replica", "core"]));
    let core = Arc::make_mut(&mut changed.tiers[1]);
    core.tls.insecure_skip_verify = true;
    table.set_sources(Arc::new(changed), start + seconds(1));
    let after = table.take_snapshot().unwrap();
    assert_eq!(statuses(&after, &tier("replica"))[0], "ejected");
    assert_eq!(statuses(&after, &tier("core")), ["healthy"]);
    let gauges = |snapshot: &Snapshot| {
        let core = snapshot.source(&tier("core")).unwrap();
        core.endpoints[0].gauges.clone()
    };
    assert!(Arc::ptr_eq(&gauges(&before), &gauges(&after)));
    // A tier that is gone is gone.
    table.set_sources(sources(&["core"]), start + seconds(2));
    let after = table.take_snapshot().unwrap();
    assert!(after.source(&tier("replica")).is_none());
}

#[test]
fn due_probes_are_of_tiers_and_bounded() {
    let start = Instant::now();
    let mut table = Table::new(7, start);
    table.set_sources(sources(&["replica"]), start);
    let all = sets(&[(tier("replica"), &[1, 2, 3, 4, 5, 6]), (upstream(), &[21])]);
    table.set_addresses(all, start);
    assert!(table.wakes(0).is_none(), "no place, no probe");
    let later = start + seconds(10);
    assert!(table.wakes(1).unwrap() <= later);
    let first = table.due_probes(4, later);
    assert_eq!(first.len(), 4);
    let rest = table.due_probes(4, later);
    assert_eq!(rest.len(), 2, "each once, the upstream never");
    assert!(table.due_probes(4, later + seconds(9999)).is_empty());
    assert_eq!(first[0].cookie, None);
    table.probed(&first[0].endpoint, passed(), later);
    let next = table.due_probes(4, later + seconds(90));
    assert_eq!(next[0].endpoint, first[0].endpoint);
    assert_eq!(next[0].cookie.as_deref(), Some("sid=1"));
}

/// Its new password must not go to its old address while DNS has not followed.
#[test]
fn a_source_that_moved_has_no_address_until_dns_has_followed() {
    let start = Instant::now();
    let mut table = table(start);
    let mut moved = Sources::clone(&sources(&["replica", "core"]));
    Arc::make_mut(&mut moved.tiers[1]).url.host = "elsewhere.example.com".to_owned();
    table.set_sources(Arc::new(moved), start);
    let snapshot = table.take_snapshot().unwrap();
    let core = snapshot.source(&tier("core")).unwrap();
    assert!(core.endpoints.is_empty() && !core.ready);
    assert!(events(&mut table).is_empty(), "nobody has looked yet");
    assert!(
        !snapshot
            .source(&tier("replica"))
            .unwrap()
            .endpoints
            .is_empty()
    );
    let mut followed = EndpointSets::clone(&table.sets);
    let set = EndpointSet {
        of: ("elsewhere.example.com".to_owned(), 443),
        ..EndpointSet::clone(&followed[&tier("core")])
    };
    followed.insert(tier("core"), Arc::new(set));
    table.set_addresses(Arc::new(followed), start);
    let snapshot = table.take_snapshot().unwrap();
    assert_eq!(statuses(&snapshot, &tier("core")), ["healthy"]);
    assert!(snapshot.source(&tier("core")).unwrap().ready, "at once");
    assert!(events(&mut table).is_empty(), "it was never down");
}

#[test]
fn a_source_that_moved_to_where_nobody_is_is_down_when_dns_says_so() {
    let start = Instant::now();
    let mut table = table(start);
    // DNS may be the first to hear of it.
    let elsewhere = |error: Option<&str>| {
        Arc::new(EndpointSet {
            of: ("elsewhere.example.com".to_owned(), 443),
            addresses: Vec::new(),
            stale: error.is_some(),
            error: error.map(Into::into),
        })
    };
    let with = |table: &Table, error| {
        let mut sets = EndpointSets::clone(&table.sets);
        sets.insert(tier("core"), elsewhere(error));
        Arc::new(sets)
    };
    table.set_addresses(with(&table, None), start);
    let mut moved = Sources::clone(&sources(&["replica", "core"]));
    Arc::make_mut(&mut moved.tiers[1]).url.host = "elsewhere.example.com".to_owned();
    table.set_sources(Arc::new(moved), start);
    table.tick(start + seconds(5));
    assert!(events(&mut table).is_empty(), "nobody has looked yet");
    table.set_addresses(with(&table, Some("no such name")), start + seconds(6));
    let down = [(EventName::TierDown, "core".to_owned())];
    assert_eq!(events(&mut table), down);
}
