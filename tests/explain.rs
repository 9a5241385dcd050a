//! `explain` against registries on loopback: with `--probe`, with a running agent's word and without it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test"
)]

mod support;

#[path = "agent/node.rs"]
mod agent;
#[path = "agent/client.rs"]
mod client;

use harbor_pilot::cli::Invocation;
use harbor_pilot::cli::explain::run;
use harbor_pilot::config::Loader;
use harbor_pilot::node::detect::Machine;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use support::{FakeRegistry, Image, Reply};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TIERED: &str = "proxy-docker-io/library/nginx";

/// A node: a tier, the real registry, and a configuration that names both.
struct Node {
    tier: FakeRegistry,
    hub: FakeRegistry,
    image: Image,
    home: TempDir,
    text: String,
    /// Where the agent serves; else nowhere.
    listen: Option<SocketAddr>,
}

/// How the command ended.
struct Ran {
    status: u8,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Node {
    async fn new() -> Self {
        let image = Image::random(1, 1);
        let tier = FakeRegistry::builder().harbor();
        let tier = tier
            .account("robot$node", "never-shown")
            .with(|it| it.private = true);
        let tier = tier.with_image(TIERED, "1.27", &image).start().await;
        let hub = FakeRegistry::builder().docker_hub();
        let hub = hub
            .with_image("library/nginx", "1.27", &image)
            .start()
            .await;
        let home = tempfile::tempdir().unwrap();
        let password = home.path().join("password");
        std::fs::write(&password, "never-shown\n").unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&password, mode).unwrap();
        let text = format!(
            "[[tier]]\nname = \"replica\"\nurl = \"{}\"\nusername = \"robot$node\"\npassword_file = \"{}\"\n\
             [tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
            tier.base_url(),
            password.display(),
            hub.base_url(),
        );
        Self {
            tier,
            hub,
            image,
            home,
            text,
            listen: None,
        }
    }

    /// Runs the command with the agent's admin endpoint at `admin`.
    fn explain(&self, admin: SocketAddr, image: &str, probe: bool, json: bool) -> Ran {
        let mut text = self.text.clone();
        write!(text, "[server]\nadmin = \"{admin}\"\n").unwrap();
        if let Some(at) = self.listen {
            writeln!(text, "listen = [\"{at}\"]").unwrap();
        }
        let file = self.home.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let environment = BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]);
        let mut loader = Loader::packaged(environment);
        loader.config_file = file;
        loader.explicit = true;
        let args = Invocation {
            loader,
            json,
            machine: Arc::new(Machine::below(&self.home.path().join("root"), Vec::new())),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // The command brings its own runtime.
        let ran = tokio::task::block_in_place(|| run(&args, image, probe, &mut out, &mut err));
        let status = ran.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            status,
            out: text(out),
            err: text(err),
        }
    }

    fn url(&self, of: &FakeRegistry, path: &str) -> String {
        format!("{}/v2/{path}/manifests/1.27", of.base_url())
    }
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Answers one request for the status with this document.
async fn agent(status: Value) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = status.to_string();
    let serve = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"GET /status HTTP/1.1\r\n"));
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    #[allow(clippy::disallowed_methods, reason = "the test's own server")]
    tokio::spawn(serve);
    address
}

