//! Failures of this node's own: what a full table or a lack of memory here keeps from being sent says nothing of whoever it was
//! for. A client that uses up descriptors or ports must not have any address ejected by it.

use crate::topology::Failure;
use rustix::io::Errno;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The kind of an error of a socket; `otherwise` where it is not this node's.
pub(super) fn failure_of(error: &io::Error, otherwise: Failure) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::NETDOWN) => {
            Failure::Local
        }
        _ => otherwise,
    }
}

/// The same for a connect to `address`. EADDRNOTAVAIL is said where no port is left, which is this node's failure, and where the
/// node has no address of that family: then that address is of no use here, as one that refuses.
pub(super) fn failure_of_connect(error: &io::Error, address: SocketAddr) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRNOTAVAIL) if has_own_address_for(address) => Failure::Local,
        _ if error.kind() == io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        _ => failure_of(error, Failure::Refused),
    }
}

/// Whether the node could send to that address: a datagram's socket is given an address without anything being sent.
fn has_own_address_for(address: SocketAddr) -> bool {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_node_lacks_is_told_from_what_the_other_side_says() {
        let rows = [
            (Errno::MFILE, Failure::Local),
            (Errno::NFILE, Failure::Local),
            (Errno::NOMEM, Failure::Local),
            (Errno::NOBUFS, Failure::Local),
            (Errno::NETDOWN, Failure::Local),
            (Errno::ADDRNOTAVAIL, Failure::Local),
            (Errno::CONNREFUSED, Failure::Refused),
            (Errno::HOSTUNREACH, Failure::Refused),
            (Errno::NETUNREACH, Failure::Refused),
            (Errno::CONNRESET, Failure::Refused),
            (Errno::TIMEDOUT, Failure::ConnectTimeout),
        ];
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        for (errno, failure) in rows {
            let error = io::Error::from(errno);
            assert_eq!(failure_of_connect(&error, address), failure, "{errno:?}");
        }
        let nowhere = SocketAddr::from(([255, 255, 255, 255], 443));
        let error = io::Error::from(Errno::ADDRNOTAVAIL);
        assert_eq!(failure_of_connect(&error, nowhere), Failure::Refused);
        let reset = io::Error::from(Errno::CONNRESET);
        assert_eq!(failure_of(&reset, Failure::Reset), Failure::Reset);
        let other = io::Error::other("something");
        assert_eq!(failure_of(&other, Failure::Tls), Failure::Tls);
    }
}
