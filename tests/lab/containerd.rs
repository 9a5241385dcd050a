//! The real containerd, with a root, state, socket and namespace of its own.

use super::node::Node;
use super::process::{Daemon, output, run};
use super::{programs, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No pull of the tests may hang longer than this; containerd itself knows no such limit.
const PULL_LIMIT: &str = "170";

/// Where its configuration is on every node.
const CONFIGURATION: &str = "/etc/containerd/config.toml";

/// The plugin that serves the kubelet; before 2.0 also the one that pulls for it.
const CRI: &str = "io.containerd.grpc.v1.cri";

/// The plugin that pulls for the kubelet since 2.0.
const IMAGES: &str = "io.containerd.cri.v1.images";

/// One more option of every `ctr images pull`: `--local` pulls in ctr as k3s' containerd pulls in itself, and not
/// through the transfer service.
const PULL_OPTION: &str = "HARBOR_PILOT_LAB_PULL_OPTION";

/// A running containerd.
pub(crate) struct Containerd {
    node: Node,
    /// Also the name of the control group that runc makes. The kubelet's service has one of its own, `k8s.io`.
    namespace: String,
    socket: PathBuf,
    hosts: PathBuf,
    snapshotter: &'static str,
    daemon: Daemon,
}

/// How a pull went.
pub(crate) struct Pull {
    /// From the command's start to its end, unpacking included.
    pub(crate) took: Duration,
    pub(crate) succeeded: bool,
    /// What ctr said.
    pub(crate) output: String,
}

impl Containerd {
    /// Starts it, with `more` at the end of its configuration, and waits until it answers.
    pub(crate) fn start(node: &Node, directory: &Path, etc: &Path, more: &str) -> Self {
        let without_cri = format!("disabled_plugins = [\"{CRI}\"]\n");
        let text = configuration(node.containerd_generation(), directory, &without_cri, more);
        Self::start_with(node, directory, etc, &text)
    }

    /// Starts it with the service that the kubelet and crictl speak to.
    pub(crate) fn start_with_cri(
        node: &Node,
        directory: &Path,
        etc: &Path,
        snapshotter: &str,
    ) -> Self {
        let generation = node.containerd_generation();
        let table = match generation {
            (1, _) => format!("[plugins.\"{CRI}\".containerd]\n"),
            _ => format!("[plugins.\"{IMAGES}\"]\n"),
        };
        let more = format!("{table}snapshotter = \"{snapshotter}\"\n");
        let text = configuration(generation, directory, "", &more);
        Self::start_with(node, directory, etc, &text)
    }

    fn start_with(node: &Node, directory: &Path, etc: &Path, configuration: &str) -> Self {
        let name = directory
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a plain name");
        let directory = directory.join("containerd");
        fs::create_dir_all(&directory).expect("the laboratory's directory is writable");
        let socket = directory.join("containerd.sock");
        fs::write(etc.join("containerd/config.toml"), configuration)
            .expect("the laboratory's directory is writable");
        let mut command = node.command("containerd");
        command.args(["--config", CONFIGURATION]);
        let mut daemon = Daemon::start(
            "containerd",
            &mut command,
            &directory.join("containerd.log"),
        );
        let mut containerd = Self {
            node: node.clone(),
            namespace: name.to_owned(),
            socket,
            hosts: etc.join("containerd/certs.d"),
            snapshotter: "overlayfs",
            daemon: {
                wait_until("containerd answers", Duration::from_secs(20), || {
                    daemon.assert_running();
                    if directory.join("containerd.sock").exists() {
                        Ok(())
                    } else {
                        Err("it has no socket yet".to_owned())
                    }
                });
                daemon
            },
        };
        // Inside a container whose own root is an overlay, overlayfs cannot be used; containerd says so itself.
        let plugins = run(containerd.ctr().args(["plugins", "ls"])).stdout;
        let overlay_works = String::from_utf8_lossy(&plugins)
            .lines()
            .any(|line| line.contains(" overlayfs ") && line.trim_end().ends_with("ok"));
        if !overlay_works {
            containerd.snapshotter = "native";
        }
        containerd
    }

    /// Ends it; its socket goes with it.
    pub(crate) fn stop(&mut self) {
        self.daemon.stop();
        drop(fs::remove_file(&self.socket));
    }

    /// Such as `2.1.9+unknown`.
    pub(crate) fn version(&self) -> &str {
        self.node.containerd_version()
    }

    /// Such as `(2, 1)`.
    pub(crate) fn generation(&self) -> (u32, u32) {
        self.node.containerd_generation()
    }

    /// Pulls read the host configurations below this directory from now on.
    pub(crate) fn read_hosts_from(&mut self, directory: &Path) {
        self.hosts = directory.to_owned();
    }

    /// Where host configurations are read from.
    pub(crate) fn hosts(&self) -> &Path {
        &self.hosts
    }

    /// Replaces the hosts.toml of a registry. containerd reads it on every pull.
    pub(crate) fn write_hosts(&self, registry: &str, text: &str) {
        let directory = self.hosts.join(registry);
        fs::create_dir_all(&directory).expect("the laboratory's directory is writable");
        fs::write(directory.join("hosts.toml"), text)
            .expect("the laboratory's directory is writable");
    }

    /// Pulls for this machine's platform.
    pub(crate) fn pull(&self, reference: &str) -> Pull {
        self.pull_with(reference, &[])
    }

    /// Pulls with further options of `ctr images pull`.
    pub(crate) fn pull_with(&self, reference: &str, options: &[&str]) -> Pull {
        timed(&mut self.pull_command(reference, options, PULL_LIMIT))
    }

    /// Starts a pull, for a test that meddles while it runs. It is ended after `limit` (whole seconds).
    pub(crate) fn start_pull(&self, reference: &str, limit: Duration) -> JoinHandle<Pull> {
        let mut command = self.pull_command(reference, &[], &limit.as_secs().to_string());
        std::thread::spawn(move || timed(&mut command))
    }

    fn pull_command(&self, reference: &str, options: &[&str], limit: &str) -> Command {
        let mut command = self.node.command("timeout");
        command.arg(limit).arg("ctr");
        self.globals(&mut command);
        command.args([
            "images",
            "pull",
            "--snapshotter",
            self.snapshotter,
            "--hosts-dir",
        ]);
        command.arg(&self.hosts).args(options);
        command.args(std::env::var(PULL_OPTION).ok()).arg(reference);
        command
    }

    /// The digest that an image's name stands for.
    pub(crate) fn digest_of(&self, reference: &str) -> Option<String> {
        let list = run(self.ctr().args(["images", "ls"])).stdout;
        String::from_utf8_lossy(&list)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<&str>>())
            .find(|fields| fields.first() == Some(&reference))
            .and_then(|fields| fields.get(2).map(|digest| (*digest).to_owned()))
    }

    /// Whether every blob of the image is there and unpacked. (containerd has checked each digest when it was
    /// stored.)
    pub(crate) fn is_complete(&self, reference: &str) -> bool {
        let mut command = self.ctr();
        command.args(["images", "check", "--snapshotter", self.snapshotter]);
        let list = run(&mut command).stdout;
        String::from_utf8_lossy(&list)
            .lines()
            .find(|line| line.split_whitespace().next() == Some(reference))
            .is_some_and(|line| line.contains(" complete ") && line.trim_end().ends_with("true"))
    }

    /// Everything in the content store.
    pub(crate) fn content(&self) -> Vec<String> {
        let list = run(self.ctr().args(["content", "ls", "--quiet"])).stdout;
        String::from_utf8_lossy(&list)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Forgets every image, and what they were made of.
    pub(crate) fn forget_images(&self) {
        let list = run(self.ctr().args(["images", "ls", "--quiet"])).stdout;
        for name in String::from_utf8_lossy(&list).lines() {
            run(self.ctr().args(["images", "rm", "--sync", name]));
        }
        // A pull that was cut off leaves its lease, which keeps what it had for a day.
        let leases = run(self.ctr().args(["leases", "ls", "--quiet"])).stdout;
        for name in String::from_utf8_lossy(&leases).lines() {
            run(self.ctr().args(["leases", "rm", "--sync", name]));
        }
        wait_until(
            "containerd's garbage collection",
            Duration::from_secs(20),
            || {
                let content = self.content();
                if content.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{} blobs are left", content.len()))
                }
            },
        );
    }

    /// Runs the image's own command in a container and gives its output.
    pub(crate) fn run(&self, reference: &str) -> String {
        let mut command = self.ctr();
        // The laboratory's network: a namespace of the container's own would outlive a killed test.
        command.args([
            "run",
            "--rm",
            "--net-host",
            "--snapshotter",
            self.snapshotter,
        ]);
        command.args([reference, "greeter"]);
        String::from_utf8_lossy(&run(&mut command).stdout)
            .trim()
            .to_owned()
    }

    /// The snapshotter that works on this machine.
    pub(crate) fn snapshotter(&self) -> &'static str {
        self.snapshotter
    }

    /// `crictl`, with a containerd of [`Containerd::start_with_cri`]. It is the machine's own, not the root's.
    pub(crate) fn crictl(&self, arguments: &[&str]) -> Pull {
        timed(&mut self.crictl_command(arguments))
    }

    /// The same, to be run by the test.
    pub(crate) fn crictl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.network().command("timeout");
        let endpoint = format!("unix://{}", self.socket.display());
        let crictl = programs::find("crictl")
            .expect("crictl is not built: run tests/lab/crictl.sh (make test-matrix does)");
        command
            .arg(PULL_LIMIT)
            .arg(crictl)
            .args(["--timeout", "160s"]);
        for service in ["--image-endpoint", "--runtime-endpoint"] {
            command.args([service, &endpoint]);
        }
        command.args(arguments);
        command
    }

    fn ctr(&self) -> Command {
        let mut command = self.node.command("ctr");
        self.globals(&mut command);
        command
    }

    fn globals(&self, command: &mut Command) {
        command.arg("--address").arg(&self.socket);
        command.args(["--namespace", &self.namespace]);
    }
}

/// The configuration in the format of its generation. Host configurations are where they are by convention. `directory` is
/// the laboratory's.
fn configuration(generation: (u32, u32), directory: &Path, head: &str, more: &str) -> String {
    let (format, plugin) = match generation {
        (1, _) => (2, CRI),
        _ => (3, IMAGES),
    };
    let directory = directory.join("containerd");
    let directory = directory.display();
    format!(
        "version = {format}\nroot = \"{directory}/root\"\nstate = \"{directory}/state\"\n{head}\
         [grpc]\naddress = \"{directory}/containerd.sock\"\n\
         [plugins.\"{plugin}\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n{more}"
    )
}

fn timed(command: &mut Command) -> Pull {
    let start = Instant::now();
    let result = output(command);
    let text = [result.stdout, result.stderr].concat();
    Pull {
        took: start.elapsed(),
        succeeded: result.status.success(),
        output: String::from_utf8_lossy(&text).into_owned(),
    }
}
