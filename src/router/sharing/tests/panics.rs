//! A bug in the task costs what is shared, and never the agent.

use super::wanted;
use crate::config::Config;
use crate::lifecycle::{panics, spawn_detached};
use crate::router::sharing::{RedisState, Sharing};
use crate::router::testing::stage;
use futures_util::FutureExt as _;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Panics where the task says that it has a master, the first time.
#[derive(Default)]
struct Bug(AtomicBool);

struct IsMaster(bool);

impl Visit for IsMaster {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0 |= format!("{value:?}").contains("[router.redis]: the master is");
    }
}

impl<S: tracing::Subscriber> Layer<S> for Bug {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut is_master = IsMaster(false);
        event.record(&mut is_master);
        if is_master.0 && !self.0.swap(true, Ordering::SeqCst) {
            panic!("a test's own");
        }
    }
}

/// A sentinel that is the master itself, and holds nothing.
async fn redis() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_detached("test", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn_detached("test", async move {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    let question = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    let port = address.port().to_string();
                    let answer = match question {
                        one if one.contains("SENTINEL") => {
                            format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
                        }
                        one if one.contains("ROLE") => "*1\r\n$6\r\nmaster\r\n".to_owned(),
                        one if one.contains("PING") => "+PONG\r\n".to_owned(),
                        one if one.contains("SCAN") => "*2\r\n$1\r\n0\r\n*0\r\n".to_owned(),
                        _ => "$0\r\n\r\n".to_owned(),
                    };
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn config(redis: SocketAddr, prefix: &str) -> Arc<Config> {
    let text = format!(
        "[[tier]]\nname = \"cat\"\nurl = \"http://127.0.0.1:1\"\n[tier.projects]\n\"ghcr.io\" = \"ghcr\"\n\
         [router]\nnames = [\"registry.example.com\"]\n\
         [router.redis]\nsentinels = [\"{redis}\"]\nmaster = \"mymaster\"\nkey_prefix = \"{prefix}\"\n"
    );
    Arc::new(Config::from_toml(&text).unwrap())
}

async fn until(sharing: &mut Sharing, is_so: impl Fn(&RedisState) -> bool) {
    let is_so = |state: &Option<RedisState>| state.as_ref().is_some_and(&is_so);
    sharing.state.wait_for(is_so).await.unwrap();
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_the_next_one_shares_again() {
    let bug = tracing_subscriber::registry().with(Bug::default());
    let _bug = tracing::subscriber::set_default(bug);
    let redis = redis().await;
    let stage = stage(Config::clone(&config(redis, "a")));
    let parts = stage.relay.parts();
    let (change, followed) = watch::channel(config(redis, "a"));
    let (_listings, listings) = mpsc::channel(1);
    let before = panics();
    let mut sharing = Sharing::start(
        (followed, listings),
        parts.network.discovery.clone(),
        Arc::default(),
        parts.sinks.metrics.clone(),
        &stage.tasks,
        1,
    );
    let is_bug = |state: &RedisState| {
        let error = state.error.as_deref().unwrap_or_default();
        error == "a bug of harbor-pilot: a test's own"
    };
    until(&mut sharing, is_bug).await;
    assert!(panics() > before);
    // Nobody is let in, so that nobody waits; and the agent lives.
    assert!(!sharing.gate.is_open());
    assert_eq!(sharing.place(&wanted()).await, None);
    assert_eq!(stage.tasks.failure().now_or_never(), None);

    // The next attempt, which a change of the table brings at once.
    change.send_replace(config(redis, "b"));
    until(&mut sharing, |state| state.master.is_some()).await;
    assert!(sharing.gate.is_open());
    assert_eq!(stage.tasks.failure().now_or_never(), None);
}
