//! The data plane's threads. Each has a runtime of its own and drives what was begun on it, from the client's connection to
//! the source's, so that in the middle of a request none has to wake another (decision 25).

use super::tasks::contained;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads that may block, per runtime: for files.
const BLOCKING: usize = 2;

/// Where connections are served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Threads(Arc<[Place]>);

/// The threads themselves, which end with it; what runs on them then is cut.
#[derive(Debug)]
pub struct DataPlane {
    threads: Threads,
    _stop: Vec<oneshot::Sender<()>>,
}

/// One runtime, with the number of connections that it has.
#[derive(Debug)]
struct Place {
    runtime: Handle,
    connections: AtomicUsize,
}

/// A place that is taken.
#[derive(Debug)]
pub struct Seat {
    threads: Threads,
    at: usize,
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
    /// Starts so many threads.
    ///
    /// # Errors
    /// A runtime or a thread that cannot be made.
    pub fn start(count: usize) -> io::Result<Self> {
        let (mut places, mut stop) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut builder = Builder::new_current_thread();
            let runtime = builder
                .enable_all()
                .max_blocking_threads(BLOCKING)
                .build()?;
            places.push(Place::on(runtime.handle().clone()));
            let (sender, stopped) = oneshot::channel();
            stop.push(sender);
            let turn = move || {
                // Its sender is dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            };
            thread::Builder::new().name("data".to_owned()).spawn(turn)?;
        }
        Ok(Self {
            threads: Threads(places.into()),
            _stop: stop,
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
    /// The current runtime alone: for tests and for commands.
    #[must_use]
    pub fn current() -> Self {
        Self([Place::on(Handle::current())].into())
    }

    /// Each of them.
    pub fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|place| &place.runtime)
    }

    /// A place where there are the fewest.
    #[must_use]
    pub fn seat(&self) -> Seat {
        let places = self.0.iter().enumerate();
        let fewest = places.min_by_key(|(_, place)| place.connections.load(Ordering::Relaxed));
        let at = fewest.map_or(0, |(at, _)| at);
        if let Some(place) = self.0.get(at) {
            place.connections.fetch_add(1, Ordering::Relaxed);
        }
        Seat {
            threads: self.clone(),
            at,
        }
    }
}

// === impl Place ===

impl Place {
    fn on(runtime: Handle) -> Self {
        Self {
            runtime,
            connections: AtomicUsize::new(0),
        }
    }
}

// === impl Seat ===

impl Seat {
    fn place(&self) -> Option<&Place> {
        self.threads.0.get(self.at)
    }

    /// Runs a task there, which may fail alone but never unseen.
    pub fn spawn(self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let Some(runtime) = self.place().map(|place| place.runtime.clone()) else {
            return;
        };
        runtime.spawn(async move {
            contained(name, task).await;
            drop(self);
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.place() {
            place.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn connections_go_where_the_fewest_are_and_stay_there() {
        let data = DataPlane::start(2).unwrap();
        let threads = data.threads();
        let (said, mut heard) = mpsc::channel(8);
        let (go, _) = tokio::sync::watch::channel(false);
        for _ in 0..4 {
            let (said, mut gone) = (said.clone(), go.subscribe());
            threads.seat().spawn("test", async move {
                said.send(thread::current().id()).await.unwrap();
                gone.wait_for(|gone| *gone).await.unwrap();
            });
        }
        let names: Vec<_> = (0..4).map(|_| heard.blocking_recv().unwrap()).collect();
        let first = names.iter().filter(|name| **name == names[0]).count();
        assert_eq!(first, 2, "{names:?}");
        go.send_replace(true);
        while threads
            .0
            .iter()
            .any(|p| p.connections.load(Ordering::Relaxed) > 0)
        {
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let data = DataPlane::start(1).unwrap();
        data.threads()
            .seat()
            .spawn("test", async { panic!("on purpose") });
        let place = data.threads().0.first().unwrap();
        while place.connections.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
    }
}
