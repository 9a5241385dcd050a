//! containerd pulls with the files that the agent wrote, in each state of the topology; the servers count who asked
//! (design F1–F3, F6).

use crate::Tests;
use crate::lab::{AgentOptions, Place};
use crate::node::{Count, Counts, Node};
use std::time::Duration;

pub(crate) const TESTS: Tests<Node> = &[
    ("all_good", all_good),
    ("replica_gone", replica_gone),
    ("all_tiers_gone", all_tiers_gone),
    (
        "core_leaves_the_file_and_returns",
        core_leaves_the_file_and_returns,
    ),
    ("agent_killed", agent_killed),
    ("agent_killed_and_core_gone", agent_killed_and_core_gone),
    ("agent_handed_over", agent_handed_over),
    ("images_of_a_tier_by_its_name", images_of_a_tier_by_its_name),
    ("the_key_of_a_shared_node", the_key_of_a_shared_node),
    ("no_way_round_with_the_agent", no_way_round_with_the_agent),
    (
        "no_way_round_without_the_agent",
        no_way_round_without_the_agent,
    ),
    ("no_way_round_after_handover", no_way_round_after_handover),
    (
        "closed_with_a_tier_in_the_file",
        closed_with_a_tier_in_the_file,
    ),
    ("everything_dead_after_a_pull", everything_dead_after_a_pull),
    ("restored", restored),
];

const AGENT: &str = "[host.\"http://127.0.0.1:290\"]";
const CORE: &str = "[host.\"https://core.lab.example/v2/proxy-docker-io\"]";
const CLOSED: &str = "server = \"http://127.0.0.1:290\"";
/// The same while the agent is out of the file (docs/decisions/018): a port that nobody can have.
const NOBODY: &str = "server = \"http://127.0.0.1:0\"";
const UPSTREAM: &str = "registry.lab.example";

/// As a platform team would have it: CORE may stand in the file.
fn usual() -> AgentOptions {
    AgentOptions {
        in_file: true,
        ..AgentOptions::default()
    }
}

/// Nothing may ever go to upstream, and the agent is the only way.
fn closed() -> AgentOptions {
    AgentOptions {
        direct: false,
        node: "fallback = \"none\"\n".to_owned(),
        ..AgentOptions::default()
    }
}

/// Nobody of the others was asked, and containerd asked nobody itself.
fn assert_agent_alone(it: &Node, counts: Counts) -> Counts {
    for count in [counts.replica, counts.core, counts.upstream] {
        assert_eq!(
            count.containerd,
            0,
            "containerd went round the agent: {counts:?}\n{}\n{}",
            it.file(),
            it.lab.agent().log()
        );
    }
    counts
}

fn all_good(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    it.pull_well();
    let counts = assert_agent_alone(it, it.asked());
    assert!(counts.replica.agent > 0, "{counts:?}");
    assert_eq!(
        (counts.core.total(), counts.upstream.total()),
        (0, 0),
        "{counts:?}"
    );
}

fn replica_gone(it: &mut Node) {
    it.begin_with(&usual(), &[Place::ReplicaA, Place::ReplicaB]);
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    it.pull_well();
    let counts = assert_agent_alone(it, it.asked());
    assert!(counts.core.agent > 0, "{counts:?}");
    assert_eq!(
        (counts.replica.total(), counts.upstream.total()),
        (0, 0),
        "{counts:?}"
    );
}

fn all_tiers_gone(it: &mut Node) {
    it.begin_with(&usual(), &Place::TIERS);
    it.wait_for_probes_and_file(&[AGENT, it.open()], &[CORE]);
    it.pull_well();
    let counts = assert_agent_alone(it, it.asked());
    assert!(counts.upstream.agent > 0, "{counts:?}");
    assert_eq!(
        (counts.replica.total(), counts.core.total()),
        (0, 0),
        "{counts:?}"
    );
    assert!(!it.file().contains(CORE), "{}", it.file());
}

/// A dead tier must not stay in a file: it costs containerd up to 30 s a request.
fn core_leaves_the_file_and_returns(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    for place in Place::TIERS {
        it.lab.kill(place);
    }
    // A pull is how the agent learns it.
    it.pull_well();
    it.wait_for_file(&[AGENT, it.open()], &[CORE]);
    it.kill_agent();
    it.lab.forget_requests();
    it.lab.containerd().forget_images();
    it.pull_well();
    let counts = it.asked();
    assert!(counts.upstream.containerd > 0, "{counts:?}");
    for place in Place::TIERS {
        it.lab.revive(place);
    }
    it.lab.restart_agent();
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
}

fn agent_killed(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    it.kill_agent();
    it.pull_well();
    let counts = it.asked();
    assert!(counts.core.containerd > 0, "{counts:?}");
    assert_eq!(
        (counts.replica.total(), counts.upstream.total()),
        (0, 0),
        "{counts:?}"
    );
}

fn agent_killed_and_core_gone(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    it.kill_agent();
    it.lab.kill(Place::Core);
    it.pull_well();
    let counts = it.asked();
    assert!(counts.upstream.containerd > 0, "{counts:?}");
    assert_eq!(
        (counts.replica.total(), counts.core.total()),
        (0, 0),
        "{counts:?}"
    );
}

/// Stops the agent for good, as the unit does it.
fn hand_over(it: &mut Node) {
    it.lab.signal_agent("TERM");
    it.lab.wait_for_agents_end();
    let said = it.lab.agent().command(&["handover"]);
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&text));
}

