//! A node as an operator sees it: a machine with containerd, on which the package is installed and configured.

use crate::lab::{Image, Lab, Machine, Release};
use std::path::PathBuf;
use std::process::{Command, Output};

/// The command that makes the packages of the tests.
const MAKE: &str = "`make test-packages`";

/// Where containerd's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Containerd,
    K3s,
}

/// One machine and what is done on it.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    runtime: Runtime,
}

/// The packages that the tests install: both hold the program that was built last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    First,
    /// A later version of it.
    Second,
}

impl Package {
    /// Where it is. Ends the test if it is older than the program.
    pub(crate) fn path(self) -> PathBuf {
        let name = match self {
            Self::First => "first.deb",
            Self::Second => "second.deb",
        };
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = target.parent().unwrap().join("debs/test").join(name);
        let built = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_harbor-pilot"));
        assert!(
            built(&path).is_some() && built(&path) >= built(&program),
            "{} is missing or older than the program: {MAKE} makes it",
            path.display()
        );
        path
    }

    /// Its version and revision.
    pub(crate) fn version(self) -> String {
        let mut command = Command::new("dpkg-deb");
        command.arg("--field").arg(self.path()).arg("Version");
        said(&command.output().unwrap()).trim().to_owned()
    }
}

impl Node {
    /// Boots one with containerd as its package brings it.
    pub(crate) fn boot_as_installed(lab: &Lab, release: Release) -> Self {
        Self {
            machine: lab.boot(0, release),
            runtime: Runtime::Containerd,
        }
    }

    /// Boots one. containerd reads the runtime's directory.
    pub(crate) fn boot(lab: &Lab, release: Release, runtime: Runtime) -> Self {
        let node = Self {
            machine: lab.boot(0, release),
            runtime,
        };
        node.machine.write(
            "/etc/containerd/config.toml",
            &format!(
                "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{}\"\n",
                node.certs_d()
            ),
        );
        node.machine.run("systemctl", &["restart", "containerd"]);
        node
    }

