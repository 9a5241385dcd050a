//! What systemd is told (sd_notify(3)), and how often it wants to hear that we live.

use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

/// The service manager is never waited for longer than this.
const LIMIT: Duration = Duration::from_secs(1);

/// The name of all our sockets in the fd store: they are told apart by their addresses, and removed together. The
/// unit's ExecStopPost= removes them by this name too.
const STORED: &str = "FDNAME=harbor-pilot";

/// As many as one message is sent with; a node has one or two listeners.
const MOST_STORED: usize = 16;

/// Talks to the service manager; to nobody where there is none. Failures are logged and change nothing: the
/// watchdog and the start limit are systemd's to enforce.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    #[must_use]
    pub fn from_env() -> Self {
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Self::new(std::env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    /// Talks to this socket (a path, or `@name` in the abstract namespace).
    #[must_use]
    pub fn new(socket: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let socket = socket.filter(|socket| !socket.is_empty());
        Self { socket, watchdog }
    }

    /// How often [`Notifier::alive`] is to be called: half of what systemd allows. `None`: no watchdog.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The start, or a reload, is complete.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&first_line(status))]);
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd 253 and later want the time; older ones ignore it.
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!("reading the monotonic clock: {error}"),
        }
    }

    /// Tells systemd that the daemon stops (`STOPPING=1`).
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(&first_line(status))]);
    }

    /// Pings the watchdog: only after the listener has answered and both runtimes have turned (design O4).
    pub fn alive(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Whether there is anybody who could keep sockets.
    #[must_use]
    pub fn has_manager(&self) -> bool {
        self.socket.is_some()
    }

    /// Hands listening sockets to systemd's fd store, for the process that is started next (design O3). The last act
    /// of a process: from then on systemd holds the port open, and clients wait for whoever accepts next. Where
    /// the unit does not come back systemd lets go of them.
    ///
    /// # Errors
    /// [`io::Error`]: sending it failed. The port closes with the process.
    pub fn keep_sockets(&self, sockets: &[OwnedFd]) -> io::Result<()> {
        let states = [
            NotifyState::Custom("FDSTORE=1"),
            NotifyState::Custom(STORED),
        ];
        let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(OwnedFd::as_fd).collect();
        for some in sockets.chunks(MOST_STORED) {
            self.try_send(&states, some)?;
        }
        Ok(())
    }

    /// Removes what [`Notifier::keep_sockets`] has put there; nothing happens if there is nothing.
    ///
    /// # Errors
    /// [`io::Error`]: sending it failed. systemd may still hold the port open.
    pub fn forget_sockets(&self) -> io::Result<()> {
        let states = [
            NotifyState::Custom("FDSTOREREMOVE=1"),
            NotifyState::Custom(STORED),
        ];
        self.try_send(&states, &[])
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = self.try_send(states, &[]) {
            tracing::warn!("telling systemd of our state: {error}");
        }
    }

    fn try_send(&self, states: &[NotifyState<'_>], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(name) = &self.socket else {
            return Ok(());
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(PathBuf::from(name))?,
        };
        let mut text = String::new();
        for state in states {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{state}");
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(LIMIT))?;
        socket.connect_addr(&address)?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_STORED))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg(&socket, &text, &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// The protocol ends a value at the line end: what follows would be another variable.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
