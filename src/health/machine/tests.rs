//! Tests of health/machine.

mod endpoint;

use super::*;
use Event::Tick;
use Failure::*;
use endpoint::*;

#[test]
fn what_ejects() {
    use Outcome::{CoolDown, Hard, Neutral, Soft, Success};
    let ejects: &[(&str, &[Outcome])] = &[
        ("refused", &[Hard(Refused)]),
        ("connect timeout", &[Hard(ConnectTimeout)]),
        ("tls", &[Success, Hard(Tls)]),
        ("timeouts", &[Hard(Timeout); 3]),
        ("mixed", &[Hard(Timeout), Hard(Reset), Hard(ServerError)]),
        ("tokens", &[Hard(Token); 3]),
        ("content", &[Hard(Content); 3]),
        (
            "soft ones break no row",
            &[Hard(Reset), Soft(Slow), Hard(Reset), Hard(Reset)],
        ),
        ("rate", &[Soft(Slow); 20]),
    ];
    for (name, outcomes) in ejects {
        let mut endpoint = Endpoint::new(PROBED);
        let (last, before) = outcomes.split_last().unwrap();
        for outcome in before {
            assert_eq!(endpoint.outcome(1, *outcome), None, "{name}");
            assert_eq!(endpoint.is(), "healthy", "{name}");
        }
        let effect = endpoint.outcome(1, *last);
        assert_eq!(effect, Some(Effect::Ejected(seconds(5))), "{name}");
        assert_eq!(endpoint.is(), "ejected", "{name}");
    }
    let stays: &[(&str, &[Outcome])] = &[
        ("two", &[Hard(Timeout); 2]),
        (
            "a success between",
            &[Hard(Timeout), Hard(Timeout), Success, Hard(Timeout)],
        ),
        ("few samples", &[Soft(TooManyRequests); 19]),
        ("a bug of the agent", &[Hard(Internal); 30]),
        ("no descriptors on this node", &[Hard(Local); 30]),
        ("a host that it names is unknown", &[Soft(NoAddress); 30]),
        ("more than is taken", &[Hard(TooLarge); 30]),
        ("a scope that nobody takes", &[Hard(TokenRefused); 30]),
        ("nothing", &[Neutral; 30]),
        ("too many requests", &[CoolDown(Duration::from_secs(9)); 30]),
    ];
    for (name, outcomes) in stays {
        let mut endpoint = Endpoint::new(PROBED);
        for outcome in *outcomes {
            assert_eq!(endpoint.outcome(1, *outcome), None, "{name}");
        }
        assert_eq!(endpoint.is(), "healthy", "{name}");
    }
}

#[test]
fn the_rate_is_of_the_last_minute_and_below_half() {
    let half = |soft: u32, good: u32| {
        let mut endpoint = Endpoint::new(PROBED);
        for _ in 0..good {
            endpoint.success(1);
        }
        for _ in 0..soft {
            endpoint.outcome(2, Outcome::Soft(Slow));
        }
        endpoint.is()
    };
    assert_eq!(half(10, 10), "healthy");
    assert_eq!(half(11, 10), "ejected");
    let mut endpoint = Endpoint::new(PROBED);
    for number in 0..19 {
        endpoint.outcome(number, Outcome::Soft(Slow));
    }
    assert_eq!(endpoint.outcome(75, Outcome::Soft(Slow)), None, "too old");
}

#[test]
fn sampled_successes_count_for_those_left_out() {
    let mut endpoint = Endpoint::new(PROBED);
    let with_latency = Event::Outcome {
        outcome: Outcome::Success,
        first_byte: Some(Duration::from_millis(5)),
        detail: "",
    };
    // The first brings the latency; from then on one stands for sixteen.
    endpoint.at(1, with_latency);
    endpoint.success(1);
    endpoint.success(1);
    for _ in 0..33 {
        assert_eq!(endpoint.outcome(2, Outcome::Soft(Slow)), None);
    }
    assert_eq!(endpoint.is(), "healthy", "48 went well, 33 did not");
}

#[test]
fn probation_readmits_after_three_successes() {
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Refused);
    assert_eq!(endpoint.at(6, Tick), None);
    assert_eq!(endpoint.is(), "ejected", "time alone is not enough");
    endpoint.probe(7, &passed());
    assert_eq!(endpoint.is(), "probation");
    assert_eq!(endpoint.success(8), None);
    assert_eq!(endpoint.success(8), None);
    assert_eq!(endpoint.success(9), Some(Effect::Readmitted));
    assert_eq!(endpoint.is(), "healthy");
    let readmitted = endpoint.start + seconds(9);
    assert_eq!(endpoint.state.readmitted, Some(readmitted));
    assert_eq!(endpoint.state.wakes(PROBED), Some(readmitted + SLOW_START));
    endpoint.at(39, Tick);
    assert_eq!(endpoint.state.readmitted, None);
}

