//! The agent's own death (design F0, F3): killed, hung, its port stolen, stopped for good, its disk full. Pulls go on by
//! what it has left in the file, and the file points at nothing that hangs for longer than the watchdog's time.

mod full_disk;
mod thief;
mod unit;

use crate::lab::{Image, Lab, Place, Pull, Request, wait_until};
use harbor_pilot::node::desired::NOBODY;
use harbor_pilot::node::hosts_toml;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thief::Thief;
use unit::{Unit, WATCHDOG};

const AGENT: &str = "http://127.0.0.1:290";
const CORE: &str = "https://core.lab.example/v2/proxy-docker-io";
const UPSTREAM: &str = "https://registry.lab.example";
/// What a busy machine may need for things that take a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pull with a file that names nobody who hangs: seconds, even here.
const LIMIT: Duration = Duration::from_secs(20);

/// A laboratory whose containerd reads what the agent writes.
struct Node {
    unit: Unit,
    image: Image,
    certs_d: PathBuf,
    directory: PathBuf,
    lab: Lab,
}

/// What an administrator's file says: the registry of the laboratory is Docker Hub's place. The agent stands before it, and
/// leaves it as it is.
fn write_base(certs_d: &Path, ca: &Path) {
    let text = format!(
        "server = {UPSTREAM:?}\nca = {:?}\n[host]\n",
        ca.display().to_string()
    );
    fs::create_dir(certs_d.join("docker.io")).unwrap();
    fs::write(certs_d.join("docker.io/hosts.toml"), text).unwrap();
}

/// Who asked a place: containerd itself, or the agent.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    Containerd,
    Agent,
    Nobody,
    Both,
}

impl Node {
    /// With the agent in the file. `more` is added to the configuration, `prepare` is told of certs.d before.
    fn start(more: &str, prepare: impl FnOnce(&Path, &Path)) -> Self {
        let mut lab = Lab::start();
        let image = lab.publish("library/app");
        let (certs_d, directory) = (lab.etc().join("containerd/certs.d"), lab.scratch("own"));
        fs::remove_dir_all(&certs_d).unwrap();
        fs::create_dir(&certs_d).unwrap();
        let state = lab.scratch("own/state");
        prepare(&certs_d, &state);
        write_base(&certs_d, lab.ca());
        // Mounts of its own: what was mounted since its start it does not see.
        lab.restart_containerd("");
        let config = config(lab.ca(), &certs_d, &state, more);
        let unit = Unit::start(&lab, &directory, &config);
        let node = Self {
            unit,
            image,
            certs_d,
            directory,
            lab,
        };
        node.names("the agent is in the file", &[AGENT]);
        node
    }

    fn file(&self) -> PathBuf {
        self.certs_d.join("docker.io/hosts.toml")
    }

    /// The hosts in containerd's order, `server` last.
    fn chain(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let Ok(view) = hosts_toml::read(&text) else {
            return Vec::new();
        };
        let hosts = view.hosts.into_iter().chain(view.server);
        hosts.map(|host| host.url).collect()
    }

    /// Waits for the chain to begin so; says how long it took.
    fn names(&self, what: &str, expected: &[&str]) -> Duration {
        let since = Instant::now();
        wait_until(what, PATIENCE, || {
            let chain = self.chain();
            let begins =
                chain.len() >= expected.len() && chain.iter().zip(expected).all(|(a, b)| a == b);
            if begins {
                Ok(())
            } else {
                Err(format!("{chain:?}\n{}", self.unit.log()))
            }
        });
        since.elapsed()
    }

    /// Pulls anew, with nothing asked before.
    fn pull(&self) -> Pull {
        self.lab.containerd().forget_images();
        self.lab.forget_requests();
        self.lab.containerd().pull(&self.image.by_tag("docker.io"))
    }

    /// The same, and it is the very image.
    fn pull_well(&self, what: &str) -> Pull {
        let pull = self.pull();
        self.assert_whole(&pull, what);
        pull
    }

    fn assert_whole(&self, pull: &Pull, what: &str) {
        println!("{what}: the pull took {:.2} s", pull.took.as_secs_f32());
        assert!(
            pull.succeeded,
            "{what}: {}\n{}",
            pull.output,
            self.unit.log()
        );
        let reference = self.image.by_tag("docker.io");
        assert!(self.lab.containerd().is_complete(&reference), "{what}");
        assert_eq!(
            self.lab.containerd().digest_of(&reference).as_deref(),
            Some(self.image.index_digest()),
            "{what}"
        );
    }

