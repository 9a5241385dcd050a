//! Who is chosen, by what comes in which order.

use super::*;
use proptest::prelude::*;

/// Whether there is an order, the answers with their times in milliseconds, the decision.
type Row = (bool, &'static [(Answer, u64)], Decision);

const GRACE: Duration = Duration::from_millis(150);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The decision where answers come at these times, in milliseconds.
fn decide(is_strict: bool, answers: &[(Answer, u64)]) -> Decision {
    let start = Instant::now();
    let mut choice = Choice::new(answers.len(), is_strict, GRACE);
    let mut arrivals: Vec<usize> = (0..answers.len()).collect();
    arrivals.sort_by_key(|place| answers[*place].1);
    let mut now = start;
    let mut arrivals = arrivals.into_iter().peekable();
    loop {
        match choice.step(now) {
            Step::Decided(decision) => return decision,
            Step::Wait(until) => {
                let next = arrivals.peek().map(|place| start + ms(answers[*place].1));
                if let (Some(until), Some(next)) = (until, next)
                    && until <= next
                {
                    now = until;
                    continue;
                }
                let place = arrivals.next().expect("it waits for somebody");
                now = start + ms(answers[place].1);
                choice.answered(place, answers[place].0, now);
            }
        }
    }
}

#[test]
fn a_table_of_choices() {
    use Answer::{Has, HasNot, Unknown};
    use Decision::{Blocked, Found, Nowhere};
    let (strict, quick) = (true, false);
    let table: &[Row] = &[
        (strict, &[], Nowhere),
        (quick, &[], Nowhere),
        (strict, &[(Has, 900), (Has, 1)], Found(0)),
        (strict, &[(HasNot, 900), (Has, 1)], Found(1)),
        (strict, &[(Unknown, 900), (Has, 1)], Blocked(0)),
        (strict, &[(Has, 1), (Unknown, 9)], Found(0)),
        (strict, &[(HasNot, 1), (Unknown, 2), (Has, 3)], Blocked(1)),
        (strict, &[(HasNot, 1), (HasNot, 2)], Nowhere),
        (quick, &[(Has, 149), (Has, 0)], Found(0)),
        (quick, &[(Has, 151), (Has, 0)], Found(1)),
        (quick, &[(Unknown, 10), (Has, 90)], Found(1)),
        (quick, &[(Unknown, 10), (HasNot, 90)], Blocked(0)),
        (quick, &[(HasNot, 10), (HasNot, 90)], Nowhere),
        (quick, &[(HasNot, 3), (Has, 2), (Has, 1)], Found(1)),
    ];
    for (is_strict, answers, due) in table {
        assert_eq!(decide(*is_strict, answers), *due, "{is_strict} {answers:?}");
    }
}

#[test]
fn nobody_waits_for_who_could_not_win() {
    let now = Instant::now();
    let mut choice = Choice::new(3, false, GRACE);
    choice.answered(0, Answer::Has, now);
    assert_eq!(choice.step(now), Step::Decided(Decision::Found(0)));
    choice.answered(2, Answer::Has, now);
    assert_eq!(choice.holders(), [0, 2]);
}

/// Whether each of some registries has the image.
fn truth() -> impl Strategy<Value = Vec<bool>> {
    proptest::collection::vec(any::<bool>(), 1..8)
}

fn said(has: bool) -> Answer {
    if has { Answer::Has } else { Answer::HasNot }
}

proptest! {
    /// Whatever order the answers come in, and whoever is out: with an order it is the same registry as in good days, or none.
    #[test]
    fn with_an_order_the_winner_is_the_same_or_there_is_none(
        truth in truth(),
        faults in proptest::collection::vec((any::<bool>(), 0..30_000_u64), 8),
    ) {
        let good: Vec<_> = truth.iter().map(|has| (said(*has), 0)).collect();
        let answers = truth.iter().zip(&faults).map(|(has, (is_out, at))| {
            (if *is_out { Answer::Unknown } else { said(*has) }, *at)
        });
        let answers: Vec<_> = answers.collect();
        let (due, got) = (decide(true, &good), decide(true, &answers));
        let is_blocked = matches!(got, Decision::Blocked(_));
        prop_assert!(got == due || is_blocked, "{due:?} {got:?} {answers:?}");
        if answers.iter().all(|(answer, _)| *answer != Answer::Unknown) {
            prop_assert_eq!(got, due);
        }
    }

    /// Without one the best-placed wins, whatever order the answers come in, as long as they come within the grace.
    #[test]
    fn without_an_order_the_best_placed_within_the_grace_wins(
        truth in truth(),
        times in proptest::collection::vec(0..150_u64, 8),
    ) {
        let answers: Vec<_> = truth.iter().zip(&times).map(|(has, at)| (said(*has), *at)).collect();
        let due = match truth.iter().position(|has| *has) {
            Some(best) => Decision::Found(best),
            None => Decision::Nowhere,
        };
        prop_assert_eq!(decide(false, &answers), due);
    }
}
