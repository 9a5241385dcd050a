//! One pull: a healthy one for its time, then the same image again while the plan goes wrong.

use crate::control::Control;
use crate::image;
use crate::lab::{AgentOptions, Lab, Place, Pull, TAG};
use crate::plan::{Fault, NodeFault, Plan, Source, Target};
use crate::sources::{Order, Strike, repository};
use crate::support::Image;
use std::time::Duration;

/// What the suite asserts is this many times the goal: it runs on busy machines.
const SLACK: u32 = 3;
/// After a failed pull, as kubelet waits longer than that.
const BEFORE_RETRY: Duration = Duration::from_secs(2);
/// Between the watched request and what is done from outside: the bytes up to the moment have left.
const UNTIL_THE_MOMENT: Duration = Duration::from_millis(60);

/// How it went.
pub(crate) struct Outcome {
    pub(crate) healthy: Duration,
    /// The pull that ended it.
    pub(crate) took: Duration,
    /// How many failed before.
    pub(crate) failures: usize,
    /// Longer than the goal, but not than what is asserted.
    pub(crate) slow: bool,
    /// Why the contract was broken, with the agent's lines.
    pub(crate) violation: Option<String>,
}

pub(crate) fn run(lab: &mut Lab, control: &mut Control, plan: &Plan) -> Outcome {
    let image = image::make(plan.seed, &plan.layers);
    let reference = format!("docker.io/{}:{TAG}", repository(plan.seed));
    control.tell(&Order::Hold {
        seed: plan.seed,
        layers: plan.layers.clone(),
    });
    lab.containerd().forget_images();
    lab.start_agent(&AgentOptions::default());
    let healthy = lab.containerd().pull(&reference);
    if let Some(complaint) = wrong(lab, &healthy, &image, &reference) {
        let violation = Some(format!(
            "without any fault: {complaint}\n{}",
            lab.agent().log()
        ));
        return Outcome {
            healthy: healthy.took,
            took: healthy.took,
            failures: 0,
            slow: false,
            violation,
        };
    }
    lab.containerd().forget_images();
    if plan.cold {
        lab.start_agent(&AgentOptions::default());
    }
    let log_before = lab.agent().log().len();
    let mut failures = 0;
    let mut pull = meddled_pull(lab, control, plan, &image, &reference);
    let mut complaint = wrong(lab, &pull, &image, &reference);
    while complaint.is_some() && failures < plan.allowed_failures() {
        failures += 1;
        std::thread::sleep(BEFORE_RETRY);
        pull = lab.containerd().pull(&reference);
        complaint = wrong(lab, &pull, &image, &reference);
    }
    let violation = complaint
        .or_else(|| too_long(plan, healthy.took, pull.took))
        .map(|why| {
            let log = lab.agent().log();
            let lines = log.get(log_before..).unwrap_or(&log);
            format!("{}: {why}\n{}", name(plan, pull.took), told(lines))
        });
    if violation.is_some() {
        control.tell(&Order::Report);
    }
    let slow = pull.took > healthy.took + plan.goal();
    undo(lab, plan);
    Outcome {
        healthy: healthy.took,
        took: pull.took,
        failures,
        slow,
        violation,
    }
}

/// Sets the faults, pulls, and does at the moment what is done from outside.
fn meddled_pull(
    lab: &mut Lab,
    control: &mut Control,
    plan: &Plan,
    image: &Image,
    reference: &str,
) -> Pull {
    prepare(control, plan, image);
    let pulling = lab.containerd().start_pull(reference, cut_off(plan));
    if plan.has_a_moment() {
        while !pulling.is_finished() && !control.has_seen() {
            std::thread::sleep(Duration::from_millis(2));
        }
        meddle_from_outside(lab, control, plan);
    }
    pulling.join().expect("the pull's thread ends")
}

/// Tells the sources what goes wrong, and which request to watch for.
pub(crate) fn prepare(control: &mut Control, plan: &Plan, image: &Image) {
    let (ending, blob, body) = match plan.target {
        Target::Tag => (format!("/manifests/{TAG}"), None, &image.top.body),
        Target::Manifest => {
            let manifest = &image.children[0];
            (manifest.digest.to_string(), None, &manifest.body)
        }
        Target::Blob(index) => {
            let blob = &image.blobs[index];
            (blob.digest.to_string(), Some(index), &blob.body)
        }
    };
    let strike = |source: Source, fault: Option<Fault>| {
        Order::Strike(Strike {
            source,
            fault,
            ending: ending.clone(),
            blob,
            at: plan.offset(fault, body),
            once: plan.once,
        })
    };
    control.tell(&Order::Watch {
        ending: ending.clone(),
    });
    for (source, fault) in &plan.bad {
        control.tell(&strike(*source, Some(*fault)));
    }
    if plan.node.is_some() {
        for source in Source::ALL {
            control.tell(&strike(source, None));
        }
    }
}