    /// Who asked these places for anything since the last pull began.
    fn who_asked(&self, places: &[Place]) -> Who {
        let requests = places
            .iter()
            .flat_map(|place| self.lab.take_requests(*place));
        let requests: Vec<Request> = requests
            .filter(|request| !request.uri.contains("/api/"))
            .collect();
        let of_containerd = |request: &&Request| request.user_agent.starts_with("containerd/");
        let count = requests.iter().filter(of_containerd).count();
        match (count, requests.len() - count) {
            (0, 0) => Who::Nobody,
            (_, 0) => Who::Containerd,
            (0, _) => Who::Agent,
            _ => Who::Both,
        }
    }

    fn assert_by_core_alone(&self) {
        assert_eq!(self.who_asked(&[Place::Core]), Who::Containerd);
        let others = [
            Place::ReplicaA,
            Place::ReplicaB,
            Place::Upstream,
            Place::Cdn,
        ];
        assert_eq!(self.who_asked(&others), Who::Nobody);
    }

    fn assert_by_the_agent(&self) {
        assert_eq!(
            self.who_asked(&[Place::ReplicaA, Place::ReplicaB]),
            Who::Agent
        );
        assert_eq!(
            self.who_asked(&[Place::Core, Place::Upstream, Place::Cdn]),
            Who::Nobody
        );
    }
}

/// REPLICA is a cascade and stays out of the file; CORE may stand in it.
fn config(ca: &Path, certs_d: &Path, state: &Path, more: &str) -> String {
    let health = "[tier.health]\ninterval = \"2s\"\ntimeout = \"1s\"\n";
    let tier = |name: &str, host: &str, key: &str| {
        format!(
            "[[tier]]\nname = \"{name}\"\nurl = \"https://{host}\"\nproject = \"proxy-{{registry_dashed}}\"\n{key} = true\nca_file = {ca:?}\n{health}"
        )
    };
    [
        tier("replica", "replicas.lab.example", "cascade"),
        tier("core", "core.lab.example", "in_file"),
        format!("[[registry]]\nname = \"docker.io\"\nupstream = \"{UPSTREAM}\"\nca_file = {ca:?}\n"),
        format!("[dns]\nnameservers = [\"127.0.0.1:53\"]\nmin_ttl = \"1s\"\n[state]\ndirectory = {state:?}\n"),
        format!("[node]\nmanage = true\nruntime = \"containerd\"\ncerts_d = {certs_d:?}\n{more}"),
    ]
    .concat()
}

#[test]
fn a_killed_agent_is_passed_over_and_its_file_stays() {
    let node = Node::start("", |_, _| {});
    node.names("CORE is in the file", &[AGENT, CORE, UPSTREAM]);
    node.pull_well("a healthy agent");
    node.assert_by_the_agent();
    let before = fs::read(node.file()).unwrap();
    node.unit.kill_and_hold();
    let pull = node.pull_well("a killed agent");
    assert!(pull.took < LIMIT, "{:?}", pull.took);
    node.assert_by_core_alone();
    node.unit.release();
    wait_until("the agent serves again", PATIENCE, || {
        node.pull_well("an agent that was started again");
        match node.who_asked(&[Place::ReplicaA, Place::ReplicaB]) {
            Who::Agent => Ok(()),
            who => Err(format!("{who:?}")),
        }
    });
    assert_eq!(
        fs::read(node.file()).unwrap(),
        before,
        "a restart writes nothing"
    );
}

