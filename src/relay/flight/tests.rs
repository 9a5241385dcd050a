//! Who shares a search with whom, and what it survives.

use super::*;
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

impl Clone for Flights<&'static str, usize> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Searches {
    async fn ask(&self, key: &'static str) -> usize {
        let (begun, through) = (self.begun.clone(), self.through.clone());
        let work = move || {
            let (number, through) = (begun.fetch_add(1, Ordering::SeqCst), through.clone());
            async move {
                sleep(Duration::from_secs(1)).await;
                through.fetch_add(1, Ordering::SeqCst);
                number
            }
        };
        *self.flights.join(key, work).await.unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.begun), count(&self.through))
    }

    fn under_way(&self) -> usize {
        self.flights.list().under_way.len()
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
            number
        }
    };
    let both = ["a", "a"].map(|key| flights.join(key, work));
    for landed in futures_util::future::join_all(both).await {
        let text = landed.unwrap_err().to_string();
        assert!(text.contains("the first one breaks"), "{text}");
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1, "it was done once");
    assert_eq!(flights.list().under_way.len(), 0);
    assert_eq!(
        *flights.join("a", work).await.unwrap(),
        1,
        "who comes later asks anew"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_beyond_the_bound_is_contained_too() {
    let flights = Flights::<String, usize>::default();
    let keys = (0..FLIGHTS).map(|index| index.to_string());
    let kept: Vec<_> = keys
        .map(|key| flights.board(key, &|| std::future::pending()).unwrap())
        .collect();
    let broken = || async { panic!("beyond") };
    assert!(flights.join("a".to_owned(), broken).await.is_err());
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_everybody_searches_alone() {
    let searches = Searches::default();
    {
        let mut list = searches.flights.list();
        for index in 0..FLIGHTS {
            let key: &'static str = Box::leak(format!("other-{index}").into_boxed_str());
            let work: Work<usize> = Box::pin(std::future::pending());
            let work = work.shared().downgrade().unwrap();
            let number = u64::MAX;
            list.under_way.insert(key, Flight { number, work });
        }
    }
    let answers = futures_util::future::join(searches.ask("a"), searches.ask("a")).await;
    assert_ne!(answers.0, answers.1);
    assert_eq!(searches.under_way(), FLIGHTS);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_does_not_take_its_successor_along() {
    let searches = Searches::default();
    let board = || {
        let work = || async { 7 };
        searches.flights.board("a", &work).unwrap()
    };
    let first = board();
    let number = |searches: &Searches| searches.flights.list().under_way["a"].number;
    let first_number = number(&searches);
    // As if the last one were leaving just now: nobody holds it, and it is still listed.
    let forsake = || {
        let gone: Work<usize> = Box::pin(std::future::pending());
        let gone = gone.shared().downgrade().unwrap();
        searches.flights.list().under_way.get_mut("a").unwrap().work = gone;
    };
    forsake();
    let second = board();
    assert_ne!(number(&searches), first_number);
    drop(first);
    assert_eq!(searches.under_way(), 1);
    assert_eq!(second.await.as_deref(), Ok(&7));
    assert_eq!(searches.under_way(), 0);
}
