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

#[tokio::test(start_paused = true)]
async fn it_is_decided_at_once_and_the_rest_is_heard_out() {
    let start = Instant::now();
    let asks = [
        answers_after(Answer::Has, 10),
        answers_after(Answer::Has, 5_000),
    ];
    let decided = Cell::new(None);
    let choice = Choice::new(2, true, ms(150));
    let holders = fan_out(asks, 50, choice, |decision| {
        decided.set(Some((decision, start.elapsed())));
    });
    assert_eq!(holders.await, [0, 1]);
    assert_eq!(decided.get(), Some((Decision::Found(0), ms(10))));
    assert_eq!(start.elapsed(), ms(5_000));
}

#[tokio::test(start_paused = true)]
async fn a_better_placed_one_is_waited_for_within_the_grace() {
    let start = Instant::now();
    let asks = [
        answers_after(Answer::HasNot, 5_000),
        answers_after(Answer::Has, 10),
    ];
    let decided = Cell::new(None);
    let choice = Choice::new(2, false, ms(150));
    let told = |decision| decided.set(Some((decision, start.elapsed())));
    assert_eq!(fan_out(asks, 50, choice, told).await, [1]);
    assert_eq!(decided.get(), Some((Decision::Found(1), ms(160))));
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
    let decided = Cell::new(None);
    let choice = Choice::new(9, true, ms(150));
    fan_out(asks, 2, choice, |decision| decided.set(Some(decision))).await;
    assert_eq!(decided.get(), Some(Decision::Nowhere));
    assert_eq!((most.get(), order.borrow().len()), (2, 9));
    assert!(order.borrow().is_sorted());
}

#[tokio::test(start_paused = true)]
async fn nobody_to_ask_is_nowhere() {
    let decided = Cell::new(None);
    let asks: [std::future::Ready<Answer>; 0] = [];
    let choice = Choice::new(0, true, ms(150));
    fan_out(asks, 2, choice, |decision| decided.set(Some(decision))).await;
    assert_eq!(decided.get(), Some(Decision::Nowhere));
}
