//! The one writer: takes commands in order, each on a thread that may block, and switches keeping off while the disk
//! does not take it.

use super::eviction::Free;
use super::files::{Keep, Store};
use crate::lifecycle::deadline;
use crate::oci::ManifestKinds;
use crate::relay::memory::Image;
use std::io;
use std::sync::Arc;
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
    Keep(Keep),
    /// Delete what a "no" to who takes these kinds is about, or all of the repository.
    Forget(Image, Option<ManifestKinds>),
}

#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<Store>,
    /// What may be written before it is tidied.
    free: Free,
    tidied: Option<Instant>,
    /// The disk does not take it, which was said.
    paused_until: Option<Instant>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            free: Free::default(),
            tidied: None,
            paused_until: None,
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
            Command::Keep(_) if self.paused_until.is_some_and(|until| now < until) => {}
            Command::Keep(keep) => match self.keep(&keep, now, clock) {
                Ok(()) => self.paused_until = None,
                Err(error) => {
                    let before = self.paused_until.replace(deadline(now, PAUSE));
                    if before.is_none() {
                        let what = "manifests are not kept for an outage any more";
                        self.store.say(what, &error);
                    }
                }
            },
            Command::Forget(denied, kinds) => {
                if let Err(error) = self.store.delete(&denied, kinds) {
                    self.store.is_tainted_by(&error);
                }
            }
        }
    }

    /// Writes it, and makes room where there may be too much, and now and then where something is too old.
    fn keep(&mut self, keep: &Keep, now: Instant, clock: SystemTime) -> io::Result<()> {
        let written = self.store.write(keep, clock)?;
        let free = self.free.after(keep.of.trust, written);
        let tidied = self.tidied.is_some_and(|at| now < deadline(at, TIDY_EVERY));
        match free.filter(|_| tidied) {
            Some(free) => self.free = free,
            None => {
                self.free = self.store.tidy(keep.limits, clock)?;
                self.tidied = Some(now);
            }
        }
        Ok(())
    }
}
