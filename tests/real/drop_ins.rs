//! The drop-ins that `plan --for` prints, where they belong (`/etc/containers/registries.conf.d`), read by skopeo: the
//! library is the same in podman and CRI-O.

use crate::lab::{AgentOptions, Image, Lab, Place, Request};
use crate::{assert_not_asked, served};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Puts its first argument over the directory of drop-ins, in the mount namespace that the program has anyway.
const WITH_DROP_INS: &str =
    "mount --bind \"$1\" /etc/containers/registries.conf.d || exit 125; shift; exec \"$@\"";

struct Client {
    lab: Lab,
    image: Image,
    drop_ins: PathBuf,
}

impl Client {
    fn start(direct: bool) -> Self {
        let mut lab = Lab::start();
        let image = lab.publish("library/app");
        #[allow(clippy::needless_update, reason = "other tests want other options")]
        let options = AgentOptions {
            direct,
            ..AgentOptions::default()
        };
        lab.start_agent(&options);
        Self {
            drop_ins: lab.scratch("registries.conf.d"),
            lab,
            image,
        }
    }

    /// Writes the drop-in of a client under its own name.
    fn install(&self, client: &str) {
        let printed = self.lab.agent().command(&["plan", "--for", client]);
        let (text, remarks) = (printed.stdout, printed.stderr);
        let remarks = String::from_utf8_lossy(&remarks).into_owned();
        assert_eq!(printed.status.code(), Some(0), "{remarks}");
        assert!(
            remarks.contains("it belongs to /etc/containers/registries.conf.d/"),
            "{remarks}"
        );
        fs::write(self.drop_ins.join("50-harbor-pilot.conf"), text).unwrap();
    }

    /// Copies the image with nothing asked before.
    fn copy(&self, target: &Path) -> Output {
        self.lab.forget_requests();
        let mut command = self.lab.command("sh");
        command
            .args(["-c", WITH_DROP_INS, "sh"])
            .arg(&self.drop_ins);
        command
            .args([
                "timeout",
                "60",
                "skopeo",
                "--insecure-policy",
                "copy",
                "--all",
                "--preserve-digests",
            ])
            .arg(format!("docker://{}", self.image.by_tag("docker.io")))
            .arg(format!("oci:{}:1", target.display()))
            // For the registry itself, which skopeo asks when the agent is down.
            .env("SSL_CERT_FILE", self.lab.ca());
        command.output().unwrap()
    }

    fn copy_well(&self, name: &str) {
        let target = self.lab.scratch("pulled").join(name);
        let copied = self.copy(&target);
        let said = String::from_utf8_lossy(&copied.stderr);
        assert!(
            copied.status.success(),
            "{name}: {said}\n{}",
            self.lab.agent().log()
        );
        let index = fs::read_to_string(target.join("index.json")).unwrap();
        assert!(index.contains(self.image.index_digest()), "{name}: {index}");
        for layer in self.image.layers() {
            let blob = target.join("blobs").join(layer.replace(':', "/"));
            assert!(blob.exists(), "{name}: {layer}");
        }
    }

    /// Every request that reached REPLICA came by the agent, and each layer once.
    fn assert_by_the_agent(&self, name: &str) {
        let mut requests = self.lab.take_requests(Place::ReplicaA);
        requests.extend(self.lab.take_requests(Place::ReplicaB));
        let of_skopeo = |request: &Request| request.user_agent.contains("containers/");
        assert!(
            !requests.is_empty() && !requests.iter().any(of_skopeo),
            "{name}: {requests:#?}"
        );
        for layer in self.image.layers() {
            let served = served(&requests);
            let count = served
                .iter()
                .filter(|request| request.uri.ends_with(layer.as_str()))
                .count();
            assert_eq!(count, 1, "{name}: {layer} in {requests:#?}");
        }
    }
}

#[test]
fn skopeo_pulls_through_the_agent_by_the_drop_ins_of_crio_and_podman() {
    let mut client = Client::start(true);
    for name in ["crio", "podman"] {
        client.install(name);
        client.copy_well(name);
        client.assert_by_the_agent(name);
        assert_not_asked(&client.lab, &[Place::Core, Place::Upstream, Place::Cdn]);
    }
    // Without the agent the client goes on to the registry by itself.
    client.lab.signal_agent("KILL");
    client.copy_well("without the agent");
    assert!(!client.lab.take_requests(Place::Upstream).is_empty());
    client.lab.stop_agent();
}

#[test]
fn a_closed_registry_has_no_way_round_the_agent() {
    let client = Client::start(false);
    client.install("podman");
    client.copy_well("closed");
    client.assert_by_the_agent("closed");
    client.lab.signal_agent("KILL");
    let target = client.lab.scratch("pulled").join("refused");
    let copied = client.copy(&target);
    let said = String::from_utf8_lossy(&copied.stderr);
    assert!(
        !copied.status.success() && said.contains("connection refused"),
        "{said}"
    );
    assert_not_asked(&client.lab, &Place::ALL);
}
