//! Addresses on which nobody listens, for a program that is to be told its port before it starts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to outgoing connections (32768 and up, `ip_local_port_range`): no connection
/// of another test can take the port before the program listens on it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The next port to be tried. Each call moves on, so that no two calls of a test program get the same.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address on which nobody listens, and that no other call in this process returns.
pub fn free_address() -> SocketAddr {
    free_listener().local_addr().unwrap()
}

/// Listens on such an address.
pub fn free_listener() -> TcpListener {
    // Test programs that run at the same time begin at different ports.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT)).unwrap();
    (0..COUNT)
        .find_map(|_| {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let port = FIRST + (start + offset) % COUNT;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
        })
        .expect("a free port")
}
