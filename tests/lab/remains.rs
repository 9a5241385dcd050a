//! What a laboratory leaves on the machine while it runs, and how that goes away: the namespace, the processes
//! in it, the directory, and the control groups of the containers.

use super::process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

const PREFIX: &str = "hp-lab-";

/// Laboratories of this process that an interrupt has to clear.
static LIVING: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// One laboratory's name, which is also that of its namespace and directory.
pub(crate) struct Remains {
    name: String,
    directory: PathBuf,
}

impl Remains {
    /// Takes a new name and makes its directory.
    pub(crate) fn reserve() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let directory = directory_of(&name);
        fs::create_dir(&directory)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
        clear_on_interrupt();
        living().push(name.clone());
        Self { name, directory }
    }

    /// Clears what laboratories of killed processes have left.
    pub(crate) fn sweep() {
        let namespaces = output_text(Command::new("ip").args(["netns", "list"]));
        let directories = fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = namespaces
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .chain(directories)
            .filter(|name| is_orphan(name))
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            clear(&name);
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("HARBOR_PILOT_LAB_KEEP_LOGS").is_some() {
            keep_logs(&self.directory);
        }
        clear(&self.name);
        living().retain(|name| *name != self.name);
    }
}

/// What of a laboratory is still there, in words.
pub(crate) fn left_behind(name: &str) -> Vec<String> {
    let mut left: Vec<String> = namespaces(name)
        .iter()
        .map(|namespace| format!("the network namespace {namespace}"))
        .collect();
    if directory_of(name).exists() {
        left.push(directory_of(name).display().to_string());
    }
    left.extend(
        control_groups(name)
            .iter()
            .map(|path| path.display().to_string()),
    );
    left
}

fn living() -> std::sync::MutexGuard<'static, Vec<String>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn directory_of(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// A laboratory's name whose process is gone.
fn is_orphan(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Takes everything of one laboratory away; says on stderr what would not go.
pub(super) fn clear(name: &str) {
    for namespace in namespaces(name) {
        for _ in 0..100 {
            let pids = output_text(Command::new("ip").args(["netns", "pids", &namespace]));
            if pids.trim().is_empty() {
                break;
            }
            let mut kill = Command::new("kill");
            kill.args(["-s", "KILL"]).args(pids.split_whitespace());
            drop(process::output(&mut kill));
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(process::output(
            Command::new("ip").args(["netns", "del", &namespace]),
        ));
    }
    // Mounts below the directory live in the mount namespaces of the processes that just ended.
    for _ in 0..50 {
        match fs::remove_dir_all(directory_of(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => break,
        }
    }
    for group in control_groups(name) {
        remove_control_group(&group);
    }
    for thing in left_behind(name) {
        eprintln!("the laboratory could not remove {thing}");
    }
}

/// Whether something belongs to that laboratory: its own, or that of one of its machines (`NAME-m0`).
fn belongs(thing: &str, name: &str) -> bool {
    thing
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("-m"))
}

/// Its network namespaces, the machines' first.
fn namespaces(name: &str) -> Vec<String> {
    let mut namespaces: Vec<String> = fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|namespace| belongs(namespace, name))
        .collect();
    namespaces.sort_by(|left, right| right.cmp(left));
    namespaces
}

/// The control groups that runc made for the containers, and those of machines: one tree (v2) or one per
/// controller (v1).
fn control_groups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    std::iter::once(root.to_owned())
        .chain(controllers)
        .flat_map(|tree| fs::read_dir(tree).into_iter().flatten().flatten())
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|group| belongs(group, name))
        })
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn remove_control_group(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.path().is_dir() {
            remove_control_group(&child.path());
        }
    }
    // A group that is still busy is reported by `left_behind`.
    drop(fs::remove_dir(group));
}

/// Copies the logs of all programs, one folder deep, to a place that stays.
fn keep_logs(directory: &Path) {
    let kept = std::env::temp_dir().join("harbor-pilot-lab-logs");
    drop(fs::create_dir_all(&kept));
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    for folder in
        std::iter::once(directory.to_owned()).chain(entries(directory).map(|entry| entry.path()))
    {
        for log in entries(&folder).map(|entry| entry.path()) {
            if log.extension().is_some_and(|extension| extension == "log") {
                let name = log.strip_prefix(directory).unwrap_or(&log);
                drop(fs::copy(
                    &log,
                    kept.join(name.display().to_string().replace('/', "-")),
                ));
            }
        }
    }
    eprintln!("logs kept in {}", kept.display());
}

fn output_text(command: &mut Command) -> String {
    String::from_utf8_lossy(&process::output(command).stdout).into_owned()
}

/// An interrupt ends the process without running destructors; this thread clears the laboratories first.
fn clear_on_interrupt() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for signals");
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be caught");
                let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be caught");
                // Cancel-safe: both only wait for a signal.
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            for name in living().drain(..) {
                clear(&name);
            }
            #[allow(
                clippy::exit,
                reason = "the interrupted process has nothing left to do"
            )]
            std::process::exit(130);
        });
    });
}
