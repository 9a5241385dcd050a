//! Requests that have no address of a source.

use super::*;
use futures_util::future::join_all;

/// A tier whose first lookup has failed, as at a boot before the network is up, without saved addresses.
async fn failed(script: &Script, directory: &Path) -> Running {
    script.says("r.test", Says::Fails);
    let mut running = Running::start(script, directory, sources(&[("replica", "r.test")]));
    running
        .until(&tier("replica"), |set| set.error.is_some())
        .await;
    running
}

#[tokio::test(start_paused = true)]
async fn they_ask_again_at_once_by_one_lookup() {
    let (script, directory) = (Script::default(), tempfile::tempdir().unwrap());
    let running = failed(&script, directory.path()).await;
    let (start, before) = (Instant::now(), script.asked("r.test"));
    script.says("r.test", Says::Addresses(vec!["203.0.113.1"], 60));
    let replica = tier("replica");
    let asks = (0..50).map(|_| running.discovery.ask_again(&replica));
    assert!(
        join_all(asks)
            .await
            .into_iter()
            .all(|has_addresses| has_addresses)
    );
    let took = start.elapsed();
    assert!(took < Duration::from_millis(300), "{took:?}");
    assert_eq!(script.asked("r.test"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_stays_away_is_asked_for_four_times_a_second_at_most() {
    let (script, directory) = (Script::default(), tempfile::tempdir().unwrap());
    let running = failed(&script, directory.path()).await;
    let (start, before) = (Instant::now(), script.asked("r.test"));
    while start.elapsed() < Duration::from_secs(10) {
        assert!(!running.discovery.ask_again(&tier("replica")).await);
    }
    let asked = script.asked("r.test") - before;
    assert!((20..=41).contains(&asked), "{asked}");
    // By itself it is asked for no more rarely than without them.
    pass(31).await;
    assert!(script.asked("r.test") > before + asked);
    let nobody = tier("nobody");
    let has_addresses = running.discovery.ask_again(&nobody).await;
    assert!(
        !has_addresses,
        "and nobody waits for a source that there is not"
    );
}
