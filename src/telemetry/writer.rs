//! The writer thread: takes records from the queue and hands them to the log. It alone waits for the log (design H6).

use super::queue::{Drops, Queue, Queued, State, queue};
use super::record::{Entry, EventName, StateChange};
use super::refusals::PERIOD;
use super::sink::Sink;
use crate::printable::counted;
use std::io;
use std::slice;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Records per look at journald's socket, and per write to stderr.
const BATCH: usize = 256;

/// How long the thread pauses after a batch before it looks again: each record that finds it asleep in `recv` costs
/// its sender a wake-up call into the kernel, which at 15,000 requests per second was a fifth of all CPU. The first
/// record after a quiet time is written at once; at 30,000 per second a pause fills 150 places of the queue.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts the thread. It ends when the last sender is gone.
pub(super) fn start(sink: Sink, filtered: bool) -> io::Result<Queue> {
    let (queue, receiver) = queue(filtered);
    let state = queue.state.clone();
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run(&receiver, &state, sink))?;
    Ok(queue)
}

fn run(receiver: &Receiver<Queued>, state: &State, mut sink: Sink) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut written = Vec::with_capacity(BATCH);
    // When refused requests without a record of their own are told of.
    let mut sum_due: Option<Instant> = None;
    loop {
        let first = match sum_due {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        let first = match first {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut bytes = 0;
        for queued in first.into_iter().chain(receiver.try_iter()).take(BATCH) {
            bytes += queued.bytes;
            batch.push(queued.entry);
        }
        let ordinary = |entry: &&Entry| matches!(entry, Entry::Access(_) | Entry::Diagnostic(_));
        state.taken(batch.iter().filter(ordinary).count());
        let is_flush = |entry: &Entry| matches!(entry, Entry::Flush(_));
        let flushes = batch.iter().any(is_flush);
        if flushes || sum_due.is_some_and(|due| due <= Instant::now()) {
            sum_due = None;
            let count = state.refusals.take();
            batch.extend((count > 0).then_some(Entry::Refused(count)));
        } else if sum_due.is_none() && state.refusals.is_pending() {
            sum_due = Some(Instant::now() + PERIOD);
        }
        state.history.note(batch.iter().filter_map(Entry::access));
        state.drops.add(sink.write(&batch, || state.stall.begins()));
        report(&state.drops, &mut sink);
        state.stall.ends();
        for entry in batch.drain(..) {
            match entry {
                Entry::Access(record) => written.push(record),
                // Whoever asked may have given up.
                Entry::Flush(answer) => drop(answer.try_send(())),
                _ => {}
            }
        }
        state.pool.recycle(&mut written);
        written.clear();
        state.uncount(bytes);
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
        reason: counted(lost, "record", "records"),
        message: format!(
            "{} dropped: the log took too long",
            counted(lost, "log record was", "log records were")
        ),
    };
    let entry = Entry::Event(Box::new(change));
    if sink.write(slice::from_ref(&entry), || ()) > 0 {
        drops.give_back(lost);
    }
}