    /// The directory of hosts.toml files.
    pub(crate) fn certs_d(&self) -> &'static str {
        match self.runtime {
            Runtime::Containerd => "/etc/containerd/certs.d",
            Runtime::K3s => "/var/lib/rancher/k3s/agent/etc/containerd/certs.d",
        }
    }

    /// Installs (or upgrades to, or goes back to) a package as an operator would; what that said.
    pub(crate) fn install(&self, package: Package) -> String {
        self.machine.copy(&package.path(), "/root/harbor-pilot.deb");
        let output = self.machine.output(
            "apt-get",
            &[
                "install",
                "-y",
                "--allow-downgrades",
                "-o",
                "Dpkg::Options::=--force-confold",
                "/root/harbor-pilot.deb",
            ],
        );
        said(&output)
    }

    /// Removes or purges it; what that said.
    pub(crate) fn take_away(&self, how: &str) -> String {
        said(&self.machine.output("apt-get", &[how, "-y", "harbor-pilot"]))
    }

    /// Writes the configuration: what `init` prints, and where this laboratory differs from the world.
    pub(crate) fn configure(&self, lab: &Lab) {
        self.lead_to_the_laboratory(lab);
        self.machine.shell(
            "harbor-pilot init --replica https://replicas.lab.example --core https://core.lab.example \
             --layout glueops --ca /etc/harbor-pilot/ca.crt >/etc/harbor-pilot/config.toml",
        );
    }

    /// The certificate authority, and where the real registry is.
    pub(crate) fn lead_to_the_laboratory(&self, lab: &Lab) {
        self.machine.copy(lab.ca(), "/etc/harbor-pilot/ca.crt");
        self.drop_in(
            "90-laboratory",
            "[[registry]]\nname = \"docker.io\"\nupstream = \"https://registry.lab.example\"\n\
             ca_file = \"/etc/harbor-pilot/ca.crt\"\n",
        );
    }

    /// Writes a drop-in of the configuration.
    pub(crate) fn drop_in(&self, name: &str, text: &str) {
        self.machine
            .write(&format!("/etc/harbor-pilot/config.d/{name}.toml"), text);
    }

    /// Installs, configures, starts, and waits for the agent's line in the file that containerd reads.
    pub(crate) fn bring_up(&self, lab: &Lab) {
        self.install(Package::First);
        self.configure(lab);
        self.machine.run("harbor-pilot", &["check"]);
        self.machine
            .run("systemctl", &["enable", "--now", "harbor-pilot"]);
        self.wait_for_hosts_toml();
    }

    /// Waits until containerd is led to the agent.
    pub(crate) fn wait_for_hosts_toml(&self) {
        self.wait("hosts.toml names the agent", |node| {
            let file = format!("{}/docker.io/hosts.toml", node.certs_d());
            node.machine
                .say("cat", &[&file])
                .contains("[host.\"http://127.0.0.1:290\"]")
        });
    }

    /// Waits up to 20 s; tells what the agent logged if it is in vain.
    pub(crate) fn wait(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !check(self) {
            assert!(
                start.elapsed().as_secs() < 20,
                "not within 20 s: {what}\n{}\n{}",
                self.machine.say("harbor-pilot", &["status"]),
                self.journal(&[])
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// As [`Node::pull`], while journald does not answer.
    pub(crate) fn pull_quietly(&self, image: &Image) {
        let reference = image.by_tag("docker.io");
        let arguments = ["images", "pull", "--hosts-dir", self.certs_d(), &reference];
        said(&self.machine.output("ctr", &arguments));
    }

    /// Pulls by the containerd inside, which must succeed.
    pub(crate) fn pull(&self, image: &Image) {
        let reference = image.by_tag("docker.io");
        let output = self.machine.output(
            "ctr",
            &["images", "pull", "--hosts-dir", self.certs_d(), &reference],
        );
        assert!(
            output.status.success(),
            "the pull of {reference} failed\n{}\n{}",
            said(&output),
            self.journal(&[])
        );
        let list = self.machine.run("ctr", &["images", "check"]);
        assert!(
            list.lines()
                .any(|line| line.starts_with(&reference) && line.contains(" complete ")),
            "{reference} is not complete:\n{list}"
        );
    }

    /// Brings `crictl`, which has containerd pull as the kubelet does.
    pub(crate) fn bring_crictl(&self) {
        let crictl = crate::lab::find_program("crictl");
        let crictl = crictl.expect("crictl is not built: run tests/lab/crictl.sh");
        self.machine.copy(&crictl, "/usr/local/bin/crictl");
        self.machine.shell("chmod 755 /usr/local/bin/crictl");
    }

    /// What `status --json` says now.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.machine.output("harbor-pilot", &["status", "--json"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Forgets an image, so that it is pulled anew.
    pub(crate) fn forget(&self, image: &Image) {
        let reference = image.by_tag("docker.io");
        self.machine
            .run("ctr", &["images", "rm", "--sync", &reference]);
    }

    /// The agent's journal, as text, narrowed by further arguments of journalctl.
    pub(crate) fn journal(&self, narrowed: &[&str]) -> String {
        let mut arguments = vec!["-u", "harbor-pilot", "-q", "--no-pager", "-n", "60"];
        arguments.extend(narrowed);
        self.machine.say("journalctl", &arguments)
    }

    /// The agent's records that have these fields, as JSON objects.
    pub(crate) fn records(&self, matches: &[&str]) -> Vec<serde_json::Value> {
        let mut arguments = vec!["-t", "harbor-pilot", "-q", "-o", "json", "--all"];
        arguments.extend(matches);
        let text = self.machine.say("journalctl", &arguments);
        text.lines()
            .map(|line| serde_json::from_str(line).expect("journalctl prints JSON"))
            .collect()
    }

    /// A property of the agent's unit.
    pub(crate) fn property(&self, name: &str) -> String {
        let property = format!("--property={name}");
        self.machine
            .run("systemctl", &["show", &property, "--value", "harbor-pilot"])
    }

    /// The agent's process.
    pub(crate) fn pid(&self) -> String {
        self.property("MainPID")
    }

    /// Whether the unit is active, failed, …
    pub(crate) fn state(&self) -> String {
        self.machine
            .say("systemctl", &["is-active", "harbor-pilot"])
    }

    /// How a request to the agent's port ends: curl's exit status (0 answered, 7 refused, 28 silent for 2 s).
    pub(crate) fn connect_status(&self) -> i32 {
        self.connect_status_within("2")
    }

    /// As [`Node::connect_status`], with so many seconds of patience.
    pub(crate) fn connect_status_within(&self, seconds: &str) -> i32 {
        let url = "http://127.0.0.1:290/v2/";
        let arguments = ["-s", "-o", "/dev/null", "--max-time", seconds, url];
        let output = self.machine.output("curl", &arguments);
        output.status.code().expect("curl ends by itself")
    }

    /// Every file below these directories: path, mode, owner and bytes.
    pub(crate) fn files(&self, directories: &str) -> String {
        self.machine.shell(&format!(
            "for directory in {directories}; do [ ! -e $directory ] || find $directory -type f \
             -printf '%p %m %U:%G ' -exec sha256sum {{}} ';' | sort; done"
        ))
    }
}

/// Everything that a command printed; it must have succeeded.
pub(crate) fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{}\n{text}", output.status);
    text
}
