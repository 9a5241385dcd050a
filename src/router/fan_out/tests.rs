//! Who is asked when, in paused time.

use super::*;
use std::cell::{Cell, RefCell};
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn answers_after(answer: Answer, after: u64) -> Answer {
    tokio::time::sleep(ms(after)).await;
    answer
}

fn far() -> Instant {
    Instant::now() + ms(60_000)
}

#[tokio::test(start_paused = true)]
async fn it_is_decided_at_once_and_the_rest_is_heard_out() {
    let start = Instant::now();
    let asks = vec![
        answers_after(Answer::Has, 10),
        answers_after(Answer::Has, 5_000),
    ];
    let mut fan_out = FanOut::new(asks, 50, Choice::new(2, true, ms(150)));
    assert_eq!(fan_out.decide(far()).await, Decision::Found(0));
    assert_eq!(start.elapsed(), ms(10));
    assert_eq!(fan_out.holders().await, [0, 1]);
    assert_eq!(start.elapsed(), ms(5_000));
}

#[tokio::test(start_paused = true)]
async fn a_better_placed_one_is_waited_for_within_the_grace() {
    let start = Instant::now();
    let asks = vec![
        answers_after(Answer::HasNot, 5_000),
        answers_after(Answer::Has, 10),
    ];
    let mut fan_out = FanOut::new(asks, 50, Choice::new(2, false, ms(150)));
    assert_eq!(fan_out.decide(far()).await, Decision::Found(1));
    assert_eq!(start.elapsed(), ms(160));
    assert_eq!(fan_out.holders().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_are_asked_at_once_and_all_in_the_end() {
    let (running, most) = (Cell::new(0_usize), Cell::new(0_usize));
    let order = RefCell::new(Vec::new());
    let asks = (0..9).map(|place| {
        let (running, most, order) = (&running, &most, &order);
        async move {
            order.borrow_mut().push(place);
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            tokio::time::sleep(ms(10)).await;
            running.set(running.get() - 1);
            Answer::HasNot
        }
    });
    let mut fan_out = FanOut::new(asks.collect(), 2, Choice::new(9, true, ms(150)));
    assert_eq!(fan_out.decide(far()).await, Decision::Nowhere);
    assert_eq!((most.get(), order.borrow().len()), (2, 9));
    assert!(order.borrow().is_sorted());
}

#[tokio::test(start_paused = true)]
async fn nobody_to_ask_is_nowhere() {
    let asks: Vec<std::future::Ready<Answer>> = Vec::new();
    let mut fan_out = FanOut::new(asks, 2, Choice::new(0, true, ms(150)));
    assert_eq!(fan_out.decide(far()).await, Decision::Nowhere);
    assert!(fan_out.holders().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_for_too_long_is_named() {
    for is_strict in [true, false] {
        let start = Instant::now();
        let asks = vec![
            answers_after(Answer::HasNot, 10),
            answers_after(Answer::Has, 9_000_000),
            answers_after(Answer::HasNot, 20),
        ];
        let mut fan_out = FanOut::new(asks, 50, Choice::new(3, is_strict, ms(150)));
        let until = start + ms(20_000);
        assert_eq!(fan_out.decide(until).await, Decision::Blocked(1));
        assert_eq!(start.elapsed(), ms(20_000));
    }
}
