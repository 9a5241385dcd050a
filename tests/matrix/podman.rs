//! Pulls by podman with the drop-in that `plan --for podman` prints: by tag, by digest, a private image with the user's own
//! secret, an image that is nowhere, and the agent killed.

use crate::Tests;
use crate::cri::Cri;
use crate::lab::{Place, Pull};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

pub(crate) const TESTS: Tests<Cri> = &[
    ("by_tag_and_by_digest", by_tag_and_by_digest),
    ("with_credentials", with_credentials),
    ("absent", absent),
    ("the_agent_killed", the_agent_killed),
];

const PRIVATE: &str = "private.lab.example";

/// Puts the directory of drop-ins where podman reads it, in the mount namespace that the program has anyway.
const WITH_DROP_IN: &str = "mount --bind \"$1\" /etc/containers/registries.conf.d || exit 125; shift; exec timeout 60 podman \"$@\"";

/// podman with an empty store.
struct Podman<'a> {
    it: &'a Cri,
    drop_ins: PathBuf,
    store: PathBuf,
}

impl<'a> Podman<'a> {
    fn new(it: &'a Cri) -> Self {
        let drop_ins = it.lab.scratch("podman.conf.d");
        let printed = it.lab.agent().command(&["plan", "--for", "podman"]);
        assert_eq!(printed.status.code(), Some(0), "{printed:?}");
        fs::write(drop_ins.join("50-harbor-pilot.conf"), printed.stdout)
            .expect("the laboratory's directory is writable");
        let podman = Self {
            it,
            drop_ins,
            store: it.lab.scratch("podman"),
        };
        let emptied = podman.command(&["rmi", "--all", "--force"]);
        assert!(emptied.succeeded, "{}", emptied.output);
        podman
    }

    fn command(&self, arguments: &[&str]) -> Pull {
        let start = Instant::now();
        let mut command = self.it.lab.command("sh");
        command.args(["-c", WITH_DROP_IN, "sh"]).arg(&self.drop_ins);
        for (option, place) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(option).arg(self.store.join(place));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        // For the registries themselves.
        command
            .args(arguments)
            .env("SSL_CERT_FILE", self.it.lab.ca());
        let said = command.output().expect("sh runs");
        Pull {
            took: start.elapsed(),
            succeeded: said.status.success(),
            output: String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned(),
        }
    }

    /// Pulls well: the image is there under its name, and is the one for this machine.
    fn pull_well(&self, arguments: &[&str], config: &str) {
        let pull = self.command(&[&["pull", "--quiet"], arguments].concat());
        let log = self.it.lab.agent().log();
        assert!(pull.succeeded, "{}\n{log}", pull.output);
        let id = config.trim_start_matches("sha256:");
        assert!(pull.output.contains(id), "{id} in {}", pull.output);
    }
}

fn by_tag_and_by_digest(it: &mut Cri) {
    for by_digest in [false, true] {
        it.begin();
        let podman = Podman::new(it);
        it.lab.forget_requests();
        let reference = if by_digest {
            it.image.by_digest("docker.io")
        } else {
            it.image.by_tag("docker.io")
        };
        podman.pull_well(&[&reference], it.image.config_digest());
        it.assert_by_the_agent("containers/");
    }
}

fn with_credentials(it: &mut Cri) {
    it.begin();
    let podman = Podman::new(it);
    let reference = it.secret.by_tag(PRIVATE);
    let arguments = ["--creds", "lab:lab-secret", &reference];
    podman.pull_well(&arguments, it.secret.config_digest());
    assert!(!it.lab.agent().log().contains("lab-secret"));
}

fn absent(it: &mut Cri) {
    it.begin();
    let pull = Podman::new(it).command(&["pull", "docker.io/library/nowhere:1"]);
    assert!(
        !pull.succeeded && pull.output.contains("manifest unknown"),
        "{}",
        pull.output
    );
}

fn the_agent_killed(it: &mut Cri) {
    it.begin();
    let podman = Podman::new(it);
    it.lab.signal_agent("KILL");
    it.lab.forget_requests();
    let reference = it.image.by_tag("docker.io");
    podman.pull_well(&[&reference], it.image.config_digest());
    assert!(!it.lab.take_requests(Place::Upstream).is_empty());
}
