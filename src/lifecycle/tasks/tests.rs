//! Tests of lifecycle/tasks.

use super::*;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn a_task_that_ends_is_a_failure() {
    let tasks = Tasks::default();
    tasks.spawn("lives", std::future::pending());
    tasks.spawn("ends", async {});
    let failure = tasks.failure().await;
    assert_eq!(failure.to_string(), "task ends ended");
    assert_eq!(failure.panic, None);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_text() {
    let tasks = Tasks::default();
    tasks.spawn("falls", async {
        tokio::task::yield_now().await;
        panic!("over {}", 7);
    });
    let failure = tasks.failure().await;
    assert_eq!(failure.to_string(), "task falls panicked: over 7");
}

#[tokio::test]
async fn the_first_failure_is_the_one_that_is_told() {
    let tasks = Tasks::default();
    tasks.spawn("first", async {});
    assert_eq!(tasks.failure().await.name, "first");
    tasks.spawn("second", async {});
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(tasks.failure().await.name, "first");
}

#[tokio::test(start_paused = true)]
async fn stopped_tasks_have_not_failed() {
    let tasks = Tasks::default();
    let held = Arc::new(());
    let kept = held.clone();
    tasks.spawn("lives", async move {
        let _kept = kept;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    tasks.stop();
    let day = Duration::from_secs(86_400);
    assert!(timeout(day, tasks.failure()).await.is_err());
    assert_eq!(Arc::strong_count(&held), 1, "the task was dropped");
}

#[tokio::test]
async fn panics_of_detached_tasks_are_counted() {
    let before = panics();
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    spawn_detached("connection", async move {
        let _sender = sender;
        panic!("alone");
    });
    receiver.await.unwrap_err();
    // The count is the process'; other tests may add to it.
    let counted = async {
        while panics() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), counted).await.unwrap();
}
