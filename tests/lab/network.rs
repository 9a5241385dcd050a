//! The network namespace: its addresses, its name resolution, and packets that get lost.

use super::process::{output, run};
use super::programs;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts the laboratory's resolver files and `/etc/containerd` over those of the machine, in a mount namespace of the new process,
/// and becomes the program. (`ip netns exec` does the same, but hides the control groups that runc needs.)
const ENTER: &str = r#"
for file in "$1"/*; do
    [ -e "/etc/${file##*/}" ] || continue
    mount --bind "$file" "/etc/${file##*/}" || exit 125
done
shift
exec "$@"
"#;

/// One namespace; it goes away with the laboratory's remains.
#[derive(Clone)]
pub(crate) struct Network {
    name: String,
    etc: PathBuf,
}

impl Network {
    /// Makes the namespace, its filter and its resolver files.
    pub(crate) fn create(name: &str, directory: &Path) -> Self {
        let etc = directory.join("etc");
        fs::create_dir_all(etc.join("containerd/certs.d"))
            .expect("the laboratory's directory is writable");
        for (file, text) in [
            (
                "resolv.conf",
                "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n",
            ),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("hosts", "127.0.0.1 localhost\n"),
        ] {
            fs::write(etc.join(file), text).expect("the laboratory's directory is writable");
        }
        assert!(
            Path::new("/etc/resolv.conf").exists(),
            "/etc/resolv.conf does not exist; the laboratory mounts its own over it: create an empty one"
        );
        run(Command::new("ip").args(["netns", "add", name]));
        run(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]));
        let network = Self {
            name: name.to_owned(),
            etc,
        };
        network.nft(
            "add table inet power
             add set inet power dead { type ipv4_addr; }
             add chain inet power input { type filter hook input priority 0; }
             add rule inet power input ip daddr @dead drop
             add rule inet power input ip saddr @dead drop",
        );
        network
    }

    /// What stands over the machine's `/etc` for programs inside.
    pub(crate) fn etc(&self) -> &Path {
        &self.etc
    }

    /// A program that will run inside. Proxies of the environment are left outside.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let found = program.to_str().and_then(programs::find);
        let mut command = self.command_unshared();
        command
            .args([ENTER, "sh"])
            .arg(&self.etc)
            .arg(found.as_deref().unwrap_or(program));
        command
    }

    /// A shell inside, with a mount namespace of its own: its script and arguments are to follow.
    pub(crate) fn command_unshared(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .args(["unshare", "--mount", "sh", "-c"]);
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"] {
            command.env_remove(variable);
            command.env_remove(variable.to_lowercase());
        }
        command
    }

    /// Puts an address on the loopback interface.
    pub(crate) fn add_address(&self, address: Ipv4Addr) {
        let address = format!("{address}/32");
        run(Command::new("ip").args(["-n", &self.name, "address", "add", &address, "dev", "lo"]));
    }

    /// Makes a namespace for a machine and joins it to this one by a cable: `link` is our end, `eth0` the other.
    /// The machine's way to everywhere is `gateway`.
    pub(crate) fn join(&self, machine: &str, link: &str, address: Ipv4Addr, gateway: Ipv4Addr) {
        let (ours, theirs) = (self.name.as_str(), machine);
        let (host, own) = (format!("{address}/32"), gateway.to_string());
        let ip = |arguments: &[&str]| run(Command::new("ip").args(arguments));
        ip(&["netns", "add", theirs]);
        ip(&[
            "-n", ours, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns",
            theirs,
        ]);
        ip(&["-n", ours, "link", "set", link, "up"]);
        ip(&["-n", theirs, "link", "set", "lo", "up"]);
        ip(&["-n", theirs, "link", "set", "eth0", "up"]);
        ip(&["-n", theirs, "address", "add", &host, "dev", "eth0"]);
        ip(&["-n", ours, "route", "add", &host, "dev", link, "src", &own]);
        ip(&[
            "-n", theirs, "route", "add", "default", "via", &own, "dev", "eth0", "onlink",
        ]);
    }

    /// Takes a cable of [`Network::join`] away. (With its namespace it would go a little later.)
    pub(crate) fn cut(&self, link: &str) {
        let mut command = Command::new("ip");
        drop(output(
            command.args(["-n", &self.name, "link", "delete", link]),
        ));
    }

    /// Drops every packet to and from an address.
    pub(crate) fn drop_packets(&self, address: Ipv4Addr) {
        self.nft(&format!("add element inet power dead {{ {address} }}"));
    }

    /// Lets the packets through again.
    pub(crate) fn pass_packets(&self, address: Ipv4Addr) {
        self.nft(&format!("delete element inet power dead {{ {address} }}"));
    }

    fn nft(&self, rules: &str) {
        let rules: Vec<&str> = rules.lines().map(str::trim).collect();
        run(self.command("nft").arg(rules.join("; ")));
    }
}
