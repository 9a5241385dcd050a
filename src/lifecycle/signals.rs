//! Signals, as what the daemon is to do about them.

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
    source: Source,
    stopping: bool,
}

#[derive(Debug)]
enum Source {
    Process {
        terminate: unix::Signal,
        interrupt: unix::Signal,
        hangup: unix::Signal,
    },
    Channel(mpsc::Receiver<RawSignal>),
}

impl Signals {
    /// Takes the process' signals over. Within a runtime; once, before systemd is told that we are ready.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of_process() -> io::Result<Self> {
        Ok(Self::from(Source::Process {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        }))
    }

    /// Signals that a test sends. When the sender is gone no signal comes any more.
    #[must_use]
    pub fn by_hand() -> (mpsc::Sender<RawSignal>, Self) {
        // A test sends a handful and waits for each.
        let (sender, receiver) = mpsc::channel(4);
        (sender, Self::from(Source::Channel(receiver)))
    }

    fn from(source: Source) -> Self {
        let stopping = false;
        Self { source, stopping }
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        match self.source.next().await {
            RawSignal::Hangup => Signal::Reload,
            RawSignal::Terminate | RawSignal::Interrupt if self.stopping => Signal::StopNow,
            RawSignal::Terminate | RawSignal::Interrupt => {
                self.stopping = true;
                Signal::Stop
            }
        }
    }
}

impl Source {
    async fn next(&mut self) -> RawSignal {
        let signal = match self {
            Self::Process {
                terminate,
                interrupt,
                hangup,
            } => {
                // Cancel safe: a signal that is not received stays pending in its stream.
                tokio::select! {
                    Some(()) = terminate.recv() => Some(RawSignal::Terminate),
                    Some(()) = interrupt.recv() => Some(RawSignal::Interrupt),
                    Some(()) = hangup.recv() => Some(RawSignal::Hangup),
                    else => None,
                }
            }
            Self::Channel(receiver) => receiver.recv().await,
        };
        match signal {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
