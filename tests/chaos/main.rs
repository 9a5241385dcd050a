//! The chaos suite (`make chaos N=… SEED=…`): pulls by the real containerd through the real agent while random things
//! go wrong at random moments and at least one source stays good. Each must keep the fault contract (design P13).
//!
//! Arguments: `--count N --seed S` makes the pulls S, S+1, …; plain numbers are the seeds themselves. A pull is replayed
//! by `make chaos N=1 SEED=…` with the seed of its line.
//!
//! `--soak MINUTES` (`make soak`) keeps one agent under the same faults, with parallel pulls, and watches its memory and files.
//! `compare` measures a stall and a drip with and without the agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    reason = "a test that cannot go on says so and ends"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests and the demonstration use different parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, unreachable_pub, reason = "the soak needs a part of it")]
#[path = "../agent/client.rs"]
mod client;
mod compare;
mod control;
mod image;
mod observers;
mod plan;
mod pull;
mod puller;
mod soak;
mod sources;

use control::Control;
use lab::{Lab, Place};
use plan::Plan;
use std::path::Path;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, ca] = arguments.as_slice()
        && word == "sources"
    {
        sources::serve(Path::new(ca));
        return;
    }
    if arguments == ["puller"] {
        puller::serve();
        return;
    }
    if arguments == ["observers"] {
        observers::serve();
        return;
    }
    if arguments == ["compare"] {
        if !compare::measure() {
            std::process::exit(1);
        }
        return;
    }
    if let Some(minutes) = option(&arguments, "--soak") {
        if !soak::run(minutes, option(&arguments, "--seed").unwrap_or(1)) {
            std::process::exit(1);
        }
        return;
    }
    let seeds = seeds(&arguments);
    if !suite(&seeds) {
        std::process::exit(1);
    }
}

fn number(text: &String) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no number"))
}

/// The number behind a name.
fn option(arguments: &[String], name: &str) -> Option<u64> {
    let at = arguments.iter().position(|argument| argument == name)?;
    let value = arguments.get(at + 1).filter(|value| !value.is_empty())?;
    Some(number(value))
}

/// Which pulls to make.
fn seeds(arguments: &[String]) -> Vec<u64> {
    if arguments.iter().any(|argument| argument == "--count") {
        // A seed of the clock: another run meets other faults.
        let first = option(arguments, "--seed").unwrap_or_else(|| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
            since.map_or(1, |since| since.as_secs())
        });
        let count = option(arguments, "--count").unwrap_or(20);
        (first..first + count).collect()
    } else {
        arguments.iter().map(number).collect()
    }
}

fn suite(seeds: &[u64]) -> bool {
    let start = Instant::now();
    let mut lab = Lab::start_without_servers();
    let mut control = Control::start(&lab);
    lab.set_dns("dead.lab.example", &[Place::Private]);
    let (mut failed, mut slow) = (0, 0);
    println!(
        "{} pulls, seed {}",
        seeds.len(),
        seeds.first().unwrap_or(&0)
    );
    for seed in seeds {
        let plan = Plan::of(*seed);
        let outcome = pull::run(&mut lab, &mut control, &plan);
        let verdict = match (&outcome.violation, outcome.slow) {
            (Some(_), _) => "VIOLATION",
            (None, true) => "slow",
            (None, false) => "ok",
        };
        println!(
            "{verdict:<9} seed {seed}: {:.1} s, healthy {:.1} s, {} failed before; {plan}",
            outcome.took.as_secs_f32(),
            outcome.healthy.as_secs_f32(),
            outcome.failures,
        );
        if let Some(violation) = outcome.violation {
            failed += 1;
            println!("    {}", violation.replace('\n', "\n    "));
        }
        slow += usize::from(outcome.slow);
    }
    drop(control);
    println!(
        "{} s in all; {slow} took longer than the goal (healthy + 5 s, with drips + 15 s)",
        start.elapsed().as_secs()
    );
    println!("{} passed, {failed} failed", seeds.len() - failed);
    failed == 0
}
