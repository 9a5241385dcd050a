//! The agent's own checks of its endpoint: the watchdog's, and whether its port is still its own. They are known by the port
//! that they come from, not by what the kernel says of them, so that they find a slot whatever else fails.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpSocket, TcpStream};

/// Where checks come from now.
static UNDER_WAY: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());

#[derive(Debug)]
pub(crate) struct Check {
    /// Dropped before the port may be another's.
    _known: Known,
    stream: TcpStream,
}

/// A port that a check comes from, until dropped.
#[derive(Debug)]
struct Known(SocketAddr);

fn under_way() -> MutexGuard<'static, Vec<SocketAddr>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a check comes from there.
pub(super) fn comes_from(peer: SocketAddr) -> bool {
    under_way().contains(&peer)
}

/// Where this node finds who listens there.
pub(crate) fn dialled(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

// === impl Check ===

impl Check {
    /// Connects to an address of this machine.
    ///
    /// # Errors
    /// [`io::Error`]: no socket, or no connection.
    pub(crate) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A connection of this machine with itself comes from the address that it goes to. Before it is made: who accepts it
        // may be quicker than we are.
        socket.bind(SocketAddr::new(to.ip(), 0))?;
        let from = socket.local_addr()?;
        under_way().push(from);
        let known = Known(from);
        Ok(Self {
            stream: socket.connect(to).await?,
            _known: known,
        })
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

// === impl Known ===

impl Drop for Known {
    fn drop(&mut self) {
        let mut all = under_way();
        if let Some(at) = all.iter().position(|known| *known == self.0) {
            all.swap_remove(at);
        }
    }
}
