//! Order, age and limits, with the time told.

use super::{IDLE_LIMIT, IN_ALL, Idle, IdlePool, Key, PER_KEY};
use crate::topology::{EndpointId, SourceId};
use crate::upstream::guard::Rule;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
struct Fake {
    key: Key,
    number: usize,
    open: Rc<Cell<bool>>,
}

impl Idle for Fake {
    fn is_open(&mut self) -> bool {
        self.open.get()
    }

    fn key(&self) -> &Key {
        &self.key
    }
}

fn fake(key: &Key, number: usize) -> Fake {
    let (key, open) = (key.clone(), Rc::new(Cell::new(true)));
    Fake { key, number, open }
}

fn key(source: &str, last: u8) -> Key {
    Key::Endpoint(EndpointId {
        source: SourceId::Tier(source.into()),
        address: ([203, 0, 113, last], 443).into(),
    })
}

fn take(pool: &mut IdlePool<Fake>, key: &Key, now: Instant) -> Option<usize> {
    pool.take(key, now, |_| false).map(|fake| fake.number)
}

#[test]
fn the_youngest_is_taken_first_and_only_by_its_key() {
    let (mut pool, now) = (IdlePool::default(), Instant::now());
    for number in 0..3 {
        pool.put(fake(&key("a", 1), number), now);
    }
    assert_eq!(take(&mut pool, &key("a", 2), now), None);
    assert_eq!(take(&mut pool, &key("b", 1), now), None);
    let order: Vec<_> = (0..4).map(|_| take(&mut pool, &key("a", 1), now)).collect();
    assert_eq!(order, [Some(2), Some(1), Some(0), None]);
    assert_eq!(pool.len(), 0);
}

#[test]
fn what_is_at_hand_goes_first_the_youngest_of_it() {
    let (mut pool, now) = (IdlePool::default(), Instant::now());
    let key = key("a", 1);
    for number in 0..5 {
        pool.put(fake(&key, number), now);
    }
    let mut even = || {
        let taken = pool.take(&key, now, |fake: &mut Fake| fake.number.is_multiple_of(2));
        taken.map(|fake| fake.number)
    };
    let order: Vec<_> = (0..6).map(|_| even()).collect();
    assert_eq!(order, [Some(4), Some(2), Some(0), Some(3), Some(1), None]);
    assert_eq!(pool.len(), 0);
}

#[test]
fn old_and_closed_ones_are_not_handed_out() {
    let (mut pool, start) = (IdlePool::default(), Instant::now());
    let key = key("a", 1);
    pool.put(fake(&key, 0), start);
    let just = start + IDLE_LIMIT - Duration::from_millis(1);
    let closed = fake(&key, 1);
    let handle = closed.open.clone();
    pool.put(closed, just);
    handle.set(false);
    assert_eq!(take(&mut pool, &key, just), Some(0));
    pool.put(fake(&key, 2), start);
    assert_eq!(take(&mut pool, &key, start + IDLE_LIMIT), None);
    assert_eq!(pool.len(), 0);
    let closed = fake(&key, 3);
    closed.open.set(false);
    pool.put(closed, start);
    assert_eq!(
        take(&mut pool, &key, start),
        None,
        "closed when it was put down"
    );
    assert_eq!(pool.len(), 0);
}

#[test]
fn a_full_list_gives_up_its_oldest() {
    let (mut pool, now) = (IdlePool::default(), Instant::now());
    for number in 0..=PER_KEY {
        pool.put(fake(&key("a", 1), number), now);
    }
    assert_eq!(pool.len(), PER_KEY);
    let numbers: Vec<_> = std::iter::from_fn(|| take(&mut pool, &key("a", 1), now)).collect();
    let expected: Vec<usize> = (1..=PER_KEY).rev().collect();
    assert_eq!(numbers, expected);
}

#[test]
fn all_together_have_a_limit_that_old_ones_do_not_count_for() {
    let (mut pool, start) = (IdlePool::default(), Instant::now());
    for last in 0..u8::try_from(IN_ALL / PER_KEY).unwrap() {
        for number in 0..PER_KEY {
            pool.put(fake(&key("a", last), number), start);
        }
    }
    assert_eq!(pool.len(), IN_ALL);
    pool.put(fake(&key("b", 1), 0), start);
    assert_eq!(pool.len(), IN_ALL);
    assert_eq!(take(&mut pool, &key("b", 1), start), None);
    let later = start + IDLE_LIMIT;
    pool.put(fake(&key("b", 1), 0), later);
    assert_eq!(pool.len(), 1);
    assert_eq!(take(&mut pool, &key("b", 1), later), Some(0));
}

#[test]
fn a_source_is_forgotten_with_the_hosts_that_it_named() {
    let (mut pool, now) = (IdlePool::default(), Instant::now());
    let named = |source: &str| Key::Named {
        source: SourceId::Tier(source.into()),
        rule: Rule::configured(),
        address: None,
        https: true,
        host: "cdn.example.com".to_owned(),
        port: 443,
    };
    for source in ["a", "b"] {
        pool.put(fake(&key(source, 1), 0), now);
        pool.put(fake(&named(source), 1), now);
    }
    pool.forget(&SourceId::Tier("a".into()));
    assert_eq!(pool.len(), 2);
    assert_eq!(take(&mut pool, &named("a"), now), None);
    assert_eq!(take(&mut pool, &named("b"), now), Some(1));
    assert_eq!(take(&mut pool, &key("b", 1), now), Some(0));
}
