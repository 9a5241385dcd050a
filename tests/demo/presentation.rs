//! What the demonstration shows, step by step.

use crate::lab::{AgentOptions, Image, Lab, Place};
use crate::second_act;
use std::time::{Duration, Instant};

/// What a dead address may cost a pull.
const PROMISE: Duration = Duration::from_secs(1);

/// The lab, the image, and how far the agent's log has been shown.
struct Stage {
    lab: Lab,
    image: Image,
    shown: usize,
}

/// Tells it. Panics where a promise does not hold.
pub(crate) fn run() {
    let start = Instant::now();
    chapter(
        "A node, two registry tiers and the real registry, in a network namespace of their own",
    );
    let mut lab = Lab::start();
    let name = lab.name();
    say(&[
        "  replicas.lab.example   198.18.1.11 and 198.18.1.12   REPLICA: two addresses of one name, path rewriting, port 1337",
        "  core.lab.example       198.18.2.11                   CORE",
        "  registry.lab.example   198.18.3.11                   stands in for Docker Hub; blobs by redirect to",
        "  cdn.lab.example        198.18.4.11                   its CDN",
        "docker-registry behind nginx with TLS 1.3, dnsmasq for the names, and a containerd with a root of its own.",
    ]);
    let image = lab.publish("library/hello");
    println!(
        "An image for two platforms, made on the spot: docker.io/library/hello:1, {}",
        image.index_digest()
    );

    chapter(
        "The agent starts; containerd's hosts.toml for docker.io names it first, upstream after it",
    );
    lab.start_agent(&AgentOptions::default());
    println!("{}", indent(&lab.agent().configuration()));
    let mut stage = Stage {
        lab,
        image,
        shown: 0,
    };

    chapter("containerd pulls through the agent, and the image runs");
    let healthy = stage.pull();
    stage.show_sources();
    let (preferred, other) = stage.replicas();
    stage.assert_only(&[preferred]);
    println!(
        "The container says: {}",
        stage.lab.containerd().run(&stage.reference())
    );
    stage.show_log();

    chapter("$ harbor-pilot status");
    stage.show_command(&["status"]);

    chapter(&format!(
        "{preferred:?} ({}) loses power: every packet to and from it is dropped",
        preferred.address()
    ));
    stage.forget();
    stage.lab.power_off(preferred);
    let first = stage.pull();
    stage.show_sources();
    stage.assert_only(&[other, Place::Core]);
    let more = first.saturating_sub(healthy);
    println!(
        "{:.2} s more than the healthy pull. containerd alone waits 30 s for each of its rounds of requests, two minutes for this image (`make compare-containerd-alone`).",
        more.as_secs_f32()
    );
    assert!(
        more < PROMISE,
        "a dead address cost {more:?}, more than a second"
    );
    stage.forget();
    let next = stage.pull();
    let more = next.saturating_sub(healthy);
    println!("The next pull: {:.2} s more.", more.as_secs_f32());
    assert!(more < PROMISE, "a dead address cost {more:?} again");
    stage.show_log();

    chapter("$ harbor-pilot status");
    stage.show_command(&["status"]);

    chapter("All tiers go: the other REPLICA address and CORE lose power too");
    stage.forget();
    stage.lab.power_off(other);
    stage.lab.power_off(Place::Core);
    stage.pull();
    stage.show_sources();
    stage.assert_only(&[Place::Upstream, Place::Cdn]);
    println!(
        "The container says: {}",
        stage.lab.containerd().run(&stage.reference())
    );
    stage.show_log();

    chapter("$ harbor-pilot explain docker.io/library/hello:1");
    stage.show_command(&["explain", "docker.io/library/hello:1"]);

    second_act::run(&mut stage.lab);

    chapter("Everything is taken down again");
    drop(stage);
    let left = Lab::left_behind(&name);
    assert!(left.is_empty(), "left behind: {}", left.join(", "));
    println!("No process, mount, network namespace, control group or file is left.");
    println!("\nThe demonstration took {} s.", start.elapsed().as_secs());
}

impl Stage {
    fn reference(&self) -> String {
        self.image.by_tag("docker.io")
    }

    /// Pulls, checks what came, and says how long it took.
    fn pull(&self) -> Duration {
        let reference = self.reference();
        println!("$ ctr images pull {reference}");
        let pull = self.lab.containerd().pull(&reference);
        assert!(
            pull.succeeded,
            "the pull failed:\n{}\nthe agent's log:\n{}",
            pull.output,
            self.lab.agent().log()
        );
        let containerd = self.lab.containerd();
        let digest = containerd.digest_of(&reference);
        assert_eq!(
            digest.as_deref(),
            Some(self.image.index_digest()),
            "another image came"
        );
        assert!(
            containerd.is_complete(&reference),
            "the image is not complete"
        );
        println!("complete, right digest, {:.2} s", pull.took.as_secs_f32());
        pull.took
    }

    /// containerd forgets the image, the servers' logs are emptied.
    fn forget(&self) {
        self.lab.containerd().forget_images();
        self.lab.forget_requests();
    }

    /// Who was asked, as the servers' own access logs say.
    fn show_sources(&self) {
        let asked: Vec<String> = Place::ALL
            .into_iter()
            .map(|place| (place, self.lab.front(place).requests().len()))
            .filter(|(_, count)| *count > 0)
            .map(|(place, count)| format!("{place:?} {} ({count} requests)", place.address()))
            .collect();
        println!("Came from: {}", asked.join(", "));
    }

    fn assert_only(&self, places: &[Place]) {
        for place in Place::ALL {
            let count = self.lab.front(place).requests().len();
            assert!(
                count == 0 || places.contains(&place),
                "{place:?} was asked {count} times"
            );
        }
    }

    /// The REPLICA address that served, and the other.
    fn replicas(&self) -> (Place, Place) {
        if !self.lab.front(Place::ReplicaA).requests().is_empty() {
            (Place::ReplicaA, Place::ReplicaB)
        } else {
            (Place::ReplicaB, Place::ReplicaA)
        }
    }

    /// What the agent has logged since the last time; in production this is `journalctl -u harbor-pilot`.
    fn show_log(&mut self) {
        let log = self.lab.agent().log();
        println!("The agent's journal lines:");
        println!("{}", indent(log.get(self.shown..).unwrap_or_default()));
        self.shown = log.len();
    }

    fn show_command(&self, arguments: &[&str]) {
        let output = self.lab.agent().command(arguments);
        println!("{}", indent(&String::from_utf8_lossy(&output.stdout)));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.stdout.is_empty(),
            "harbor-pilot {} said nothing: {errors}",
            arguments.join(" ")
        );
    }
}

pub(crate) fn chapter(title: &str) {
    println!("\n=== {title}");
}

pub(crate) fn say(lines: &[&str]) {
    for line in lines {
        println!("{line}");
    }
}

pub(crate) fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("  | {line}"))
        .collect::<Vec<String>>()
        .join("\n")
}