fn agent_handed_over(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    hand_over(it);
    it.wait_for_file(&[CORE, it.open()], &["127.0.0.1"]);
    it.lab.forget_requests();
    it.pull_well();
    let counts = it.asked();
    assert!(counts.core.containerd > 0, "{counts:?}");
    assert_eq!(
        (counts.replica.total(), counts.upstream.total()),
        (0, 0),
        "{counts:?}"
    );
    it.lab.restart_agent();
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
}

/// Images whose name is the tier's own come through the agent, and from the tier when it is gone.
fn images_of_a_tier_by_its_name(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    let reference = format!(
        "core.lab.example/proxy-docker-io/{}:1",
        it.image.repository()
    );
    it.pull_reference_well(&reference);
    let counts = assert_agent_alone(it, it.asked());
    assert!(counts.replica.agent > 0, "{counts:?}");
    it.kill_agent();
    it.lab.containerd().forget_images();
    it.pull_reference_well(&reference);
    let counts = it.asked();
    assert!(counts.core.containerd > 0, "{counts:?}");
}

/// `require_header_file`: containerd has the word from the file, others have not (design S6).
fn the_key_of_a_shared_node(it: &mut Node) {
    let file = it.lab.scratch("key").join("word");
    std::fs::write(&file, "a-word-of-the-laboratory\n")
        .expect("the laboratory's directory is writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).expect("the file is ours");
    it.begin(&AgentOptions {
        server: format!("require_header_file = \"{}\"\n", file.display()),
        ..usual()
    });
    it.wait_for_file(&[AGENT, "a-word-of-the-laboratory", it.open()], &[]);
    it.pull_well();
    let counts = assert_agent_alone(it, it.asked());
    assert!(counts.replica.agent > 0, "{counts:?}");
    let answer = it
        .lab
        .agent()
        .get("/v2/library/app/manifests/1?ns=docker.io");
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(it.asked().replica.total(), 0);
}

fn assert_pull_fails(it: &Node) {
    let pull = it.pull();
    assert!(!pull.succeeded, "{}", pull.output);
    // The file's way is short: nothing is waited for.
    assert!(
        pull.took < Duration::from_secs(60),
        "{:?}\n{}",
        pull.took,
        pull.output
    );
}

fn assert_upstream_was_left_alone(it: &Node) -> Counts {
    let counts = it.asked();
    assert_eq!(
        counts.upstream,
        Count::default(),
        "{counts:?}\n{}",
        it.file()
    );
    counts
}

fn no_way_round_with_the_agent(it: &mut Node) {
    it.begin(&closed());
    it.wait_for_file(&[CLOSED], &[UPSTREAM]);
    it.pull_well();
    let counts = assert_agent_alone(it, assert_upstream_was_left_alone(it));
    assert!(counts.replica.agent > 0, "{counts:?}");
    it.lab.containerd().forget_images();
    for place in Place::TIERS {
        it.lab.kill(place);
    }
    assert_pull_fails(it);
    assert_upstream_was_left_alone(it);
}

fn no_way_round_without_the_agent(it: &mut Node) {
    it.begin(&closed());
    it.wait_for_file(&[CLOSED], &[UPSTREAM]);
    it.kill_agent();
    assert_pull_fails(it);
    let counts = assert_upstream_was_left_alone(it);
    assert_eq!(
        (counts.replica.total(), counts.core.total()),
        (0, 0),
        "{counts:?}"
    );
}

fn no_way_round_after_handover(it: &mut Node) {
    it.begin(&closed());
    it.wait_for_file(&[CLOSED], &[UPSTREAM]);
    hand_over(it);
    it.wait_for_file(&[NOBODY], &[UPSTREAM, "127.0.0.1:290"]);
    it.lab.forget_requests();
    assert_pull_fails(it);
    assert_upstream_was_left_alone(it);
}

/// `direct = false` alone: CORE may serve containerd while the agent is down, and nobody else.
fn closed_with_a_tier_in_the_file(it: &mut Node) {
    it.begin(&AgentOptions {
        direct: false,
        ..usual()
    });
    it.wait_for_file(&[AGENT, CORE, CLOSED], &[UPSTREAM]);
    it.kill_agent();
    it.pull_well();
    let counts = assert_upstream_was_left_alone(it);
    assert!(counts.core.containerd > 0, "{counts:?}");
    it.lab.containerd().forget_images();
    it.lab.kill(Place::Core);
    assert_pull_fails(it);
    assert_upstream_was_left_alone(it);
}

/// A total outage: what this node has pulled resolves again, by a manifest that the agent kept on disk (design P11), and
/// the container starts; what it has never pulled is an error that names everybody.
fn everything_dead_after_a_pull(it: &mut Node) {
    it.begin(&usual());
    it.wait_for_file(&[AGENT, CORE, it.open()], &[]);
    it.pull_well();
    it.lab.signal_agent("TERM");
    it.lab.restart_agent();
    for place in Place::ALL {
        it.lab.kill(place);
    }
    it.pull_well();
    let log = it.lab.agent().log();
    assert!(log.contains("stale"), "{log}");
    let never = it.lab.containerd().pull("docker.io/library/never:1");
    assert!(!never.succeeded, "{}", never.output);
    let answer = it
        .lab
        .agent()
        .get("/v2/library/never/manifests/1?ns=docker.io");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    for source in ["198.18.1.11", "198.18.1.12", "198.18.2.11", "upstream"] {
        assert!(answer.contains(source), "{source} is not named: {answer}");
    }
}

/// `restore` gives back what was there, and what was not there goes.
fn restored(it: &mut Node) {
    it.begin_with(&usual(), &Place::TIERS);
    let own = it.own_file();
    it.wait_for_file(&[AGENT, it.open()], &[]);
    let said = it.lab.agent().command(&["restore"]);
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&text));
    assert_eq!(it.file(), own);
}
