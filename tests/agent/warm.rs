//! `harbor-pilot warm` by the real binary: through the agent and beside it, from each tier, of lists and platforms.

#[path = "warm/addresses.rs"]
mod addresses;
#[path = "warm/interrupt.rs"]
mod interrupt;
#[path = "warm/node.rs"]
mod node_images;
#[path = "warm/parallel.rs"]
mod parallel;
#[path = "warm/terminal.rs"]
mod terminal;

use crate::node::{Node, REPOSITORY, Setup, TIERED, write};
use crate::support::{FakeRegistry, Fault, Image, On};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Two Harbors with an image, the registry behind them, and a configuration file for the commands.
struct Lab {
    tiers: Vec<FakeRegistry>,
    _upstream: FakeRegistry,
    image: Image,
    setup: Setup,
}

impl Lab {
    async fn new(image: Image) -> Self {
        let mut tiers = Vec::new();
        for _ in 0..2 {
            let tier = FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image)
                .with_image(TIERED, "2", &image);
            tiers.push(tier.start().await);
        }
        let upstream = FakeRegistry::builder().docker_hub();
        let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
        let setup = Setup::of(&tiers.iter().collect::<Vec<_>>(), &upstream);
        Self {
            tiers,
            _upstream: upstream,
            image,
            setup,
        }
    }

    /// How often a tier was asked for blobs.
    fn blobs(&self, tier: usize) -> usize {
        let lines = self.tiers[tier].lines();
        lines.iter().filter(|line| line.contains("/blobs/")).count()
    }

    fn bytes(&self) -> u64 {
        let blobs = self.image.blobs.iter().map(|blob| blob.body.len());
        let manifests = self.image.manifests().map(|one| one.body.len());
        blobs.chain(manifests).sum::<usize>() as u64
    }
}

/// A file that leads the commands to the running agent.
fn config_of(node: &Node) -> String {
    let text = std::fs::read_to_string(node.config_file()).unwrap();
    let listen = format!("listen = [\"{}\"]\nadmin = \"{}\"", node.addr, node.admin);
    let text = text.replace(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"",
        &listen,
    );
    let file = node.home.path().join("commands.toml");
    write(&file, &text);
    file.display().to_string()
}

fn command(config: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"));
    let fixed = ["warm", "--config", config, "--platform", "linux/amd64"];
    let fixed = match arguments.contains(&"--all-platforms") {
        true => &fixed[..3],
        false => &fixed[..],
    };
    command
        .args(fixed)
        .args(arguments)
        .env_clear()
        .env("NO_COLOR", "1");
    command
}

