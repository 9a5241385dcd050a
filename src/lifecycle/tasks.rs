//! The only place that spawns: long-lived tasks whose end is the daemon's end, and detached ones that may
//! fail alone but never unseen.

use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Panics of detached tasks and contained work in this process.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// The longest text of a panic that is passed on: it may quote what was received.
const PANIC_CHARS: usize = 200;

/// Spawns the tasks that the daemon cannot live without. One that ends or panics ends the daemon, with its
/// name, so that systemd starts a whole one.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    failure: watch::Sender<Option<TaskFailure>>,
    stopped: CancellationToken,
}

/// Contained work panicked: what the panic said, on one line of at most 200 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bug of harbor-pilot: {0}")]
pub struct Panicked(String);

/// A task that must never end has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {name} {}", match .panic { Some(text) => format!("panicked: {text}"), None => "ended".to_owned() })]
pub struct TaskFailure {
    /// The name that the task was started with.
    pub name: &'static str,
    /// The panic's message; `None` if it just ended.
    pub panic: Option<String>,
}

/// Panics since the start of work that may fail alone: detached tasks, and what is [`contained`].
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Sends every panic's message and place to the log, instead of several lines to stderr. Called once, after
/// the log is set up.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let text = message(panic.payload());
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!("panic in thread {thread} at {place}: {text}");
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(a panic without a text)").to_owned()
}

/// Starts a task that may end or fail alone (a connection, a lookup). A panic is logged with its name and
/// counted.
pub fn spawn_detached(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    start(async move {
        // It was logged and counted; nobody waits for it.
        let _ = contained(name, task).await;
    });
}

/// Work whose panic must not reach whoever waits for it: it is logged with its name and counted, and its text comes instead.
pub fn contained<T>(
    name: &'static str,
    work: impl Future<Output = T>,
) -> impl Future<Output = Result<T, Panicked>> {
    // No async fn, which would keep the work twice.
    AssertUnwindSafe(work)
        .catch_unwind()
        .map(move |ended| ended.map_err(|panic| Panicked::counted(name, &*panic)))
}

fn start(task: impl Future<Output = ()> + Send + 'static) {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that the lint points to"
    )]
    tokio::spawn(task);
}

// === impl Panicked ===

impl Panicked {
    fn counted(name: &'static str, panic: &(dyn Any + Send)) -> Self {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let text = message(panic);
        tracing::error!("task {name} panicked: {text}");
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self(printable.take(PANIC_CHARS).collect())
    }
}

// === impl Tasks ===

impl Tasks {
    /// Starts a task that must never end by itself, on the current runtime.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::downgrade(&self.0);
        let stopped = self.0.stopped.clone();
        start(async move {
            let running = AssertUnwindSafe(task).catch_unwind();
            let Some(ended) = stopped.run_until_cancelled(running).await else {
                return;
            };
            let panic = ended.err().map(|payload| message(&*payload));
            let failure = TaskFailure { name, panic };
            let Some(shared) = shared.upgrade() else {
                return;
            };
            tracing::error!("{failure}");
            // The first failure is the cause; what follows it is not.
            shared.failure.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(failure);
                is_first
            });
        });
    }

    /// Waits for the first task that ends or panics. Cancel safe.
    pub async fn failure(&self) -> TaskFailure {
        let mut failures = self.0.failure.subscribe();
        let failure = match failures.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone(),
            // The sender lives in `self`.
            Err(_) => None,
        };
        match failure {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Ends all tasks, at their next await; none of them counts as failed. For the end of the daemon.
    pub fn stop(&self) {
        self.0.stopped.cancel();
    }
}

#[cfg(test)]
mod tests;
