//! Starts of k3s between the agent's passes, on two nodes: one with the agent, and one that has never seen it. The starts
//! are those of the stand-in of tests/node_k3s; nothing of k3s is in it. What stands in a file of ours may be of an older
//! generation: made by an earlier start from another registries.yaml, and not made again or made anew by the last one, while
//! users edit it and the ledger is lost.

use super::states::{Chance, REGISTRIES, State, identities};
use super::{Judge, Node, Tree, base_is_whole, files, is_left, judged};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

const ROUNDS: u64 = 5;
const REGISTRIES_YAML: &str = "etc/rancher/k3s/registries.yaml";
const ENDPOINTS: [&str; 9] = [
    "https://mirror.gcr.io",
    "https://mirror.gcr.io/v2/",
    "https://harbor.example.com/v2/PROJECT",
    "https://harbor.example.com/v2/other",
    "UPSTREAM",
    "http://10.0.0.1:5000",
    "mirror.example",
    "https://mirror.example:8443/base/v2",
    "localhost:5001",
];
const CONFIGURED: [&str; 9] = [
    "mirror.gcr.io",
    "harbor.example.com",
    "mirror.example",
    "mirror.example:8443",
    "docker.io",
    "registry-1.docker.io",
    "reg.example:5000",
    "ghcr.io",
    "*",
];

/// The flags of this k3s.
struct Flags {
    embedded: bool,
    no_default: bool,
}

pub(super) fn check(seed: u64, judges: &mut [Judge], seen: &mut BTreeSet<&'static str>) {
    let chance = &mut Chance::new(seed ^ 0x57a7);
    let mut state = State::of(seed);
    (state.k3s, state.old) = (true, false);
    let (with, without) = (Node::new(state.clone()), Node::new(state));
    let flags = Flags {
        embedded: chance.of(1, 4),
        no_default: chance.of(1, 5),
    };
    let both = [&with, &without];
    for node in both {
        let mut text = String::new();
        if flags.embedded {
            text.push_str("embedded-registry: true\n");
        }
        if flags.no_default {
            text.push_str("disable-default-registry-endpoint: true\n");
        }
        put(&node.root.path().join("etc/rancher/k3s/config.yaml"), &text);
    }
    let is_lost = chance.of(1, 3);
    if is_lost {
        both.iter().for_each(|node| without_empty(node));
    }
    for round in 0..ROUNDS {
        // Configuration management writes the whole file, our lines and all.
        if round == 0 || chance.of(1, 2) {
            let text = registries(chance);
            for node in both {
                put(&node.root.path().join(REGISTRIES_YAML), &text);
            }
        }
        if round == 0 || chance.of(2, 3) {
            for node in both {
                start(node, &flags, seed, round);
            }
            if with
                .tree()
                .iter()
                .any(|(path, (_, bytes))| is_ours(path, bytes))
            {
                seen.insert("an older generation");
            }
        }
        if is_lost && chance.of(1, 2) && with.root.path().join("state").exists() {
            fs::remove_dir_all(with.root.path().join("state")).unwrap();
            seen.insert("an older generation without a ledger");
        }
        // Else the agent is down meanwhile.
        if chance.of(2, 3) {
            let alive = chance.of(3, 4);
            pass(&with, &without, alive, chance.of(1, 2), judges, seen);
        }
        if chance.of(1, 3) && edit(&with, &without, round, chance) {
            seen.insert("an edited generation");
        }
        for node in both {
            age(node, round);
        }
    }
    let places = files::Places::find(&with.machine, &with.config.node);
    let released = files::release(&with.store, &places, crate::LOCK).unwrap();
    assert!(
        released.marked.is_empty() && released.plan.left.is_empty(),
        "seed {seed}: {released:?}"
    );
    let (now, expected) = (relative(&with), relative(&without));
    for path in now.keys().chain(expected.keys()) {
        let text = |tree: &Tree| {
            let found = tree.get(path);
            found.map(|(mode, bytes)| (*mode, String::from_utf8_lossy(bytes).into_owned()))
        };
        assert_eq!(
            text(&now),
            text(&expected),
            "seed {seed}: {}",
            path.display()
        );
    }
}

