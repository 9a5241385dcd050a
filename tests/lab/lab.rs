//! The laboratory: a whole pull path made of real parts on one machine, inside a network namespace of its own.
//!
//! Two REPLICA addresses, one CORE, an upstream with its CDN, a private registry (docker-registry behind nginx
//! with TLS 1.3), dnsmasq, containerd, and the agent. Needs root and the packages of `make deps`; whatever is
//! missing ends the run with a sentence on what to do. Everything goes away with [`Lab`], also after a panic or
//! an interrupt; what a killed run left is swept by the next one.

mod agent;
mod certificates;
mod containerd;
mod dns;
mod front;
mod images;
mod machine;
mod network;
mod node;
mod process;
mod programs;
mod remains;
mod storage;

pub(crate) use agent::{Agent, AgentOptions};
pub(crate) use containerd::{Containerd, Pull};
pub(crate) use front::{Fault, Front, Place, Request};
pub(crate) use images::{Image, MoreLayers};
pub(crate) use machine::{GATEWAY, Machine, Release};
pub(crate) use process::{Daemon, run};
pub(crate) use programs::find as find_program;
pub(crate) use storage::PRIVATE_USER;

use certificates::Certificates;
use dns::Dns;
use network::Network;
use node::Node;
use remains::Remains;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use storage::{Storage, Storages};

/// The tag of every image of the laboratory.
pub(crate) const TAG: &str = "1";

/// How the names resolve at the start. Addresses are from the ranges for benchmarks (RFC 2544): they are
/// neither private nor loopback, which the agent would refuse for an upstream.
const NAMES: [(&str, &[Place]); 7] = [
    ("replicas.lab.example", &[Place::ReplicaA, Place::ReplicaB]),
    ("replica-a.lab.example", &[Place::ReplicaA]),
    ("replica-b.lab.example", &[Place::ReplicaB]),
    ("core.lab.example", &[Place::Core]),
    ("registry.lab.example", &[Place::Upstream]),
    ("cdn.lab.example", &[Place::Cdn]),
    ("private.lab.example", &[Place::Private]),
];

/// A running laboratory. Fields are dropped in this order: clients before servers, the namespace last.
pub(crate) struct Lab {
    agent: Option<Agent>,
    containerd: Containerd,
    fronts: Vec<Front>,
    storages: Storages,
    dns: Dns,
    certificates: Certificates,
    node: Node,
    network: Network,
    remains: Remains,
}

impl Lab {
    /// Brings everything up but the agent. Ends the test with a clear sentence if something is missing.
    pub(crate) fn start() -> Self {
        Self::bring_up(true)
    }

    /// As [`Lab::start`], only nothing listens at the places: the test brings servers of its own.
    pub(crate) fn start_without_servers() -> Self {
        Self::bring_up(false)
    }

    fn bring_up(servers: bool) -> Self {
        programs::require();
        Remains::sweep();
        let remains = Remains::reserve();
        let directory = remains.directory();
        let network = Network::create(remains.name(), directory);
        for place in Place::ALL {
            network.add_address(place.address());
        }
        network.add_address(GATEWAY);
        let dns = Dns::start(&network, directory, &NAMES);
        let certificates = Certificates::make(directory);
        let storages = if servers {
            Storages::start(&network, directory)
        } else {
            Storages::none(directory)
        };
        let fronts = Place::ALL
            .into_iter()
            .filter(|_| servers)
            .map(|place| {
                let storage = storages.port(place.storage());
                Front::start(place, storage, &certificates, &network, directory)
            })
            .collect();
        let node = Node::of_environment(&network);
        let containerd = Containerd::start(&node, directory, network.etc(), "");
        let lab = Self {
            agent: None,
            containerd,
            fronts,
            storages,
            dns,
            certificates,
            node,
            network,
            remains,
        };
        lab.hosts_through_agent();
        lab
    }

    /// Makes an image on the spot and stores it at REPLICA (under the doubled path that the rewriting of its
    /// front leads to), at CORE and upstream.
    pub(crate) fn publish(&self, repository: &str) -> Image {
        self.publish_with_layers(repository, MoreLayers::default())
    }

