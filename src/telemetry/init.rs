//! Setting the log up at the start and flushing it at the end.

use super::Journal;
use super::layer::JournalLayer;
use super::queue::{Queue, Queued};
use super::record::Entry;
use super::sink::Sink;
use super::writer;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

/// The exit waits this long for the log (design H6: a stopped journald must not hang it).
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// journald's native protocol; stderr while it cannot be reached.
    Journald,
    /// Lines of text for people, on stderr.
    Stderr {
        /// ANSI colours: stderr is a terminal, and `NO_COLOR` is not set.
        color: bool,
    },
}

/// Flushes the log when dropped.
#[derive(Debug)]
pub struct Guard {
    queue: Queue,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not in tracing's syntax.
    #[error(
        "the log filter {filter:?} is not valid; write a level or target=level, separated by commas, such as info or harbor_pilot=debug"
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// Where the filter is wrong.
        #[source]
        source: ParseError,
    },
    /// The thread could not be started.
    #[error("starting the log's writer thread")]
    Thread(#[source] io::Error),
    /// Set up twice.
    #[error("installing the log")]
    Installed(#[source] TryInitError),
}

/// Sets the log up for the whole process: `filter` in tracing's syntax, applied to diagnostics, to access
/// records (target `harbor_pilot::access`) and to state changes (target `harbor_pilot::event`).
///
/// # Errors
/// A bad filter, no thread, or a second call.
pub fn init(filter: &str, destination: &Destination) -> Result<(Journal, Guard), Error> {
    let (queue, guard, layers) = build(filter, destination.open())?;
    layers.try_init().map_err(Error::Installed)?;
    Ok((Journal::queued(queue), guard))
}

/// All of [`init`] but for the installation.
pub(super) fn build(
    filter: &str,
    sink: Sink,
) -> Result<(Queue, Guard, impl SubscriberInitExt + tracing::Subscriber), Error> {
    let filter = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let queue = writer::start(sink, true).map_err(Error::Thread)?;
    let layers = Registry::default().with(filter.and_then(JournalLayer(queue.clone())));
    let guard = Guard {
        queue: queue.clone(),
    };
    Ok((queue, guard, layers))
}

// === impl Destination ===

impl Destination {
    /// journald if stderr is connected to it, as `JOURNAL_STREAM` (its value is passed in) says; else stderr,
    /// in colour on a terminal unless `NO_COLOR` was set to something.
    #[must_use]
    pub fn choose(journal_stream: Option<&str>, no_color: bool) -> Self {
        let color = io::stderr().is_terminal() && !no_color;
        Self::decide(journal_stream, stderr_inode(), color)
    }

    pub(super) fn decide(
        journal_stream: Option<&str>,
        stderr: Option<(u64, u64)>,
        color: bool,
    ) -> Self {
        let named = journal_stream
            .and_then(|stream| stream.split_once(':'))
            .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
        if named.is_some() && named == stderr {
            Self::Journald
        } else {
            Self::Stderr { color }
        }
    }

    pub(super) fn open(&self) -> Sink {
        match self {
            Self::Journald => Sink::journald(),
            Self::Stderr { color } => Sink::lines(Box::new(io::stderr()), *color),
        }
    }
}

/// Device and inode of what stderr is connected to.
fn stderr_inode() -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(io::stderr()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

// === impl Guard ===

impl Guard {
    /// Waits until everything queued so far has been written, at most `limit`. `false`: the limit passed.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let (answer, written) = sync_channel(1);
        let mut entry = Queued::uncounted(Entry::Flush(answer));
        loop {
            match self.queue.sender.try_send(entry) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => {
                    if Instant::now() >= deadline {
                        return false;
                    }
                    entry = back;
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        written.recv_timeout(left).is_ok()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flush(FLUSH_LIMIT);
    }
}
