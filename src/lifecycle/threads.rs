//! The data plane's threads, each with a runtime of its own. Connections begin on each in turn; one that asks for something
//! long goes where there is the least of that, and what a request needs of a source is driven where the request is (decisions
//! 25 and 27).

use super::tasks::contained;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads that may block, per runtime: for files.
const BLOCKING: usize = 2;

thread_local! {
    /// Which of the data plane's threads this is.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Where connections are served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Places>);

#[derive(Debug)]
struct Places {
    all: Box<[Place]>,
    /// Whose turn it is to get a connection.
    turn: AtomicUsize,
}

/// The threads themselves, which end with it; what runs on them then is cut.
#[derive(Debug)]
pub struct DataPlane {
    threads: Threads,
    _stop: Vec<oneshot::Sender<()>>,
}

/// One of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Thread(Handle);

/// One thread, with the number of long answers that it gives.
#[derive(Debug)]
struct Place {
    thread: Thread,
    seats: AtomicUsize,
}

/// A long answer's place, until dropped.
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

/// Which of the data plane's threads this is; 0 on any other.
fn place() -> usize {
    PLACE.get().unwrap_or(0)
}

// === impl DataPlane ===

impl DataPlane {
    /// Starts so many threads.
    ///
    /// # Errors
    /// A runtime or a thread that cannot be made.
    pub fn start(count: usize) -> io::Result<Self> {
        let (mut places, mut stop) = (Vec::new(), Vec::new());
        for at in 0..count {
            let mut builder = Builder::new_current_thread();
            let runtime = builder
                .enable_all()
                .max_blocking_threads(BLOCKING)
                .build()?;
            places.push(Place::on(runtime.handle().clone()));
            let (sender, stopped) = oneshot::channel();
            stop.push(sender);
            let turn = move || {
                PLACE.set(Some(at));
                // Its sender is dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            };
            thread::Builder::new().name("data".to_owned()).spawn(turn)?;
        }
        Ok(Self {
            threads: Threads::of(places),
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
    fn of(places: Vec<Place>) -> Self {
        Self(Arc::new(Places {
            all: places.into(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// The current runtime alone: for tests and for commands.
    #[must_use]
    pub fn current() -> Self {
        Self::of(vec![Place::on(Handle::current())])
    }

    /// Each of them; the first accepts connections.
    pub fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.all.iter().map(|place| &place.thread.0)
    }

    /// Where a new connection begins: each has its turn.
    #[must_use]
    pub fn next(&self) -> Thread {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        self.thread(turn % self.0.all.len().max(1))
    }

    fn thread(&self, at: usize) -> Thread {
        let place = self.0.all.get(at);
        place.map_or_else(|| Thread(Handle::current()), |place| place.thread.clone())
    }

    /// A place where there are the fewest: the current thread if it has no more than any.
    #[must_use]
    pub fn seat(&self) -> Seat {
        let places = self.0.all.iter().enumerate();
        let seats = |place: &Place| place.seats.load(Ordering::Relaxed);
        let here = place();
        let fewest = places.min_by_key(|(at, place)| (seats(place), *at != here));
        let at = fewest.map_or(0, |(at, _)| at);
        if let Some(place) = self.0.all.get(at) {
            place.seats.fetch_add(1, Ordering::Relaxed);
        }
        Seat {
            threads: self.clone(),
            at,
        }
    }
}

// === impl Thread ===

impl Thread {
    /// Runs a task there, which may fail alone but never unseen.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            // It was logged and counted; nobody waits for it.
            let _ = contained(name, task).await;
        });
    }
}

// === impl Place ===

impl Place {
    fn on(runtime: Handle) -> Self {
        Self {
            thread: Thread(runtime),
            seats: AtomicUsize::new(0),
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Whether it is on the current thread; a plane with one thread has no other.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.threads.0.all.len() < 2 || PLACE.get() == Some(self.at)
    }

    /// Where it is.
    #[must_use]
    pub fn thread(&self) -> Thread {
        self.threads.thread(self.at)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.threads.0.all.get(self.at) {
            place.seats.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn long_answers_go_where_the_fewest_are_and_stay_where_they_are_if_they_can() {
        let data = DataPlane::start(2).unwrap();
        let threads = data.threads().clone();
        let (said, mut heard) = mpsc::channel(1);
        let second = threads.seat();
        assert_eq!(second.at, 0, "the first of equals, seen from elsewhere");
        let at_second = threads.clone().seat();
        at_second.thread().spawn("test", async move {
            let mut seats: Vec<Seat> = (0..4).map(|_| threads.seat()).collect();
            let at: Vec<_> = seats.iter().map(|seat| seat.at).collect();
            seats.remove(0);
            let again = threads.seat().at;
            drop(seats);
            said.send((at, again)).await.unwrap();
        });
        assert_eq!(heard.blocking_recv(), Some((vec![1, 0, 1, 0], 1)));
        drop((second, at_second));
        let seats = |place: &Place| place.seats.load(Ordering::Relaxed);
        assert!(data.threads().0.all.iter().all(|place| seats(place) == 0));
    }

    #[test]
    fn connections_begin_on_each_thread_in_turn() {
        let data = DataPlane::start(2).unwrap();
        let (said, mut heard) = mpsc::channel(8);
        for _ in 0..4 {
            let said = said.clone();
            data.threads().next().spawn("test", async move {
                said.send(place()).await.unwrap();
            });
        }
        let mut at: Vec<_> = (0..4).map(|_| heard.blocking_recv().unwrap()).collect();
        at.sort_unstable();
        assert_eq!(at, [0, 0, 1, 1]);
    }

    #[test]
    fn a_seat_knows_whether_it_is_here() {
        let data = DataPlane::start(2).unwrap();
        let (said, mut heard) = mpsc::channel(1);
        let seats = [data.threads().seat(), data.threads().seat()];
        for seat in &seats {
            assert!(!seat.is_here(), "this thread is none of them");
        }
        let thread = seats[0].thread();
        thread.spawn("test", async move {
            let here = seats.each_ref().map(Seat::is_here);
            said.send(here).await.unwrap();
        });
        assert_eq!(heard.blocking_recv(), Some([true, false]));
        let alone = DataPlane::start(1).unwrap();
        assert!(alone.threads().seat().is_here(), "there is no other");
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let data = DataPlane::start(1).unwrap();
        let seat = data.threads().seat();
        seat.thread().spawn("test", async move {
            let _seat = seat;
            panic!("on purpose")
        });
        let place = data.threads().0.all.first().unwrap();
        while place.seats.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
    }
}
