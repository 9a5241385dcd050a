//! The data plane's threads, each with a runtime of its own. Each has its turn to get a client's connection, which stays there;
//! what a request needs of a source is driven where the request is (decisions 25 and 27).

use super::tasks::contained;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Threads that may block, per runtime: for files.
const BLOCKING: usize = 2;

/// Threads that relay, at most: one hashes about 1 GB/s, two saturate a node's network, and more would only cost.
const MOST: usize = 2;

/// Where connections are served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Workers>);

#[derive(Debug)]
struct Workers {
    all: Box<[Handle]>,
    /// Whose turn it is to get a connection.
    turn: AtomicUsize,
}

/// The threads themselves, which end with it; what runs on them then is cut.
#[derive(Debug)]
pub struct DataPlane {
    threads: Threads,
    _stop: DropGuard,
}

/// The number of the current thread, to tell what belongs to it.
#[must_use]
pub fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

// === impl DataPlane ===

impl DataPlane {
    /// Starts as many threads as the machine has cores, up to the most.
    ///
    /// # Errors
    /// [`io::Error`]: a runtime or a thread cannot be made.
    pub fn for_this_machine() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::start(cores.clamp(1, MOST))
    }

    /// Starts so many threads.
    ///
    /// # Errors
    /// [`io::Error`]: a runtime or a thread cannot be made.
    pub fn start(count: usize) -> io::Result<Self> {
        let (mut all, stopped) = (Vec::new(), CancellationToken::new());
        for _ in 0..count {
            let mut builder = Builder::new_current_thread();
            let runtime = builder
                .enable_all()
                .max_blocking_threads(BLOCKING)
                .build()?;
            all.push(runtime.handle().clone());
            let stopped = stopped.clone();
            let turn = move || {
                runtime.block_on(stopped.cancelled());
                runtime.shutdown_background();
            };
            thread::Builder::new().name("data".to_owned()).spawn(turn)?;
        }
        Ok(Self {
            threads: Threads::new(all),
            _stop: stopped.drop_guard(),
        })
    }

    /// Where connections are served.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
}

// === impl Threads ===

impl Threads {
    fn new(all: Vec<Handle>) -> Self {
        Self(Arc::new(Workers {
            all: all.into(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// The current runtime alone: for tests and for commands.
    #[must_use]
    pub fn current() -> Self {
        Self::new(vec![Handle::current()])
    }

    /// Each of them; the first accepts connections.
    pub fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.all.iter()
    }

    /// Runs a task, which may fail alone but never unseen, on the thread whose turn it is.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let thread = self.0.all.get(turn % self.0.all.len().max(1));
        let thread = thread.cloned().unwrap_or_else(Handle::current);
        thread.spawn(async move {
            // It was logged and counted; nobody waits for it.
            let _ = contained(name, task).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn connections_begin_on_each_thread_in_turn() {
        let data = DataPlane::start(2).unwrap();
        let (said, mut heard) = mpsc::channel(8);
        for _ in 0..4 {
            let said = said.clone();
            data.threads().spawn("test", async move {
                said.send(thread_number()).await.unwrap();
            });
        }
        let mut at: Vec<_> = (0..4).map(|_| heard.blocking_recv().unwrap()).collect();
        at.sort_unstable();
        assert!(at[0] == at[1] && at[1] != at[2] && at[2] == at[3], "{at:?}");
    }
}
