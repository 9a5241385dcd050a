//! Asks the kernel for one socket of this machine by its addresses: sock_diag(7) over netlink, one question and one answer.
//! The kernel answers within the call that asks, so that nothing here waits.

use super::peer_socket::PeerSocket;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

/// `SOCK_DIAG_BY_FAMILY`: a question, and the type of its answer (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR` (linux/netlink.h).
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;
/// `ENOENT`: there is no such socket, or the kernel has no `tcp_diag`.
const NO_ENTRY: i32 = -2;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_sockid`: both ports, both addresses of 16 bytes, an interface and a cookie.
const ID: usize = 48;
/// A question: the header, `struct inet_diag_req_v2` with its four bytes and the states, and the ID.
const QUESTION: usize = HEADER + 8 + ID;
/// Where in an answer `idiag_uid` stands: behind the header, four bytes, the ID, and three numbers.
const UID: usize = HEADER + 4 + ID + 12;

/// Answers that nobody waited for are passed over, at most so many.
const OLD_ANSWERS: usize = 8;

/// A netlink socket for such questions.
#[derive(Debug)]
pub(super) struct SockDiag {
    socket: OwnedFd,
    sequence: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Socket(PeerSocket),
    Error(i32),
    /// It is of another question, or of another socket.
    Other,
}

// === impl SockDiag ===

impl SockDiag {
    /// # Errors
    /// [`io::Error`]: a sandbox without AF_NETLINK, no descriptor, no `tcp_diag`.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::DGRAM;
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(SOCK_DIAG))?;
        // With the kernel alone.
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        let mut diag = Self {
            socket,
            sequence: 0,
        };
        // "There is none" is also what a kernel without `tcp_diag` says: it must know one that is there.
        let known = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        match diag.find(known.local_addr()?, nobody)? {
            Some(_) => Ok(diag),
            None => Err(io::Error::other("the kernel has no tcp_diag")),
        }
    }

    /// The TCP socket with these addresses, seen from itself: `at` is its own, `to` its peer's. `None`: there is none.
    ///
    /// # Errors
    /// [`io::Error`]: the kernel refuses the question, or its answer cannot be read.
    pub(super) fn find(
        &mut self,
        at: SocketAddr,
        to: SocketAddr,
    ) -> io::Result<Option<PeerSocket>> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = question(at, to, self.sequence);
        send(&self.socket, &question, SendFlags::DONTWAIT)?;
        let mut answer = [0; 512];
        for _ in 0..OLD_ANSWERS {
            let (length, _) = recv(&self.socket, &mut answer, RecvFlags::DONTWAIT)?;
            let answer = answer.get(..length).unwrap_or_default();
            match read(answer, &question) {
                Answer::Socket(socket) => return Ok(Some(socket)),
                Answer::Error(NO_ENTRY) => return Ok(None),
                Answer::Error(error) => {
                    return Err(io::Error::from_raw_os_error(error.saturating_neg()));
                }
                Answer::Other => {}
            }
        }
        Err(io::Error::other("sock_diag answers other questions"))
    }
}

/// A question for one socket, in any state.
fn question(at: SocketAddr, to: SocketAddr, sequence: u32) -> [u8; QUESTION] {
    let mut bytes = Vec::with_capacity(QUESTION);
    let length = u32::try_from(QUESTION).unwrap_or_default();
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&REQUEST.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    // The kernel knows who asks.
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    // A mapped IPv4 address is one of IPv4 for its peer.
    let (at_ip, to_ip) = (at.ip().to_canonical(), to.ip().to_canonical());
    let family = if at_ip.is_ipv4() { AF_INET } else { AF_INET6 };
    bytes.extend_from_slice(&[family, TCP, 0, 0]);
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend_from_slice(&at.port().to_be_bytes());
    bytes.extend_from_slice(&to.port().to_be_bytes());
    for ip in [at_ip, to_ip] {
        let mut field = [0; 16];
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                [field[0], field[1], field[2], field[3]] = [a, b, c, d];
            }
            IpAddr::V6(ip) => field = ip.octets(),
        }
        bytes.extend_from_slice(&field);
    }
    // Any interface, any cookie.
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(&[0xff; 8]);
    let mut question = [0; QUESTION];
    question.copy_from_slice(&bytes);
    question
}

/// Reads an answer to a question.
fn read(answer: &[u8], question: &[u8]) -> Answer {
    let word = |at: usize| number(answer, at);
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let kind = kind.map(u16::from_ne_bytes);
    if answer.get(8..12) != question.get(8..12) {
        return Answer::Other;
    }
    match kind {
        Some(ERROR) => word(HEADER).map_or(Answer::Other, |word| {
            Answer::Error(i32::from_ne_bytes(word.to_ne_bytes()))
        }),
        Some(BY_FAMILY) => {
            // Where there is no such connection the kernel shows who listens there: its addresses are others.
            let addresses =
                |bytes: &[u8], at: usize| bytes.get(at..)?.get(..36).map(<[u8]>::to_vec);
            let same = addresses(answer, HEADER + 4) == addresses(question, HEADER + 8);
            match (same, answer.get(HEADER + 1), word(UID), word(UID + 4)) {
                (true, Some(state), Some(uid), Some(inode)) => Answer::Socket(PeerSocket {
                    is_established: *state == ESTABLISHED,
                    uid,
                    inode,
                }),
                (false, ..) => Answer::Error(NO_ENTRY),
                _ => Answer::Other,
            }
        }
        _ => Answer::Other,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests;
