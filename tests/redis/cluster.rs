//! Debian's redis-server twice, a master and its replica, and its redis-sentinel: processes of this test, on loopback.

use crate::support::free_address;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The master's name.
pub const MASTER: &str = "mymaster";

/// A running program. It ends with the value.
pub struct Program {
    pub address: SocketAddr,
    child: Child,
}

/// A master, its replica, and a sentinel that watches both.
pub struct Cluster {
    pub master: Program,
    pub replica: Program,
    pub sentinel: Program,
    pub password: Option<String>,
    home: TempDir,
}

impl Program {
    fn start(home: &Path, name: &str, address: SocketAddr, config: &str) -> Self {
        let folder = home.join(name);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("redis.conf");
        let common = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nprotected-mode no\nlogfile {}\n",
            address.port(),
            folder.display(),
            folder.join("log").display()
        );
        fs::write(&file, common + config).unwrap();
        let program = match name {
            "sentinel" => "redis-sentinel",
            _ => "redis-server",
        };
        let child = Command::new(program)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `make deps` installs it"));
        let started = Self { address, child };
        let since = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        started
    }

    /// As power that is lost.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `SIGSTOP`, `SIGCONT`
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cluster {
    pub fn start() -> Self {
        Self::with_password(None)
    }

    pub fn with_password(password: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = [free_address(), free_address(), free_address()];
        let mut secrets = String::new();
        let mut auth = String::new();
        if let Some(password) = password {
            secrets = format!("requirepass {password}\nmasterauth {password}\n");
            // Bitnami's chart has the same at its sentinels.
            auth = format!("sentinel auth-pass {MASTER} {password}\nrequirepass {password}\n");
        }
        let nothing_kept = "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n";
        let master = Program::start(
            home.path(),
            "one",
            at[0],
            &format!("{nothing_kept}{secrets}"),
        );
        let replica = format!(
            "{nothing_kept}{secrets}replicaof 127.0.0.1 {}\n",
            at[0].port()
        );
        let replica = Program::start(home.path(), "two", at[1], &replica);
        let watch = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 2000\n{auth}",
            at[0].port()
        );
        let sentinel = Program::start(home.path(), "sentinel", at[2], &watch);
        let cluster = Self {
            master,
            replica,
            sentinel,
            password: password.map(ToOwned::to_owned),
            home,
        };
        // A failover needs a replica that the sentinel has heard of, and that has the master's data.
        cluster.until(|it| {
            let heard = it.cli(it.sentinel.address, &["sentinel", "replicas", MASTER]);
            let linked = it.cli(it.replica.address, &["info", "replication"]);
            heard.contains(&it.replica.address.port().to_string())
                && linked.contains("master_link_status:up")
        });
        cluster
    }

    /// The tables of an agent's configuration.
    pub fn config(&self) -> String {
        let password = match &self.password {
            Some(password) => {
                let file = self.home.path().join("password");
                crate::node::write(&file, password);
                format!("password_file = \"{}\"\n", file.display())
            }
            None => String::new(),
        };
        format!(
            "[router.redis]\nsentinels = [\"{}\"]\nmaster = \"{MASTER}\"\n{password}",
            self.sentinel.address
        )
    }

    /// Where the password stands for the agents.
    pub fn password_file(&self) -> std::path::PathBuf {
        self.home.path().join("password")
    }

    /// What redis-cli prints.
    pub fn cli(&self, at: SocketAddr, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &at.port().to_string(), "--raw"]);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same of the master that was first.
    pub fn at_master(&self, words: &[&str]) -> String {
        self.cli(self.master.address, words)
    }

    #[track_caller]
    pub fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            assert!(since.elapsed() < PATIENCE, "{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn logs(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.home.path().join(name).join("log"));
        ["one", "two", "sentinel"]
            .map(|name| log(name).unwrap_or_default())
            .join("\n")
    }
}