#[test]
fn a_probe_that_passed_early_admits_in_time() {
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Refused);
    endpoint.probe(4, &passed());
    assert_eq!(endpoint.state.wakes(PROBED), None, "the failure is fresh");
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Refused);
    endpoint.probe(5, &passed());
    endpoint.hard(5, Refused);
    assert_eq!(endpoint.is(), "ejected", "in probation one is enough");
    assert_eq!(endpoint.lasts(), 10);
    endpoint.probe(11, &passed());
    let until = endpoint.start + seconds(15);
    assert_eq!(endpoint.state.wakes(PROBED), Some(until));
    assert_eq!(endpoint.is(), "ejected");
    endpoint.at(15, Tick);
    assert_eq!(endpoint.is(), "probation");
}

#[test]
fn without_probes_time_admits() {
    let mut endpoint = Endpoint::new(UNPROBED);
    endpoint.hard(0, Refused);
    let until = endpoint.start + seconds(5);
    assert_eq!(endpoint.state.wakes(UNPROBED), Some(until));
    endpoint.at(4, Tick);
    assert_eq!(endpoint.is(), "ejected");
    endpoint.at(5, Tick);
    assert_eq!(endpoint.is(), "probation");
}

#[test]
fn ejections_double_while_they_recur_and_are_forgiven() {
    let mut endpoint = Endpoint::new(UNPROBED);
    let mut now = 0;
    for lasts in [5, 10, 20, 40, 80, 160, 300, 300] {
        endpoint.hard(now, Reset);
        endpoint.hard(now, Reset);
        endpoint.hard(now, Reset);
        assert_eq!(endpoint.is(), "ejected");
        assert_eq!(endpoint.lasts(), lasts);
        now += lasts;
        endpoint.at(now, Tick);
        assert_eq!(endpoint.is(), "probation");
    }
    for _ in 0..3 {
        endpoint.success(now);
    }
    assert_eq!(endpoint.is(), "healthy");
    endpoint.hard(now + 599, Refused);
    assert_eq!(endpoint.lasts(), 300, "not yet forgiven");
    now += 599 + 300;
    endpoint.at(now, Tick);
    for _ in 0..3 {
        endpoint.success(now);
    }
    endpoint.hard(now + 600, Refused);
    assert_eq!(endpoint.lasts(), 5);
}

#[test]
fn requests_under_way_do_not_eject_twice() {
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Refused);
    let before = endpoint.state.status;
    assert_eq!(endpoint.hard(1, Refused), None);
    assert_eq!(endpoint.state.status, before);
}

#[test]
fn two_failed_probes_eject() {
    let mut endpoint = Endpoint::new(PROBED);
    assert_eq!(endpoint.probe(0, &unreachable()), None);
    endpoint.probe(5, &passed());
    assert_eq!(endpoint.probe(60, &unreachable()), None);
    let effect = endpoint.probe(65, &unreachable());
    assert_eq!(effect, Some(Effect::Ejected(seconds(5))));
    let reason = endpoint.state.reason.as_deref();
    assert_eq!(reason, Some("probe: connect_timeout: no answer"));
}

#[test]
fn passive_signals_outrank_probes() {
    // A Harbor that serves is not taken out because of its own words.
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.success(0);
    for second in [1, 6, 59] {
        assert_eq!(endpoint.probe(second, &unhealthy()), None);
    }
    assert_eq!(
        endpoint.probe(61, &unhealthy()),
        Some(Effect::Ejected(seconds(5))),
        "nothing went well for an interval"
    );
    // But one that cannot be reached is, whatever served a moment ago.
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.success(0);
    endpoint.probe(1, &unreachable());
    assert!(endpoint.probe(6, &unreachable()).is_some());
    // A passing probe does not clear fresh hard failures.
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Timeout);
    endpoint.hard(1, Timeout);
    endpoint.probe(5, &passed());
    assert!(endpoint.hard(6, Timeout).is_some());
    // Old ones it does.
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Timeout);
    endpoint.hard(1, Timeout);
    endpoint.probe(6, &passed());
    assert!(endpoint.hard(7, Timeout).is_none());
}

#[test]
fn a_node_without_pulls_readmits_by_probes() {
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Refused);
    endpoint.probe(5, &passed());
    assert_eq!(endpoint.is(), "probation");
    assert_eq!(endpoint.probe(15, &passed()), None);
    assert_eq!(endpoint.probe(25, &passed()), None);
    assert_eq!(endpoint.probe(35, &passed()), Some(Effect::Readmitted));
}

#[test]
fn port_1337_lowers_and_no_more() {
    let mut warned = passed();
    warned.lowered = true;
    let mut endpoint = Endpoint::new(PROBED);
    for second in 0..5 {
        assert_eq!(endpoint.probe(second, &warned), None);
    }
    assert_eq!(endpoint.is(), "healthy");
    assert!(endpoint.state.lowered());
    assert!(endpoint.state.reason.is_some());
    endpoint.probe(9, &passed());
    assert!(!endpoint.state.lowered());
    assert_eq!(endpoint.state.reason, None);
    // It never readmits either: the verdict alone does.
    endpoint.hard(10, Refused);
    endpoint.probe(20, &unreachable());
    assert_eq!(endpoint.is(), "ejected");
}

