//! The kernel's table of TCP connections as text, /proc/net/tcp and tcp6: for where sock_diag cannot be asked. The whole table
//! is read, so it is read at most once in [`PAUSE`], for all who wait for it.

use super::peer_socket::PeerSocket;
use crate::lifecycle::deadline;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// /proc/net/tcp is not read again within this time.
const PAUSE: Duration = Duration::from_millis(100);

/// `TCP_ESTABLISHED`, as it is written there.
const ESTABLISHED: &str = "01";

/// The newest reading, behind a lock that whoever reads anew holds meanwhile.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<Option<Table>>);

#[derive(Debug)]
struct Table {
    /// Before its first byte was read.
    begun: Instant,
    ended: Instant,
    /// By a socket's own address and its peer's.
    sockets: HashMap<(SocketAddr, SocketAddr), PeerSocket>,
}

// === impl Tables ===

impl Tables {
    /// The socket with these addresses, seen from itself, out of a reading that begins after this call. Who waits meanwhile shares
    /// it. Cancel safe.
    pub(super) async fn find(&self, at: SocketAddr, to: SocketAddr) -> Option<PeerSocket> {
        let since = Instant::now();
        let mut newest = self.0.lock().await;
        if newest.as_ref().is_none_or(|table| table.begun <= since) {
            if let Some(table) = &*newest {
                sleep_until(deadline(table.ended, PAUSE)).await;
            }
            *newest = Some(Table::read().await);
        }
        newest.as_ref()?.sockets.get(&(at, to)).copied()
    }
}

// === impl Table ===

impl Table {
    async fn read() -> Self {
        let begun = Instant::now();
        let mut sockets = HashMap::new();
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            match tokio::fs::read_to_string(file).await {
                Ok(text) => sockets.extend(text.lines().filter_map(parse)),
                Err(error) => tracing::debug!("reading {file}: {error}"),
            }
        }
        Self {
            begun,
            ended: Instant::now(),
            sockets,
        }
    }
}

/// One line: `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`.
fn parse(line: &str) -> Option<((SocketAddr, SocketAddr), PeerSocket)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (at, to) = (
        kernels_address(fields.next()?)?,
        kernels_address(fields.next()?)?,
    );
    let is_established = fields.next()? == ESTABLISHED;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let socket = PeerSocket {
        is_established,
        uid,
        inode,
    };
    Some(((at, to), socket))
}

/// `0100007F:1452`: the address in words of the machine's byte order.
pub(crate) fn kernels_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(at.checked_mul(8)?..)?.get(..8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let table = [
            (
                "   0: 0100007F:9C40 0100007F:1452 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 ffff 20 4 30 10 -1",
                Some(("127.0.0.1:40000", "127.0.0.1:5202", true, 1000, 12345)),
            ),
            (
                "   1: 0200007F:9C40 0100007F:1452 04 00000000:00000000 00:00000000 00000000     0        0 0 1 ffff",
                Some(("127.0.0.2:40000", "127.0.0.1:5202", false, 0, 0)),
            ),
            (
                "  10: 00000000000000000000000001000000:0050 00000000000000000000000001000000:C001 01 00000000:00000000 00:00000000 00000000 65534 0 7",
                Some(("[::1]:80", "[::1]:49153", true, 65534, 7)),
            ),
            (
                "  11: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:C001 01 0:0 0:0 0 5 0 9",
                Some(("127.0.0.1:80", "127.0.0.1:49153", true, 5, 9)),
            ),
            (
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
                None,
            ),
            ("   0: 0100007F:9C40 0100007F:1452 01", None),
            ("   0: 0100007F 0100007F:1452 01 0:0 0:0 0 5 0 9", None),
            ("   0: 0100007:9C40 0100007F:1452 01 0:0 0:0 0 5 0 9", None),
            ("", None),
        ];
        for (line, due) in table {
            let read = parse(line).map(|((at, to), socket)| (at, to, socket));
            let due = due.map(|(at, to, is_established, uid, inode)| {
                let socket = PeerSocket {
                    is_established,
                    uid,
                    inode,
                };
                (at.parse().unwrap(), to.parse().unwrap(), socket)
            });
            // Words are written in the machine's byte order; the lines above are a little-endian machine's.
            if cfg!(target_endian = "little") {
                assert_eq!(read, due, "{line}");
            }
        }
    }
}