/// The moment has come: what the servers cannot do themselves.
pub(crate) fn meddle_from_outside(lab: &mut Lab, control: &mut Control, plan: &Plan) {
    std::thread::sleep(UNTIL_THE_MOMENT);
    for (source, fault) in &plan.bad {
        match fault {
            Fault::Kill => control.tell(&Order::Kill(*source)),
            Fault::PowerLoss => lab.power_off(place(*source)),
            _ => {}
        }
    }
    if let Some(fault) = plan.node {
        meddle_with_node(lab, fault);
    }
}

fn meddle_with_node(lab: &mut Lab, fault: NodeFault) {
    match fault {
        NodeFault::DnsChange => lab.set_dns("replicas.lab.example", &[Place::Private]),
        NodeFault::DnsEmpty => lab.set_dns("replicas.lab.example", &[]),
        NodeFault::DnsFailure => lab.silence_dns(),
        NodeFault::AgentKilled => lab.signal_agent("KILL"),
        NodeFault::AgentKilledAndRestarted => {
            lab.signal_agent("KILL");
            lab.restart_agent();
        }
        NodeFault::AgentRestarted => {
            lab.signal_agent("TERM");
            lab.restart_agent();
        }
    }
}

pub(crate) fn undo(lab: &mut Lab, plan: &Plan) {
    for (source, fault) in &plan.bad {
        if *fault == Fault::PowerLoss {
            lab.power_on(place(*source));
        }
    }
    match plan.node {
        Some(NodeFault::DnsFailure) => lab.unsilence_dns(),
        Some(NodeFault::DnsChange | NodeFault::DnsEmpty) => {
            lab.set_dns("replicas.lab.example", &[Place::ReplicaA, Place::ReplicaB]);
        }
        _ => {}
    }
}

fn place(source: Source) -> Place {
    match source {
        Source::ReplicaA => Place::ReplicaA,
        Source::ReplicaB => Place::ReplicaB,
        Source::Core => Place::Core,
        Source::Upstream => Place::Upstream,
    }
}

/// What the violation is called.
fn name(plan: &Plan, took: Duration) -> &'static str {
    let drips = plan.bad.iter().any(|(_, fault)| *fault == Fault::Drip);
    if took < plan.goal() * SLACK {
        "failed"
    } else if drips {
        "a drip was not switched"
    } else {
        "too long"
    }
}

/// When a pull has certainly taken too long.
fn cut_off(plan: &Plan) -> Duration {
    plan.goal() * SLACK + Duration::from_secs(10)
}

/// What is wrong with a pull that should have succeeded.
fn wrong(lab: &Lab, pull: &Pull, image: &Image, reference: &str) -> Option<String> {
    if !pull.succeeded {
        let reason = pull
            .output
            .lines()
            .rev()
            .find(|line| line.starts_with("ctr:"));
        let reason = reason.unwrap_or("ctr gave no reason");
        return Some(format!(
            "failed after {:.1} s: {reason}",
            pull.took.as_secs_f32()
        ));
    }
    let containerd = lab.containerd();
    if containerd.digest_of(reference).as_deref() != Some(image.top.digest.as_str()) {
        return Some("it succeeded with another image".to_owned());
    }
    if !containerd.is_complete(reference) {
        return Some("it succeeded, but the image is not complete".to_owned());
    }
    None
}

fn too_long(plan: &Plan, healthy: Duration, took: Duration) -> Option<String> {
    let limit = healthy + plan.goal() * SLACK;
    (took > limit).then(|| {
        format!(
            "took {:.1} s; healthy {:.1} s, at most {:.1} s is allowed",
            took.as_secs_f32(),
            healthy.as_secs_f32(),
            limit.as_secs_f32()
        )
    })
}

/// The agent's access records and events, without what was simply served.
fn told(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains("OUTCOME=served"))
        .collect();
    let first = lines.len().saturating_sub(40);
    lines[first..].join("\n")
}
