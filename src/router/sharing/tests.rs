//! What a pull sees, with the other end of the channel in the test's hand.

mod panics;

use super::*;
use crate::router::mappings::Subject;
use std::time::Duration;
use tokio::time::Instant;

fn sharing() -> (Sharing, mpsc::Receiver<Order>) {
    let (orders, inbox) = mpsc::channel(2);
    let sharing = Sharing {
        orders,
        ..Sharing::default()
    };
    sharing.gate.open();
    (sharing, inbox)
}

/// Each search waits for what another agent says of it.
pub(crate) fn silent() -> (Sharing, impl Send) {
    let (orders, inbox) = mpsc::channel(WAITING);
    let sharing = Sharing {
        orders,
        ..Sharing::default()
    };
    sharing.gate.open();
    (sharing, inbox)
}

/// Where everything is, as another agent found.
pub(crate) fn saying(registry: &RegistryName) -> Sharing {
    let (sharing, mut inbox) = sharing();
    let registry = registry.clone();
    crate::lifecycle::spawn_detached("test", async move {
        while let Some(order) = inbox.recv().await {
            if let Order::Place { reply, .. } = order {
                let _ = reply.send(Some(registry.clone()));
            }
        }
    });
    sharing
}

fn wanted() -> Wanted {
    Wanted {
        repository: "org/app".parse().unwrap(),
        subject: Subject::Tags,
        trust: Trust::Trusted,
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_waits_50_ms_once() {
    let (sharing, mut inbox) = sharing();
    let since = Instant::now();
    assert_eq!(sharing.place(&wanted()).await, None);
    let waited = since.elapsed();
    assert!(
        (PATIENCE..PATIENCE + Duration::from_millis(2)).contains(&waited),
        "{waited:?}"
    );
    // From then on nobody waits, and nothing is written, until the task lets them in again.
    sharing.found(&wanted(), &"ghcr.io".parse().unwrap(), false);
    for _ in 0..1000 {
        assert_eq!(sharing.place(&wanted()).await, None);
    }
    let repository = wanted().repository;
    let among = vec!["ghcr.io".parse().unwrap()];
    assert_eq!(
        sharing.holders(&repository, Trust::Trusted, among).await,
        []
    );
    assert_eq!(since.elapsed(), waited);
    let first = inbox.try_recv().unwrap();
    assert!(!first.is_wanted());
    assert!(inbox.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_keeps_nobody() {
    let (sharing, _inbox) = sharing();
    for _ in 0..3 {
        sharing.gone(&wanted());
    }
    let since = Instant::now();
    assert_eq!(sharing.place(&wanted()).await, None);
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert!(sharing.gate.is_open());
}

#[tokio::test(start_paused = true)]
async fn without_a_task_nobody_waits() {
    let since = Instant::now();
    let nothing = Sharing::default();
    assert_eq!(nothing.place(&wanted()).await, None);
    nothing.gone(&wanted());
    let (sharing, inbox) = sharing();
    drop(inbox);
    assert_eq!(sharing.place(&wanted()).await, None);
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert_eq!(nothing.state(), None);
}