fn status_of(tier: &FakeRegistry, endpoint: &Value) -> Value {
    json!({
        "version": "0.1.0", "uptime_seconds": 5, "ready": true, "not_ready": [], "generation": 9,
        "config": {
            "generation": 1, "file": null, "loaded_at": "", "last_reload_ok": false, "error": "line 3",
            "from_last_accepted": false,
        },
        "tiers": [{
            "name": "replica", "kind": "harbor", "url": tier.base_url(), "ready": false, "dns_stale": false,
            "dns_error": null, "insecure_skip_verify": false, "endpoints": [endpoint],
        }],
        "upstreams": [], "changes": [], "traffic": {"requests": {}, "relayed_bytes": {}},
        "node_files": "not managed", "log_dropped": 0, "task_panics": 0,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_agent_the_route_is_shown_and_nobody_is_asked() {
    let node = Node::new().await;
    let admin = nobody().await;
    let ran = node.explain(admin, "nginx:1.27", false, true);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.err.contains(&format!("no agent answers at {admin}")),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("their state is unknown"), "{}", ran.err);
    let report = ran.json();
    assert_eq!(report["agent"]["reachable"], false);
    let expected = [
        ("replica", node.tier.addr, node.url(&node.tier, TIERED)),
        (
            "upstream",
            node.hub.addr,
            node.url(&node.hub, "library/nginx"),
        ),
    ];
    for (at, (source, address, url)) in expected.iter().enumerate() {
        let candidate = &report["candidates"][at];
        assert_eq!(candidate["source"], *source);
        assert_eq!(candidate["address"], address.to_string());
        assert_eq!(candidate["url"], *url);
        assert_eq!(candidate["state"], "unknown");
        assert_eq!(candidate["probe"], Value::Null);
    }
    assert_eq!(report["sources"][0]["credential"], true);
    assert_eq!(report["sources"][1]["credential"], false);
    assert!(node.tier.requests().is_empty() && node.hub.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_asks_everybody_for_the_manifest_with_its_credential() {
    let node = Node::new().await;
    let ran = node.explain(nobody().await, "nginx:1.27", true, true);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    let report = ran.json();
    assert_eq!(report["probed"], true);
    for at in 0..2 {
        let probe = &report["candidates"][at]["probe"];
        assert_eq!(probe["status"], 200, "{probe}");
        assert_eq!(probe["digest"], node.image.top.digest.as_str());
        assert_eq!(probe["has_manifest"], true);
    }
    assert_eq!(node.tier.token_fetches(), 1);
    assert_eq!(node.hub.token_fetches(), 1);
    let mut asked = node.tier.lines();
    asked.extend(node.hub.lines());
    let blobs = asked.iter().any(|line| line.contains("/blobs/"));
    assert!(!blobs, "nothing but the manifest is asked for: {asked:?}");

    let by_digest = format!("nginx:1.27@{}", node.image.top.digest);
    let ran = node.explain(nobody().await, &by_digest, true, false);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    let verdict = format!(
        "The first that has the manifest: replica at {}.",
        node.tier.addr
    );
    assert!(ran.out.contains(&verdict), "{}", ran.out);
    assert!(!ran.out.contains("never-shown") && !ran.err.contains("never-shown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_manifest_is_told_apart() {
    let mut node = Node::new().await;
    let ran = node.explain(nobody().await, "nginx:none", true, true);
    assert_eq!(ran.status, 1, "{}", ran.out);
    let report = ran.json();
    assert_eq!(report["has_path"], false);
    for at in 0..2 {
        let probe = &report["candidates"][at]["probe"];
        assert_eq!(probe["status"], 404, "{probe}");
        let error = probe["error"].as_str().unwrap();
        assert!(error.contains('_') && !error.contains('{'), "{error}");
    }

    node.tier.refuse().await;
    let digest = node.image.top.digest.to_string();
    node.hub.script(move |request| {
        let is_manifest = request.path.ends_with(&digest);
        is_manifest.then(|| Reply::json(200, "{\"schemaVersion\":2,\"layers\":[]}"))
    });
    let by_digest = format!("nginx@{}", node.image.top.digest);
    let ran = node.explain(nobody().await, &by_digest, true, true);
    assert_eq!(ran.status, 1, "{}", ran.out);
    let report = ran.json();
    let refused = &report["candidates"][0]["probe"];
    assert_eq!(refused["status"], Value::Null, "{refused}");
    assert!(
        refused["error"].as_str().unwrap().contains("replica"),
        "{refused}"
    );
    let wrong = &report["candidates"][1]["probe"];
    assert_eq!(wrong["status"], 200, "{wrong}");
    assert_eq!(wrong["error"], "the content is not that of the digest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_word_orders_the_candidates() {
    let node = Node::new().await;
    let ejected = json!({
        "address": node.tier.addr.to_string(), "state": "ejected", "reason": "probe: core is unhealthy",
        "since_seconds": 40, "ejected_for_seconds": 20, "lowered": false, "suspect": false,
        "latency_ms": null, "in_flight": 0,
    });
    let admin = agent(status_of(&node.tier, &ejected)).await;
    let ran = node.explain(admin, "nginx:1.27", false, false);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.err.contains("uses an older configuration"),
        "{}",
        ran.err
    );
    let table: Vec<&str> = ran
        .out
        .lines()
        .skip_while(|line| !line.starts_with("Addresses"))
        .collect();
    assert!(
        table[2].contains("upstream") && table[2].contains("unknown"),
        "{}",
        ran.out
    );
    assert!(
        table[3].contains("replica") && table[3].contains("ejected"),
        "{}",
        ran.out
    );
    assert!(
        table[3].contains("probe: core is unhealthy; tried again in 20 s"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("replica (harbor)  not ready"),
        "{}",
        ran.out
    );
}

/// Neither an agent nor [node] is needed to say what containerd reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_containerd_reads_for_the_image_is_shown_without_an_agent() {
    let node = Node::new().await;
    let ran = node.explain(nobody().await, "nginx:1.27", false, true);
    let report = ran.json();
    assert_eq!(report["node"]["runtime"], "none");
    assert_eq!(report["hosts_file"], Value::Null);

    let root = node.home.path().join("root");
    let certs_d = root.join("etc/containerd/certs.d");
    let hosts = certs_d.join("docker.io/hosts.toml");
    std::fs::create_dir_all(hosts.parent().unwrap()).unwrap();
    let config = format!(
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{}\"\n",
        certs_d.display()
    );
    std::fs::write(root.join("etc/containerd/config.toml"), config).unwrap();
    let text = format!(
        "server = \"{}\"\n[host.\"http://127.0.0.1:290\"]\n[host.\"{}\"]\n",
        node.hub.base_url(),
        node.tier.base_url()
    );
    std::fs::write(&hosts, &text).unwrap();
    let ran = node.explain(nobody().await, "nginx:1.27", false, true);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let report = ran.json();
    assert_eq!(report["node"]["runtime"], "containerd");
    assert_eq!(report["node"]["config_path"], json!([certs_d]));
    let file = &report["hosts_file"];
    assert_eq!(file["path"], json!(hosts));
    assert_eq!(file["agent"], 1);
    assert_eq!(file["then_registry"], false);
    let who: Vec<&Value> = (0..3).map(|at| &file["hosts"][at]["who"]).collect();
    assert_eq!(who, ["agent", "tier", "registry"]);
    assert_eq!(file["hosts"][1]["tier"], "replica");
    assert_eq!(file["hosts"][2]["server"], true);

    // Also of an image that the agent would not ask for.
    let ran = node.explain(nobody().await, "elsewhere.example/x", false, false);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let file = certs_d.join("elsewhere.example/hosts.toml");
    let expected = format!(
        "For elsewhere.example containerd reads {}\n    it is not there\n",
        file.display()
    );
    assert!(ran.out.contains(&expected), "{}", ran.out);
    assert!(ran.out.contains("pulls go past it"), "{}", ran.out);
    assert_eq!(std::fs::read_to_string(&hosts).unwrap(), text);
}

/// Where nobody has the manifest the agent may answer with its copy, and says that it is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_the_agent_answers_with_is_a_path() {
    let mut node = Node::new().await;
    let mut running = agent::Setup::of(&[], &node.hub).start().await;
    let got = running.get("/v2/library/nginx/manifests/1.27?ns=docker.io");
    assert_eq!(got.await.status, 200);
    // A tag and what it names, in a folder of a tree.
    let below = |directories: Vec<std::path::PathBuf>| -> Vec<std::path::PathBuf> {
        let entries = directories.iter().filter_map(|one| one.read_dir().ok());
        entries.flatten().map(|one| one.unwrap().path()).collect()
    };
    let kept = running.home.path().join("state/manifests");
    let since = std::time::Instant::now();
    while below(below(below(vec![kept.clone()]))).len() < 2 {
        assert!(since.elapsed() < std::time::Duration::from_secs(15));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    node.hub.refuse().await;
    node.text = format!(
        "[[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
        node.hub.base_url()
    );
    node.listen = Some(running.addr);
    for (image, is_kept) in [("nginx:1.27", true), ("nginx:1.26", false)] {
        let ran = node.explain(running.admin, image, true, true);
        let report = ran.json();
        assert_eq!(ran.status, u8::from(!is_kept), "{report:#}");
        assert_eq!(report["has_path"], is_kept);
        assert_eq!(report["stale_seconds"].is_u64(), is_kept, "{report:#}");
        let text = node.explain(running.admin, image, true, false).out;
        assert_eq!(text.contains("answers with its copy of"), is_kept, "{text}");
        assert_eq!(text.contains("No path"), !is_kept, "{text}");
    }
    // Nobody is asked without --probe, and nothing is said of a copy.
    let ran = node.explain(running.admin, "nginx:1.26", false, true);
    assert_eq!(ran.json()["stale_seconds"], Value::Null);
    running
        .signal(harbor_pilot::lifecycle::RawSignal::Terminate)
        .await;
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_registry_is_looked_for_and_the_chosen_one_is_shown() {
    let image = Image::random(2, 1);
    let ghcr = FakeRegistry::builder().harbor();
    let ghcr = ghcr.with_image("proxy-ghcr-io/org/app", "1", &image);
    let ghcr = ghcr.start().await;
    let mut node = Node::new().await;
    write!(
        node.text,
        "[[tier]]\nname = \"cat\"\nurl = \"{}\"\n[tier.projects]\n\"ghcr.io\" = \"proxy-ghcr-io\"\n\
         [direct]\nenabled = false\n\
         [router]\nnames = [\"registry.example.com\"]\norder = [\"docker.io\", \"ghcr.io\"]\n",
        ghcr.base_url()
    )
    .unwrap();
    let name = "registry.example.com/proxy/org/app:1";
    let ran = node.explain(nobody().await, name, false, true);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let router = &ran.json()["router"];
    assert_eq!(router["repository"], "org/app");
    assert_eq!(router["chosen"], Value::Null);
    assert!(node.tier.requests().is_empty() && ghcr.requests().is_empty());

    let ran = node.explain(nobody().await, name, true, true);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    let report = ran.json();
    let router = &report["router"];
    let said = |at: usize| router["candidates"][at]["has_manifest"].clone();
    assert_eq!((said(0), said(1)), (json!("no"), json!("yes")));
    assert_eq!(
        (&router["chosen"], &report["registry"]),
        (&json!("ghcr.io"), &json!("ghcr.io"))
    );
    assert_eq!(report["image"], name);
    let ran = node.explain(nobody().await, name, true, false);
    let verdict =
        "Taken from ghcr.io: ghcr.io has it, and all that are placed before it say definitely";
    assert!(ran.out.contains(verdict), "{}", ran.out);

    // Who is placed first and does not answer blocks the others.
    node.tier.set_fault(support::Fault::CloseInsteadOfAnswer);
    let ran = node.explain(nobody().await, name, true, false);
    assert_eq!(ran.status, 1, "{}", ran.out);
    let verdict = "Taken from none: docker.io is placed before others";
    assert!(ran.out.contains(verdict), "{}", ran.out);

    let ran = node.explain(
        nobody().await,
        "registry.example.com/other/app:1",
        false,
        true,
    );
    assert_eq!(ran.status, 1);
    assert_eq!(ran.json()["refusal"]["kind"], "outside_the_project");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_denies_says_nothing_of_an_image_without_a_registry() {
    let image = Image::random(2, 1);
    let ghcr = FakeRegistry::builder().harbor();
    let ghcr = ghcr.with_image("proxy-ghcr-io/org/app", "1", &image);
    let ghcr = ghcr.start().await;
    let mut node = Node::new().await;
    let page = Reply::new(403).body("text/html", "<html>blocked</html>");
    node.hub
        .set_fault_on(support::On::Registry, support::Fault::Reply(page));
    write!(
        node.text,
        "[[tier]]\nname = \"cat\"\nurl = \"{}\"\n[tier.projects]\n\"ghcr.io\" = \"proxy-ghcr-io\"\n\
         [router]\nnames = [\"registry.example.com\"]\norder = [\"docker.io\", \"ghcr.io\"]\n",
        ghcr.base_url()
    )
    .unwrap();
    let name = "registry.example.com/proxy/org/app:1";
    let ran = node.explain(nobody().await, name, true, true);
    let report = ran.json();
    let router = &report["router"];
    let said = router["candidates"][0]["has_manifest"].clone();
    assert_eq!((said, &router["chosen"]), (json!("unknown"), &Value::Null));
}
