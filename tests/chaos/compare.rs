//! A stall in the middle of a layer and a drip, with and without the agent, measured in one run at the same sources
//! (`make compare-containerd-alone`). containerd alone is stopped after a while: it would wait for ever, or for hours.

use crate::control::Control;
use crate::image;
use crate::lab::{AgentOptions, Lab, Place, Pull, TAG};
use crate::plan::{Fault, Source};
use crate::sources::{Order, Strike, repository};
use std::time::Duration;

const SEED: u64 = 1;

/// One layer, which takes a moment at any speed.
const LAYERS: [usize; 1] = [5_000_000];

/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(150);

/// What the first mirror does, and what it may cost with the agent.
const FAULTS: [(&str, Fault, Duration); 2] = [
    (
        "stalls in the middle of the layer",
        Fault::Stall,
        Duration::from_secs(3),
    ),
    ("drips 1 kB/s", Fault::Drip, Duration::from_secs(12)),
];

/// Asserted is this many times the goal: the machine may be busy.
const SLACK: u32 = 3;

/// Prints a table. `false`: the agent did not keep its promise.
pub(crate) fn measure() -> bool {
    let mut lab = Lab::start_without_servers();
    let mut control = Control::start(&lab);
    let reference = format!("docker.io/{}:{TAG}", repository(SEED));
    lab.set_dns("dead.lab.example", &[Place::Private]);

    println!(
        "one image with a layer of {} bytes; REPLICA a, REPLICA b, CORE and upstream have it",
        LAYERS[0]
    );
    println!("\n| the first mirror | containerd alone | through the agent |\n| --- | --- | --- |");
    let mut rows = vec![("is healthy", Vec::new())];
    rows.extend(FAULTS.map(|(name, ..)| (name, Vec::new())));
    lab.hosts_without_agent();
    for (row, fault) in [None, Some(Fault::Stall), Some(Fault::Drip)]
        .into_iter()
        .enumerate()
    {
        heal(&lab, &mut control);
        if let Some(fault) = fault {
            control.tell(&strike(Source::ReplicaA, fault));
        }
        rows[row].1.push(pull(&lab, &reference));
    }
    lab.hosts_through_agent();
    let mut kept = true;
    for (row, (name, fault, goal)) in FAULTS.into_iter().enumerate() {
        // A new agent for each, so that nothing is known of the address; a healthy pull shows which one it prefers.
        heal(&lab, &mut control);
        lab.start_agent(&AgentOptions::default());
        let healthy = pull(&lab, &reference);
        let preferred = preferred(&lab.agent().log());
        heal(&lab, &mut control);
        control.tell(&strike(preferred, fault));
        let sick = pull(&lab, &reference);
        let more = sick.took.saturating_sub(healthy.took);
        if !sick.succeeded || more > goal * SLACK {
            println!(
                "{name}: {:.1} s more\n{}",
                more.as_secs_f32(),
                lab.agent().log()
            );
            kept = false;
        }
        if row == 0 {
            rows[0].1.push(healthy);
        }
        rows[row + 1].1.push(sick);
    }
    for (name, pulls) in rows {
        let cells: Vec<String> = pulls.iter().map(told).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    kept
}

fn pull(lab: &Lab, reference: &str) -> Pull {
    let pull = lab.containerd().start_pull(reference, PATIENCE);
    let pull = pull.join().expect("the pull's thread ends");
    lab.containerd().forget_images();
    pull
}

fn told(pull: &Pull) -> String {
    if pull.succeeded {
        format!("{:.1} s", pull.took.as_secs_f32())
    } else if pull.took >= PATIENCE {
        format!("> {} s, stopped", PATIENCE.as_secs())
    } else {
        format!("failed after {:.1} s", pull.took.as_secs_f32())
    }
}

fn heal(lab: &Lab, control: &mut Control) {
    lab.containerd().forget_images();
    control.tell(&Order::Hold {
        seed: SEED,
        layers: LAYERS.to_vec(),
    });
}

fn strike(source: Source, fault: Fault) -> Order {
    let layer = &image::make(SEED, &LAYERS).blobs[0];
    Order::Strike(Strike {
        source,
        fault: Some(fault),
        ending: layer.digest.to_string(),
        blob: Some(0),
        at: layer.body.len() / 2,
        once: false,
    })
}

/// Who served the layer.
fn preferred(log: &str) -> Source {
    let layer = image::make(SEED, &LAYERS).blobs[0].digest.to_string();
    let short = layer.get(..19).expect("a digest is longer");
    let line = log
        .lines()
        .find(|line| line.contains(short) && line.contains("served by"));
    let line = line.unwrap_or_else(|| panic!("nobody served {short}:\n{log}"));
    match line {
        line if line.contains("198.18.1.11") => Source::ReplicaA,
        line if line.contains("198.18.1.12") => Source::ReplicaB,
        line => panic!("not from REPLICA: {line}"),
    }
}
