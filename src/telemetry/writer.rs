//! The writer thread: takes records from the queue, formats them and hands them to the log. It alone waits
//! for the log (design H6).

use super::line::{Stamp, Style};
use super::native::{Datagram, Socket};
use super::queue::{Drops, Queue, State, queue};
use super::record::{AccessRecord, EventName, StateChange};
use super::refusals::PERIOD;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tracing::Level;

/// Records per write to stderr.
const BATCH: usize = 256;

/// How long the thread pauses after a batch before it looks again: each record that finds it asleep in `recv` costs
/// its sender a wake-up call into the kernel, which at 15,000 requests per second was a fifth of all CPU. The first
/// record after a quiet time is written at once; at 30,000 per second a pause fills 150 places of the queue.
const PAUSE: Duration = Duration::from_millis(5);

/// What stands in the queue.
#[derive(Debug)]
pub(super) enum Entry {
    Access(Box<AccessRecord>),
    Event(Box<StateChange>),
    Diagnostic(Box<Diagnostic>),
    /// So many requests were refused besides those with a record of their own. The writer's own.
    Refused(u64),
    /// Something is to be done about what does not stand in the queue.
    Wake,
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

/// A tracing event, already formatted.
#[derive(Debug)]
pub(super) struct Diagnostic {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) message: String,
}

/// Where the thread writes.
pub(super) enum Sink {
    Journald {
        socket: Socket,
        datagram: Datagram,
    },
    Lines {
        out: Box<dyn Write + Send>,
        style: Style,
        stamp: Stamp,
        buffer: String,
        /// Records in `buffer`.
        pending: u64,
    },
}

/// Starts the thread. It ends when the last sender is gone.
pub(super) fn start(sink: Sink, filtered: bool) -> io::Result<Queue> {
    let (queue, receiver) = queue(filtered);
    let state = queue.state.clone();
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run(&receiver, &state, sink))?;
    Ok(queue)
}

fn run(receiver: &Receiver<Entry>, state: &State, mut sink: Sink) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut written = Vec::with_capacity(BATCH);
    // When refused requests without a record of their own are told of.
    let mut sum_due: Option<Instant> = None;
    loop {
        let first = match sum_due {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(entry) => batch.push(entry),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        batch.extend(receiver.try_iter().take(BATCH.saturating_sub(batch.len())));
        state.taken(batch.iter().filter(|entry| entry.is_ordinary()).count());
        let is_flush = |entry: &Entry| matches!(entry, Entry::Flush(_));
        let flushes = batch.iter().any(is_flush);
        for entry in &batch {
            state.drops.add(sink.put(entry));
        }
        let now = Instant::now();
        if flushes || sum_due.is_some_and(|due| due <= now) {
            sum_due = None;
            let count = state.refusals.take();
            if count > 0 {
                state.drops.add(sink.put(&Entry::Refused(count)));
            }
        } else if sum_due.is_none() && state.refusals.is_pending() {
            sum_due = Some(now + PERIOD);
        }
        state.drops.add(sink.flush());
        report(&state.drops, &mut sink);
        for entry in batch.drain(..) {
            match entry {
                Entry::Access(record) => written.push(record),
                // Whoever asked may have given up.
                Entry::Flush(answer) => drop(answer.try_send(())),
                _ => {}
            }
        }
        state.spent.give(&mut written);
        written.clear();
        if !flushes {
            thread::sleep(PAUSE);
        }
    }
}

/// Says how many records were lost, now that the log takes some again.
fn report(drops: &Drops, sink: &mut Sink) {
    let lost = drops.take_unreported();
    if lost == 0 {
        return;
    }
    let change = StateChange {
        event: EventName::LogDropped,
        tier: None,
        endpoint: None,
        reason: format!("{lost} records"),
        message: format!("{lost} log records were dropped: the log did not take them in time"),
    };
    if sink.put(&Entry::Event(Box::new(change))) + sink.flush() > 0 {
        drops.give_back(lost);
    }
}

// === impl Entry ===

impl Entry {
    /// It took one of the places that many share.
    fn is_ordinary(&self) -> bool {
        matches!(self, Self::Access(_) | Self::Diagnostic(_))
    }
}

// === impl Sink ===

impl Sink {
    pub(super) fn journald(socket: Socket) -> Self {
        let datagram = Datagram::default();
        Self::Journald { socket, datagram }
    }

    pub(super) fn lines(out: Box<dyn Write + Send>, style: Style) -> Self {
        Self::Lines {
            out,
            style,
            stamp: Stamp::default(),
            buffer: String::new(),
            pending: 0,
        }
    }

    /// Writes one record, or puts it with the others of its batch. Returns how many were lost.
    fn put(&mut self, entry: &Entry) -> u64 {
        match self {
            Self::Journald { socket, datagram } => {
                match entry {
                    Entry::Access(record) => datagram.access(record),
                    Entry::Event(change) => datagram.event(change),
                    Entry::Diagnostic(diagnostic) => datagram.diagnostic(diagnostic),
                    Entry::Refused(count) => datagram.refused(*count),
                    Entry::Wake | Entry::Flush(_) => return 0,
                }
                u64::from(!socket.send(datagram.bytes()))
            }
            Self::Lines {
                style,
                stamp,
                buffer,
                pending,
                ..
            } => {
                let now = stamp.at(SystemTime::now());
                match entry {
                    Entry::Access(record) => style.access(buffer, now, record),
                    Entry::Event(change) => style.event(buffer, now, change),
                    Entry::Diagnostic(diagnostic) => style.diagnostic(buffer, now, diagnostic),
                    Entry::Refused(count) => style.refused(buffer, now, *count),
                    Entry::Wake | Entry::Flush(_) => return 0,
                }
                *pending += 1;
                0
            }
        }
    }

    /// Ends a batch. Returns how many records were lost.
    fn flush(&mut self) -> u64 {
        let Self::Lines {
            out,
            buffer,
            pending,
            ..
        } = self
        else {
            return 0;
        };
        if buffer.is_empty() {
            return 0;
        }
        let result = out.write_all(buffer.as_bytes()).and_then(|()| out.flush());
        buffer.clear();
        let records = std::mem::take(pending);
        if result.is_ok() { 0 } else { records }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Journald { .. } => "Journald",
            Self::Lines { .. } => "Lines",
        })
    }
}
