//! Whether every user of this node may bind the agent's port. Whoever holds the port that a file of the node names
//! serves images to it, so the agent stands in the files only behind a privileged port, or where the configuration
//! allows another (design S7).

use super::detect::Machine;
use crate::config::Config;
use std::fmt;
use std::net::SocketAddr;

/// The first port that needs no privilege (ip-sysctl.rst of the kernel's documentation), in IPv4 and IPv6, for each
/// network namespace.
const SYSCTL: &str = "proc/sys/net/ipv4/ip_unprivileged_port_start";
/// Its default, and what holds where it cannot be read: before Linux 4.11 there was no such setting.
const DEFAULT: u32 = 1024;

/// The agent's port needs no privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unprivileged {
    pub(crate) agent: SocketAddr,
    /// The first port that needs none.
    pub(crate) first: u32,
    /// `[node] allow_unprivileged_port`: it stands in the files all the same.
    pub(crate) allowed: bool,
}

/// The first port of the machine that every user may bind. Read anew each time. Blocks on reading /proc, which no disk
/// makes wait.
pub(crate) fn first_unprivileged_port(machine: &Machine) -> u32 {
    let text = std::fs::read_to_string(machine.root().join(SYSCTL));
    let first = text.ok().and_then(|text| text.trim().parse().ok());
    first.unwrap_or(DEFAULT)
}

impl Unprivileged {
    /// What holds of the agent at this URL; `None`: its port is a privileged one.
    pub(crate) fn check(machine: &Machine, config: &Config, agent: &str) -> Option<Self> {
        let agent: SocketAddr = agent.strip_prefix("http://")?.parse().ok()?;
        let first = first_unprivileged_port(machine);
        (u32::from(agent.port()) >= first).then_some(Self {
            agent,
            first,
            allowed: config.node.allow_unprivileged_port,
        })
    }

    pub(crate) fn exposure(&self) -> String {
        format!(
            "every user of this node may bind {} while the agent does not run (net.ipv4.ip_unprivileged_port_start is {}), and containerd takes images from whoever answers there",
            self.agent, self.first
        )
    }

    pub(crate) fn instead(&self) -> String {
        match self.first {
            0 => "raise net.ipv4.ip_unprivileged_port_start above the port".to_owned(),
            _ if u32::from(self.agent.port()) < DEFAULT => format!(
                "raise net.ipv4.ip_unprivileged_port_start above {}",
                self.agent.port()
            ),
            first => format!(
                "choose a port below {first} with [server] listen, such as 127.0.0.1:290; or accept it with [node] allow_unprivileged_port = true"
            ),
        }
    }
}

impl fmt::Display for Unprivileged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exposure = self.exposure();
        match self.allowed {
            true => write!(f, "{exposure}; [node] allow_unprivileged_port accepts that"),
            false => write!(f, "{exposure}; so the agent stands in no file of the node"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// (what the kernel says, port, whether every user may bind it)
    #[test]
    fn the_kernel_says_which_port_every_user_may_bind() {
        let table = [
            (None, 290, false),
            (None, 1023, false),
            (None, 1024, true),
            (None, 5180, true),
            (Some("1024\n"), 290, false),
            (Some("291\n"), 290, false),
            (Some("290\n"), 290, true),
            (Some("0\n"), 290, true),
            (Some("0\n"), 1, true),
            (Some("65535\n"), 65534, false),
            (Some("65536\n"), 65535, false),
            // What cannot be read is the default.
            (Some(""), 290, false),
            (Some("-1\n"), 1024, true),
        ];
        for (sysctl, port, expected) in table {
            let root = tempfile::tempdir().unwrap();
            if let Some(text) = sysctl {
                let file = root.path().join(SYSCTL);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            let machine = Machine::below(root.path(), Vec::new());
            for ip in ["127.0.0.1", "[::1]"] {
                let agent = format!("http://{ip}:{port}");
                let found = Unprivileged::check(&machine, &Config::built_in(), &agent);
                assert_eq!(found.is_some(), expected, "{sysctl:?} {agent}");
                assert!(found.is_none_or(|found| !found.allowed));
            }
        }
    }
}
