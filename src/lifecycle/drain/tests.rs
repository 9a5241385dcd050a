//! Tests of lifecycle/drain.

use super::*;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_last_guard() {
    let (drain, watch) = Drain::new();
    let (first, second) = (watch.hold(), watch.clone().hold());
    assert_eq!(watch.held(), 2);
    let start = Instant::now();
    let release = async {
        watch.draining().await;
        drop(first);
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(second);
    };
    drain.begin(LIMIT);
    let (drained, ()) = tokio::join!(drain.drained(), release);
    assert_eq!(drained, Drained::All);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_limit() {
    let (drain, watch) = Drain::new();
    let _held = watch.hold();
    drain.begin(LIMIT);
    let start = Instant::now();
    assert_eq!(drain.drained().await, Drained::LimitPassed { left: 1 });
    assert_eq!(start.elapsed(), LIMIT);
    watch.limit_passed().await;
    assert_eq!(start.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn without_work_a_drain_ends_at_once_but_not_before_it_begins() {
    let (drain, watch) = Drain::new();
    assert!(!watch.is_draining());
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, drain.drained()).await.is_err());
    assert!(timeout(hour, watch.draining()).await.is_err());
    drain.begin(LIMIT);
    assert!(watch.is_draining());
    let start = Instant::now();
    assert_eq!(drain.drained().await, Drained::All);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_be_shortened_but_not_extended() {
    let (drain, watch) = Drain::new();
    let _held = watch.hold();
    let start = Instant::now();
    drain.begin(LIMIT);
    let hurry = async {
        drain.begin(LIMIT * 10);
        tokio::time::sleep(Duration::from_secs(1)).await;
        drain.begin(Duration::ZERO);
    };
    let (drained, (), ()) = tokio::join!(drain.drained(), hurry, watch.limit_passed());
    assert_eq!(drained, Drained::LimitPassed { left: 1 });
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_gone_holds_nobody() {
    let (drain, watch) = Drain::new();
    drop(drain);
    watch.draining().await;
    watch.limit_passed().await;
}