fn ran(config: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = tokio::task::block_in_place(|| command(config, arguments).output()).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn json(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_the_agent_as_a_pull_goes() {
    let lab = Lab::new(Image::random(91, 3)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let (code, stdout, stderr) = ran(&config, &["docker.io/library/app:1", "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report = json(&stdout);
    let row = &report["images"][0];
    assert_eq!(row["through"], "agent");
    assert_eq!(row["bytes"], lab.bytes());
    let served_by = row["served_by"][0].as_str().unwrap();
    assert!(served_by.starts_with("t1/127.0.0.1:"), "{served_by}");
    assert_eq!(
        (&report["failed"], &report["interrupted"]),
        (&0.into(), &false.into())
    );
    // The agent's own records say so.
    let records = node.journal.accesses();
    assert!(
        records
            .iter()
            .any(|record| record.kind == "blob" && record.status == 200)
    );
    assert_eq!(lab.blobs(1), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_agent_by_itself_and_cold_is_told_from_warm() {
    let lab = Lab::new(Image::random(92, 3)).await;
    lab.tiers[0].change(|it| it.cold = crate::support::Cold::Chunked);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    write(
        &file,
        &lab.setup
            .text(home.path())
            .replacen("127.0.0.1:0", "127.0.0.1:1", 1)
            .replace("127.0.0.1:0", "127.0.0.1:2"),
    );
    let config = file.display().to_string();
    for cache in ["cold", "warm"] {
        let (code, stdout, stderr) = ran(&config, &["docker.io/library/app:1"]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(stdout.contains(&format!("  {cache}  ")), "{stdout}");
        assert!(
            stdout.contains("docker.io/library/app:1  sources"),
            "{stdout}"
        );
        assert!(stdout.contains("1 fetched"), "{stdout}");
        // Who reads no terminal reads a line.
        assert!(
            stderr.starts_with("docker.io/library/app:1 through sources: "),
            "{stderr}"
        );
    }
    // The tag is asked for as containerd does, so that Harbor attaches it.
    let lines = lab.tiers[0].lines();
    let of_tag = format!("/v2/{TIERED}/manifests/1");
    assert!(lines.contains(&format!("HEAD {of_tag}")), "{lines:?}");
    assert!(!lines.contains(&format!("GET {of_tag}")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_without_a_registry_is_found_without_an_agent() {
    let image = Image::random(97, 2);
    let hub = FakeRegistry::builder().harbor().start().await;
    let ghcr = FakeRegistry::builder().harbor();
    let ghcr = ghcr.with_image("proxy-ghcr-io/org/app", "1", &image);
    let ghcr = ghcr.start().await;
    let tier = format!(
        "[[tier]]\nname = \"cat\"\nurl = \"{}\"\n[tier.projects]\n\"ghcr.io\" = \"proxy-ghcr-io\"\n\
         [tier.health]\nprobe = \"none\"\n",
        ghcr.base_url()
    );
    let router = "[direct]\nenabled = false\n[router]\nnames = [\"registry.example.com\"]\n\
                  order = [\"docker.io\", \"ghcr.io\"]\n";
    let setup = Setup::default().tier(&hub.base_url(), "");
    let setup = setup.and(&tier).and(router);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let text = setup.text(home.path());
    let text = text.replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    write(&file, &text.replace("127.0.0.1:0", "127.0.0.1:2"));
    let config = file.display().to_string();
    let name = "registry.example.com/proxy/org/app:1";
    let (code, stdout, stderr) = ran(&config, &[name, "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report = json(&stdout);
    let row = &report["images"][0];
    assert_eq!(
        (&row["image"], &row["through"]),
        (&name.into(), &"sources".into())
    );
    assert!(
        row["served_by"][0].as_str().unwrap().starts_with("cat/"),
        "{row}"
    );

    // Whose word is missing is said, and nobody else's image is fetched.
    hub.set_fault(Fault::CloseInsteadOfAnswer);
    let (code, stdout, _) = ran(&config, &[name, "--json"]);
    assert_eq!(code, 1, "{stdout}");
    let error = json(&stdout)["images"][0]["error"].to_string();
    assert!(
        error.contains("docker.io is placed before others"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tier_and_one_tier() {
    let lab = Lab::new(Image::random(93, 2)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let (code, stdout, stderr) = ran(
        &config,
        &["app", "--each-tier", "--json", "docker.io/library/app:1"],
    );
    assert_eq!(
        code, 1,
        "app is library/app:latest, which nobody has: {stdout}{stderr}"
    );
    let report = json(&stdout);
    let of = |tag: &str| {
        let rows = report["images"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row["image"] == format!("docker.io/library/app:{tag}"));
        rows.map(|row| (row["through"].as_str().unwrap(), row["error"].is_null()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("1"), [("t1", true), ("t2", true)]);
    assert_eq!(of("latest"), [("t1", false), ("t2", false)]);
    assert_eq!((lab.blobs(0), lab.blobs(1)), (3, 3));
    lab.tiers[0].forget_requests();
    lab.tiers[1].forget_requests();
    for arguments in [&["--tier", "t2"][..], &["--tier", "t2", "--each-address"]] {
        let (code, stdout, stderr) =
            ran(&config, &[arguments, &["docker.io/library/app:1"]].concat());
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
    assert_eq!((lab.blobs(0), lab.blobs(1)), (0, 6));
    let (code, _, stderr) = ran(&config, &["app:1", "--tier", "nobody"]);
    assert_eq!(code, 64);
    assert!(
        stderr.contains("no tier is named nobody; configured are: t1, t2"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn platforms_of_an_index() {
    let lab = Lab::new(Image::multi_platform(94, 3, 2)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let (code, stdout, stderr) = ran(&config, &["app:1", "--all-platforms", "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(json(&stdout)["images"][0]["bytes"], lab.bytes());
    let (code, stdout, _) = ran(&config, &["app:1", "--platform", "plan9/mips", "--json"]);
    assert_eq!(code, 1, "{stdout}");
    let error = json(&stdout)["images"][0]["error"].clone();
    assert!(
        error
            .as_str()
            .unwrap()
            .starts_with("it has no plan9/mips; it has linux/"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_a_failure() {
    let lab = Lab::new(Image::random(95, 1)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    lab.tiers[1].set_fault_on(On::Blobs, Fault::CorruptAt(3));
    let (code, stdout, _) = ran(&config, &["app:1", "--tier", "t2", "--json"]);
    assert_eq!(code, 1);
    let error = json(&stdout)["images"][0]["error"].clone();
    assert!(
        error
            .as_str()
            .unwrap()
            .contains("the bytes are not those of sha256:"),
        "{error}"
    );
}

/// A layer that two images share is being fetched for one of them when the other comes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_image_is_complete_whose_shared_layer_failed() {
    let lab = Lab::new(Image::with_layers(98, &[150_000])).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let arguments = ["app:1", "app:2", "--tier", "t2", "--rate", "150KiB"];
    let arguments = [&arguments[..], &["--json"]].concat();
    let (code, stdout, _) = ran(&config, &arguments);
    assert_eq!((code, lab.blobs(1)), (0, 2), "each once: {stdout}");
    lab.tiers[1].set_fault_on(On::Blobs, Fault::CorruptAt(3));
    let (code, stdout, _) = ran(&config, &arguments);
    assert_eq!((code, &json(&stdout)["failed"]), (1, &2.into()), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_from_files_and_standard_input() {
    let lab = Lab::new(Image::random(96, 1)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let file = node.home.path().join("list");
    write(
        &file,
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: \"docker.io/library/app:1\"}]}\n",
    );
    let (code, stdout, stderr) = ran(&config, &["-f", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let mut child = command(&config, &["-f", "-", "--json"]);
    let mut child = child
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"app:1 # web\n")
        .unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        json(&String::from_utf8(output.stdout).unwrap())["images"][0]["image"],
        "docker.io/library/app:1"
    );
    for (arguments, code, said) in [
        (&[][..], 64, "no image is named"),
        (&["-f", "/nowhere"], 2, "reading /nowhere"),
        (&["Not An Image"], 64, "Not An Image: "),
        (
            &["app:1", "--rate", "fast"],
            64,
            "--rate \"fast\" is no rate",
        ),
    ] {
        let (was, _, stderr) = ran(&config, arguments);
        assert_eq!(was, code, "{arguments:?} {stderr}");
        assert!(stderr.contains(said), "{arguments:?} {stderr}");
    }
}