fn pass(
    with: &Node,
    without: &Node,
    alive: bool,
    whole: bool,
    judges: &mut [Judge],
    seen: &mut BTreeSet<&'static str>,
) {
    let passed = with.pass(alive, whole);
    let seed = with.state.seed;
    let left = |registry: &str| is_left(with, &passed, registry);
    let expected = without.views(judges);
    base_is_whole(with, judges, &expected, &left);
    let found = with.views(judges);
    for ((judge, registry), expected) in &expected {
        let is_left = left(registry);
        seen.insert(match (is_left, expected.hosts.first()) {
            (true, _) => "left alone after a start",
            (false, Some(first)) if first.is_embedded() => "behind the embedded registry",
            _ => "after a start",
        });
        let found = &found[&(judge.clone(), registry.clone())];
        if let Err(why) = judged(expected, found, registry, with, is_left, alive) {
            panic!(
                "seed {seed}, {registry}, alive {alive}: {why}\n=== without\n{}\n=== with\n{}\n{:#?}\n{}",
                without.shown(),
                with.shown(),
                passed.plan.left,
                fs::read_to_string(with.root.path().join(REGISTRIES_YAML)).unwrap()
            );
        }
    }
    let again = with.pass(alive, whole).plan.steps;
    assert!(again.is_empty(), "seed {seed}: {again:#?}");
}

fn is_ours(path: &Path, bytes: &[u8]) -> bool {
    path.ends_with("hosts.toml") && bytes.starts_with(b"# harbor-pilot keeps this file")
}

/// Without the ledger an empty directory or file of the user's cannot be told from one that was made for ours.
fn without_empty(node: &Node) {
    for directory in fs::read_dir(&node.certs_d).unwrap() {
        let directory = directory.unwrap().path();
        let text = fs::read(directory.join("hosts.toml")).unwrap_or_default();
        let is_empty = fs::read_dir(&directory).unwrap().next().is_none();
        if is_empty || (text.is_empty() && directory.join("hosts.toml").exists()) {
            fs::remove_dir_all(directory).unwrap();
        }
    }
}

/// A user adds a host to a file that both nodes have.
fn edit(with: &Node, without: &Node, round: u64, chance: &mut Chance) -> bool {
    let registry = chance.one(&REGISTRIES);
    let paths = [with, without].map(|node| node.certs_d.join(registry).join("hosts.toml"));
    let texts = paths.each_ref().map(fs::read_to_string);
    let [Ok(ours), Ok(theirs)] = texts else {
        return false;
    };
    // Of a copy of another file it would make a file of the user's own, which the other node has not got.
    if ours.contains("as a copy of") {
        return false;
    }
    for (path, text) in paths.iter().zip([ours, theirs]) {
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let before = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            end
        };
        let more = format!("{end}[host.\"https://mine-{round}.example\"]{end}");
        fs::write(path, text + before + &more).unwrap();
    }
    true
}

/// What this round has written is older than the next one's start, and younger than its own.
fn age(node: &Node, round: u64) {
    let at = of_round(round) + Duration::from_secs(30);
    for path in node
        .tree()
        .keys()
        .filter(|path| path.ends_with("hosts.toml"))
    {
        let file = File::open(path).unwrap();
        if file.metadata().unwrap().modified().unwrap() > at {
            file.set_modified(at).unwrap();
        }
    }
}

/// When a round's start was. That was an hour ago, so that nothing waits for its end.
fn of_round(round: u64) -> SystemTime {
    static NOW: OnceLock<SystemTime> = OnceLock::new();
    *NOW.get_or_init(SystemTime::now) - Duration::from_secs(3600 - 60 * round)
}