    /// As [`Lab::publish`], with more layers.
    pub(crate) fn publish_with_layers(&self, repository: &str, more: MoreLayers) -> Image {
        let image = Image::make(self.remains.directory(), repository, more);
        let replica = format!("proxy-docker-io/proxy-docker-io/{repository}");
        self.push(&image, Storage::Replica, &replica);
        self.push(
            &image,
            Storage::Core,
            &format!("proxy-docker-io/{repository}"),
        );
        self.push(&image, Storage::Upstream, repository);
        image
    }

    /// Makes an image that only CORE has, in that project.
    pub(crate) fn publish_at_core(&self, project: &str, repository: &str) -> Image {
        let image = Image::make(self.remains.directory(), repository, MoreLayers::default());
        self.push(&image, Storage::Core, &format!("{project}/{repository}"));
        image
    }

    /// Makes an image that only the private registry has, behind a user name and a password.
    pub(crate) fn publish_private(&self, repository: &str) -> Image {
        let image = Image::make(self.remains.directory(), repository, MoreLayers::default());
        self.push(&image, Storage::Private, repository);
        image
    }

    /// CORE's own store, for what is put there by other programs.
    pub(crate) fn core_registry(&self) -> String {
        format!("127.0.0.1:{}", self.storages.port(Storage::Core))
    }

    fn push(&self, image: &Image, storage: Storage, repository: &str) {
        image.push(&self.network, self.storages.port(storage), repository);
    }

    /// Starts the agent (stopping a running one) with a fresh state directory and waits until it is ready.
    pub(crate) fn start_agent(&mut self, options: &AgentOptions) {
        self.agent = None;
        let ca = self.certificates.ca();
        self.agent = Some(Agent::start(
            &self.node,
            self.remains.directory(),
            ca,
            options,
        ));
    }

    /// Ends the agent by that signal (`KILL`, `TERM`) without waiting for its end.
    pub(crate) fn signal_agent(&self, signal: &str) {
        self.agent().signal(signal);
    }

    /// Waits until the agent, which was told to, has ended; what it logged stays.
    pub(crate) fn wait_for_agents_end(&mut self) {
        let agent = self.agent.as_mut().expect("the agent has been started");
        agent.wait_for_end();
    }

    /// Starts the agent anew with the state that it had, and waits until it is ready.
    pub(crate) fn restart_agent(&mut self) {
        let agent = self.agent.take().expect("the agent has been started");
        self.agent = Some(agent.start_again());
    }

    /// Stops the agent.
    pub(crate) fn stop_agent(&mut self) {
        self.agent = None;
    }

