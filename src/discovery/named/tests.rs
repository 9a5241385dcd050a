//! Tests of discovery/named.

use super::*;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

const LIMITS: Dns = Dns {
    nameservers: Vec::new(),
    min_ttl: Duration::from_secs(5),
    max_ttl: Duration::from_secs(300),
};

type Answered = Result<Vec<IpAddr>, LookupError>;

fn ask(table: &mut NamedHosts, name: &str, now: Instant) -> Receiver<Answered> {
    let (reply, answer) = oneshot::channel();
    table.ask(name.to_owned(), reply, now);
    answer
}

fn answer(ttl: u64) -> Result<Answer, String> {
    Ok(Answer {
        addresses: vec!["203.0.113.1".parse().unwrap()],
        ttl: Duration::from_secs(ttl),
        unanswered: None,
    })
}

fn failure() -> Result<Answer, String> {
    Err("SERVFAIL".to_owned())
}

#[test]
fn one_lookup_for_all_who_ask() {
    let mut table = NamedHosts::default();
    let now = Instant::now();
    let mut first = ask(&mut table, "auth.example", now);
    let mut second = ask(&mut table, "auth.example", now);
    assert_eq!(table.start_next().as_deref(), Some("auth.example"));
    let mut third = ask(&mut table, "auth.example", now);
    assert_eq!(table.start_next(), None);
    assert_eq!(first.try_recv().unwrap_err(), TryRecvError::Empty);
    table.finished("auth.example", answer(60), &LIMITS, now);
    for waiting in [&mut first, &mut second, &mut third] {
        assert_eq!(waiting.try_recv().unwrap().unwrap().len(), 1);
    }
    // Known now, until the records ran out.
    let almost = now + Duration::from_secs(59);
    assert!(ask(&mut table, "auth.example", almost).try_recv().is_ok());
    assert_eq!(table.start_next(), None);
    let mut late = ask(&mut table, "auth.example", now + Duration::from_secs(60));
    assert_eq!(late.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(table.start_next().is_some());
}

#[test]
fn failures_are_told_and_old_addresses_outlive_them() {
    let mut table = NamedHosts::default();
    let now = Instant::now();
    let mut waiting = ask(&mut table, "auth.example", now);
    table.start_next();
    table.finished("auth.example", failure(), &LIMITS, now);
    let error = waiting.try_recv().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "looking up auth.example: SERVFAIL");
    let mut told = ask(&mut table, "auth.example", now);
    assert!(
        told.try_recv().unwrap().is_err(),
        "no second lookup at once"
    );

    let later = now + FAILURE_TTL;
    let _waiting = ask(&mut table, "auth.example", later);
    table.start_next();
    table.finished("auth.example", answer(5), &LIMITS, later);
    for (age, good) in [(3599, true), (3600, false)] {
        let then = later + Duration::from_secs(age);
        let mut waiting = ask(&mut table, "auth.example", then);
        table.start_next();
        table.finished("auth.example", failure(), &LIMITS, then);
        assert_eq!(waiting.try_recv().unwrap().is_ok(), good, "{age}");
    }
}

#[test]
fn is_bounded_in_hosts_and_in_lookups() {
    let mut table = NamedHosts::default();
    let now = Instant::now();
    let mut waiting: Vec<_> = (0..CAPACITY)
        .map(|number| ask(&mut table, &format!("{number}.example"), now))
        .collect();
    let started: Vec<_> = std::iter::from_fn(|| table.start_next()).collect();
    assert_eq!(started.len(), CONCURRENT);
    let mut refused = ask(&mut table, "one-more.example", now);
    assert!(refused.try_recv().unwrap().is_err());
    for host in &started {
        table.finished(host, answer(60), &LIMITS, now);
    }
    assert!(waiting[0].try_recv().is_ok());
    assert!(table.start_next().is_some());
    // The one that was used longest ago makes room.
    let later = now + Duration::from_secs(1);
    for host in &started[1..] {
        assert!(ask(&mut table, host, later).try_recv().is_ok());
    }
    let mut welcome = ask(&mut table, "one-more.example", later);
    assert_eq!(welcome.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(table.hosts.len(), CAPACITY);
    assert!(!table.hosts.contains_key(&started[0]));
}
