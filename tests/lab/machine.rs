//! A whole Debian beside the laboratory: systemd as process 1 (`systemd-nspawn`), an address of its own, and a
//! root that is fresh at every boot.
//!
//! The machine reaches the laboratory's servers at their addresses and its name server at [`GATEWAY`]; the
//! laboratory reaches the machine at [`Machine::address`]. Everything a machine leaves on the host carries the
//! laboratory's name and goes away with it.

mod root;

pub(crate) use root::Release;

use super::network::Network;
use super::process::{Daemon, output, run};
use super::{remains, wait_until};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Where machines find the laboratory: its name server, and the way to every server.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 100, 1);

/// Directories that are no overlay: containerd's snapshots are overlays themselves, which cannot lie on one.
const PLAIN: [&str; 1] = ["/var/lib/containerd"];

/// Joins the machine's control group, mounts its root where nobody else sees it, and becomes systemd-nspawn.
const BOOT: &str = r#"
set -e
directory=$1 lower=$2 groups=$3
shift 3
for group in $groups; do echo $$ >"$group/cgroup.procs"; done
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" "$directory/root"
exec systemd-nspawn --directory="$directory/root" "$@"
"#;

/// A booted machine. It is powered off (as by pulling the plug) when this is dropped.
pub(crate) struct Machine {
    name: String,
    directory: PathBuf,
    lower: PathBuf,
    address: Ipv4Addr,
    network: Network,
    link: String,
    daemon: Daemon,
}

impl Machine {
    /// Boots one and waits until systemd says that it is up. `number` is its place in the laboratory, from 0.
    pub(crate) fn boot(
        laboratory: &str,
        network: &Network,
        directory: &Path,
        number: u8,
        release: Release,
    ) -> Self {
        let lower = root::ensure(release);
        let name = format!("{laboratory}-m{number}");
        let directory = directory.join(format!("machine-{number}"));
        let address = Ipv4Addr::new(198, 18, 100, 11 + number);
        for folder in ["upper/etc", "work", "root"] {
            fs::create_dir_all(directory.join(folder))
                .expect("the laboratory's directory is writable");
        }
        for (file, text) in [
            (
                "resolv.conf",
                format!("nameserver {GATEWAY}\noptions timeout:1 attempts:2\n"),
            ),
            ("hostname", format!("{name}\n")),
            ("hosts", format!("127.0.0.1 localhost\n{address} {name}\n")),
        ] {
            fs::write(directory.join("upper/etc").join(file), text)
                .expect("the laboratory's directory is writable");
        }
        let link = format!("m{number}");
        network.join(&name, &link, address, GATEWAY);
        for path in PLAIN {
            fs::create_dir_all(plain(&directory, path))
                .expect("the laboratory's directory is writable");
        }
        let daemon = launch(&name, &directory, &lower);
        let mut machine = Self {
            name,
            directory,
            lower,
            address,
            network: network.clone(),
            link,
            daemon,
        };
        machine.wait_for_boot();
        machine
    }

    fn wait_for_boot(&mut self) {
        wait_until("the machine boots", Duration::from_secs(60), || {
            self.daemon.assert_running();
            if self.leader().is_none() {
                return Err("it has no process 1 yet".to_owned());
            }
            let state = self.say("systemctl", &["is-system-running"]);
            match state.as_str() {
                "running" | "degraded" => Ok(()),
                _ => Err(format!(
                    "systemd says {state:?}\n{}",
                    self.daemon.log_text()
                )),
            }
        });
    }

    /// Process 1, as the host numbers it.
    pub(crate) fn leader(&self) -> Option<u32> {
        let pid = self.daemon.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// A program that will run inside, as root, with nothing of the caller's environment. It belongs to no unit.
    pub(crate) fn command(&self, program: &str) -> Command {
        let leader = self.leader().expect("the machine is running");
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader.to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
        command.args(["env", "-i", "HOME=/root", "LANG=C.UTF-8", "NO_COLOR=1"]);
        command.args(["SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive"]);
        command.args([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            program,
        ]);
        command
    }

    /// Runs a program inside to its end, whatever that is.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Output {
        output(self.command(program).args(arguments))
    }