#[test]
fn a_hung_agent_holds_a_pull_no_longer_than_the_watchdog() {
    let node = Node::start("", |_, _| {});
    node.names("CORE is in the file", &[AGENT, CORE, UPSTREAM]);
    node.lab.forget_requests();
    node.unit.signal("STOP");
    let started = Instant::now();
    let reference = node.image.by_tag("docker.io");
    let pull = node.lab.containerd().start_pull(&reference, 3 * WATCHDOG);
    let pull = pull.join().expect("the pulling thread ends");
    node.assert_whole(&pull, "a hung agent");
    // It had been started the moment before, so all of the watchdog's time was before it.
    assert!(
        started.elapsed() < WATCHDOG + LIMIT,
        "{:?}",
        started.elapsed()
    );
    assert_eq!(node.unit.watchdog_kills(), 1);
    assert_eq!(node.who_asked(&[Place::Upstream, Place::Cdn]), Who::Nobody);
    wait_until("the agent serves again", PATIENCE, || {
        node.pull_well("an agent that the watchdog has restarted");
        match node.who_asked(&[Place::ReplicaA, Place::ReplicaB]) {
            Who::Agent => Ok(()),
            who => Err(format!("{who:?}")),
        }
    });
    assert_eq!((node.unit.starts(), node.unit.watchdog_kills()), (2, 1));
}

/// Kills the agent and has another program take its port before it is started again.
fn steal(node: &Node, kind: &str) -> Thief {
    node.unit.kill_and_hold();
    let thief = Thief::start(&node.lab, &node.directory, kind);
    node.unit.release();
    thief
}

fn asked_for_the_image(thief: &Thief) -> usize {
    let asked = thief.asked();
    asked
        .iter()
        .filter(|line| line.contains("library/app"))
        .count()
}

#[test]
fn a_stolen_port_leaves_the_file_and_is_not_asked() {
    let node = Node::start("", |_, _| {});
    for kind in ["nonsense", "silent"] {
        node.names("CORE is in the file", &[AGENT, CORE, UPSTREAM]);
        let thief = steal(&node, kind);
        let took = node.names("the agent is out of the file", &[CORE, UPSTREAM]);
        println!(
            "a thief that answers {kind}: out of the file after {:.2} s",
            took.as_secs_f32()
        );
        assert!(took < WATCHDOG, "{took:?}\n{}", node.unit.log());
        let pull = node.pull_well("a stolen port");
        assert!(pull.took < LIMIT, "{:?}", pull.took);
        node.assert_by_core_alone();
        assert_eq!(asked_for_the_image(&thief), 0, "{:?}", thief.asked());
        assert!(
            !thief.asked().is_empty(),
            "the daemon has looked who is there"
        );
        drop(thief);
        node.names("the agent is back", &[AGENT]);
    }
    node.names("CORE is in the file", &[AGENT, CORE, UPSTREAM]);
    node.pull_well("an agent that has its port again");
    node.assert_by_the_agent();
}

#[test]
fn a_stolen_port_of_a_closed_registry_is_not_asked_and_upstream_is_not_either() {
    let node = Node::start("fallback = \"none\"\n", |_, _| {});
    assert_eq!(node.chain(), [AGENT]);
    node.pull_well("a closed registry");
    node.assert_by_the_agent();
    let thief = steal(&node, "silent");
    node.names("nobody is in the file", &[NOBODY]);
    let pull = node.pull();
    println!(
        "nobody to ask: the pull failed after {:.2} s: {}",
        pull.took.as_secs_f32(),
        pull.output.lines().last().unwrap_or_default()
    );
    assert!(!pull.succeeded && pull.took < LIMIT, "{}", pull.output);
    assert!(
        pull.output.contains("connection refused"),
        "{}",
        pull.output
    );
    assert_eq!(node.who_asked(&Place::ALL), Who::Nobody);
    assert_eq!(asked_for_the_image(&thief), 0, "{:?}", thief.asked());
    drop(thief);
    node.names("the agent is back", &[AGENT]);
    node.pull_well("a closed registry again");
    node.assert_by_the_agent();
}

#[test]
fn an_agent_that_stops_for_good_hands_the_file_over() {
    let node = Node::start("", |_, _| {});
    node.names("CORE is in the file", &[AGENT, CORE, UPSTREAM]);
    node.unit.kill_and_hold();
    let said = node.unit.command(&node.lab, "handover");
    assert!(said.contains("docker.io/hosts.toml"), "{said}");
    assert_eq!(node.chain(), [CORE, UPSTREAM]);
    let pull = node.pull_well("a file that was handed over");
    assert!(pull.took < LIMIT, "{:?}", pull.took);
    node.assert_by_core_alone();
    node.unit.release();
    node.names("the agent is back", &[AGENT, CORE, UPSTREAM]);
}
