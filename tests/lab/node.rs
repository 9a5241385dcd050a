//! The node that containerd and the agent run on: this machine, or the Debian root that `HARBOR_PILOT_LAB_ROOT` names
//! (`make test-matrix`). Either way `/etc/containerd` is the laboratory's own.

use super::network::Network;
use super::process::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names a root.
pub(crate) const ROOT: &str = "HARBOR_PILOT_LAB_ROOT";

/// Enters a root in the new process's mount namespace and becomes the program there. The machine's own devices,
/// processes, control groups and sockets are those of the root too; the laboratory's directory is where it is outside.
/// A root that is no mount of its own cannot be left again by runc's pivot_root.
const ENTER: &str = r#"
root=$1 etc=$2 agent=$3 tmp=$4
shift 4
mount --bind "$root" "$root" || exit 125
for place in proc sys dev run; do
    mount --rbind "/$place" "$root/$place" || exit 125
done
mkdir -p "$root$tmp" && mount --rbind "$tmp" "$root$tmp" || exit 125
for file in "$etc"/*; do
    mount --rbind "$file" "$root/etc/${file##*/}" || exit 125
done
mount --bind "$agent" "$root/usr/bin/harbor-pilot" || exit 125
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin exec chroot "$root" "$@"
"#;

/// What there must be in a root besides containerd, to be mounted over (tests/lab/roots.sh makes it).
const MOUNTED_OVER: [&str; 4] = [
    "etc/containerd",
    "etc/hosts",
    "etc/resolv.conf",
    "usr/bin/harbor-pilot",
];

/// A place for programs.
#[derive(Clone)]
pub(crate) struct Node {
    network: Network,
    root: Option<PathBuf>,
    version: String,
}

impl Node {
    /// The one that the environment names, in the laboratory's network.
    pub(crate) fn of_environment(network: &Network) -> Self {
        let root = std::env::var_os(ROOT).filter(|root| !root.is_empty());
        let root = root.map(PathBuf::from);
        for file in MOUNTED_OVER {
            if let Some(root) = root.as_ref().filter(|root| !root.join(file).exists()) {
                panic!(
                    "{ROOT}={} has no {file}: make the root by tests/lab/roots.sh",
                    root.display()
                );
            }
        }
        let mut node = Self {
            network: network.clone(),
            root,
            version: String::new(),
        };
        let said = run(node.command("containerd").arg("--version")).stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let version = said
            .split_whitespace()
            .map(|word| word.trim_start_matches('v'))
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        node.version = version.unwrap_or_else(|| panic!("{said}")).to_owned();
        node
    }

    /// A program that will run there, inside the laboratory's network.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let Some(root) = &self.root else {
            return self.network.command(program);
        };
        let mut command = self.network.command_unshared();
        command.arg(ENTER).arg("sh").arg(root);
        command.arg(self.network.etc());
        command.arg(super::agent::PROGRAM).arg(std::env::temp_dir());
        // The agent has another path in there.
        let program = program.as_ref();
        if program == Path::new(super::agent::PROGRAM) {
            command.arg("/usr/bin/harbor-pilot");
        } else {
            command.arg(program);
        }
        command
    }

    /// The laboratory's network, for programs that need not be the node's.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Such as `1.6.20~ds1`.
    pub(crate) fn containerd_version(&self) -> &str {
        &self.version
    }

    /// Such as `(1, 6)`.
    pub(crate) fn containerd_generation(&self) -> (u32, u32) {
        let mut parts = self.version.split(['.', '~', '-', '+']);
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        number()
            .zip(number())
            .unwrap_or_else(|| panic!("{} is no version", self.version))
    }
}