    /// The running agent.
    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("the agent has been started")
    }

    /// The node that containerd and the agent run on.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Starts containerd anew, with `more` at the end of its configuration.
    pub(crate) fn restart_containerd(&mut self, more: &str) {
        self.containerd.stop();
        let directory = self.remains.directory();
        self.containerd = Containerd::start(&self.node, directory, self.network.etc(), more);
    }

    /// Starts containerd anew with the service that the kubelet and crictl speak to.
    pub(crate) fn restart_containerd_with_cri(&mut self) {
        let snapshotter = self.containerd.snapshotter();
        self.containerd.stop();
        let directory = self.remains.directory();
        let etc = self.network.etc();
        self.containerd = Containerd::start_with_cri(&self.node, directory, etc, snapshotter);
    }

    /// The real containerd, to be set otherwise.
    pub(crate) fn containerd_mut(&mut self) -> &mut Containerd {
        &mut self.containerd
    }

    /// The real containerd.
    pub(crate) fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// The server at that place.
    pub(crate) fn front(&self, place: Place) -> &Front {
        &self.fronts[place.index()]
    }

    /// Makes the server at that place answer wrongly, or rightly again.
    pub(crate) fn set_fault(&mut self, place: Place, fault: Fault) {
        let port = match fault {
            Fault::SilentHttp => self.storages.silent_port(&self.network),
            _ => self.storages.port(place.storage()),
        };
        self.fronts[place.index()].set_fault(fault, port, &self.certificates, &self.network);
    }

    /// Nothing listens at that place from now on.
    pub(crate) fn kill(&mut self, place: Place) {
        self.set_fault(place, Fault::Refused);
    }

    /// Undoes [`Lab::kill`].
    pub(crate) fn revive(&mut self, place: Place) {
        if !self.front(place).is_up() {
            self.set_fault(place, Fault::None);
        }
    }

    /// Packets to and from that place are dropped from now on, as when a machine loses power.
    pub(crate) fn power_off(&self, place: Place) {
        self.network.drop_packets(place.address());
    }

    /// Undoes [`Lab::power_off`].
    pub(crate) fn power_on(&self, place: Place) {
        self.network.pass_packets(place.address());
    }

    /// Gives a name other addresses and waits until the name server answers so.
    pub(crate) fn set_dns(&mut self, name: &str, places: &[Place]) {
        self.dns.set(&self.network, name, places);
    }

    /// The name server says nothing any more.
    pub(crate) fn silence_dns(&self) {
        self.dns.signal("STOP");
    }

    /// Undoes [`Lab::silence_dns`].
    pub(crate) fn unsilence_dns(&self) {
        self.dns.signal("CONT");
    }

    /// One more authority, in PEM, that the agent and containerd trust.
    pub(crate) fn trust(&self, pem: &str) {
        let mut bundle = std::fs::read_to_string(self.ca()).expect("the bundle can be read");
        bundle.push_str(pem);
        std::fs::write(self.ca(), bundle).expect("the laboratory's directory is writable");
    }

    /// What each server was asked for below `/v2/`; forgets it.
    pub(crate) fn take_requests(&self, place: Place) -> Vec<Request> {
        self.front(place).take_requests()
    }

    /// Forgets what was asked so far.
    pub(crate) fn forget_requests(&self) {
        for front in &self.fronts {
            front.take_requests();
        }
    }

    /// containerd asks the agent first, then upstream (or the private registry) itself.
    pub(crate) fn hosts_through_agent(&self) {
        for (registry, server) in [
            ("docker.io", "https://registry.lab.example"),
            ("private.lab.example", "https://private.lab.example"),
        ] {
            let ca = self.certificates.ca().display();
            self.containerd.write_hosts(
                registry,
                &format!(
                    "server = \"{server}\"\nca = \"{ca}\"\n\n[host.\"{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
                    agent::URL
                ),
            );
        }
    }

    /// containerd has nothing but the agent: where the agent may not go to upstream, containerd may not either.
    pub(crate) fn hosts_agent_only(&self, registry: &str) {
        let text = format!("server = \"{}\"\n[host]\n", agent::URL);
        self.containerd.write_hosts(registry, &text);
    }

    /// containerd alone: both REPLICA addresses, CORE and upstream as plain hosts.toml entries.
    pub(crate) fn hosts_without_agent(&self) {
        let ca = self.certificates.ca().display().to_string();
        let mut text = format!("server = \"https://registry.lab.example\"\nca = \"{ca}\"\n");
        for host in ["replica-a", "replica-b", "core"] {
            text.push_str(&format!(
                "\n[host.\"https://{host}.lab.example/v2/proxy-docker-io\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
                 override_path = true\nca = \"{ca}\"\n"
            ));
        }
        self.containerd.write_hosts("docker.io", &text);
    }

    /// A program that runs inside the laboratory's network.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        self.network.command(program)
    }

    /// Boots a Debian of its own beside the laboratory; `number` is its place, from 0. Drop it before this.
    pub(crate) fn boot(&self, number: u8, release: Release) -> Machine {
        let (name, directory) = (self.remains.name(), self.remains.directory());
        Machine::boot(name, &self.network, directory, number, release)
    }

    /// The authority that signs the servers' certificates.
    pub(crate) fn ca(&self) -> &Path {
        self.certificates.ca()
    }

    /// What stands over the node's `/etc`.
    pub(crate) fn etc(&self) -> &Path {
        self.network.etc()
    }

    /// A directory for a test's own files.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.remains.directory().join(name);
        std::fs::create_dir_all(&path).expect("the laboratory's directory is writable");
        path
    }

    /// What [`Lab::left_behind`] is asked about once the laboratory is gone.
    pub(crate) fn name(&self) -> String {
        self.remains.name().to_owned()
    }

    /// What is left of a laboratory that is gone: normally nothing.
    pub(crate) fn left_behind(name: &str) -> Vec<String> {
        remains::left_behind(name)
    }
}

/// Calls `check` until it says yes; panics with `what` and its last complaint when the time is over.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<(), String>,
) {
    let start = Instant::now();
    loop {
        match check() {
            Ok(()) => return,
            Err(complaint) if start.elapsed() > limit => {
                panic!("{what}: not within {} s: {complaint}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
