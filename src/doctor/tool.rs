//! containerd's own clients as child processes: which one, how it is called, and an end to everything after a limit.

mod child;

pub(super) use child::Ran;

use crate::node::detect::Found;
use crate::printable::words;
use child::run;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// ctr keeps what it pulls apart from the images of pods.
const NAMESPACE: &str = "harbor-pilot-doctor";
/// For asking whether containerd is there, and for cleaning up.
const SHORT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    /// The program with its first arguments: `k3s crictl`.
    program: Vec<OsString>,
    kind: Kind,
    socket: PathBuf,
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Kind {
        /// Asks containerd's CRI plugin, as the kubelet does: config_path counts.
        Crictl = "crictl",
        /// Pulls by itself; it is told the directory.
        Ctr = "ctr",
    }
}

// === impl Tool ===

impl Tool {
    /// The client to use, or why there is none. Places are fixed, below `root`: nothing is looked for in PATH. The
    /// clients' own variables name other sockets: CONTAINER_RUNTIME_ENDPOINT and CONTAINERD_ADDRESS.
    ///
    /// # Errors
    /// In words: what is missing.
    pub(super) fn find(
        root: &Path,
        runtime: Found,
        data_dir: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let named = |name: &str| {
            let value = environment.get(name)?;
            let path = value.strip_prefix("unix://").unwrap_or(value);
            (!path.is_empty()).then(|| PathBuf::from(path))
        };
        let usual = root.join(match runtime.word() {
            "k3s" | "rke2" => "run/k3s/containerd/containerd.sock",
            _ => "run/containerd/containerd.sock",
        });
        let below = |directory: &&str, program: &str| root.join(directory).join(program);
        let (directories, of_k3s) = (["usr/local/bin", "usr/bin"], ["opt/bin"]);
        for (kind, variable) in [
            (Kind::Crictl, "CONTAINER_RUNTIME_ENDPOINT"),
            (Kind::Ctr, "CONTAINERD_ADDRESS"),
        ] {
            let socket = named(variable).unwrap_or_else(|| usual.clone());
            let word = kind.word();
            let k3s = directories.iter().chain(&of_k3s);
            let k3s = k3s.map(|directory| (below(directory, "k3s"), Some(word)));
            let k3s = k3s.filter(|_| runtime.word() == "k3s");
            let own = data_dir.map(|data_dir| (data_dir.join("bin").join(word), None));
            let usual = directories.iter();
            let usual = usual.map(|directory| (below(directory, word), None));
            let mut programs = k3s.chain(own).chain(usual);
            if let Some((program, argument)) = programs.find(|(program, _)| program.is_file())
                && socket.exists()
            {
                let argument = argument.map(OsString::from);
                let program = std::iter::once(program.into_os_string()).chain(argument);
                return Ok(Self {
                    program: program.collect(),
                    kind,
                    socket,
                });
            }
        }
        if usual.exists() {
            Err("neither crictl nor ctr is installed".to_owned())
        } else {
            Err(format!(
                "there is no socket of containerd at {}",
                usual.display()
            ))
        }
    }

    #[must_use]
    pub(super) fn name(&self) -> &'static str {
        self.kind.word()
    }

    /// Whether it pulls as the kubelet does, so that containerd's own settings count.
    #[must_use]
    pub(super) fn is_cri(&self) -> bool {
        self.kind == Kind::Crictl
    }

    /// Whether containerd answers at all. Blocks for a few seconds at most.
    pub(super) fn reaches_containerd(&self) -> Ran {
        run(self.command(&["version"]), SHORT)
    }

    /// Pulls an image, by ctr with the host configurations of `certs_d`. Blocks for at most `limit`.
    pub(super) fn pull(&self, reference: &str, certs_d: &Path, limit: Duration) -> Ran {
        let command = match self.kind {
            Kind::Crictl => self.command(&["pull", reference]),
            Kind::Ctr => {
                // Without unpacking: that is no matter of the way.
                let mut command = self.command(&["content", "fetch", "--hosts-dir"]);
                command.arg(certs_d).arg(reference);
                command
            }
        };
        run(command, limit)
    }

    /// Takes the image away again. Blocks for a few seconds at most.
    pub(super) fn remove(&self, reference: &str) -> Ran {
        match self.kind {
            Kind::Crictl => run(self.command(&["rmi", reference]), SHORT),
            Kind::Ctr => {
                let removed = run(self.command(&["images", "rm", "--sync", reference]), SHORT);
                // Only an empty one goes; a full one is not ours alone.
                run(self.command(&["namespaces", "rm", NAMESPACE]), SHORT);
                removed
            }
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.program.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        match self.kind {
            Kind::Crictl => {
                let endpoint = format!("unix://{}", self.socket.display());
                command.args([
                    "--runtime-endpoint",
                    &endpoint,
                    "--image-endpoint",
                    &endpoint,
                    "--timeout",
                    "15s",
                ]);
            }
            Kind::Ctr => {
                command
                    .arg("--address")
                    .arg(&self.socket)
                    .args(["--namespace", NAMESPACE]);
            }
        }
        command.args(arguments);
        command
    }
}

#[cfg(test)]
mod tests;
