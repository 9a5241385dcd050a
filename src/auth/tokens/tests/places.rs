//! How many tokens are kept, whose go first, and what they may take of the memory.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_one_unused_for_longest_makes_room() {
    let setup = setup(&[(0, Step::Token("t", 600))]);
    let keys: Vec<_> = (0..TOKENS)
        .map(|n| key(&setup.source, &format!("p{n}")))
        .collect();
    for key in &keys {
        setup.tokens.obtain(key, setup.plan()).await.unwrap();
    }
    assert!(setup.holds(&keys[0]));
    setup.obtain().await.unwrap();
    assert!(setup.holds(&keys[0]));
    assert!(!setup.holds(&keys[1]));
    assert!(setup.holds(&keys[2]));
    assert_eq!(setup.tokens.entries.lock().of.len(), TOKENS);
}

/// Whatever untrusted clients ask for, and however much of it.
#[tokio::test(start_paused = true)]
async fn tokens_of_trusted_clients_requests_stay() {
    let setup = setup(&[(0, Step::Token("t", 600))]);
    setup.obtain().await.unwrap();
    let strangers = TokenPlan {
        trust: Trust::Untrusted,
        ..setup.plan()
    };
    for number in 0..TOKENS + 10 {
        let key = key(&setup.source, &format!("p{number}"));
        let token = setup.tokens.obtain(&key, strangers.clone()).await;
        assert_eq!(token.unwrap(), "t");
    }
    assert!(setup.holds(&setup.key));
    assert_eq!(setup.tokens.entries.lock().of.len(), 1 + TOKENS / 4);
}

/// Where trusted clients' tokens take all the room an untrusted one's is fetched all the same, and not kept.
#[tokio::test(start_paused = true)]
async fn without_a_place_a_token_is_fetched_and_not_kept() {
    let setup = setup(&[(0, Step::Token("t", 600))]);
    for number in 0..TOKENS {
        let key = key(&setup.source, &format!("p{number}"));
        setup.tokens.obtain(&key, setup.plan()).await.unwrap();
    }
    let strangers = TokenPlan {
        trust: Trust::Untrusted,
        ..setup.plan()
    };
    let token = setup.tokens.obtain(&setup.key, strangers).await;
    assert_eq!(token.unwrap(), "t");
    assert!(!setup.holds(&setup.key));
}

/// An image of a tier's own is asked for without its credential: that is another token of the same project.
#[tokio::test(start_paused = true)]
async fn an_anonymous_token_does_not_take_the_robots_place() {
    let setup = setup(&[
        (0, Step::Token("robot", 600)),
        (0, Step::Token("anonymous", 600)),
    ]);
    setup.obtain().await.unwrap();
    let anonymous = TokenKey {
        with_credential: false,
        ..setup.key.clone()
    };
    let plan = TokenPlan {
        credential: None,
        ..setup.plan()
    };
    let token = setup.tokens.obtain(&anonymous, plan).await;
    assert_eq!(token.unwrap(), "anonymous");
    assert_eq!(setup.present().unwrap(), "robot");
    assert!(setup.holds(&anonymous));
    assert_eq!(setup.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_tokens_take_an_eighth_of_the_memory_and_none_when_they_have_ended() {
    let mut setup = setup(&[(0, Step::Large(16 * 1024, 600))]);
    let budget = Budget::new(16 << 20);
    setup.tokens = Tokens::new(setup.script.clone(), Arc::default(), &budget);
    let keys: Vec<_> = (0..200)
        .map(|n| key(&setup.source, &format!("p{n}")))
        .collect();
    for key in &keys {
        setup.tokens.obtain(key, setup.plan()).await.unwrap();
    }
    let held = budget.held();
    assert!(((2 << 20) - (32 << 10)..=2 << 20).contains(&held), "{held}");
    assert_eq!(setup.fetches(), 200);
    setup.tokens.obtain(&keys[199], setup.plan()).await.unwrap();
    assert_eq!(setup.fetches(), 200, "the newest are there");
    setup.tokens.obtain(&keys[0], setup.plan()).await.unwrap();
    assert_eq!(setup.fetches(), 201, "the oldest made room");
    pass(300.0).await;
    setup.tokens.sweep(Instant::now());
    assert!(budget.held() > 1 << 20);
    pass(300.0).await;
    setup.tokens.sweep(Instant::now());
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn fetches_wait_for_a_place_and_are_made_one_after_the_other() {
    let setup = setup(&[(1000, Step::Token("t", 600))]);
    let began = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..FETCHES + 1 {
        let (tokens, plan) = (setup.tokens.clone(), setup.plan());
        let key = key(&setup.source, &format!("p{number}"));
        waiting.push(tokio::spawn(async move {
            tokens.obtain(&key, plan).await.unwrap();
            began.elapsed().as_secs()
        }));
    }
    let mut took = Vec::new();
    for waiting in waiting {
        took.push(waiting.await.unwrap());
    }
    assert_eq!(
        took.iter().filter(|seconds| **seconds == 1).count(),
        FETCHES
    );
    assert_eq!(took.iter().filter(|seconds| **seconds == 2).count(), 1);
}
