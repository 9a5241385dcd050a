//! Signals, as what the daemon is to do about them.

use super::spawn_detached;
use std::io;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Drain, then stop: the first SIGTERM or SIGINT.
    Stop,
    /// Stop at once: the second.
    StopNow,
    /// Load the configuration again: SIGHUP.
    Reload,
}

/// A signal as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawSignal {
    /// SIGTERM: stop.
    Terminate,
    /// SIGINT: stop.
    Interrupt,
    /// SIGHUP: reload.
    Hangup,
}

/// The process' signals, one after the other.
#[derive(Debug)]
pub struct Signals {
    received: mpsc::Receiver<RawSignal>,
    stopping: bool,
}

impl Signals {
    /// Takes the process' signals over. Within a runtime; once, before systemd is told that we are ready.
    ///
    /// # Errors
    /// [`io::Error`]: a handler cannot be installed.
    pub fn from_process() -> io::Result<Self> {
        let (sender, signals) = Self::by_hand();
        for (kind, raw) in [
            (SignalKind::terminate(), RawSignal::Terminate),
            (SignalKind::interrupt(), RawSignal::Interrupt),
            (SignalKind::hangup(), RawSignal::Hangup),
        ] {
            let (mut signal, sender) = (unix::signal(kind)?, sender.clone());
            spawn_detached("signals", async move {
                while signal.recv().await.is_some() && sender.send(raw).await.is_ok() {}
            });
        }
        Ok(signals)
    }

    /// Signals that a test sends. When the sender is gone no signal comes any more.
    #[must_use]
    pub fn by_hand() -> (mpsc::Sender<RawSignal>, Self) {
        // Few, and each is waited for; the kernel keeps one of each kind besides.
        let (sender, received) = mpsc::channel(4);
        let stopping = false;
        (sender, Self { received, stopping })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        let Some(signal) = self.received.recv().await else {
            return std::future::pending().await;
        };
        match signal {
            RawSignal::Hangup => Signal::Reload,
            RawSignal::Terminate | RawSignal::Interrupt if self.stopping => Signal::StopNow,
            RawSignal::Terminate | RawSignal::Interrupt => {
                self.stopping = true;
                Signal::Stop
            }
        }
    }
}

#[cfg(test)]
mod tests;
