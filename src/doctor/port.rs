//! Who listens on a port: the kernel's list of sockets, and which process has the socket open.

use crate::admission::kernels_address;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub pid: u32,
    pub name: String,
    /// The systemd unit that it belongs to.
    pub unit: Option<String>,
}

/// A port that somebody listens at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The user whose socket it is.
    pub uid: u32,
    /// The process, if it can be seen: without CAP_SYS_PTRACE other users' cannot.
    pub holder: Option<Holder>,
}

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listening {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// Who listens where `address` would be bound; `None`: nobody. Blocks on reading /proc.
#[must_use]
pub(crate) fn who_listens(address: SocketAddr) -> Option<Held> {
    let mut sockets = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        sockets.extend(listening(&fs::read_to_string(file).unwrap_or_default()));
    }
    let socket = sockets
        .into_iter()
        .find(|socket| collide(socket.address, address))?;
    Some(Held {
        uid: socket.uid,
        holder: holder(socket.inode),
    })
}

/// The listening sockets of a text like /proc/net/tcp or tcp6 (proc(5)).
fn listening(text: &str) -> Vec<Listening> {
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let address = kernels_address(fields.next()?)?;
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        (state == LISTEN).then_some(Listening {
            address,
            uid,
            inode,
        })
    };
    text.lines().skip(1).filter_map(socket).collect()
}

/// One of them keeps the other from being bound.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let wide = |ip: IpAddr| ip.is_unspecified();
    one.port() == other.port() && (one.ip() == other.ip() || wide(one.ip()) || wide(other.ip()))
}

fn holder(inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut links = descriptors
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link == Path::new(&wanted))
    };
    let pid = pids.find(has)?;
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    Some(Holder {
        pid,
        name: read("comm").trim().to_owned(),
        unit: unit(&read("cgroup")),
    })
}

/// The unit in a text like /proc/PID/cgroup.
fn unit(cgroup: &str) -> Option<String> {
    let mut parts = cgroup.lines().flat_map(|line| line.split('/'));
    let unit = parts.rfind(|part| part.ends_with(".service"));
    unit.map(str::to_owned)
}

// === impl Held ===

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.holder {
            Some(holder) => holder.fmt(f),
            None => write!(f, "a process of uid {}", self.uid),
        }
    }
}

// === impl Holder ===

impl Holder {
    #[must_use]
    pub(crate) fn is_the_agent(&self) -> bool {
        self.name == "harbor-pilot"
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {}", self.name, self.pid)?;
        match &self.unit {
            Some(unit) => write!(f, ", {unit})"),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0122 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0122 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 4713 1 0000000000000000 100 0 0 10 0
   3: nonsense
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0123 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000 100 0 0 10 0
";

    #[test]
    fn listeners_are_read() {
        if cfg!(target_endian = "big") {
            return;
        }
        let of = |text: &str| {
            let all = listening(text).into_iter();
            all.map(|socket| (socket.address.to_string(), socket.uid, socket.inode))
                .collect::<Vec<_>>()
        };
        let due = [
            ("127.0.0.1:290".to_owned(), 0, 4711),
            ("0.0.0.0:22".to_owned(), 65534, 4713),
        ];
        assert_eq!(of(TCP), due);
        assert_eq!(of(TCP6), [("[::1]:291".to_owned(), 0, 99)]);
        assert!(of("").is_empty());
    }

    #[test]
    fn a_wildcard_collides_with_every_address() {
        let table = [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("127.0.0.2:1", "127.0.0.1:1", false),
            ("127.0.0.1:2", "127.0.0.1:1", false),
        ];
        for (one, other, due) in table {
            assert_eq!(
                collide(one.parse().unwrap(), other.parse().unwrap()),
                due,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn this_process_is_found_by_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held = who_listens(address).unwrap();
        assert_eq!(held.uid, rustix::process::geteuid().as_raw());
        assert_eq!(held.holder.as_ref().unwrap().pid, std::process::id());
        assert!(held.to_string().contains("(pid "), "{held}");
        let unseen = Held {
            holder: None,
            ..held
        };
        assert_eq!(
            unseen.to_string(),
            format!("a process of uid {}", unseen.uid)
        );
        drop(listener);
        // A test beside this one that starts a program has a copy of the socket from fork to exec.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while who_listens(address).is_some() {
            assert!(std::time::Instant::now() < until, "it is closed");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[test]
    fn units_are_read_from_control_groups() {
        let table = [
            ("0::/system.slice/nginx.service\n", Some("nginx.service")),
            (
                "12:pids:/a\n0::/system.slice/k3s.service/kubepods/x\n",
                Some("k3s.service"),
            ),
            ("0::/user.slice/session-1.scope\n", None),
            ("", None),
        ];
        for (text, due) in table {
            assert_eq!(unit(text).as_deref(), due, "{text}");
        }
    }
}
