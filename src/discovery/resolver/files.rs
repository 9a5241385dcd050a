//! /etc/resolv.conf and /etc/hosts as the C library reads them: a line or a word that makes no sense there is passed over, and
//! the others count. Pure.

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::proto::rr::Name;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Whom a file without a `nameserver` means (resolv.conf(5)).
const THIS_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug)]
pub(super) struct ResolvConf {
    /// Domain, search list and servers.
    pub(super) config: ResolverConfig,
    /// With fewer dots than that, a name is looked for below the search list first.
    pub(super) ndots: usize,
    /// Whether EDNS is wanted.
    pub(super) edns0: bool,
}

/// The addresses of names, from a hosts file.
#[derive(Debug, Default)]
pub(super) struct HostsFile(HashMap<String, Vec<IpAddr>>);

// === impl ResolvConf ===

impl ResolvConf {
    /// Reads the file's text. Search domains that are no names are left out: `(none)`, `.corp.example`, `~.`
    pub(super) fn read(text: &[u8]) -> Self {
        let (file, passed_over) = resolv_conf::Config::parse_with_errors(text);
        for error in passed_over {
            tracing::debug!(%error, "a line of resolv.conf is passed over");
        }
        let name = |text: &String| Name::from_str_relaxed(text).ok();
        let search = file.get_last_search_or_domain().filter_map(name).collect();
        let domain = file.get_system_domain().as_ref().and_then(name);
        let mut servers: Vec<IpAddr> = file.nameservers.iter().map(IpAddr::from).collect();
        if servers.is_empty() {
            servers.push(THIS_MACHINE);
        }
        let server = match file.use_vc {
            true => NameServerConfig::tcp,
            false => NameServerConfig::udp_and_tcp,
        };
        let servers = servers.into_iter().map(server).collect();
        Self {
            config: ResolverConfig::from_parts(domain, search, servers),
            ndots: usize::try_from(file.ndots).unwrap_or(usize::MAX),
            edns0: file.edns0,
        }
    }
}

// === impl HostsFile ===

impl HostsFile {
    /// Reads the file's text. What is no address, or an address of one link, begins a line that says nothing.
    pub(super) fn read(text: &[u8]) -> Self {
        let mut of: HashMap<String, Vec<IpAddr>> = HashMap::new();
        let text = String::from_utf8_lossy(text);
        for line in text.trim_start_matches('\u{feff}').lines() {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
                continue;
            };
            for name in words {
                of.entry(key(name)).or_default().push(address);
            }
        }
        Self(of)
    }

    /// The addresses of a host; none: it does not stand there.
    pub(super) fn addresses(&self, host: &str) -> &[IpAddr] {
        self.0.get(&key(host)).map_or(&[], Vec::as_slice)
    }
}

/// Names are compared without regard to case, and to the dot that ends them.
fn key(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::ProtocolConfig;

    /// `search | servers | ndots | udp`
    fn read(text: &[u8]) -> String {
        let read = ResolvConf::read(text);
        let search = read.config.search().iter().map(ToString::to_string);
        let servers = read.config.name_servers();
        let addresses: Vec<_> = servers.iter().map(|server| server.ip.to_string()).collect();
        let udp = servers.iter().any(|server| {
            let mut ways = server.connections.iter();
            ways.any(|way| matches!(way.protocol, ProtocolConfig::Udp))
        });
        let search: Vec<_> = search.collect();
        let (search, addresses) = (search.join(" "), addresses.join(" "));
        format!("{search} | {addresses} | {} | {udp}", read.ndots)
    }

    #[test]
    fn a_line_of_resolv_conf_that_makes_no_sense_hides_no_other() {
        let rows: [(&[u8], &str); 14] = [
            (
                b"nameserver 192.0.2.53\nsearch corp.test\n",
                "corp.test | 192.0.2.53 | 1 | true",
            ),
            (
                b"search .corp.test\nnameserver 192.0.2.53",
                " | 192.0.2.53 | 1 | true",
            ),
            (
                b"domain (none)\nnameserver 192.0.2.53",
                " | 192.0.2.53 | 1 | true",
            ),
            (
                b"search ~. corp.test a_b.test\nnameserver 192.0.2.53",
                "corp.test a_b.test | 192.0.2.53 | 1 | true",
            ),
            (
                b"nameserver dns.corp.test\nnameserver 192.0.2.53",
                " | 192.0.2.53 | 1 | true",
            ),
            (
                b"nameserver\nnameserver 192.0.2.53 # ours",
                " | 192.0.2.53 | 1 | true",
            ),
            (
                b"options ndots:many\noptions ndots:5 unheard-of\nnameserver 192.0.2.53",
                " | 192.0.2.53 | 5 | true",
            ),
            (
                b"\xff\xfe\nwhatever it is\nnameserver 192.0.2.53\r\n",
                " | 192.0.2.53 | 1 | true",
            ),
            (
                b"options use-vc\nnameserver 192.0.2.53",
                " | 192.0.2.53 | 1 | false",
            ),
            (
                b"nameserver 2001:db8::53\nnameserver fe80::1%lo",
                " | 2001:db8::53 fe80::1 | 1 | true",
            ),
            // resolv.conf(5): the name server on this machine.
            (b"", " | 127.0.0.1 | 1 | true"),
            (b"search corp.test\n", "corp.test | 127.0.0.1 | 1 | true"),
            (b"options use-vc\n", " | 127.0.0.1 | 1 | false"),
            (b"nameserver nowhere\n", " | 127.0.0.1 | 1 | true"),
        ];
        for (text, due) in rows {
            assert_eq!(read(text), due, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_line_of_hosts_that_makes_no_sense_hides_no_other() {
        let text = b"\xef\xbb\xbf127.0.0.1 localhost\n\
            127.0.1.1\tNode.corp.test node # this one\n\
            10.0.0.300 wrong.corp.test\n\
            # a comment in Latin-1: \xe4\n\
            192.0.2.7 caf\xe9.corp.test my_harbor.corp.test\n\
            192.0.2.8 ..odd harbor.corp.test.\r\n\
            nonsense\n\
            fe80::1%eth0 scoped.corp.test\n\
            2001:db8::8 harbor.corp.test";
        let hosts = HostsFile::read(text);
        let rows: [(&str, &[&str]); 8] = [
            ("localhost", &["127.0.0.1"]),
            ("NODE.corp.test", &["127.0.1.1"]),
            ("node.", &["127.0.1.1"]),
            ("wrong.corp.test", &[]),
            ("my_harbor.corp.test", &["192.0.2.7"]),
            ("harbor.corp.test", &["192.0.2.8", "2001:db8::8"]),
            ("scoped.corp.test", &[]),
            ("nonsense", &[]),
        ];
        for (host, due) in rows {
            let due: Vec<IpAddr> = due.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(hosts.addresses(host), due, "{host}");
        }
    }
}
