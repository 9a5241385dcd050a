//! What systemd does with a service of Type=notify that has an fd store: keeps the sockets that it is sent, hands them
//! to the next process, and forgets them when it is told to.

use rustix::cmsg_space;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a message that stores sockets begins with, and one that removes them.
pub const STORE: &str = "FDSTORE=1";
pub const REMOVE: &str = "FDSTOREREMOVE=1";
/// Sent by the test itself, to know that everything before it has been read.
const BARRIER: &str = "BARRIER";
/// No start and no end takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A shell puts the sockets where systemd would: a program started by Rust gets none beyond its standard streams.
const HANDS_ON: [&str; 3] = [
    "exec \"$@\"",
    "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=harbor-pilot; exec \"$@\"",
    "exec 3<&0 4<&1 </dev/null >/dev/null
     export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=harbor-pilot:harbor-pilot; exec \"$@\"",
];

/// The program under its supervisor. It ends with the value.
pub struct Supervisor {
    home: TempDir,
    filter: String,
    heard: Arc<Mutex<Heard>>,
    child: Option<Child>,
    readies: usize,
}

#[derive(Default)]
struct Heard {
    said: Vec<String>,
    store: Vec<OwnedFd>,
    barriers: usize,
}

impl Supervisor {
    pub fn new(config: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let hears = heard.clone();
        // It ends with the test's process.
        std::thread::spawn(move || listen(&socket, &hears));
        let supervisor = Self {
            home,
            filter: "info".to_owned(),
            heard,
            child: None,
            readies: 0,
        };
        supervisor.configure(config);
        supervisor
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn configure(&self, config: &str) {
        let state = self.path("state");
        let text = format!("{config}\n[state]\ndirectory = \"{}\"\n", state.display());
        let file = self.path("config.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Whether there is such a file.
    pub fn holds(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub fn log_filter(&mut self, filter: &str) {
        filter.clone_into(&mut self.filter);
    }

    /// As if no configuration had ever been accepted.
    pub fn forget_state(&self) {
        fs::remove_dir_all(self.path("state")).unwrap();
    }

    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.readies = self.count("READY=1");
        let handed: Vec<OwnedFd> = {
            let heard = self.heard.lock().unwrap();
            let handed = heard.store.iter().map(|it| it.try_clone().unwrap());
            handed.collect()
        };
        let log = fs::File::options();
        let log = log.clone().create(true).append(true).open(self.path("log"));
        let mut command = Command::new("sh");
        command
            .args(["-c", HANDS_ON[handed.len()], "sh"])
            .arg(env!("CARGO_BIN_EXE_harbor-pilot"))
            .args(["run", "--log", &self.filter, "--config"])
            .arg(self.path("config.toml"))
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("STATE_DIRECTORY", self.path("state"))
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        let mut handed = handed.into_iter();
        if let Some(first) = handed.next() {
            command.stdin(first);
        }
        if let Some(second) = handed.next() {
            command.stdout(second);
        }
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits for `READY=1`.
    pub fn wait_until_ready(&mut self) {
        let since = Instant::now();
        while self.count("READY=1") == self.readies {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}\n{}", self.log());
            assert!(since.elapsed() < PATIENCE, "{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM, and its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for its end; what it said before has been heard then.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end\n{}", self.log()));
        let before = self.heard.lock().unwrap().barriers;
        let socket = UnixDatagram::unbound().unwrap();
        let sent = socket.send_to(BARRIER.as_bytes(), self.path("notify"));
        sent.unwrap();
        while self.heard.lock().unwrap().barriers == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ended.unwrap()
    }

    /// What systemd does when the unit stays down.
    pub fn release(&self) {
        self.heard.lock().unwrap().store.clear();
    }

    /// Sockets in the store.
    pub fn stored(&self) -> usize {
        self.heard.lock().unwrap().store.len()
    }

    /// Everything that it has said so far.
    pub fn said(&self) -> Vec<String> {
        self.heard.lock().unwrap().said.clone()
    }

    fn count(&self, line: &str) -> usize {
        let said = self.said();
        let with = |text: &&String| text.lines().any(|it| it == line);
        said.iter().filter(with).count()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Sockets that a child of it would inherit.
    pub fn sockets_without_cloexec(&self) -> Vec<String> {
        const CLOEXEC: u32 = 0o2_000_000;
        let pid = self.child.as_ref().unwrap().id();
        let mut found = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
            let path = entry.unwrap().path();
            let number = path.file_name().unwrap().to_str().unwrap().to_owned();
            // One that has been closed since it was listed is none.
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let flags = text.lines().find_map(|it| it.strip_prefix("flags:"));
            let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
            let Ok(what) = fs::read_link(format!("/proc/{pid}/fd/{number}")) else {
                continue;
            };
            let is_socket = what.to_string_lossy().starts_with("socket:");
            if is_socket && flags & CLOEXEC == 0 {
                found.push(format!("{number}: {}", what.display()));
            }
        }
        found
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn listen(socket: &UnixDatagram, heard: &Mutex<Heard>) {
    loop {
        let mut text = [0; 4096];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(16))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut text)];
        let got = recvmsg(socket, &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC).unwrap();
        let text = std::str::from_utf8(&text[..got.bytes]).unwrap();
        let mut heard = heard.lock().unwrap();
        if text == BARRIER {
            heard.barriers += 1;
            continue;
        }
        heard.said.push(text.to_owned());
        let named = text.lines().any(|it| it == "FDNAME=harbor-pilot");
        for message in beside.drain() {
            let RecvAncillaryMessage::ScmRights(sockets) = message else {
                continue;
            };
            assert!(named && text.lines().any(|it| it == STORE), "{text}");
            heard.store.extend(sockets);
        }
        if text.lines().any(|it| it == REMOVE) {
            assert!(named, "{text}");
            heard.store.clear();
        }
    }
}
