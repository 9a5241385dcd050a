//! A node whose containerd reads files that the agent wrote itself, in a laboratory of real servers.

use crate::lab::{AgentOptions, Image, Lab, Place, Pull, Request, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which runtime's places the files are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `/etc/containerd/certs.d`, as containerd's own configuration says.
    Containerd,
    /// As k3s lays them out: a data directory with the certs.d and the containerd of its own, and a registries.yaml.
    K3s,
}

/// What the file must follow within; the goal is a tenth of a second after the tier's state.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the agent may take to find out that a tier was dead before it started: its second probe, after 10 s and 7.5 s.
const TWO_PROBES: Duration = Duration::from_millis(17_500);

pub(crate) struct Node {
    pub(crate) lab: Lab,
    pub(crate) image: Image,
    layout: Layout,
    /// k3s' data directory and the directory of its registries.yaml.
    k3s: PathBuf,
}

impl Layout {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::K3s => "k3s",
        }
    }
}

impl Node {
    pub(crate) fn start(layout: Layout) -> Self {
        let mut lab = Lab::start();
        let image = lab.publish("library/app");
        let k3s = lab.scratch("k3s");
        if layout == Layout::K3s {
            lab.containerd_mut().read_hosts_from(&certs_d(&k3s));
        }
        Self {
            lab,
            image,
            layout,
            k3s,
        }
    }

    /// Healthy servers, an empty containerd, the administrator's file, and a fresh agent that keeps the files.
    pub(crate) fn begin(&mut self, options: &AgentOptions) {
        self.begin_with(options, &[]);
    }

    /// As [`Node::begin`], only these places refuse connections from the start.
    pub(crate) fn begin_with(&mut self, options: &AgentOptions, dead: &[Place]) {
        self.lab.stop_agent();
        for place in Place::ALL {
            if dead.contains(&place) {
                self.lab.kill(place);
            } else {
                self.lab.revive(place);
            }
        }
        self.lab.containerd().forget_images();
        let hosts = self.lab.containerd().hosts().to_owned();
        if hosts.exists() {
            fs::remove_dir_all(&hosts).expect("the laboratory's directory is writable");
        }
        match self.layout {
            Layout::Containerd => {
                let file = hosts.join("docker.io");
                fs::create_dir_all(&file).expect("the laboratory's directory is writable");
                fs::write(file.join("hosts.toml"), self.own_file())
                    .expect("the laboratory's directory is writable");
                // The tier by its own name, as an administrator trusts it.
                let file = hosts.join("core.lab.example");
                fs::create_dir_all(&file).expect("the laboratory's directory is writable");
                let ca = self.lab.ca().display();
                let text =
                    format!("server = \"https://core.lab.example\"\nca = [\"{ca}\"]\n[host]\n");
                fs::write(file.join("hosts.toml"), text)
                    .expect("the laboratory's directory is writable");
            }
            Layout::K3s => self.lay_out_k3s(),
        }
        let options = AgentOptions {
            node: format!("{}{}", self.node_table(), options.node),
            ..options.clone()
        };
        self.lab.start_agent(&options);
        self.lab.forget_requests();
    }

    fn node_table(&self) -> String {
        let manage = "manage = true\n";
        match self.layout {
            Layout::Containerd => manage.to_owned(),
            Layout::K3s => format!(
                "{manage}runtime = \"k3s\"\ndata_dir = \"{0}/data-dir\"\nregistries_yaml = \"{0}/registries.yaml\"\n",
                self.k3s.display()
            ),
        }
    }

