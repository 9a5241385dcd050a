//! The machine: its root, root's processes, and what programs say of their version.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `containerd --version` is quick.
const VERSION_LIMIT: Duration = Duration::from_secs(2);
/// In these the kernel counts when a process started (USER_HZ, proc_pid_stat(5)).
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The machine that is looked at: this one, or a tree below a directory with processes of its own.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    processes: Option<Vec<Process>>,
    /// What programs said of their version, by path and change time: asking starts a process.
    versions: Mutex<BTreeMap<(PathBuf, SystemTime), Option<String>>>,
}

/// A process as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its command line, the program first.
    pub argv: Vec<String>,
    /// Since 1970, to the kernel's tick below it, to compare with a file's time.
    pub started_at: Duration,
}

// === impl Machine ===

impl Machine {
    /// The one that this runs on.
    #[must_use]
    pub fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
            processes: None,
            versions: Mutex::default(),
        }
    }

    /// A tree of files, with these processes running.
    #[must_use]
    pub fn below(root: &Path, processes: Vec<Process>) -> Self {
        Self {
            root: root.to_owned(),
            processes: Some(processes),
            versions: Mutex::default(),
        }
    }

    /// Below which every file of the machine stands.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The agent's endpoint as the node's files name it. containerd 1.6 and 1.7 ignore a file with an IPv6 literal, so that an
    /// agent on `[::1]` alone is `localhost`, where /etc/hosts leads there. Blocks on file I/O.
    pub(crate) fn named_in_files(&self, agent: &str) -> String {
        let hosts = fs::read_to_string(self.root.join("etc/hosts")).unwrap_or_default();
        let leads_there = hosts.lines().any(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            words.next() == Some("::1") && words.any(|name| name == "localhost")
        });
        match agent.strip_prefix("http://[::1]") {
            Some(port) if leads_there => format!("http://localhost{port}"),
            _ => agent.to_owned(),
        }
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        self.processes.clone().unwrap_or_else(running_processes)
    }

    pub(super) fn version_of(&self, program: &Path) -> Option<String> {
        let changed = fs::metadata(program).ok()?.modified().ok()?;
        let versions = self.versions.lock();
        let mut versions = versions.unwrap_or_else(PoisonError::into_inner);
        let key = (program.to_owned(), changed);
        versions
            .entry(key)
            .or_insert_with(|| program_version(program))
            .clone()
    }
}

/// Of root's processes those that may be runtimes. Anybody can start a process that is called `k3s`; what it says
/// would decide where files are written. root of a container can as well (a virtual cluster in a pod runs `k3s server`),
/// and its paths are not the node's. Blocks on reading /proc.
fn running_processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(running).collect()
}

fn running(pid: u32) -> Option<Process> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line);
    let argv: Vec<String> = line
        .trim_end_matches('\0')
        .split('\0')
        .map(str::to_owned)
        .collect();
    let program = argv.first()?.split_whitespace().next()?;
    let program = program.rsplit('/').next()?;
    let mut names = ["k3s", "rke2", "containerd"].iter();
    names.find(|name| program.starts_with(**name))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    if !is_of_root(&status) {
        return None;
    }
    Some(Process {
        pid,
        argv,
        started_at: started_at(pid)?,
    })
}

/// When a process started. The kernel says how long after the boot that was, and only to the second when that was.
fn started_at(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the 20th field behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u32 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::new(
        u64::try_from(up.tv_sec).ok()?,
        u32::try_from(up.tv_nsec).ok()?,
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let age = up.saturating_sub(TICK.saturating_mul(ticks));
    Some(now.saturating_sub(age))
}

/// Whether a process is root's, by the second of four numbers (proc_pid_status(5)), and of no container: such a one has a
/// number of its own in a namespace below ours. Unlike the links in `/proc/PID/ns` this can be read without any capability.
fn is_of_root(status: &str) -> bool {
    let numbers = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().split_whitespace()
    };
    numbers("Uid:").nth(1) == Some("0") && numbers("NSpid:").count() <= 1
}

/// `containerd --version`, of a program that belongs to root and nobody else may write.
fn program_version(program: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(program).ok()?;
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return None;
    }
    ask_version(program)
}

fn ask_version(program: &Path) -> Option<String> {
    let mut child = std::process::Command::new(program)
        .arg("--version")
        .env_clear()
        // k3s' own dies of an empty environment (containerd-k3s-facts 13.2).
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .ok()?;
    let mut waited = Duration::ZERO;
    let pause = Duration::from_millis(10);
    while child.try_wait().ok()?.is_none() {
        if waited > VERSION_LIMIT {
            // It hangs: nothing of it is needed.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(pause);
        waited += pause;
    }
    let output = child.wait_with_output().ok()?;
    printed_version(&String::from_utf8_lossy(&output.stdout))
}

/// Takes the version out of `containerd --version`.
pub(super) fn printed_version(printed: &str) -> Option<String> {
    let word = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
    };
    let found = printed.split_whitespace().find(word)?;
    Some(found.trim_start_matches('v').to_owned())
}

/// `--name value`, `--name=value`, `--name`, `-n value`.
pub(super) fn arguments(words: &[String]) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            continue;
        };
        match name.split_once('=') {
            Some((name, value)) => found.push((name.to_owned(), Some(value.to_owned()))),
            None => {
                let value = words.next_if(|next| !next.starts_with('-'));
                found.push((name.to_owned(), value.cloned()));
            }
        }
    }
    found
}

/// Which file `--config` (or `-c`) names.
pub(super) fn config_file(words: &[String]) -> Option<PathBuf> {
    arguments(words)
        .into_iter()
        .rev()
        .find(|(name, _)| name == "config" || name == "c")
        .and_then(|(_, value)| value)
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::{ask_version, is_of_root, running};
    use std::os::unix::fs::PermissionsExt as _;

    /// As k3s' containerd, which reads behind an empty environment.
    #[test]
    fn a_program_that_dies_of_an_empty_environment_says_its_version() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("containerd");
        let script = "#!/bin/sh\ntest -n \"$(cat /proc/$$/environ)\" || kill -SEGV $$\necho containerd github.com/k3s-io/containerd v1.7.20-k3s1 x\n";
        std::fs::write(&program, script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        assert_eq!(ask_version(&program).as_deref(), Some("1.7.20-k3s1"));
    }

    #[test]
    fn the_effective_user_counts() {
        assert!(is_of_root("Name:\tk3s\nUid:\t1000\t0\t0\t0\n"));
        assert!(!is_of_root("Name:\tk3s\nUid:\t0\t1000\t0\t0\n"));
        assert!(!is_of_root(""));
        // This test is no runtime.
        assert_eq!(running(std::process::id()), None);
    }

    #[test]
    fn processes_of_containers_are_told_by_their_numbers() {
        let table = [
            (
                "Uid:\t0\t0\nName:\tk3s-server\nPid:\t21125\nNSpid:\t21125\nNSpgid:\t1 2\n",
                false,
            ),
            (
                "Uid:\t0\t0\nName:\tk3s-server\nPid:\t21125\nNSpid:\t21125\t3168\n",
                true,
            ),
            (
                "Uid:\t0\t0\nName:\tk3s-server\nNSpid:\t21125\t3168\t1\n",
                true,
            ),
            // A kernel without the line (before 4.1).
            ("Uid:\t0\t0\nName:\tk3s-server\n", false),
        ];
        for (status, expected) in table {
            assert_eq!(is_of_root(status), !expected, "{status}");
        }
    }
}