/// By their paths below the root. Where config.toml leads is the root's own.
fn relative(node: &Node) -> Tree {
    let root = node.root.path();
    let tree = node.tree().into_iter();
    let tree = tree.filter(|(path, _)| !path.ends_with("config.toml"));
    let relative =
        |(path, content): (PathBuf, _)| (path.strip_prefix(root).unwrap().to_owned(), content);
    tree.map(relative).collect()
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn start(node: &Node, flags: &Flags, seed: u64, round: u64) {
    let root = node.root.path();
    let mut command = Command::new(stand_in());
    command
        .arg("server")
        .env("STANDIN_ENDS", "yes")
        .env("STANDIN_DATA_DIR", root.join("var/lib/rancher/k3s"))
        .env("STANDIN_REGISTRIES", root.join(REGISTRIES_YAML))
        .env("STANDIN_CERTIFICATES", certificates());
    if flags.embedded {
        command.env("STANDIN_EMBEDDED_REGISTRY", "yes");
    }
    if flags.no_default {
        command.env("STANDIN_DISABLE_DEFAULT_REGISTRY_ENDPOINT", "yes");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}: {said}");
    let at = of_round(round);
    let config = node.certs_d.with_file_name("config.toml");
    let config = File::options().write(true).open(config).unwrap();
    config.set_modified(at).unwrap();
    let certs_d = File::open(&node.certs_d).unwrap();
    certs_d.set_modified(at).unwrap();
}

fn registries(chance: &mut Chance) -> String {
    let mut text = String::new();
    if chance.of(1, 4) {
        text.push_str("# Ansible managed\n");
    }
    text.push_str("mirrors:\n");
    for registry in REGISTRIES.into_iter().chain(["*", "other.example"]) {
        if chance.of(1, 2) {
            text.push_str(&entry(registry, chance));
        }
    }
    if chance.of(2, 3) {
        text.push_str("configs:\n");
        for host in CONFIGURED {
            if !chance.of(1, 5) {
                continue;
            }
            text.push_str(&format!("  \"{host}\":\n"));
            text.push_str(chance.one(&["", "    auth: {username: u, password: \"#\"}\n"]));
            let directory = certificates().display();
            match chance.below(4) {
                0 => text.push_str(&format!("    tls: {{ca_file: {directory}/server-ca.crt}}\n")),
                1 => text.push_str("    tls:\n      insecure_skip_verify: yes\n"),
                2 => text.push_str(&format!(
                    "    tls: {{cert_file: {directory}/client.crt, key_file: {directory}/client.key}}\n"
                )),
                _ => {}
            }
        }
    }
    if chance.of(1, 8) {
        text = text.replace('\n', "\r\n");
    }
    text
}

fn entry(registry: &str, chance: &mut Chance) -> String {
    let host = if registry == "docker.io" {
        "registry-1.docker.io"
    } else {
        registry
    };
    let dashed = registry.replace(['.', ':'], "-");
    let count = chance.below(4);
    let urls = (0..count).map(|_| {
        let url = chance.one(&ENDPOINTS);
        let url = url.replace("UPSTREAM", &format!("https://{host}"));
        url.replace("PROJECT", &format!("proxy-{dashed}"))
    });
    let urls: Vec<String> = urls.filter(|url| url != "https://*").collect();
    let quoted = urls.iter().map(|url| format!("{url:?}"));
    let quoted: Vec<String> = quoted.collect();
    let flow = quoted.join(", ");
    let rewrite = chance.of(1, 6);
    match chance.below(4) {
        0 if !rewrite => format!("  \"{registry}\": {{endpoint: [{flow}]}}\n"),
        1 => {
            let rules = if rewrite {
                "    rewrite: {\"^(.*)$\": \"proxy/$1\"}\n"
            } else {
                ""
            };
            format!("  \"{registry}\":\n    endpoint: [{flow}] # these\n{rules}")
        }
        _ if urls.is_empty() => format!("  \"{registry}\":\n"),
        _ => {
            let lines = quoted.iter().map(|url| format!("      - {url}\n"));
            let rules = if rewrite {
                "    rewrite:\n      \"^library/(.*)$\": \"lib/$1\"\n"
            } else {
                ""
            };
            format!(
                "  \"{registry}\":\n    endpoint:\n{}{rules}",
                lines.collect::<String>()
            )
        }
    }
}

/// What the flags and files of this k3s name.
fn certificates() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let [(ca, _), (client, key), _] = identities();
        for (name, text) in [
            ("server-ca.crt", ca),
            ("client.crt", client),
            ("client.key", key),
        ] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    });
    made.path()
}

/// The stand-in, built once.
fn stand_in() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("law-k3s-stand-in");
        let built = Command::new("go")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_k3s"))
            .args(["build", "-mod=readonly", "-o"])
            .arg(&program)
            .arg(".")
            .output()
            .expect("there is no go; `make deps` brings one");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "go build failed: {said}");
        program
    })
}
