//! The figures of a fleet's course, as the tables of docs/fleet.md.

use super::counts::{Counts, What};
use super::course::PHASES;
use super::site::Site;
use super::world::World;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// All tables.
pub(super) fn tables(world: &World, nodes: u32) -> String {
    let mut text = format!("Requests per second: mean (most in one second). {nodes} nodes.\n\n");
    let names: Vec<&str> = world.sites.iter().map(|site| site.kind.name).collect();
    let line = |text: &mut String, cells: &[String]| {
        writeln!(text, "| {} |", cells.join(" | ")).expect("memory");
    };
    let head = |text: &mut String, first: &[&str], last: &[&str]| {
        let cells = [first, &names, last].concat();
        line(
            text,
            &cells.iter().map(ToString::to_string).collect::<Vec<_>>(),
        );
        line(text, &vec!["---".to_owned(); cells.len()]);
    };
    let last = [
        "sent per request",
        "503",
        "failed",
        "first byte: median, 99 %, longest",
    ];
    head(&mut text, &["", "containerd asks"], &last);
    for (name, seconds) in PHASES {
        let mut cells = vec![
            name.to_owned(),
            pair(&world.requests, What::Request, &seconds),
        ];
        let sites = world.sites.iter();
        cells.extend(sites.map(|site| pair(&site.counts, What::Request, &seconds)));
        cells.push(format!("{:.3}", sent_per_request(world, &seconds)));
        cells.push(refused(world, &seconds).to_string());
        cells.push(world.requests.sum(What::Refused, &seconds).to_string());
        let wait = |hundredth| world.percentile(hundredth, &seconds).as_millis();
        cells.push(format!("{}, {}, {} ms", wait(50), wait(99), wait(100)));
        line(&mut text, &cells);
    }
    for (what, title) in [
        (What::Probe, "Probes per second: mean (most in one second)."),
        (
            What::Dial,
            "Connections begun per second: mean (most in one second).",
        ),
    ] {
        writeln!(text, "\n{title}\n").expect("memory");
        head(&mut text, &[""], &[]);
        for (name, seconds) in PHASES {
            let sites = world.sites.iter();
            let mut cells = vec![name.to_owned()];
            cells.extend(sites.map(|site| pair(&site.counts, what, &seconds)));
            line(&mut text, &cells);
        }
    }
    writeln!(text, "\nThe most requests at once.\n").expect("memory");
    head(&mut text, &[""], &[]);
    for (name, seconds) in PHASES {
        let busiest = |site: &Arc<Site>| site.counts.busiest(&seconds).to_string();
        let mut cells = vec![name.to_owned()];
        cells.extend(world.sites.iter().map(busiest));
        line(&mut text, &cells);
    }
    text
}

fn pair(counts: &Counts, what: What, seconds: &Range<usize>) -> String {
    let (mean, peak) = (counts.mean(what, seconds), counts.peak(what, seconds));
    format!("{mean:.1} ({peak})")
}

/// Requests sent to any address for each that containerd made.
pub(super) fn sent_per_request(world: &World, seconds: &Range<usize>) -> f64 {
    let sites = world.sites.iter();
    let sent: f64 = sites
        .map(|site| site.counts.mean(What::Request, seconds))
        .sum();
    sent / world.requests.mean(What::Request, seconds)
}

/// 503 of all addresses.
pub(super) fn refused(world: &World, seconds: &Range<usize>) -> u64 {
    let sites = world.sites.iter();
    sites
        .map(|site| site.counts.sum(What::Refused, seconds))
        .sum()
}
