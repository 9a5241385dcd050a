//! Streams in paused time.

#![allow(
    clippy::disallowed_methods,
    reason = "a test's own streams end with the test"
)]

use super::limiter::Limiter;
use super::*;
use crate::cache::Trust;
use crate::config::{Bandwidth as Limit, BandwidthPeriod};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{sleep, sleep_until};

const MIB: u64 = 1 << 20;
const NOON: Clock = || 12 * 60;

fn limit(rate: u64) -> Limit {
    let period = BandwidthPeriod {
        window: None,
        rate: NonZeroU64::new(rate),
    };
    Limit([period].into())
}

/// Streams that read pieces of 16 KiB as fast as they may, for so long: the bytes of each.
async fn run(limiter: &Arc<Limiter>, streams: usize, time: Duration) -> Vec<u64> {
    let until = Instant::now() + time;
    let read: Vec<Arc<AtomicU64>> = (0..streams).map(|_| Arc::default()).collect();
    let tasks = read.iter().cloned().map(|read| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            let mut slot = Some(limiter.clone().enter(Trust::Trusted, NOON).await);
            while Instant::now() < until {
                let held = slot.take();
                slot = held.filter(|slot| slot.holds_for(&limiter, Instant::now()));
                if slot.is_none() {
                    slot = Some(limiter.clone().enter(Trust::Trusted, NOON).await);
                }
                if let Some(at) = limiter.charge(FIRST_PIECE, Instant::now(), NOON) {
                    sleep_until(at).await;
                }
                read.fetch_add(FIRST_PIECE, Ordering::Relaxed);
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    sleep(time).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    read.iter()
        .map(|read| read.load(Ordering::Relaxed))
        .collect()
}

/// Within 3 %, and every stream its share.
#[tokio::test(start_paused = true)]
async fn all_streams_together_have_the_limit_and_each_the_same_share() {
    for rate in [MIB, 10 * MIB, 100 * MIB] {
        for streams in [1, 8, 64] {
            let limiter = Arc::new(Limiter::new(limit(rate)));
            let read = run(&limiter, streams, Duration::from_secs(30)).await;
            let (sum, due) = (read.iter().sum::<u64>(), rate * 30);
            let context = format!("{rate} with {streams}: {sum} of {due}");
            assert!(sum.abs_diff(due) * 100 <= due * 3, "{context}");
            let least = read.iter().min().unwrap();
            assert!(
                *least >= due / streams as u64 * 95 / 100,
                "{context}, {least}"
            );
        }
    }
}

/// Of 128 streams at 1 MiB/s 64 run, with 16 KiB/s each; as one ends another begins.
#[tokio::test(start_paused = true)]
async fn so_many_streams_run_that_each_can_have_its_least_share() {
    let limiter = Arc::new(Limiter::new(limit(MIB)));
    let read = run(&limiter, 128, Duration::from_secs(19)).await;
    let running: Vec<_> = read.iter().filter(|bytes| **bytes > 0).collect();
    assert_eq!(running.len(), 64);
    assert!(
        running.iter().all(|bytes| **bytes >= 18 * 16 * 1024),
        "{running:?}"
    );

    let limiter = Arc::new(Limiter::new(limit(64 * 1024)));
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(limiter.clone().enter(Trust::Trusted, NOON).await);
    }
    let fifth = tokio::spawn(limiter.clone().enter(Trust::Trusted, NOON));
    sleep(Duration::from_secs(60)).await;
    assert!(!fifth.is_finished());
    running.pop();
    drop(fifth.await.unwrap());
}

/// From noon on nothing is limited, before it 1 MiB/s: who runs then goes on, and the next ones wait for their ends.
#[tokio::test(start_paused = true)]
async fn the_number_of_streams_follows_the_time_of_day() {
    static MINUTE: AtomicU64 = AtomicU64::new(0);
    let clock: Clock = || u16::try_from(MINUTE.load(Ordering::Relaxed)).unwrap();
    let morning = BandwidthPeriod {
        window: Some((0, 12 * 60)),
        rate: NonZeroU64::new(64 * 1024),
    };
    let limiter = Arc::new(Limiter::new(Limit([morning].into())));
    let tick = || sleep(Duration::from_secs(2));
    MINUTE.store(12 * 60, Ordering::Relaxed);
    let mut running = Vec::new();
    for _ in 0..10 {
        running.push(limiter.clone().enter(Trust::Trusted, clock).await);
    }
    assert_eq!(limiter.charge(MIB, Instant::now(), clock), None);
    MINUTE.store(0, Ordering::Relaxed);
    tick().await;
    let next = tokio::spawn(limiter.clone().enter(Trust::Trusted, clock));
    tick().await;
    running.truncate(4);
    tick().await;
    assert!(!next.is_finished(), "four are running");
    running.truncate(3);
    running.push(next.await.unwrap());
    let next = tokio::spawn(limiter.clone().enter(Trust::Trusted, clock));
    tick().await;
    assert!(!next.is_finished());
    MINUTE.store(12 * 60, Ordering::Relaxed);
    tick().await;
    assert_eq!(limiter.rate(Instant::now(), clock), None);
    running.push(next.await.unwrap());
}

/// Ten times as many streams as stream slots take turns: containerd, which gives up a pull after 5 min without a byte, has some of
/// each.
#[tokio::test(start_paused = true)]
async fn streams_take_turns() {
    for (rate, streams) in [(64 * 1024, 5), (64 * 1024, 40), (MIB, 128)] {
        let limiter = Arc::new(Limiter::new(limit(rate)));
        let time = Duration::from_secs(400);
        let read = run(&limiter, streams, time).await;
        let (sum, due) = (read.iter().sum::<u64>(), rate * time.as_secs());
        let context = format!("{rate} with {streams}: {read:?}");
        assert!(sum.abs_diff(due) * 100 <= due * 3, "{context}");
        let share = due / streams as u64;
        assert!(read.iter().all(|read| *read >= share / 2), "{context}");
    }
}

/// Who runs when the limit begins or falls has no stream slot beyond the new number.
#[tokio::test(start_paused = true)]
async fn who_runs_when_a_limit_falls_makes_way() {
    let config = |rate: &str| {
        let text = format!("[direct]\nbandwidth = \"{rate}\"\n");
        Config::from_toml(&text).unwrap()
    };
    let bandwidth = Arc::new(Bandwidth::new(&config("none"), NOON));
    let goes_on = |permits: &Vec<Permit>| bandwidth.may_go_on("upstream", permits, Instant::now());
    assert!(
        goes_on(&Vec::new()),
        "without a limit nobody needs a permit"
    );
    bandwidth.reload(&config("96KiB/s"));
    assert!(!goes_on(&Vec::new()), "it began before the limit did");
    let mut running = Vec::new();
    for _ in 0..6 {
        running.push(bandwidth.enter("upstream", Trust::Trusted).await);
    }
    assert!(running.iter().all(goes_on));
    bandwidth.reload(&config("64KiB/s"));
    for left in [5, 4] {
        assert!(!goes_on(&running[0]), "one too many of {left}");
        running.remove(0);
    }
    assert!(running.iter().all(goes_on));
    bandwidth.reload(&config("none"));
    assert!(running.iter().all(goes_on) && goes_on(&Vec::new()));
}

/// Untrusted clients' streams take half of the stream slots at most, however long they stay.
#[tokio::test(start_paused = true)]
async fn strangers_leave_half_of_the_stream_slots() {
    let limiter = Arc::new(Limiter::new(limit(64 * 1024)));
    let mut strangers = Vec::new();
    for _ in 0..2 {
        strangers.push(limiter.clone().enter(Trust::Untrusted, NOON).await);
    }
    let third = tokio::spawn(limiter.clone().enter(Trust::Untrusted, NOON));
    sleep(Duration::from_secs(60)).await;
    assert!(!third.is_finished());
    for _ in 0..2 {
        strangers.push(limiter.clone().enter(Trust::Trusted, NOON).await);
    }
    strangers.remove(0);
    drop(third.await.unwrap());
}

/// Who waits follows a reload, and so does the number of stream slots beside those who run.
#[tokio::test(start_paused = true)]
async fn who_waits_follows_a_reload() {
    let config = |rate: &str| {
        let text = format!("[limits]\nbandwidth = \"{rate}\"\n");
        Config::from_toml(&text).unwrap()
    };
    let bandwidth = Arc::new(Bandwidth::new(&config("64KiB/s"), NOON));
    let enter = || {
        let bandwidth = bandwidth.clone();
        tokio::spawn(async move { bandwidth.enter("replica", Trust::Trusted).await })
    };
    let running: Vec<_> = (0..6).map(|_| enter()).collect();
    sleep(Duration::from_secs(5)).await;
    let finished = |all: &[tokio::task::JoinHandle<Vec<Permit>>]| {
        all.iter().filter(|task| task.is_finished()).count()
    };
    assert_eq!(finished(&running), 4);
    bandwidth.reload(&config("80KiB/s"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(finished(&running), 5);
    bandwidth.reload(&config("none"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(finished(&running), 6);
}

/// A limit that stays keeps its debts, whatever else changes.
#[tokio::test(start_paused = true)]
async fn a_limit_that_stays_goes_on_over_a_reload() {
    let config = |text: &str| Config::from_toml(text).unwrap();
    let all = "[limits]\nbandwidth = \"1MiB/s\"\n";
    let bandwidth = Bandwidth::new(&config(all), NOON);
    let now = Instant::now();
    assert!(!bandwidth.may_go_on("upstream", &[], now));
    let first = bandwidth.charge("upstream", MIB, now).unwrap();
    bandwidth.reload(&config(&format!(
        "{all}[direct]\nbandwidth = \"512KiB/s\"\n"
    )));
    let second = bandwidth.charge("replica", MIB, now).unwrap();
    assert_eq!(second - first, Duration::from_secs(1));
    let third = bandwidth.charge("upstream", 10 * MIB, now).unwrap();
    let paid = Duration::from_millis(19_900);
    assert_eq!(third - now, paid, "the smaller of both counts");
    bandwidth.reload(&config("[limits]\nbandwidth = \"none\"\n"));
    assert_eq!(bandwidth.charge("replica", MIB, now), None);
    assert!(bandwidth.may_go_on("replica", &[], now));
}
