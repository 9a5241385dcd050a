//! What systemd does for the unit, since there is none in the laboratory: starts the agent, kills it when the watchdog's
//! ping stays away, and starts it again whenever it ends. There is no start limit: the agent comes back by itself.

use crate::lab::{Lab, run};
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");
/// `WatchdogSec=` of the unit.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(10);
/// `RestartSec=` of the unit.
const RESTART: Duration = Duration::from_millis(200);
/// systemd insists after a while; the agent has nothing to say by then.
const INSIST: Duration = Duration::from_secs(1);

/// The unit as it is packaged.
const PACKAGED: &str = include_str!("../../../systemd/harbor-pilot.service");

#[test]
fn the_times_are_those_of_the_packaged_unit() {
    let line = |line: String| assert!(PACKAGED.lines().any(|one| one == line), "{line}");
    line(format!("WatchdogSec={}s", WATCHDOG.as_secs()));
    line(format!("RestartSec={}ms", RESTART.as_millis()));
}

/// The supervised agent. Dropping it ends both.
pub(crate) struct Unit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    config: PathBuf,
    log: PathBuf,
}

/// What the supervising thread and the test tell each other.
#[derive(Default)]
struct Shared {
    /// 0: it does not run.
    pid: AtomicU32,
    starts: AtomicU32,
    watchdog_kills: AtomicU32,
    held: AtomicBool,
    ending: AtomicBool,
}

impl Unit {
    /// Starts the agent with that configuration.
    pub(crate) fn start(lab: &Lab, directory: &Path, config: &str) -> Self {
        let file = directory.join("config.toml");
        fs::write(&file, config).unwrap();
        let (notify, log) = (directory.join("notify"), directory.join("agent.log"));
        let socket = UnixDatagram::bind(&notify).unwrap();
        let tick = Duration::from_millis(50);
        socket.set_read_timeout(Some(tick)).unwrap();
        let mut command = lab.command(PROGRAM);
        command
            .arg("run")
            .arg("--config")
            .arg(&file)
            .env_remove("JOURNAL_STREAM")
            .env("NO_COLOR", "1")
            .env("NOTIFY_SOCKET", &notify)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .stdin(Stdio::null());
        let output = File::options().create(true).append(true).open(&log);
        let output = output.unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = std::thread::spawn(move || own.supervise(&mut command, &socket));
        Self {
            shared,
            thread: Some(thread),
            config: file,
            log,
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.shared.pid.load(Ordering::SeqCst);
        assert_ne!(pid, 0, "the agent runs");
        send(pid, signal);
    }

    /// Kills the agent and keeps it from being started again, until [`Unit::release`].
    pub(crate) fn kill_and_hold(&self) {
        self.shared.held.store(true, Ordering::SeqCst);
        self.signal("KILL");
        let since = Instant::now();
        while self.shared.pid.load(Ordering::SeqCst) != 0 {
            assert!(since.elapsed() < WATCHDOG, "it ends when it is killed");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
    }

    pub(crate) fn starts(&self) -> u32 {
        self.shared.starts.load(Ordering::SeqCst)
    }

    pub(crate) fn watchdog_kills(&self) -> u32 {
        self.shared.watchdog_kills.load(Ordering::SeqCst)
    }

    /// Runs a command of the program with the agent's configuration.
    pub(crate) fn command(&self, lab: &Lab, name: &str) -> String {
        let mut command = lab.command(PROGRAM);
        command.env("STATE_DIRECTORY", self.config.with_file_name("state"));
        let output = run(command.arg(name).arg("--config").arg(&self.config));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

impl Shared {
    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::SeqCst)
    }

    fn supervise(&self, command: &mut Command, socket: &UnixDatagram) {
        while !Self::is(&self.ending) {
            if Self::is(&self.held) {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let mut child = command.spawn().expect("the agent can be started");
            self.pid.store(child.id(), Ordering::SeqCst);
            self.starts.fetch_add(1, Ordering::SeqCst);
            self.watch(&mut child, socket);
            drop(child.wait());
            self.pid.store(0, Ordering::SeqCst);
            std::thread::sleep(RESTART);
        }
    }

    /// Returns when the agent has ended.
    fn watch(&self, child: &mut Child, socket: &UnixDatagram) {
        // systemd's watchdog begins with READY=1.
        let mut heard: Option<Instant> = None;
        let mut buffer = [0; 512];
        while matches!(child.try_wait(), Ok(None)) {
            if let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                if text.contains("READY=1") || text.contains("WATCHDOG=1") {
                    heard = Some(Instant::now());
                }
            }
            if heard.is_some_and(|at| at.elapsed() > WATCHDOG) {
                self.watchdog_kills.fetch_add(1, Ordering::SeqCst);
                return end(child, "ABRT");
            }
            if Self::is(&self.ending) {
                return end(child, "TERM");
            }
        }
    }
}

/// A stopped process acts on nothing but KILL; systemd sends CONT along, too.
fn end(child: &mut Child, signal: &str) {
    send(child.id(), signal);
    send(child.id(), "CONT");
    let since = Instant::now();
    while since.elapsed() < INSIST + Duration::from_secs(4 * u64::from(signal == "TERM")) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.kill());
}

fn send(pid: u32, signal: &str) {
    let pid = pid.to_string();
    // One that has just ended needs no signal any more.
    drop(Command::new("kill").args(["-s", signal, &pid]).output());
}
