//! The token cache in paused time, with a scripted fetch.

#![allow(
    clippy::disallowed_methods,
    reason = "the test waits for what it spawns"
)]

mod places;

use super::entries::TOKENS;
use super::*;
use crate::auth::plan::TokenRequest;
use crate::auth::testing::{endpoint, source};
use crate::auth::{BearerChallenge, Hop};
use crate::topology::SourceKind;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Answers fetches from a script, each after its delay; the last step repeats.
#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<(Duration, Step)>>,
    fetches: Mutex<Vec<EndpointId>>,
}

#[derive(Clone)]
enum Step {
    Token(&'static str, u64),
    /// Of so many bytes.
    Large(usize, u64),
    Deny,
    Fail,
    Panic,
}

impl FetchToken for Script {
    fn fetch(&self, plan: Arc<TokenPlan>) -> Fetching {
        self.fetches.lock().unwrap().push(plan.endpoint.clone());
        let mut steps = self.steps.lock().unwrap();
        let (delay, step) = steps.front().unwrap().clone();
        if steps.len() > 1 {
            steps.pop_front();
        }
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            match step {
                Step::Token(token, life) => Ok(Issued {
                    authorization: HeaderValue::from_static(token),
                    life: Duration::from_secs(life),
                }),
                Step::Large(bytes, life) => Ok(Issued {
                    authorization: HeaderValue::from_str(&"t".repeat(bytes)).unwrap(),
                    life: Duration::from_secs(life),
                }),
                Step::Deny => Err(TokenError::Denied("no".into())),
                Step::Fail => Err(failed()),
                Step::Panic => panic!("a fetch that panics"),
            }
        })
    }
}

struct Setup {
    script: Arc<Script>,
    tokens: Tokens,
    source: Arc<Source>,
    endpoint: EndpointId,
    key: TokenKey,
}

fn failed() -> TokenError {
    TokenFailure::new(Failure::Token, "503").into()
}

fn setup(steps: &[(u64, Step)]) -> Setup {
    let script = Arc::new(Script::default());
    let timed = |(millis, step): &(u64, Step)| (Duration::from_millis(*millis), step.clone());
    *script.steps.lock().unwrap() = steps.iter().map(timed).collect();
    let source = source(
        SourceKind::Harbor,
        "https://h.example",
        Some(("robot$n", "s")),
    );
    Setup {
        tokens: Tokens::new(script.clone(), Arc::default(), &Budget::new(64 << 20)),
        script,
        endpoint: endpoint(&source),
        key: key(&source, "proxy-docker-io"),
        source,
    }
}

fn key(source: &Arc<Source>, realm_of: &str) -> TokenKey {
    TokenKey {
        source: source.id.clone(),
        address: Some(endpoint(source).address),
        host: None,
        realm_of: realm_of.into(),
        with_credential: true,
    }
}

impl Setup {
    fn plan(&self) -> TokenPlan {
        let challenge = BearerChallenge::default();
        let wanted = TokenRequest {
            repository: "proxy-docker-io/library/nginx",
            with_credential: true,
            trust: Trust::Trusted,
        };
        TokenPlan::new(
            &self.source,
            &self.endpoint,
            &Hop::Endpoint,
            &challenge,
            wanted,
        )
        .unwrap()
    }

    /// Why there is no token.
    async fn refusal(&self) -> String {
        self.obtain().await.unwrap_err().to_string()
    }

    async fn obtain(&self) -> Result<HeaderValue, TokenError> {
        self.tokens.obtain(&self.key, self.plan()).await
    }

    fn present(&self) -> Option<HeaderValue> {
        self.tokens.present(
            &self.key,
            &self.source,
            &self.endpoint,
            Trust::Trusted,
            Instant::now(),
        )
    }

    fn holds(&self, key: &TokenKey) -> bool {
        let (tokens, now) = (&self.tokens, Instant::now());
        let token = tokens.present(key, &self.source, &self.endpoint, Trust::Trusted, now);
        token.is_some()
    }

