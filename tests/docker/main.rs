//! The drop-in that `plan --for docker` prints, read by a real dockerd, which pulls through the agent by it. Needs root
//! and Debian's docker.io, which is too much for `make deps`: `make test-docker`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and ends"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests and the demonstration use different parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;

use lab::{AgentOptions, Lab, Place, run, wait_until};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A daemon of its own, with its own containerd. It ends with the value.
struct Docker {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Docker {
    fn start(lab: &Lab, directory: &Path, config: &Path) -> Self {
        let (socket, log) = (directory.join("sock"), directory.join("dockerd.log"));
        let output = File::create(&log).unwrap();
        let mut command = lab.command("dockerd");
        command.arg("--config-file").arg(config);
        for (option, name) in [
            ("--data-root", "root"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(option).arg(directory.join(name));
        }
        command
            .arg(format!("--host=unix://{}", socket.display()))
            // Nothing of the machine's network is touched, and any file system will do.
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
                "--storage-driver=vfs",
            ])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let child = command
            .spawn()
            .expect("there is no dockerd; run `make test-docker`");
        let docker = Self { child, socket, log };
        wait_until("dockerd answers", Duration::from_secs(60), || match docker
            .ask(lab, &["http://docker/_ping"])
        {
            text if text == "OK" => Ok(()),
            text => Err(format!(
                "{text}\n{}",
                fs::read_to_string(&docker.log).unwrap()
            )),
        });
        docker
    }

    fn ask(&self, lab: &Lab, arguments: &[&str]) -> String {
        let mut curl = lab.command("curl");
        curl.args(["-s", "--max-time", "60", "--unix-socket"]);
        let output = curl.arg(&self.socket).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        run(std::process::Command::new("kill").arg(self.child.id().to_string()));
        drop(self.child.wait());
    }
}

#[test]
fn dockerd_pulls_through_the_agent_by_its_drop_in() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.start_agent(&AgentOptions::default());
    let directory = lab.scratch("docker");
    let config = directory.join("daemon.json");
    fs::write(
        &config,
        lab.agent().command(&["plan", "--for", "docker"]).stdout,
    )
    .unwrap();
    let docker = Docker::start(&lab, &directory, &config);
    let info = docker.ask(&lab, &["http://docker/info"]);
    assert!(
        info.contains("\"Mirrors\":[\"http://127.0.0.1:290/\"]"),
        "{info}"
    );
    lab.forget_requests();
    let pull = "http://docker/images/create?fromImage=library/app&tag=1";
    let pulled = docker.ask(&lab, &["-X", "POST", pull]);
    assert!(
        pulled.contains("Downloaded newer image"),
        "{pulled}\n{}",
        lab.agent().log()
    );
    assert!(pulled.contains(image.index_digest()), "{pulled}");

    let mut requests = lab.take_requests(Place::ReplicaA);
    requests.extend(lab.take_requests(Place::ReplicaB));
    for layer in image.layers() {
        let of_layer = requests
            .iter()
            .filter(|request| request.uri.ends_with(layer.as_str()));
        assert_eq!(of_layer.count(), 1, "{layer} in {requests:#?}");
    }
    assert!(
        !requests
            .iter()
            .any(|request| request.user_agent.contains("docker/"))
    );
    for place in [Place::Core, Place::Upstream, Place::Cdn] {
        assert!(lab.take_requests(place).is_empty(), "{place:?}");
    }
}
