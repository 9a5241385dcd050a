//! Images without a registry beside the same ones by their registry, through one agent that knows which registry has them.

use crate::contestant::{By, Contestant};
use crate::pairs::{self, At};
use crate::parts::turns;
use crate::report::{Samples, Table};
use crate::{Bench, Result};

/// Their tags and digests are fewer than the agent remembers.
const IMAGES: usize = 400;
const NAMES: [(By, &str); 2] = [
    (By::Registry, "by their registry"),
    (By::Router, "without a registry"),
];

/// Requests per second, and CPU of the agent, by both names.
pub(crate) fn beside(bench: &Bench) -> Result<Table> {
    let settings = &bench.settings;
    let title = format!(
        "HEAD by tag and GET by digest, {IMAGES} images in turn whose registry is known, 16 kept-alive connections, {} s",
        settings.seconds
    );
    let columns = ["requests/s", "/ by registry", "p99 ms", "CPU µs/request"];
    let mut table = Table::new(&title, &columns);
    let Some(kind) = settings.agents().into_iter().next() else {
        return Ok(table);
    };
    let agent = Contestant::start_agent(bench, kind, By::Router.tables())?;
    let images = bench.origin.put_images(IMAGES, "router")?;
    let paths = NAMES.map(|(by, _)| move |what: &str| by.path(what));
    let address = agent.listen;
    for path in &paths {
        pairs::each_once(&At { address, path }, &images)?;
    }
    let mut measured: [[Samples; 3]; 2] = std::array::from_fn(|_| Default::default());
    for round in 0..settings.rounds {
        for turn in turns(paths.len(), round) {
            let (Some(path), Some([rate, p99, cpu])) = (paths.get(turn), measured.get_mut(turn))
            else {
                continue;
            };
            let before = agent.process.cpu_seconds()?;
            let found = pairs::pairs(&At { address, path }, &images, settings.load_time())?;
            cpu.push((agent.process.cpu_seconds()? - before) * 1e6 / found.count);
            rate.push(found.per_second);
            p99.push(found.p99);
        }
    }
    let [[plain, _, _], _] = &measured;
    for ((_, label), [rate, p99, cpu]) in NAMES.iter().zip(&measured) {
        let ratio = rate.per(plain).spread(3);
        table.row(
            label,
            &[rate.spread(0), ratio, p99.spread(2), cpu.spread(1)],
        );
    }
    Ok(table)
}