    fn fetches(&self) -> usize {
        self.script.fetches.lock().unwrap().len()
    }
}

/// Lets spawned tasks run, and time pass.
async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn fifty_wait_for_one_fetch() {
    let setup = Arc::new(setup(&[(200, Step::Token("t", 1800))]));
    assert_eq!(setup.present(), None);
    let waiting = (0..50).map(|_| setup.obtain());
    let all = futures_util::future::join_all(waiting).await;
    assert!(all.iter().all(|token| token.as_ref().unwrap() == "t"));
    assert_eq!(setup.fetches(), 1);
    assert_eq!(setup.obtain().await.unwrap(), "t");
    assert_eq!(setup.present().unwrap(), "t");
    assert_eq!(setup.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_client_does_not_cancel_the_fetch() {
    let setup = setup(&[(1000, Step::Token("t", 1800)), (0, Step::Fail)]);
    let gone = tokio::time::timeout(Duration::from_millis(100), setup.obtain()).await;
    assert!(gone.is_err());
    pass(2.0).await;
    assert_eq!(setup.present().unwrap(), "t");
    assert_eq!(setup.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_failed_fetch_and_nobodys_but_the_agents() {
    let setup = setup(&[(10, Step::Panic), (10, Step::Token("t", 1800))]);
    let (one, two) = tokio::join!(setup.obtain(), setup.obtain());
    for one in [one, two] {
        let Err(TokenError::Failed(TokenFailure { failure, .. })) = one else {
            panic!("{one:?}");
        };
        assert_eq!(failure, Failure::Internal);
    }
    assert_eq!(setup.obtain().await.unwrap(), "t");
    assert_eq!(setup.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn renewed_from_80_percent_on_while_the_old_one_serves() {
    let setup = setup(&[
        (0, Step::Token("old", 100)),
        (3000, Step::Token("new", 100)),
    ]);
    setup.obtain().await.unwrap();
    pass(79.0).await;
    assert_eq!(setup.present().unwrap(), "old");
    pass(0.5).await;
    assert_eq!(setup.fetches(), 1);
    pass(1.0).await;
    for _ in 0..10 {
        assert_eq!(setup.present().unwrap(), "old");
    }
    pass(2.0).await;
    assert_eq!(setup.present().unwrap(), "old");
    pass(2.0).await;
    assert_eq!(setup.present().unwrap(), "new");
    assert_eq!(setup.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_keeps_the_old_token_to_its_end() {
    let setup = setup(&[(0, Step::Token("old", 100)), (0, Step::Fail)]);
    setup.obtain().await.unwrap();
    pass(81.0).await;
    for _ in 0..8 {
        assert_eq!(setup.present().unwrap(), "old");
        pass(1.0).await;
    }
    // Two renewals in eight seconds, not eight.
    assert_eq!(setup.fetches(), 3);
    pass(1.5).await;
    assert_eq!(setup.present(), None);
    assert_eq!(setup.refusal().await, "503");
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_believed_for_ten_seconds_a_failure_not_at_all() {
    let setup = setup(&[(0, Step::Fail), (0, Step::Deny), (0, Step::Token("t", 60))]);
    assert_eq!(setup.refusal().await, "503");
    assert_eq!(setup.refusal().await, "no");
    pass(9.0).await;
    assert_eq!(setup.refusal().await, "no");
    assert_eq!(setup.fetches(), 2);
    pass(1.1).await;
    assert_eq!(setup.obtain().await.unwrap(), "t");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_has_ten_seconds() {
    let setup = setup(&[(3_600_000, Step::Token("t", 60))]);
    let started = Instant::now();
    let error = setup.obtain().await.unwrap_err();
    assert_eq!(started.elapsed(), FETCH_LIMIT);
    assert_eq!(error.to_string(), "no token from replica within 10 s");
}

#[tokio::test(start_paused = true)]
async fn only_the_refused_token_is_forgotten() {
    let setup = setup(&[(0, Step::Token("one", 60)), (0, Step::Token("two", 60))]);
    let one = setup.obtain().await.unwrap();
    setup.tokens.forget(&setup.key, &one);
    assert_eq!(setup.present(), None);
    let two = setup.obtain().await.unwrap();
    // A slow request comes back with its 401 for the first one.
    setup.tokens.forget(&setup.key, &one);
    assert_eq!(setup.present().unwrap(), two);
}

#[tokio::test(start_paused = true)]
async fn another_password_or_url_makes_an_old_token_nobodys() {
    let setup = setup(&[(0, Step::Token("t", 600))]);
    setup.obtain().await.unwrap();
    let present = |source: &Arc<Source>, with_credential| {
        let key = TokenKey {
            with_credential,
            ..setup.key.clone()
        };
        let (tokens, now) = (&setup.tokens, Instant::now());
        tokens.present(&key, source, &setup.endpoint, Trust::Trusted, now)
    };
    assert!(present(&setup.source, true).is_some());
    assert!(present(&setup.source, false).is_none());
    let reloaded = |url, password| source(SourceKind::Harbor, url, Some(("robot$n", password)));
    assert!(present(&reloaded("https://h.example", "s"), true).is_some());
    assert!(present(&reloaded("https://h.example", "other"), true).is_none());
    assert!(present(&reloaded("https://h2.example", "s"), true).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_for_an_old_password_does_not_land_for_the_new_one() {
    let mut setup = setup(&[
        (1000, Step::Token("old", 600)),
        (3000, Step::Token("new", 600)),
    ]);
    let old = setup.plan();
    let tokens = setup.tokens.clone();
    let (key, wait) = (setup.key.clone(), Duration::from_millis(10));
    assert!(
        tokio::time::timeout(wait, tokens.obtain(&key, old))
            .await
            .is_err()
    );
    setup.source = source(
        SourceKind::Harbor,
        "https://h.example",
        Some(("robot$n", "new")),
    );
    let new = setup.obtain();
    tokio::pin!(new);
    assert!(
        tokio::time::timeout(Duration::from_secs(2), &mut new)
            .await
            .is_err()
    );
    assert_eq!(setup.present(), None);
    assert_eq!(new.await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_was_taken_is_brought_along() {
    let setup = setup(&[(0, Step::Fail)]);
    let basic = HeaderValue::from_static("Basic x");
    setup
        .tokens
        .remember_basic(&setup.key, &setup.source, basic.clone(), Trust::Trusted);
    assert_eq!(setup.present().unwrap(), basic);
    pass(BASIC_LIFE.as_secs_f64()).await;
    assert_eq!(setup.present(), None);
    assert_eq!(setup.fetches(), 0);
}

/// A wrong secret costs a Harbor 1.5 s: what a fresh token did not open is remembered for a minute, of that token alone.
#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_opened_nothing_is_remembered_for_a_minute() {
    let setup = setup(&[(0, Step::Token("one", 1800)), (0, Step::Token("two", 1800))]);
    let one = setup.obtain().await.unwrap();
    let refusal = Refusal {
        without_challenge: false,
        is_failure: false,
        why: "401 in spite of a fresh token".to_owned(),
    };
    let (tokens, key) = (&setup.tokens, &setup.key);
    let refused = |token: &HeaderValue| tokens.refusal(key, token, Instant::now());
    assert_eq!(refused(&one), None);
    tokens.remember_refusal(key, &one, refusal.clone(), Instant::now());
    pass(59.9).await;
    assert_eq!(refused(&one), Some(refusal.clone()));
    pass(0.2).await;
    assert_eq!(refused(&one), None);
    tokens.remember_refusal(key, &one, refusal.clone(), Instant::now());
    tokens.forget(key, &one);
    let two = setup.obtain().await.unwrap();
    assert_ne!(one, two);
    assert_eq!(refused(&two), None);
    // It came too late: another token is there by now.
    tokens.remember_refusal(key, &one, refusal, Instant::now());
    assert_eq!((refused(&one), refused(&two)), (None, None));
}
