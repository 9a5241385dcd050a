//! The second act: a Harbor is asked for its projects, an image without a registry, a cache is warmed, and a Harbor's component dies.

use crate::lab::{AgentOptions, Daemon, Image, Lab, Place, wait_until};
use crate::presentation::{chapter, indent, say};
use std::time::Duration;

const NAME: &str = "registry.example.com";
const HEALTHD: &str = "198.18.2.11:8337";

/// Tells it. The tiers have no power when it begins.
pub(crate) fn run(lab: &mut Lab) {
    for place in Place::TIERS {
        lab.power_on(place);
    }
    let image = lab.publish_at_core("proxy-ghcr-io", "org/hello");
    discover(lab);
    let reference = format!("{NAME}/proxy/org/hello:1");
    pull(lab, &reference, &image);
    warm(lab, &reference);
    watch_health(lab);
}

fn discover(lab: &mut Lab) {
    chapter("The agent starts anew, and asks CORE which projects it has");
    lab.start_agent(&AgentOptions {
        discovers: true,
        more: format!("\n[router]\nnames = [\"{NAME}\"]\norder = [\"docker.io\", \"ghcr.io\"]\n"),
        ..AgentOptions::default()
    });
    println!("{}", indent(&lab.agent().configuration()));
    wait_until("the projects are found", Duration::from_secs(20), || {
        let status = said(lab, &["status"]);
        match status.contains("projects found: 2") {
            true => Ok(()),
            false => Err(status),
        }
    });
    println!("$ harbor-pilot status");
    println!("{}", indent(&said(lab, &["status"])));
}

fn pull(lab: &Lab, reference: &str, image: &Image) {
    chapter(&format!(
        "An image that names no registry: $ ctr images pull {reference}"
    ));
    lab.hosts_agent_only(NAME);
    let pull = lab.containerd().pull(reference);
    assert!(pull.succeeded, "{}\n{}", pull.output, lab.agent().log());
    let digest = lab.containerd().digest_of(reference);
    assert_eq!(digest.as_deref(), Some(image.index_digest()));
    say(&["It was looked for at docker.io and ghcr.io, and is ghcr.io's."]);
    println!("$ harbor-pilot explain {reference} --probe");
    let why = said(lab, &["explain", reference, "--probe"]);
    assert!(why.contains("Taken from ghcr.io"), "{why}");
    println!("{}", indent(&why));
}

/// At a rate at which there is something to see. On a terminal it draws bars.
fn warm(lab: &Lab, reference: &str) {
    let arguments = ["warm", "--each-tier", "--rate", "4MiB", reference];
    chapter(&format!("$ harbor-pilot {}", arguments.join(" ")));
    let status = lab.agent().command_in_view(&arguments);
    assert!(status.success(), "{status}");
}

fn watch_health(lab: &Lab) {
    chapter("harbor-pilot healthd beside CORE; then CORE's Redis dies");
    let mut healthd = lab.command(env!("CARGO_BIN_EXE_harbor-pilot"));
    healthd.args(["healthd", "--harbor", "https://core.lab.example"]);
    healthd.arg("--ca").arg(lab.ca());
    healthd.args(["--listen", HEALTHD]);
    let log = lab.scratch("healthd").join("log");
    let _healthd = Daemon::start("healthd", &mut healthd, &log);
    let core = lab.front(Place::Core);
    show_health(lab, "200");
    core.set_component("redis", "unhealthy");
    show_health(lab, "503");
    say(&["Route 53 and load balancers send nobody there any more."]);
    core.set_component("redis", "healthy");
    show_health(lab, "200");
}

/// What a command of the program says.
fn said(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.agent().command(arguments);
    assert!(
        !output.stdout.is_empty(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for that status, and shows the answer's head.
fn show_health(lab: &Lab, status: &str) {
    let url = format!("http://{HEALTHD}/");
    let mut answer = String::new();
    wait_until("healthd says so", Duration::from_secs(20), || {
        let mut curl = lab.command("curl");
        let output = curl.args(["-sS", "-i", &url]).output().expect("curl runs");
        answer = String::from_utf8_lossy(&output.stdout).into_owned();
        match answer.starts_with(&format!("HTTP/1.1 {status}")) {
            true => Ok(()),
            false => Err(answer.clone()),
        }
    });
    let head = answer.lines().take_while(|line| !line.is_empty());
    let shown = head.filter(|line| line.starts_with("HTTP") || line.contains("harbor-pilot"));
    println!("$ curl -i {url}");
    println!("{}", indent(&shown.collect::<Vec<_>>().join("\n")));
}
