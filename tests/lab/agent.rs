//! The agent itself: the built program with a configuration of the laboratory's.

use super::node::Node;
use super::process::{Daemon, output};
use super::wait_until;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// Where containerd finds it.
pub(crate) const URL: &str = "http://127.0.0.1:290";
const ADMIN: &str = "http://127.0.0.1:291";
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_harbor-pilot");

/// What a test wants to be different.
#[derive(Clone, Debug)]
pub(crate) struct AgentOptions {
    /// The binary.
    pub(crate) program: PathBuf,
    /// Whether docker.io may be asked directly.
    pub(crate) direct: bool,
    /// Whether CORE may stand in containerd's files (`in_file`).
    pub(crate) in_file: bool,
    /// CORE is the only tier, and is asked which projects it has.
    pub(crate) discovers: bool,
    /// More keys of `[server]`, and the keys of `[node]`.
    pub(crate) server: String,
    pub(crate) node: String,
    /// More tables of its configuration.
    pub(crate) more: String,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            program: PROGRAM.into(),
            direct: true,
            in_file: false,
            discovers: false,
            server: String::new(),
            node: String::new(),
            more: String::new(),
        }
    }
}

/// A running agent.
pub(crate) struct Agent {
    node: Node,
    program: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
    daemon: Daemon,
}

impl Agent {
    /// Starts it with an empty state directory and waits until it says that it is ready.
    pub(crate) fn start(node: &Node, directory: &Path, ca: &Path, options: &AgentOptions) -> Self {
        let directory = directory.join("agent");
        let state = directory.join("state");
        if state.exists() {
            fs::remove_dir_all(&state).expect("the laboratory's directory is writable");
        }
        fs::create_dir_all(&state).expect("the laboratory's directory is writable");
        let configuration = directory.join("config.toml");
        fs::write(&configuration, text(ca, &state, options))
            .expect("the laboratory's directory is writable");
        let log = directory.join("agent.log");
        fs::write(&log, "").expect("the laboratory's directory is writable");
        Self::launch(node.clone(), options.program.clone(), configuration, log)
    }

    /// Waits for its end, then starts it with the same files; the log goes on.
    pub(crate) fn start_again(mut self) -> Self {
        self.daemon.stop();
        Self::launch(self.node, self.program, self.configuration, self.log)
    }

    fn launch(node: Node, program: PathBuf, configuration: PathBuf, log: PathBuf) -> Self {
        let mut command = node.command(&program);
        command.arg("run").arg("--config").arg(&configuration);
        // Not the machine's journal: the laboratory reads the lines itself.
        command
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env("NO_COLOR", "1");
        let mut daemon = Daemon::start("harbor-pilot", &mut command, &log);
        wait_until("the agent is ready", Duration::from_secs(20), || {
            daemon.assert_running();
            let mut curl = node.network().command("curl");
            let answer = output(curl.args(["-sS", "--fail", &format!("{ADMIN}/readyz")]));
            if answer.status.success() {
                Ok(())
            } else {
                Err(format!(
                    "{}\n{}",
                    String::from_utf8_lossy(&answer.stderr),
                    daemon.log_text()
                ))
            }
        });
        Self {
            node,
            program,
            configuration,
            log,
            daemon,
        }
    }

    /// Waits for its end; insists after five seconds.
    pub(crate) fn wait_for_end(&mut self) {
        self.daemon.stop();
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.daemon.pid()
    }

    /// What it counts, in Prometheus' text.
    pub(crate) fn metrics(&self) -> String {
        let url = format!("{ADMIN}/metrics");
        let answer = output(self.node.command("curl").args(["-sS", &url]));
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        self.daemon.signal(signal);
    }

    /// Runs a command of the program with the agent's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        output(&mut self.prepare(arguments))
    }

    /// Runs it with the terminal of whoever watches, if there is one.
    pub(crate) fn command_in_view(&self, arguments: &[&str]) -> ExitStatus {
        let mut command = self.prepare(arguments);
        let status = command.stdin(Stdio::null()).status();
        status.expect("the program starts")
    }

    fn prepare(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command(&self.program);
        command
            .args(arguments)
            .arg("--config")
            .arg(&self.configuration)
            // As the unit says it.
            .env(
                "STATE_DIRECTORY",
                self.configuration.with_file_name("state"),
            )
            .env("NO_COLOR", "1");
        command
    }

    /// Its configuration file.
    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(&self.configuration).expect("the configuration can be read")
    }

    /// Asks it as containerd would: headers and body of the answer.
    pub(crate) fn get(&self, path: &str) -> String {
        let url = format!("{URL}{path}");
        let answer = output(
            self.node
                .network()
                .command("curl")
                .args(["-sS", "-i", &url]),
        );
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        self.daemon.log_text()
    }
}

fn text(ca: &Path, state: &Path, options: &AgentOptions) -> String {
    let tier = |name: &str, host: &str| {
        format!(
            "[[tier]]\nname = \"{name}\"\nkind = \"harbor\"\nurl = \"https://{host}\"\n\
             cascade = {cascade}\nin_file = {in_file}\nca_file = \"{ca}\"\n{projects}\n",
            projects = match options.discovers {
                true => "[tier.discovery]\nenabled = true\n",
                false => "project = \"proxy-{registry_dashed}\"\n",
            },
            cascade = name == "replica",
            in_file = name == "core" && options.in_file,
            ca = ca.display(),
        )
    };
    let registry = |name: &str, upstream: &str, direct: bool| {
        format!(
            "[[registry]]\nname = \"{name}\"\nupstream = \"https://{upstream}\"\ndirect = {direct}\nca_file = \"{}\"\n\n",
            ca.display()
        )
    };
    [
        if options.node.is_empty() {
            format!("[server]\n{}\n", options.server)
        } else {
            format!("[server]\n{}\n[node]\n{}\n", options.server, options.node)
        },
        match options.discovers {
            true => String::new(),
            false => tier("replica", "replicas.lab.example"),
        },
        tier("core", "core.lab.example"),
        registry("docker.io", "registry.lab.example", options.direct),
        registry("private.lab.example", "private.lab.example", true),
        format!(
            "[dns]\nnameservers = [\"127.0.0.1:53\"]\nmin_ttl = \"1s\"\n\n[state]\ndirectory = \"{}\"\n",
            state.display()
        ),
        options.more.clone(),
    ]
    .concat()
}