    /// Runs a program that must succeed, and gives what it printed to stdout, trimmed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = run(self.command(program).args(arguments));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What a program printed to stdout, whether it succeeded or not.
    pub(crate) fn say(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.output(program, arguments);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs lines of shell that must all succeed.
    pub(crate) fn shell(&self, script: &str) -> String {
        self.run("sh", &["-ec", script])
    }

    /// A path of the machine as the host sees it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        let leader = self.leader().expect("the machine is running");
        PathBuf::from(format!("/proc/{leader}/root")).join(inside.trim_start_matches('/'))
    }

    /// Writes a file (0644) and the directories that lead to it.
    pub(crate) fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        let parent = path.parent().expect("a file in a directory");
        fs::create_dir_all(parent)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", parent.display()));
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Copies a file of the host's into the machine.
    pub(crate) fn copy(&self, from: &Path, inside: &str) {
        let to = self.path(inside);
        let parent = to.parent().expect("a file in a directory");
        fs::create_dir_all(parent)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", parent.display()));
        fs::copy(from, &to)
            .unwrap_or_else(|error| panic!("cannot copy {} to {inside}: {error}", from.display()));
    }

    /// Where the laboratory reaches it.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its host name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An orderly reboot: services are stopped as at every reboot, files stay.
    pub(crate) fn reboot(&mut self) {
        // The connection to systemd may be cut before it has answered.
        drop(self.output("systemctl", &["reboot"]));
        // With --keep-unit systemd-nspawn ends then, and leaves starting anew to its caller.
        self.daemon.wait(Duration::from_secs(60));
        self.daemon = launch(&self.name, &self.directory, &self.lower);
        self.wait_for_boot();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.leader().is_some() {
            let journal = self.say("journalctl", &["--no-pager", "-q", "-b"]);
            let kept = self.directory.with_extension("log");
            drop(fs::write(&kept, journal));
        }
        if let Some(leader) = self.leader() {
            drop(output(Command::new("kill").args([
                "-s",
                "KILL",
                &leader.to_string(),
            ])));
        }
        self.daemon.wait(Duration::from_secs(10));
        // So that another one may take its place.
        self.network.cut(&self.link);
        remains::clear(&self.name);
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Starts systemd-nspawn with the machine's root, in its namespace and control group.
fn launch(name: &str, directory: &Path, lower: &Path) -> Daemon {
    let groups: Vec<String> = control_groups(name)
        .into_iter()
        .map(|group| {
            fs::create_dir_all(&group)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", group.display()));
            group.display().to_string()
        })
        .collect();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", BOOT, "sh"])
        .args([directory, lower])
        .arg(groups.join(" "))
        .args(["--quiet", "--boot", "--register=no", "--keep-unit"])
        .args(["--console=pipe", "--link-journal=no"])
        .args(["--resolv-conf=off", "--timezone=off"])
        .arg(format!("--machine={name}"))
        .arg(format!("--network-namespace-path=/run/netns/{name}"))
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    for path in PLAIN {
        command.arg(format!(
            "--bind={}:{path}",
            plain(directory, path).display()
        ));
    }
    Daemon::start(name, &mut command, &directory.join("console.log"))
}

/// Where a directory of [`PLAIN`] really lies.
fn plain(directory: &Path, path: &str) -> PathBuf {
    directory.join("plain").join(path.trim_start_matches('/'))
}

/// The groups in which systemd-nspawn starts: of the unified tree, and of systemd's own where the host has both.
fn control_groups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(name)];
    }
    ["systemd", "unified"]
        .into_iter()
        .map(|tree| root.join(tree))
        .filter(|tree| tree.is_dir())
        .map(|tree| tree.join(name))
        .collect()
}
