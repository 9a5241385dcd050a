//! systemd-journald in a mount namespace with a `/run` of its own, and the agent beside it. Both end with their values;
//! the namespace goes with its last process.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CATALOG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/packaging/harbor-pilot.catalog"
);
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's messages are of no interest, and nothing may be left out.
const SETTINGS: &str =
    "[Journal]\nStorage=volatile\nReadKMsg=no\nForwardToSyslog=no\nRateLimitIntervalSec=0\n";

/// `$1`: journald's settings, `$2`: the catalog's database.
const NAMESPACE: &str = "
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
cp \"$1\" /run/systemd/journald.conf.d/test.conf
mount --bind \"$2\" /var/lib/systemd/catalog
touch /run/ready
exec sleep infinity
";

const SOCKET: &str = "/run/systemd/journal/socket";

/// A record's fields.
pub type Record = BTreeMap<String, String>;

pub struct Journald {
    home: TempDir,
    /// Keeps the namespace.
    namespace: Child,
    child: Option<Child>,
}

pub struct Agent {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

fn ran(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn signal(child: &Child, signal: &str) {
    ran(Command::new("kill").args(["-s", signal, &child.id().to_string()]));
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Journald {
    pub fn start() -> Self {
        let mut journald = Self::absent();
        journald.begin();
        journald
    }

    /// A namespace without a journald.
    pub fn absent() -> Self {
        let home = tempfile::tempdir().unwrap();
        let settings = home.path().join("journald.conf");
        fs::write(&settings, SETTINGS).unwrap();
        let root = home.path().join("root");
        let (source, database) = ("usr/lib/systemd/catalog", "var/lib/systemd/catalog");
        for directory in [source, database] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy(CATALOG, root.join(source).join("harbor-pilot.catalog")).unwrap();
        let updated = ran(Command::new("journalctl")
            .arg("--update-catalog")
            .arg(under(&root)));
        assert!(updated.stderr.is_empty(), "{updated:?}");
        let log = fs::File::create(home.path().join("journald.log")).unwrap();
        let namespace = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-ec",
                NAMESPACE,
                "sh",
            ])
            .args([settings, root.join(database)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare, of util-linux, is there");
        let journald = Self {
            home,
            namespace,
            child: None,
        };
        journald.wait_until_is("-e", "/run/ready");
        journald
    }

    /// Starts journald, also after its end.
    pub fn begin(&mut self) {
        // What an ended one leaves behind would look like this one's.
        let _ = self.within("rm").args(["-f", SOCKET]).status();
        let log = fs::File::options();
        let log = log
            .clone()
            .append(true)
            .open(self.home.path().join("journald.log"));
        let mut command = self.within("/lib/systemd/systemd-journald");
        let child = command.stdout(Stdio::null()).stderr(log.unwrap()).spawn();
        self.child = Some(child.unwrap());
        self.wait_until_is("-S", SOCKET);
    }

    /// Ends journald. Its socket stays, and nobody listens there.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, "TERM");
            child.wait().unwrap();
        }
    }

    fn wait_until_is(&self, what: &str, path: &str) {
        let since = Instant::now();
        let is = || self.within("test").args([what, path]).status().unwrap();
        while !is().success() {
            let log = fs::read_to_string(self.home.path().join("journald.log"));
            assert!(
                since.elapsed() < PATIENCE,
                "no {path} (it needs root): {log:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A program inside. Until the shell has made its `/run` that is the machine's own, which is only looked at.
    fn within(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.namespace.id().to_string(), "-m", program]);
        command.stdin(Stdio::null());
        command
    }

    /// The agent with its log in this journal, as systemd would start it.
    pub fn agent(&self, config: &str) -> Agent {
        let path = |name: &str| self.home.path().join(name);
        let (log, file) = (path("agent.log"), path("config.toml"));
        let stderr = fs::File::create(&log).unwrap();
        let metadata = stderr.metadata().unwrap();
        // systemd names the stream that it gave as stderr.
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        write(&file, config, &path("state"));
        let child = self
            .within(env!("CARGO_BIN_EXE_harbor-pilot"))
            .args(["run", "--config"])
            .arg(&file)
            .env("JOURNAL_STREAM", stream)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("HARBOR_PILOT_LOG")
            .env("STATE_DIRECTORY", path("state"))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Agent {
            child,
            config: file,
            log,
        }
    }

    /// Such as STOP and CONT.
    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap(), name);
    }

    /// What `journalctl` prints with these arguments.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = self.within("journalctl");
        command.args(["-D", "/run/log/journal", "--no-pager", "-q"]);
        let output = command.args(arguments).output().unwrap();
        // It exits 1 where nothing matches.
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn read(&self, arguments: &[&str]) -> Vec<Record> {
        // Large fields as well.
        let text = self.run(&[&["-o", "json", "--all"], arguments].concat());
        let record = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        text.lines().map(record).collect()
    }

    /// Waits for the first record with this field.
    pub fn wait_for(&self, field: &str) {
        let since = Instant::now();
        while self.read(&["-t", "harbor-pilot", field]).is_empty() {
            assert!(since.elapsed() < PATIENCE, "no {field}:\n{}", self.run(&[]));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// journalctl about the catalog that was made of ours alone.
    pub fn catalog(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("journalctl");
        command.arg("--no-pager").args(arguments);
        let output = ran(command.arg(under(&self.home.path().join("root"))));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn under(root: &Path) -> String {
    format!("--root={}", root.display())
}

fn write(file: &Path, config: &str, state: &Path) {
    let text = format!("{config}\n[state]\ndirectory = \"{}\"\n", state.display());
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Agent {
    pub fn configure(&self, config: &str) {
        write(&self.config, config, &self.config.with_file_name("state"));
    }

    /// Waits until it answers a ping.
    pub fn wait_until(&mut self, listens: SocketAddr) {
        let since = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{ended:?}: {:?}",
                fs::read_to_string(&self.log)
            );
            if TcpStream::connect(listens).is_ok() {
                break;
            }
            assert!(since.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("http://{listens}/v2/");
        ran(Command::new("curl").args(["-sS", "--fail", &url]));
    }

    /// What it has written to stderr.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// `nsenter` has become the agent.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub fn ended(&mut self) {
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
        end(&mut self.namespace);
    }
}
