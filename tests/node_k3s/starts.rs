//! Starts of k3s while the daemon runs.

use super::node::Node;
use harbor_pilot::node::hosts_toml;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

const REGISTRIES: &str = "# mine\nmirrors:\n  docker.io:\n    endpoint: [\"https://mirror.gcr.io\"]\n  quay.io:\n    endpoint:\n      - https://other.example # theirs\n  registry.k8s.io:\n    endpoint: [\"https://rewriting.example\"]\n    rewrite: {\"^(.*)$\": \"proxy/$1\"}\n";
const LISTED: [&str; 3] = ["docker.io", "quay.io", "registry.k8s.io"];
const AGENT: &str = "http://127.0.0.1:290";
/// The goal is one second; a busy machine gets three.
const LIMIT: Duration = Duration::from_secs(3);

/// The hosts in the order in which containerd asks them, `server` last.
fn chain(text: &str) -> Vec<String> {
    let Ok(view) = hosts_toml::read(text) else {
        return Vec::new();
    };
    let hosts = view.hosts.into_iter().chain(view.server);
    hosts.map(|host| host.url).collect()
}

/// Our own file, not what k3s generates from our line in registries.yaml.
fn is_ours(text: &str) -> bool {
    text.starts_with("# harbor-pilot") && chain(text).iter().any(|url| url == AGENT)
}

fn identity(node: &Node, registry: &str) -> (u64, i64, String) {
    let metadata = fs::metadata(node.hosts(registry)).unwrap();
    (metadata.ino(), metadata.mtime_nsec(), node.text(registry))
}

fn is_pending(node: &Node) -> bool {
    let status = node.status();
    let why = status["restart_pending"].as_str().unwrap_or_default();
    // For people as well.
    why.contains("registries.yaml has changed since k3s started")
        && status["node_files"]
            .as_str()
            .unwrap_or_default()
            .ends_with(why)
}

fn is_settled(node: &Node) -> bool {
    let status = node.status();
    status["node_files"] == "as they should be"
        && status["restart_pending"].is_null()
        && status["runtime"] == "k3s server"
}

/// With k3s and the daemon running, and all files in place.
fn running(options: &[&'static str]) -> Node {
    let mut node = Node::new(REGISTRIES, options);
    node.start_k3s();
    node.start_daemon();
    node.until("in the files", Instant::now(), || {
        let all = LISTED.into_iter().chain(["ghcr.io"]);
        all.into_iter()
            .all(|registry| is_ours(&node.text(registry)))
    });
    node
}

/// Starts k3s and waits for the listed registries' files.
fn start_and_wait(node: &mut Node, registries: &[&str]) -> Duration {
    let since = node.start_k3s();
    let took = node.until("back", since, || {
        registries
            .iter()
            .all(|registry| is_ours(&node.text(registry)))
    });
    assert!(took < LIMIT, "{took:?}\n{}", node.log());
    took
}

#[test]
fn after_each_start_of_k3s_the_live_files_are_back() {
    let mut node = running(&[]);
    let since = Instant::now();
    node.until("pending", since, || is_pending(&node));
    let mine = node.certs_d().join("mine.example");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("hosts.toml"), "# mine\n[host]\n").unwrap();
    let others = ["ghcr.io", "mine.example"];
    let before = others.map(|registry| identity(&node, registry));
    let wanted = LISTED.map(|registry| node.text(registry));

    // What k3s generates has the agent too, so that no pull of that second goes round it. Rewrites cannot be joined.
    let generated = [
        "https://mirror.gcr.io/v2",
        "https://registry-1.docker.io/v2",
    ];
    let with_agent = [&["http://127.0.0.1:290/v2"], &generated[..]].concat();
    assert_eq!(chain(&node.would_generate("docker.io")), with_agent);
    assert!(!node.would_generate("registry.k8s.io").contains("290"));

    let mut longest = Duration::ZERO;
    for _ in 0..6 {
        longest = longest.max(start_and_wait(&mut node, &LISTED));
    }
    println!("after a start of k3s the live files are back within {longest:?} (the longest of 6)");
    // Six starts are no fight, and nothing of others was touched.
    assert!(
        !node.log().contains("rewritten by others"),
        "{}",
        node.log()
    );
    assert_eq!(others.map(|registry| identity(&node, registry)), before);
    assert_eq!(chain(&node.text("quay.io")).last().unwrap(), AGENT);
    for (registry, wanted) in LISTED.into_iter().zip(&wanted) {
        let hosts = |text: &str| {
            let urls = chain(text).into_iter();
            urls.map(|url| url.trim_end_matches("/v2").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(hosts(&node.text(registry)), hosts(wanted), "{registry}");
    }
    let since = Instant::now();
    node.until("current", since, || is_settled(&node));
}

#[test]
fn the_embedded_registry_stays_first() {
    let mut node = running(&["EMBEDDED_REGISTRY"]);
    for _ in 0..2 {
        start_and_wait(&mut node, &LISTED);
        let text = node.text("docker.io");
        let chain = chain(&text);
        let expected = [
            "https://127.0.0.1:6443/v2",
            AGENT,
            "https://mirror.gcr.io/v2",
        ];
        assert_eq!(chain[..3], expected, "{text}");
        assert!(
            text.contains("client = [[\"/client.crt\", \"/client.key\"]]"),
            "{text}"
        );
    }
}

#[test]
fn a_k3s_that_empties_the_directory_gets_all_of_it_back() {
    let mut node = running(&["CLEANS_ALL"]);
    let all = LISTED
        .iter()
        .chain(&["ghcr.io"])
        .copied()
        .collect::<Vec<_>>();
    let took = start_and_wait(&mut node, &all);
    println!("after a start that empties certs.d the live files are back within {took:?}");
    assert!(
        !node.log().contains("rewritten by others"),
        "{}",
        node.log()
    );
}

#[test]
fn what_the_user_changes_between_two_starts_is_pending_and_then_in_the_file() {
    let mut node = running(&[]);
    start_and_wait(&mut node, &LISTED);
    let since = Instant::now();
    node.until("current", since, || is_settled(&node));
    let text = fs::read_to_string(node.registries()).unwrap();
    let text = text.replace("https://mirror.gcr.io", "https://new.example");
    fs::write(node.registries(), &text).unwrap();
    node.until("pending", Instant::now(), || is_pending(&node));
    let text = fs::read_to_string(node.registries()).unwrap();
    assert!(
        text.contains("https://new.example") && text.contains(AGENT),
        "{text}"
    );
    start_and_wait(&mut node, &LISTED);
    assert_eq!(
        chain(&node.text("docker.io"))[..2],
        [AGENT, "https://new.example/v2"]
    );
    let since = Instant::now();
    node.until("current", since, || is_settled(&node));
}