/// What says nothing does not take a failure back either.
#[test]
fn what_says_nothing_is_no_success() {
    let mut endpoint = Endpoint::new(PROBED);
    for _ in 0..2 {
        endpoint.hard(1, Timeout);
        endpoint.outcome(1, Outcome::Neutral);
        endpoint.outcome(1, Outcome::Hard(Local));
    }
    assert_eq!(endpoint.hard(1, Timeout), Some(Effect::Ejected(seconds(5))));
    endpoint.probe(7, &passed());
    for _ in 0..10 {
        endpoint.outcome(8, Outcome::Neutral);
        endpoint.outcome(8, Outcome::Hard(Local));
    }
    assert_eq!(endpoint.is(), "probation");
}

/// A probe that could not be sent has found nothing out.
#[test]
fn a_probe_that_this_node_could_not_send_says_nothing() {
    let mut endpoint = Endpoint::new(PROBED);
    let unsent = ProbeReport {
        verdict: Verdict::Failed {
            failure: Local,
            detail: "Too many open files".to_owned(),
        },
        ..unreachable()
    };
    for at in 0..10 {
        assert_eq!(endpoint.probe(60 * at, &unsent), None);
    }
    assert_eq!(endpoint.is(), "healthy");
}

/// A host that refused while it went down is silent when it is off, and no longer when it is back.
#[test]
fn of_an_ejected_endpoint_the_newest_failure_counts() {
    let cause = |endpoint: &Endpoint| match endpoint.state.status {
        EndpointStatus::Ejected { cause, .. } => cause,
        other => panic!("{other:?}"),
    };
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.hard(0, Refused);
    assert_eq!(cause(&endpoint), Refused);
    endpoint.hard(1, ConnectTimeout);
    assert_eq!(cause(&endpoint), ConnectTimeout);
    endpoint.outcome(2, Outcome::Hard(Local));
    assert_eq!(cause(&endpoint), ConnectTimeout);
    endpoint.outcome(3, Outcome::Success);
    assert_eq!(cause(&endpoint), Probe);
    let unanswered = ProbeReport {
        verdict: Verdict::Failed {
            failure: ConnectTimeout,
            detail: "2.5 s".to_owned(),
        },
        ..unreachable()
    };
    endpoint.probe(4, &unanswered);
    assert_eq!(cause(&endpoint), ConnectTimeout);
    // Nobody pulls from it, and it is found by probes alone.
    let mut endpoint = Endpoint::new(PROBED);
    for at in [0, 60, 65] {
        endpoint.probe(at, &unanswered);
    }
    assert_eq!(cause(&endpoint), ConnectTimeout);
}

/// It is of one registry: the others' requests go where they went.
#[test]
fn a_429_lowers_nobody() {
    let mut endpoint = Endpoint::new(PROBED);
    endpoint.outcome(0, Outcome::CoolDown(seconds(30)));
    assert_eq!(endpoint.is(), "healthy");
    assert!(!endpoint.state.lowered());
    assert_eq!(endpoint.state.wakes(PROBED), None);
}

#[test]
fn jitter_shortens_by_a_tenth_at_most() {
    let state = State::new(Instant::now());
    let event = Event::Outcome {
        outcome: Outcome::Hard(Refused),
        first_byte: None,
        detail: "",
    };
    let (_, effect) = step(state.clone(), event, PROBED, state.since, 1.0);
    assert_eq!(effect, Some(Effect::Ejected(Duration::from_millis(4500))));
}

#[test]
fn reasons_are_short() {
    let long = "é".repeat(500);
    let text = reason(Refused, &long);
    assert!(text.len() <= REASON_BYTES && text.starts_with("refused: é"));
}

proptest::proptest! {
    /// Whatever happens: an ejection ends, and three successes after it readmit.
    #[test]
    fn nothing_strands_an_endpoint(events in proptest::collection::vec((0_u8..8, 0_u64..40), 0..60)) {
        let mut endpoint = Endpoint::new(PROBED);
        let mut now = 0;
        for (kind, pause) in events {
            now += pause;
            match kind {
                0 => endpoint.success(now),
                1 => endpoint.hard(now, Refused),
                2 => endpoint.hard(now, Timeout),
                3 => endpoint.outcome(now, Outcome::Soft(Slow)),
                4 => endpoint.probe(now, &passed()),
                5 => endpoint.probe(now, &unhealthy()),
                6 => endpoint.outcome(now, Outcome::CoolDown(seconds(30))),
                _ => endpoint.at(now, Tick),
            };
            proptest::prop_assert!(endpoint.lasts() <= LAST_EJECTION.as_secs());
        }
        now += LAST_EJECTION.as_secs();
        endpoint.probe(now, &passed());
        proptest::prop_assert_ne!(endpoint.is(), "ejected");
        for _ in 0..3 {
            endpoint.success(now);
        }
        proptest::prop_assert_eq!(endpoint.is(), "healthy");
    }
}
