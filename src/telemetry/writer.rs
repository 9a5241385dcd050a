//! The writer thread: takes records from the queue, formats them and hands them to the log. It alone waits
//! for the log (design H6).

use super::line::{Stamp, Style};
use super::native::{Datagram, Socket};
use super::record::{AccessRecord, EventName, StateChange};
use super::{Drops, Queue, Spent};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};
use tracing::Level;

/// Records that may wait. At 30,000 requests per second this is more than a tenth of a second of a log that
/// does not answer; the memory is bounded at about 2 MiB.
pub(super) const CAPACITY: usize = 4096;

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
    let (sender, receiver) = sync_channel(CAPACITY);
    let (drops, spent) = (Arc::new(Drops::default()), Arc::new(Spent::default()));
    let queue = Queue {
        sender,
        drops: drops.clone(),
        spent: spent.clone(),
        filtered,
    };
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run(&receiver, &drops, &spent, sink))?;
    Ok(queue)
}

fn run(receiver: &Receiver<Entry>, drops: &Drops, spent: &Spent, mut sink: Sink) {
    let mut done = Vec::with_capacity(BATCH);
    while let Ok(first) = receiver.recv() {
        let mut next = Some(first);
        let mut written = 0;
        let mut waiting = Vec::new();
        while let Some(entry) = next {
            match entry {
                Entry::Flush(answer) => waiting.push(answer),
                entry => {
                    drops.add(sink.put(&entry));
                    if let Entry::Access(record) = entry {
                        done.push(record);
                    }
                }
            }
            written += 1;
            next = if written < BATCH {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
        drops.add(sink.flush());
        spent.give(&mut done);
        done.clear();
        report(drops, &mut sink);
        for answer in &waiting {
            // Whoever asked may have given up.
            let _ = answer.try_send(());
        }
        if waiting.is_empty() {
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
                    Entry::Flush(_) => return 0,
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
                    Entry::Flush(_) => return 0,
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
