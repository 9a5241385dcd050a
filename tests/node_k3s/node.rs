//! A node in namespaces of its own: what runs there sees no other process of the machine, and has the agent's ports for
//! itself. Everything in it ends with the value.

use super::stand_in;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");
/// Far more than anything here takes; a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine with k3s' directories, perhaps with k3s and the daemon running.
pub(crate) struct Node {
    holder: Child,
    inside: u32,
    root: TempDir,
    /// Flags that this k3s is started with.
    options: Vec<&'static str>,
    k3s: Option<Child>,
    daemon: Option<Child>,
}

impl Node {
    pub(crate) fn new(registries: &str, options: &[&'static str]) -> Self {
        let holder = Command::new("unshare")
            .args([
                "--net",
                "--pid",
                "--mount",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args([
                "sh",
                "-c",
                "ip link set lo up && echo ready && exec sleep 3600",
            ])
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.expect("unshare starts");
        let mut line = String::new();
        let out = holder.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no namespaces: are you root?");
        let pid = holder.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let node = Self {
            inside: children.trim().parse().unwrap(),
            holder,
            root: tempdir().unwrap(),
            options: options.to_vec(),
            k3s: None,
            daemon: None,
        };
        fs::write(node.registries(), registries).unwrap();
        node
    }

    pub(crate) fn registries(&self) -> PathBuf {
        self.root.path().join("registries.yaml")
    }

    pub(crate) fn certs_d(&self) -> PathBuf {
        self.root.path().join("k3s/agent/etc/containerd/certs.d")
    }

    pub(crate) fn hosts(&self, registry: &str) -> PathBuf {
        self.certs_d().join(registry).join("hosts.toml")
    }

    /// As it is at this moment; empty where there is none.
    pub(crate) fn text(&self, registry: &str) -> String {
        fs::read_to_string(self.hosts(registry)).unwrap_or_default()
    }

    /// What k3s would generate from registries.yaml now, in a place of its own.
    pub(crate) fn would_generate(&self, registry: &str) -> String {
        let place = tempdir().unwrap();
        let pid_file = place.path().join("pid");
        let mut command = self.k3s_command(place.path(), &pid_file);
        let status = command.env("STANDIN_ENDS", "yes").status().unwrap();
        assert!(status.success());
        let path = place.path().join("agent/etc/containerd/certs.d");
        fs::read_to_string(path.join(registry).join("hosts.toml")).unwrap_or_default()
    }

    /// Stops k3s, if it runs, and starts it; returns when it has generated its files.
    pub(crate) fn start_k3s(&mut self) -> Instant {
        self.stop_k3s();
        let data_dir = self.root.path().join("k3s");
        let mut command = self.k3s_command(&data_dir, &self.pid_file());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let since = Instant::now();
        assert_eq!(line, "started\n");
        self.k3s = Some(child);
        since
    }

    fn stop_k3s(&mut self) {
        let Some(mut child) = self.k3s.take() else {
            return;
        };
        // systemd waits for five; when a process started is known to the second.
        std::thread::sleep(Duration::from_millis(1100));
        let pid = fs::read_to_string(self.pid_file()).unwrap();
        let status = self.enter("kill").args(["-9", pid.trim()]).status();
        assert!(status.unwrap().success());
        child.wait().unwrap();
    }

    fn pid_file(&self) -> PathBuf {
        self.root.path().join("k3s.pid")
    }

    fn k3s_command(&self, data_dir: &Path, pid_file: &Path) -> Command {
        let mut command = self.enter("sh");
        command
            .args(["-c", "echo $$ >\"$0\"; exec \"$@\""])
            .arg(pid_file)
            .arg(stand_in())
            .arg("server")
            .env("STANDIN_DATA_DIR", data_dir)
            .env("STANDIN_REGISTRIES", self.registries());
        for option in &self.options {
            command.env(format!("STANDIN_{option}"), "yes");
        }
        command
    }

    pub(crate) fn start_daemon(&mut self) {
        let root = self.root.path().display();
        let text = format!(
            "[[tier]]\nname = \"near\"\nkind = \"mirror\"\nurl = \"http://127.0.0.1:9\"\nregistries = [\"docker.io\", \"quay.io\"]\n\
             [[registry]]\nname = \"quay.io\"\ndirect = false\n\
             [node]\nmanage = true\nruntime = \"k3s\"\ndata_dir = \"{root}/k3s\"\nregistries_yaml = \"{root}/registries.yaml\"\n\
             [state]\ndirectory = \"{root}/state\"\n"
        );
        fs::write(self.config(), text).unwrap();
        let log = File::create(self.root.path().join("daemon.log")).unwrap();
        let mut command = self.enter(PROGRAM);
        command
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env("NO_COLOR", "1")
            .stdout(Stdio::null())
            .stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("config.toml")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("daemon.log")).unwrap_or_default()
    }

    /// What `status --json` says; nothing where the daemon does not answer.
    pub(crate) fn status(&self) -> Value {
        let output = self
            .enter(PROGRAM)
            .args(["status", "--json", "--config"])
            .arg(self.config())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--pid", "--mount", "--target"])
            .arg(self.inside.to_string())
            .arg("--")
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Waits for it, and says how long that took since `since`.
    pub(crate) fn until(&self, what: &str, since: Instant, is: impl Fn() -> bool) -> Duration {
        while !is() {
            assert!(
                since.elapsed() < PATIENCE,
                "not {what}; docker.io:\n{}\n{}\n{}",
                self.text("docker.io"),
                self.status()["node_files"],
                self.log()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        since.elapsed()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its child is the first process of the namespace: all others end with it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for child in [&mut self.k3s, &mut self.daemon].into_iter().flatten() {
            let _ = child.wait();
        }
    }
}
