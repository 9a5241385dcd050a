//! The one writer: takes commands in order, each on a thread that may block, and switches keeping off while the disk
//! does not take it.

use super::eviction::Taken;
use super::files::{Slot, Store};
use crate::cache::Trust;
use crate::config;
use crate::lifecycle::deadline;
use crate::oci::Digest;
use crate::telemetry::{EventName, Journal, StateChange};
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// After a failed write nothing is kept for this long.
const PAUSE: Duration = Duration::from_secs(600);

/// What is too old is looked for this often.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Command {
    Keep {
        slot: Slot,
        digest: Digest,
        trust: Trust,
        /// Body and media type.
        whole: Option<(Bytes, String)>,
        limits: config::Stale,
    },
    /// Delete what a "no" to one reference is about, or all of the folder.
    Forget {
        folder: String,
        denied: Option<Slot>,
    },
}

#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<Store>,
    journal: Journal,
    tainted: Arc<AtomicBool>,
    /// On disk, as far as it is known; too much counts as a reason to look.
    taken: Option<Taken>,
    tidied: Option<Instant>,
    paused_until: Option<Instant>,
    /// It was said that the disk does not take it.
    said: bool,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(store: Arc<Store>, journal: Journal, tainted: Arc<AtomicBool>) -> Self {
        Self {
            store,
            journal,
            tainted,
            taken: None,
            tidied: None,
            paused_until: None,
            said: false,
        }
    }

    /// Until nobody can send a command any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.recv().await {
            let now = Instant::now();
            let carrying_out = tokio::task::spawn_blocking(move || {
                self.carry_out(command, now, SystemTime::now());
                self
            });
            match carrying_out.await {
                Ok(writer) => self = writer,
                // It panicked, which is logged, or the daemon ends.
                Err(_) => return,
            }
        }
    }

    pub(super) fn carry_out(&mut self, command: Command, now: Instant, clock: SystemTime) {
        match command {
            Command::Keep { .. } if self.paused_until.is_some_and(|until| now < until) => {}
            Command::Keep {
                slot,
                digest,
                trust,
                whole,
                limits,
            } => {
                let whole = whole.as_ref();
                let written = self.store.write(&slot, &digest, whole, trust, clock);
                let kept = written.and_then(|bytes| {
                    if let Some(taken) = &mut self.taken {
                        taken.add(trust, bytes);
                    }
                    self.make_room(limits, now, clock)
                });
                match kept {
                    Ok(()) => (self.paused_until, self.said) = (None, false),
                    Err(error) => {
                        self.paused_until = Some(deadline(now, PAUSE));
                        if !std::mem::replace(&mut self.said, true) {
                            let what = "manifests are not kept for an outage any more";
                            say(&self.journal, self.store.directory(), what, &error);
                        }
                    }
                }
            }
            Command::Forget { folder, denied } => {
                if let Err(error) = self.store.delete(&folder, denied.as_ref()) {
                    let directory = self.store.directory();
                    taint(&self.tainted, &self.journal, directory, &error);
                }
            }
        }
    }

    /// Where there is too much, and now and then for what is too old.
    fn make_room(
        &mut self,
        limits: config::Stale,
        now: Instant,
        clock: SystemTime,
    ) -> io::Result<()> {
        let tidied = self.tidied.is_some_and(|at| now < deadline(at, TIDY_EVERY));
        if !tidied || !self.taken.is_some_and(|taken| taken.fits(limits.max_bytes)) {
            self.taken = Some(self.store.tidy(limits, clock)?);
            self.tidied = Some(now);
        }
        Ok(())
    }
}

/// A denied manifest could not be deleted: from now on none is answered, which is said once.
pub(super) fn taint(tainted: &AtomicBool, journal: &Journal, directory: &Path, error: &io::Error) {
    if !tainted.swap(true, Ordering::Relaxed) {
        let what = "a denied manifest cannot be deleted: none is answered from disk any more";
        say(journal, directory, what, error);
    }
}

fn say(journal: &Journal, directory: &Path, what: &str, error: &io::Error) {
    let directory = directory.display();
    journal.event(StateChange {
        event: EventName::FilesNotWritable,
        tier: None,
        endpoint: None,
        reason: error.to_string(),
        message: format!("cannot write in {directory}: {error}; {what}; pulls go on"),
    });
}
