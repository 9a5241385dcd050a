//! Pulls by crictl, through the service of containerd that the kubelet speaks to: by tag, by digest, with credentials, of
//! thirty layers, of an image that is nowhere, and of one that is denied.

use crate::lab::{AgentOptions, Fault, Image, Lab, MoreLayers, Place, Pull, run};
use crate::{Tests, note};
use serde_json::Value;
use std::time::Duration;

pub(crate) const TESTS: Tests<Cri> = &[
    ("by_tag", by_tag),
    ("by_digest", by_digest),
    ("with_credentials", with_credentials),
    ("thirty_layers", thirty_layers),
    ("absent", absent),
    ("denied", denied),
    ("denied_and_failing", denied_and_failing),
];

const PRIVATE: &str = "private.lab.example";
/// A pull that cannot succeed must not keep the kubelet.
const REFUSAL: Duration = Duration::from_secs(20);

/// A containerd that serves the kubelet, and an agent that knows nothing yet.
pub(crate) struct Cri {
    pub(crate) lab: Lab,
    pub(crate) image: Image,
    /// Only the private registry has it.
    pub(crate) secret: Image,
}

impl Cri {
    pub(crate) fn start() -> Self {
        let mut lab = Lab::start();
        lab.restart_containerd_with_cri();
        Self {
            image: lab.publish("library/app"),
            secret: lab.publish_private("team/secret"),
            lab,
        }
    }

    /// Nothing pulled, nothing asked.
    pub(crate) fn begin(&mut self) {
        let removed = self.lab.containerd().crictl(&["rmi", "--all"]);
        assert!(removed.succeeded, "{}", removed.output);
        self.lab.start_agent(&AgentOptions::default());
        self.lab.forget_requests();
    }

    fn pull(&self, arguments: &[&str]) -> Pull {
        let containerd = self.lab.containerd();
        containerd.crictl(&[&["pull"], arguments].concat())
    }

    /// Pulls well: what containerd has afterwards is this image for this machine, by the digest that was pulled.
    fn pull_well(&self, image: &Image, registry: &str, arguments: &[&str]) {
        let pull = self.pull(arguments);
        let log = self.lab.agent().log();
        assert!(pull.succeeded, "{}\n{log}", pull.output);
        let containerd = self.lab.containerd();
        let list = run(&mut containerd.crictl_command(&["images", "--output", "json"])).stdout;
        let list: Value = serde_json::from_slice(&list).expect("crictl writes JSON");
        let images = list["images"].as_array().expect("a list of images");
        let found = images
            .iter()
            .find(|entry| entry["id"] == image.config_digest());
        let digests = found.map(|entry| entry["repoDigests"].to_string());
        let name = image.by_digest(registry);
        assert!(
            digests.is_some_and(|digests| digests.contains(&name)),
            "{name} in {list}"
        );
    }

    /// Pulls in vain, soon, and gives what was said.
    fn refused(&self, arguments: &[&str]) -> String {
        let pull = self.pull(arguments);
        assert!(!pull.succeeded, "{}", pull.output);
        assert!(pull.took < REFUSAL, "{:?}: {}", pull.took, pull.output);
        pull.output
    }

    /// The agent asked REPLICA; nobody else was asked, and the client, by its name, asked nobody itself.
    pub(crate) fn assert_by_the_agent(&self, client: &str) {
        let mut requests = self.lab.take_requests(Place::ReplicaA);
        requests.extend(self.lab.take_requests(Place::ReplicaB));
        let round = requests
            .iter()
            .any(|request| request.user_agent.contains(client));
        assert!(!requests.is_empty() && !round, "{requests:#?}");
        for place in [Place::Core, Place::Upstream, Place::Cdn] {
            let requests = self.lab.take_requests(place);
            assert!(requests.is_empty(), "{requests:#?}");
        }
    }
}

fn by_tag(it: &mut Cri) {
    it.begin();
    it.pull_well(&it.image, "docker.io", &[&it.image.by_tag("docker.io")]);
    it.assert_by_the_agent("containerd/");
}

fn by_digest(it: &mut Cri) {
    it.begin();
    it.pull_well(&it.image, "docker.io", &[&it.image.by_digest("docker.io")]);
    it.assert_by_the_agent("containerd/");
}

