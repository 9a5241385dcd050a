//! Who is at the other end of a connection: the uid that the kernel has for that very socket (sock_diag; /proc/net/tcp where
//! that fails), and whether it is trusted.

use super::checks;
use super::peer_socket::PeerSocket;
use super::proc_net::Tables;
use super::sock_diag::SockDiag;
use rustix::process::geteuid;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// After sock_diag has failed it is tried again this much later.
const RETRY: Duration = Duration::from_secs(10);

/// How long a connection waits for a reading of /proc/net/tcp at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many connections wait for a reading; who comes beyond is untrusted at once.
const WAITING: usize = 256;

/// Where a connection comes from, for whether it gets a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A check of the agent's own.
    Check,
    /// A client of uid 0 or of the agent's own uid, on a loopback listener.
    Trusted,
    /// Every other client.
    Untrusted,
}

/// Whether the other end is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherEnd {
    /// Its process has it open: it may have ended its own direction only.
    Open,
    /// Nobody has it open any more.
    Closed,
    /// It is on another machine or in another network namespace, or the kernel cannot be asked.
    Unknown,
}

/// How clients are told apart.
#[derive(Clone, Copy, Debug, Default)]
pub enum Lookup {
    /// The kernel is asked for the uid of the client's socket.
    #[default]
    Kernel,
    /// By the client's address: for tests, whose clients all have one uid.
    Address(fn(SocketAddr) -> bool),
}

/// Knows who is at the other end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lookup: Lookup,
    own: u32,
    /// Locked for one question, which takes microseconds and never waits.
    kernel: Mutex<Kernel>,
    tables: Tables,
    /// For those who wait for a reading.
    waiting: Semaphore,
    is_said: AtomicBool,
}

#[derive(Debug, Default)]
struct Kernel {
    socket: Option<SockDiag>,
    retry: Option<Instant>,
}

// === impl Peers ===

impl Peers {
    /// With this way to tell clients apart.
    #[must_use]
    pub(crate) fn new(lookup: Lookup) -> Self {
        Self(Arc::new(Inner {
            lookup,
            own: geteuid().as_raw(),
            kernel: Mutex::default(),
            tables: Tables::default(),
            waiting: Semaphore::new(WAITING),
            is_said: AtomicBool::new(false),
        }))
    }

    /// Where a connection comes from that a listener has accepted. `at` is our address of it; `is_loopback`: the listener's
    /// is a loopback address.
    pub(crate) async fn standing(
        &self,
        at: SocketAddr,
        peer: SocketAddr,
        is_loopback: bool,
    ) -> Standing {
        if checks::comes_from(peer) {
            return Standing::Check;
        }
        let is_trusted = match self.0.lookup {
            Lookup::Address(is_trusted) => is_trusted(peer),
            Lookup::Kernel if !is_loopback => false,
            Lookup::Kernel => {
                let socket = match self.ask(at, peer) {
                    Ok(socket) => socket,
                    Err(error) => self.read(at, peer, &error).await,
                };
                socket.is_some_and(|socket| socket.is_trusted(self.0.own))
            }
        };
        if is_trusted {
            Standing::Trusted
        } else {
            Standing::Untrusted
        }
    }

    /// Whether the other end of a connection is still there. A client that has ended its own direction, and one that has
    /// gone, look alike on the wire.
    #[must_use]
    pub(crate) fn other_end(&self, at: SocketAddr, peer: SocketAddr) -> OtherEnd {
        match self.ask(at, peer) {
            Ok(Some(socket)) if socket.is_open() => OtherEnd::Open,
            Ok(Some(_)) => OtherEnd::Closed,
            // A closed one disappears from the table for good when our end has acknowledged it.
            Ok(None) if peer.ip().is_loopback() || at.ip() == peer.ip() => OtherEnd::Closed,
            Ok(None) | Err(_) => OtherEnd::Unknown,
        }
    }

    /// The peer's socket, by sock_diag. `Ok(None)`: it is not on this machine.
    fn ask(&self, at: SocketAddr, peer: SocketAddr) -> io::Result<Option<PeerSocket>> {
        let mut kernel = self.0.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if kernel.retry.is_some_and(|retry| now < retry) {
            return Err(io::Error::other("sock_diag has failed a moment ago"));
        }
        let found = kernel.find(at, peer);
        kernel.retry = None;
        if found.is_err() {
            *kernel = Kernel {
                socket: None,
                retry: now.checked_add(RETRY),
            };
        }
        found
    }

    /// The peer's socket, out of the next reading of /proc/net/tcp: one that began before the connection was made could show
    /// somebody else's of the same addresses.
    async fn read(&self, at: SocketAddr, peer: SocketAddr, why: &io::Error) -> Option<PeerSocket> {
        if !self.0.is_said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "asking the kernel who owns a connection: {why}; /proc/net/tcp is read instead"
            );
        }
        let _waiting = self.0.waiting.try_acquire().ok()?;
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let found = self.0.tables.find(canonical(peer), canonical(at));
        timeout(PATIENCE, found).await.ok()?
    }
}

// === impl Kernel ===

impl Kernel {
    fn find(&mut self, at: SocketAddr, peer: SocketAddr) -> io::Result<Option<PeerSocket>> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(SockDiag::open()?),
        };
        socket.find(peer, at)
    }
}

#[cfg(test)]
mod tests;
