//! Instructions of an agent per request, counted by callgrind: what CPU time cannot tell on a machine whose rounds differ by more
//! than two builds do. Two runs with different numbers of requests; the difference is what the requests cost, without start and end.

use crate::contestant::{By, Contestant, Kind, Upstream};
use crate::origin::Image;
use crate::pairs::{self, At};
use crate::report::Table;
use crate::{Bench, Result};
use std::fs;
use std::process::Command;

/// Images that are pulled in the shorter run and in the longer one. The first ones warm what is built on first use.
const IMAGES: [usize; 2] = [200, 1200];
/// Where all are known, those of the shorter run are pulled again so often that the longer one has as many requests.
const PASSES: usize = IMAGES[1] / IMAGES[0];

/// Of containerd's sequence each image takes two requests.
pub(crate) fn per_request(bench: &Bench) -> Result<Table> {
    let columns = ["instructions/request", "now / before"];
    let title = "Instructions per request of HEAD by tag and GET by digest, TLS upstream";
    let mut table = Table::new(title, &columns);
    let [few, many] = IMAGES;
    let images = bench.origin.put_images(many, "instructions")?;
    let requests = f64::from(u32::try_from((many - few) * 2)?);
    let mut found: Vec<(Kind, f64)> = Vec::new();
    let first = images.get(..few).unwrap_or_default();
    let per_request = |kind, by, passes: &[&[Image]]| -> Result<f64> {
        let short = counted_again(bench, kind, by, &[first])?;
        let long = counted_again(bench, kind, by, passes)?;
        Ok((long - short) / requests)
    };
    for kind in bench.settings.agents() {
        found.push((kind, per_request(kind, By::Registry, &[&images])?));
    }
    for (kind, now) in &found {
        let before = |before: Kind| found.iter().find(|(kind, _)| *kind == before);
        let before = kind.before().and_then(before);
        let ratio = before.map_or_else(String::new, |(_, before)| format!("{:.3}", now / before));
        table.row(kind.label(), &[format!("{now:.0}"), ratio]);
    }
    if let Some((kind, _)) = found.first() {
        let plain = per_request(*kind, By::Registry, &[first; PASSES])?;
        let routed = per_request(*kind, By::Router, &[first; PASSES])?;
        let known = format!("{}, known images", kind.label());
        table.row(&known, &[format!("{plain:.0}"), String::new()]);
        let more = format!("{:.0} more", routed - plain);
        let label = format!("{known} without a registry");
        table.row(&label, &[format!("{routed:.0}"), more]);
    }
    Ok(table)
}

/// valgrind 3.19 itself crashes now and then under programs with threads: such a run is repeated, twice at most.
fn counted_again(bench: &Bench, kind: Kind, by: By, passes: &[&[Image]]) -> Result<f64> {
    let mut found = counted(bench, kind, by, passes);
    for _ in 0..2 {
        if found.is_ok() {
            break;
        }
        found = counted(bench, kind, by, passes);
    }
    found
}

/// All instructions of a run in which these are pulled, pass by pass, one after the other.
fn counted(bench: &Bench, kind: Kind, by: By, passes: &[&[Image]]) -> Result<f64> {
    let home = tempfile::Builder::new()
        .tempdir_in(&bench.directory)?
        .keep();
    let counts = home.join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}", counts.display()));
    let agent = Contestant::start_at(
        bench,
        kind,
        Upstream::Tls,
        &home,
        Some(valgrind),
        by.tables(),
    )?;
    let path = |what: &str| by.path(what);
    let at = At {
        address: agent.listen,
        path: &path,
    };
    for images in passes {
        pairs::each_once(&at, images).map_err(|error| {
            let log = fs::read_to_string(home.join("output.log")).unwrap_or_default();
            format!("{}: {error}\n{log}", kind.label())
        })?;
    }
    // callgrind writes at the program's end.
    drop(agent.process);
    let text = fs::read_to_string(&counts)?;
    let sum = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(sum.ok_or("callgrind wrote no sum")?.trim().parse()?)
}
