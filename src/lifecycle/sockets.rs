//! Listening sockets that outlive the process in systemd's fd store (design O3): taken back at the start, before
//! anything that can fail; which is whose is told by the address that it is bound to.

use super::Notifier;
use listenfd::ListenFd;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// The sockets that the process before this one left. Those that nobody claims are closed with the value.
#[derive(Debug, Default)]
pub struct Inherited {
    listeners: Vec<TcpListener>,
    trouble: Vec<String>,
}

impl Inherited {
    /// Takes over what the environment names (`LISTEN_FDS`, `LISTEN_PID`), close-on-exec, and removes it from
    /// systemd's store. It must be the first thing that a daemon does, before there is a second thread (the
    /// environment is cleared) and before its configuration is read: a start that fails later then closes
    /// the port, and clients are refused. As long as the store had them they would wait for an answer for ever.
    #[must_use]
    pub fn from_process(notifier: &Notifier) -> Self {
        let mut inherited = Self::default();
        let mut handed = ListenFd::from_env();
        if handed.len() == 0 {
            return inherited;
        }
        for index in 0..handed.len() {
            match handed.take_tcp_listener(index) {
                Ok(Some(listener)) => inherited.listeners.push(listener),
                Ok(None) => {}
                Err(error) => inherited.trouble.push(format!(
                    "a file descriptor from systemd is left alone: {error}"
                )),
            }
        }
        if let Err(error) = notifier.forget_sockets() {
            inherited.trouble.push(format!(
                "removing the listening sockets from systemd's store: {error}; while it has them a stopped agent's \
                 port is silent instead of closed"
            ));
        }
        inherited
    }

    /// The listener that is bound to just this address, once.
    ///
    /// # Errors
    /// [`io::Error`]: the listener cannot be made non-blocking.
    pub fn claim(&mut self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let bound = |listener: &TcpListener| listener.local_addr().is_ok_and(|at| at == address);
        let Some(index) = self.listeners.iter().position(bound) else {
            return Ok(None);
        };
        let listener = self.listeners.swap_remove(index);
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    }

    /// What went wrong while they were taken; there was no log then.
    #[must_use]
    pub fn trouble(&self) -> &[String] {
        &self.trouble
    }
}

impl From<Vec<TcpListener>> for Inherited {
    fn from(listeners: Vec<TcpListener>) -> Self {
        Self {
            listeners,
            trouble: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_claimed_by_its_address_once() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [first, second] = listeners.each_ref().map(|it| it.local_addr().unwrap());
        let mut inherited = Inherited::from(Vec::from(listeners));
        let claimed = inherited.claim(second).unwrap().unwrap();
        assert_eq!(claimed.local_addr().unwrap(), second);
        assert!(inherited.claim(second).unwrap().is_none());
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], first.port()));
        assert!(inherited.claim(elsewhere).unwrap().is_none());
        drop(inherited);
        assert!(
            std::net::TcpStream::connect(first).is_err(),
            "nobody claimed it"
        );
        assert!(std::net::TcpStream::connect(second).is_ok());
    }
}