    /// What k3s leaves after a start with a registries.yaml that lists docker.io (containerd-k3s-facts 7.2, 7.3).
    fn lay_out_k3s(&self) {
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().expect("it has one"))
                .expect("the laboratory's directory is writable");
            fs::write(path, text).expect("the laboratory's directory is writable");
        };
        let certs_d = certs_d(&self.k3s);
        let ca = self.lab.ca().display().to_string();
        write(
            &self.k3s.join("registries.yaml"),
            &format!(
                "mirrors:\n  docker.io:\n    endpoint:\n      - https://registry.lab.example\n\
                 configs:\n  registry.lab.example:\n    tls:\n      ca_file: {ca}\n  core.lab.example:\n    tls:\n      ca_file: {ca}\n"
            ),
        );
        // A host under configs has a file of its own (containerd-k3s-facts 13.3).
        for host in ["registry.lab.example", "core.lab.example"] {
            let text = format!(
                "# File generated by k3s. DO NOT EDIT.\n\nserver = \"https://{host}/v2\"\n\
                 capabilities = [\"pull\", \"resolve\", \"push\"]\nca = [\"{ca}\"]\n\n[host]\n"
            );
            write(&certs_d.join(host).join("hosts.toml"), &text);
        }
        write(&certs_d.join("docker.io/hosts.toml"), &self.own_file());
        let plugin = match self.lab.containerd().generation() {
            (1, _) => "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n",
            _ => "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\n",
        };
        let config = certs_d.with_file_name("config.toml");
        write(
            &config,
            &format!("{plugin}config_path = \"{}\"\n", certs_d.display()),
        );
        let bin = self.k3s.join("data-dir/data/current/bin");
        fs::create_dir_all(&bin).expect("the laboratory's directory is writable");
        let program = bin.join("containerd");
        if program.symlink_metadata().is_err() {
            std::os::unix::fs::symlink("/usr/bin/containerd", &program)
                .expect("the laboratory's directory is writable");
        }
    }

    /// What leads to the upstream in docker.io's file, behind everything of ours.
    pub(crate) fn open(&self) -> &'static str {
        match self.layout {
            Layout::Containerd => "server = \"https://registry.lab.example\"",
            Layout::K3s => "[host.\"https://registry.lab.example/v2\"]",
        }
    }

    /// docker.io's file as it was before the agent started: the laboratory's registry stands in Docker Hub's place.
    pub(crate) fn own_file(&self) -> String {
        let ca = self.lab.ca().display();
        if self.layout == Layout::Containerd {
            return format!("server = \"https://registry.lab.example\"\nca = [\"{ca}\"]\n[host]\n");
        }
        format!(
            "# File generated by k3s. DO NOT EDIT.\n\nserver = \"https://registry-1.docker.io/v2\"\n\
             capabilities = [\"pull\", \"resolve\", \"push\"]\n\n[host]\n\n\
             [host.\"https://registry.lab.example/v2\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = [\"{ca}\"]\n"
        )
    }

    /// docker.io's file.
    pub(crate) fn file(&self) -> String {
        self.file_of("docker.io")
    }

    /// The file of a registry; empty if there is none.
    pub(crate) fn file_of(&self, registry: &str) -> String {
        let hosts = self.lab.containerd().hosts();
        fs::read_to_string(hosts.join(registry).join("hosts.toml")).unwrap_or_default()
    }

    /// Waits until docker.io's file has these words and not those.
    pub(crate) fn wait_for_file(&self, with: &[&str], without: &[&str]) {
        self.wait_for_file_within(PATIENCE, with, without);
    }

    /// The same where tiers were dead before the agent started, which nobody but its probes tells it.
    pub(crate) fn wait_for_probes_and_file(&self, with: &[&str], without: &[&str]) {
        self.wait_for_file_within(TWO_PROBES + PATIENCE, with, without);
    }

    fn wait_for_file_within(&self, limit: Duration, with: &[&str], without: &[&str]) {
        let since = Instant::now();
        wait_until("the agent writes the file", limit, || {
            let text = self.file();
            // What was set aside is a comment.
            let lines = text
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'));
            let live = lines.collect::<Vec<_>>().join("\n");
            let right = with.iter().all(|word| live.contains(word))
                && !without.iter().any(|word| live.contains(word));
            if right {
                Ok(())
            } else if since.elapsed() < limit {
                Err(String::new())
            } else {
                Err(self.wrong_file(with, without))
            }
        });
    }

    /// Only made when the time is over: asking the agent takes a moment.
    fn wrong_file(&self, with: &[&str], without: &[&str]) -> String {
        let say = |command: &str| {
            let said = self.lab.agent().command(&[command]);
            String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
        };
        format!(
            "with {with:?}, without {without:?}:\n{}\n{}\n{}\n{}",
            self.file(),
            say("plan"),
            say("status"),
            self.lab.agent().log()
        )
    }

    /// Pulls the image by its tag.
    pub(crate) fn pull(&self) -> Pull {
        self.lab.containerd().pull(&self.image.by_tag("docker.io"))
    }

    /// Pulls the image by its tag, well, and forgets it in containerd.
    pub(crate) fn pull_well(&self) {
        self.pull_reference_well(&self.image.by_tag("docker.io"));
    }

    /// Pulls it by this name, well: whole, unpacked and the very image.
    pub(crate) fn pull_reference_well(&self, reference: &str) {
        let containerd = self.lab.containerd();
        let pull = containerd.pull(reference);
        assert!(pull.succeeded, "{}\n{}", pull.output, self.file());
        assert_eq!(
            containerd.digest_of(reference).as_deref(),
            Some(self.image.index_digest())
        );
        assert!(containerd.is_complete(reference));
        assert_eq!(containerd.run(reference), self.image.greeting());
    }

    /// What the places were asked since the last call, REPLICA's two addresses and upstream's two as one each.
    pub(crate) fn asked(&self) -> Counts {
        let take = |places: &[Place]| {
            let mut requests = Vec::new();
            for place in places {
                requests.extend(self.lab.take_requests(*place));
            }
            Count::of(&requests)
        };
        Counts {
            replica: take(&[Place::ReplicaA, Place::ReplicaB]),
            core: take(&[Place::Core]),
            upstream: take(&[Place::Upstream, Place::Cdn]),
        }
    }

    /// `kill -9`, and its end is waited for.
    pub(crate) fn kill_agent(&mut self) {
        self.lab.signal_agent("KILL");
        self.lab.wait_for_agents_end();
    }
}

/// Requests by those who made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// By containerd itself.
    pub(crate) containerd: usize,
    /// By the agent.
    pub(crate) agent: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replica: Count,
    pub(crate) core: Count,
    pub(crate) upstream: Count,
}

impl Count {
    fn of(requests: &[Request]) -> Self {
        let by = |request: &&Request| request.user_agent.starts_with("containerd/");
        let containerd = requests.iter().filter(by).count();
        Self {
            containerd,
            agent: requests.len() - containerd,
        }
    }

    pub(crate) fn total(self) -> usize {
        self.containerd + self.agent
    }
}

fn certs_d(k3s: &Path) -> PathBuf {
    k3s.join("data-dir/agent/etc/containerd/certs.d")
}
