//! Who shares a search with whom, and what it survives.

use super::*;
use crate::relay::outcome::AttemptLog;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A search that takes a second, counted when it begins and when it is through.
#[derive(Clone, Default)]
struct Searches {
    flights: Arc<Flights<&'static str, usize>>,
    begun: Arc<AtomicUsize>,
    through: Arc<AtomicUsize>,
}

fn found(number: usize) -> Arc<Ended<usize>> {
    let (result, log) = (Ok(number), AttemptLog::default());
    Arc::new(Ended { result, log })
}

fn under_way<K>(flights: &Flights<K, usize>) -> usize {
    let flights = flights.0.lock().unwrap();
    flights
        .values()
        .filter(|flight| is_under_way(flight))
        .count()
}

impl Searches {
    async fn ask(&self, key: &'static str) -> usize {
        let (begun, through) = (self.begun.clone(), self.through.clone());
        let work = move || {
            let (number, through) = (begun.fetch_add(1, Ordering::SeqCst), through.clone());
            async move {
                sleep(Duration::from_secs(1)).await;
                through.fetch_add(1, Ordering::SeqCst);
                found(number)
            }
        };
        *self.flights.join(key, work).await.result.as_ref().unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.begun), count(&self.through))
    }

    fn under_way(&self) -> usize {
        under_way(&self.flights)
    }
}

#[tokio::test(start_paused = true)]
async fn equal_requests_share_one_search_and_others_have_their_own() {
    let searches = Searches::default();
    let asked = ["a", "a", "b", "a"].map(|key| searches.ask(key));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[3]);
    assert_ne!(answers[0], answers[2]);
    assert_eq!(searches.counts(), (2, 2));
    searches.ask("a").await;
    assert_eq!(searches.counts(), (3, 3), "what is over is asked anew");
    assert_eq!(searches.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_began_it_may_leave() {
    let searches = Searches::default();
    let first = timeout(Duration::from_millis(500), searches.ask("a"));
    let second = async {
        sleep(Duration::from_millis(100)).await;
        searches.ask("a").await
    };
    let (first, second) = futures_util::future::join(first, second).await;
    assert!(first.is_err());
    assert_eq!(second, 0);
    assert_eq!(searches.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn when_the_last_one_leaves_it_is_cancelled() {
    let searches = Searches::default();
    let both = ["a", "a"].map(|key| timeout(Duration::from_millis(500), searches.ask(key)));
    let left = futures_util::future::join_all(both).await;
    assert!(left.iter().all(Result::is_err));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(searches.counts(), (1, 0));
    assert_eq!(searches.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_it_for_all_who_wait_and_is_not_tried_again() {
    let flights = Flights::<&str, usize>::default();
    let tries = Arc::new(AtomicUsize::new(0));
    let work = || {
        let number = tries.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(Duration::from_secs(1)).await;
            assert_ne!(number, 0, "the first one breaks");
            found(number)
        }
    };
    let both = ["a", "a"].map(|key| flights.join(key, work));
    for ended in futures_util::future::join_all(both).await {
        assert!(ended.result.is_err());
        let text = &ended.log.failed[0].detail;
        assert!(text.contains("the first one breaks"), "{text}");
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1, "it was done once");
    assert_eq!(under_way(&flights), 0);
    let later = flights.join("a", work).await;
    assert_eq!(
        *later.result.as_ref().unwrap(),
        1,
        "who comes later asks anew"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_beyond_the_bound_is_contained_too() {
    let flights = Flights::<String, usize>::default();
    let keys = (0..FLIGHTS).map(|index| index.to_string());
    let kept: Vec<_> = keys
        .map(|key| {
            flights
                .begin_or_join(key, &|| std::future::pending())
                .unwrap()
        })
        .collect();
    let broken = || async { panic!("beyond") };
    assert!(flights.join("a".to_owned(), broken).await.result.is_err());
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_everybody_searches_alone() {
    let searches = Searches::default();
    let others = (0..FLIGHTS).map(|index| {
        let key: &'static str = Box::leak(format!("other-{index}").into_boxed_str());
        searches
            .flights
            .begin_or_join(key, &|| std::future::pending())
            .unwrap()
    });
    let others: Vec<_> = others.collect();
    let answers = futures_util::future::join(searches.ask("a"), searches.ask("a")).await;
    assert_ne!(answers.0, answers.1);
    assert_eq!(searches.under_way(), FLIGHTS);
    drop(others);
    let answers = futures_util::future::join(searches.ask("a"), searches.ask("a")).await;
    assert_eq!(
        answers.0, answers.1,
        "those that everybody left take no place"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_does_not_take_its_successor_along() {
    let searches = Searches::default();
    let begin = |number| {
        let work = move || async move { found(number) };
        searches.flights.begin_or_join("a", &work).unwrap()
    };
    let first = begin(1);
    // As if the last one were leaving just now: nobody holds it, and it is still listed.
    let gone: Work<usize> = Box::pin(std::future::pending());
    let gone = gone.shared().downgrade().unwrap();
    searches.flights.0.lock().unwrap().insert("a", gone);
    let second = begin(2);
    drop(first);
    assert_eq!(searches.under_way(), 1);
    assert_eq!(second.await.result.as_ref().ok(), Some(&2));
    assert_eq!(searches.under_way(), 0);
}
