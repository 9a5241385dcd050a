//! Where the images lie: docker-registry processes behind the servers that clients talk to.

use super::network::Network;
use super::process::{Daemon, output};
use super::wait_until;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name and password that the private registry asks for.
pub(crate) const PRIVATE_USER: (&str, &str) = ("lab", "lab-secret");

/// bcrypt of [`PRIVATE_USER`]'s password.
const PRIVATE_HASH: &str = "$2y$05$abcdefghijklmnopqrstuuPtNTphIlilWp9q1wz4rhnWoBpMvGZkq";

/// Accepts connections and never answers.
const SILENT_PORT: u16 = 5009;

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Replica,
    Core,
    Upstream,
    Private,
}

/// All stores, each on its own port of the namespace's 127.0.0.1.
pub(crate) struct Storages {
    daemons: Vec<Daemon>,
    silent: OnceCell<Daemon>,
    directory: PathBuf,
}

impl Storages {
    /// Starts all and waits until they answer.
    pub(crate) fn start(network: &Network, directory: &Path) -> Self {
        let directory = directory.join("storage");
        fs::create_dir(&directory).expect("the laboratory's directory is writable");
        let mut daemons: Vec<Daemon> = [
            Storage::Replica,
            Storage::Core,
            Storage::Upstream,
            Storage::Private,
        ]
        .into_iter()
        .map(|storage| {
            let auth = match storage {
                Storage::Private => {
                    let passwords = directory.join("passwords");
                    fs::write(&passwords, format!("{}:{PRIVATE_HASH}\n", PRIVATE_USER.0))
                        .expect("the laboratory's directory is writable");
                    let passwords = passwords.display();
                    format!("auth: {{htpasswd: {{realm: lab, path: \"{passwords}\"}}}}\n")
                }
                _ => String::new(),
            };
            launch(network, &directory, port(storage), &auth)
        })
        .collect();
        for (daemon, port) in daemons.iter_mut().zip(5001..) {
            wait_for(network, daemon, port);
        }
        Self {
            daemons,
            silent: OnceCell::new(),
            directory,
        }
    }

    /// No store at all.
    pub(crate) fn none(directory: &Path) -> Self {
        Self {
            daemons: Vec::new(),
            silent: OnceCell::new(),
            directory: directory.join("storage"),
        }
    }

    /// The port of a store.
    pub(crate) fn port(&self, storage: Storage) -> u16 {
        assert!(!self.daemons.is_empty(), "the stores have been started");
        port(storage)
    }

    /// The port of a store that is stopped (SIGSTOP): the kernel accepts for it, nobody answers.
    pub(crate) fn silent_port(&self, network: &Network) -> u16 {
        self.silent.get_or_init(|| {
            let mut daemon = launch(network, &self.directory, SILENT_PORT, "");
            wait_for(network, &mut daemon, SILENT_PORT);
            daemon.signal("STOP");
            daemon
        });
        SILENT_PORT
    }
}

fn port(storage: Storage) -> u16 {
    match storage {
        Storage::Replica => 5001,
        Storage::Core => 5002,
        Storage::Upstream => 5003,
        Storage::Private => 5004,
    }
}

fn launch(network: &Network, directory: &Path, port: u16, auth: &str) -> Daemon {
    let root = directory.join(port.to_string());
    let configuration = directory.join(format!("{port}.yml"));
    let text = format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{auth}",
        root.display()
    );
    fs::write(&configuration, text).expect("the laboratory's directory is writable");
    let mut command = network.command("docker-registry");
    command.arg("serve").arg(&configuration);
    Daemon::start(
        &format!("docker-registry on port {port}"),
        &mut command,
        &directory.join(format!("{port}.log")),
    )
}

fn wait_for(network: &Network, daemon: &mut Daemon, port: u16) {
    wait_until("docker-registry answers", Duration::from_secs(20), || {
        daemon.assert_running();
        let url = format!("http://127.0.0.1:{port}/v2/");
        let answer = output(
            network
                .command("curl")
                .args(["-sS", "-o", "/dev/null", &url]),
        );
        if answer.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&answer.stderr).into_owned())
        }
    });
}
