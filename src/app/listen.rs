//! The listeners: taken over from the process before this one, or bound anew; and kept for the next one (design O3).

use super::Error;
use crate::lifecycle::{Inherited, Notifier};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use tokio::net::TcpListener;

/// What stands in errors about it.
const ENDPOINT: &str = "the registry endpoint";

/// The registry endpoint's listeners before they are served, in the configuration's order.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Each address with its inherited listener, if there was one.
    claimed: Vec<(SocketAddr, Option<std::net::TcpListener>)>,
}

// === impl Listeners ===

impl Listeners {
    /// Takes over what fits the configuration. The others are closed at once: nobody will accept there any more.
    ///
    /// # Errors
    /// An inherited listener that cannot be used.
    pub(super) fn claim(mut inherited: Inherited, addresses: &[SocketAddr]) -> Result<Self, Error> {
        for trouble in inherited.trouble() {
            tracing::warn!("{trouble}");
        }
        let claim = |&address| {
            let claimed = inherited.claim(address);
            let claimed = claimed.map_err(|source| wrong(ENDPOINT, address, source))?;
            Ok((address, claimed))
        };
        let claimed = addresses.iter().map(claim).collect::<Result<_, _>>()?;
        Ok(Self { claimed })
    }

    /// Opens them all, on the runtime that is to drive them.
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub(super) async fn open(self) -> Result<Vec<(TcpListener, SocketAddr)>, Error> {
        let mut opened = Vec::new();
        for (address, claimed) in self.claimed {
            opened.push(match claimed {
                Some(listener) => {
                    let listener = TcpListener::from_std(listener);
                    let listener = listener.map_err(|source| wrong(ENDPOINT, address, source))?;
                    tracing::debug!("{address} was kept open over the restart");
                    (listener, address)
                }
                None => bind(address, ENDPOINT).await?,
            });
        }
        Ok(opened)
    }
}

/// Binds an address; port 0 becomes the one that the kernel chose.
pub(super) async fn bind(
    address: SocketAddr,
    what: &'static str,
) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| wrong(what, address, source))?;
    let bound = listener.local_addr();
    let bound = bound.map_err(|source| wrong(what, address, source))?;
    Ok((listener, bound))
}

/// A second handle on a listener, for the next process; `None` where nobody would keep it.
pub(super) fn keep(listener: &TcpListener, notifier: &Notifier) -> Option<OwnedFd> {
    if !notifier.has_manager() {
        return None;
    }
    match listener.as_fd().try_clone_to_owned() {
        Ok(kept) => Some(kept),
        Err(error) => {
            tracing::warn!(
                "duplicating a listener for the next restart: {error}; clients are refused meanwhile"
            );
            None
        }
    }
}

fn wrong(what: &'static str, address: SocketAddr, source: std::io::Error) -> Error {
    Error::Bind {
        what,
        address,
        source,
    }
}