/// The agent has no credentials: containerd uses the pod's with the registry itself.
fn with_credentials(it: &mut Cri) {
    it.begin();
    let reference = it.secret.by_tag(PRIVATE);
    it.pull_well(
        &it.secret,
        PRIVATE,
        &["--creds", "lab:lab-secret", &reference],
    );
    assert!(!it.lab.agent().log().contains("lab-secret"));
}

fn thirty_layers(it: &mut Cri) {
    it.begin();
    let more = MoreLayers {
        count: 27,
        bytes: 0,
    };
    let image = it.lab.publish_with_layers("library/many", more);
    assert_eq!(image.layers().len(), 30);
    it.lab.forget_requests();
    it.pull_well(&image, "docker.io", &[&image.by_tag("docker.io")]);
    it.assert_by_the_agent("containerd/");
}

fn absent(it: &mut Cri) {
    it.begin();
    let said = it.refused(&["docker.io/library/nowhere:1"]);
    assert!(said.contains("not found"), "{said}");
}

/// With the agent the text is nowhere worse than without it.
fn denied(it: &mut Cri) {
    it.begin();
    let reference = it.secret.by_tag(PRIVATE);
    let wrong = ["--creds", "lab:wrong", &reference];
    let with = (it.refused(&[&reference]), it.refused(&wrong));
    it.lab.stop_agent();
    let ca = it.lab.ca().display();
    let alone = format!("server = \"https://{PRIVATE}\"\nca = \"{ca}\"\n[host]\n");
    it.lab.containerd().write_hosts(PRIVATE, &alone);
    let without = (it.refused(&[&reference]), it.refused(&wrong));
    it.lab.hosts_through_agent();
    for (case, said) in [
        ("no secret", &with.0),
        ("no secret, without the agent", &without.0),
        ("a wrong secret", &with.1),
        ("a wrong secret, without the agent", &without.1),
    ] {
        note(format!("{case}: {}", last_error(said)));
    }
    for (with, without) in [(&with.0, &without.0), (&with.1, &without.1)] {
        let says_why = |said: &str| {
            let words = ["authorization failed", "401 Unauthorized", "403 Forbidden"];
            words.iter().any(|word| said.contains(word))
        };
        assert!(
            says_why(with) || !says_why(without),
            "{with}\nbeside\n{without}"
        );
    }
}

/// A registry that fails says so through the agent too, where the agent knows of a denial from before and where it does not,
/// whichever secret the pod has. What the agent says of its own first request it cannot say by 429.
fn denied_and_failing(it: &mut Cri) {
    let reference = it.secret.by_tag(PRIVATE);
    for status in [401, 403, 429, 503] {
        for remembered in [false, true] {
            it.begin();
            if remembered {
                it.refused(&[&reference]);
            }
            it.lab.set_fault(Place::Private, Fault::Status(status));
            let secrets = [None, Some("lab:wrong"), Some("lab:lab-secret")];
            for secret in secrets {
                let creds = secret.map(|secret| ["--creds", secret]);
                let arguments = creds.iter().flatten().copied();
                let arguments: Vec<&str> = arguments.chain([reference.as_str()]).collect();
                let said = it.refused(&arguments);
                let due: &[&str] = match status {
                    401 | 403 => &["403 Forbidden", "401 Unauthorized"],
                    429 if remembered => &["429 Too Many Requests"],
                    _ => &[
                        "503 Service Unavailable",
                        "503 Service Temporarily Unavailable",
                    ],
                };
                assert!(
                    due.iter().any(|due| said.contains(due)),
                    "{status}, remembered {remembered}, {secret:?}: {said}"
                );
                if secret == Some("lab:wrong") {
                    let when = if remembered { "remembered" } else { "at first" };
                    note(format!("{status}, {when}: {}", last_error(&said)));
                }
            }
            it.lab.set_fault(Place::Private, Fault::None);
        }
    }
}

/// The end of crictl's line, where the reason stands.
fn last_error(said: &str) -> &str {
    let line = said.lines().rfind(|line| line.contains("desc = "));
    let line = line.unwrap_or(said).trim();
    let text = line.rsplit_once("desc = ").map_or(line, |(_, text)| text);
    text.rsplit_once("failed to resolve")
        .map_or(text, |(_, text)| text)
}
