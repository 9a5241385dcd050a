//! What it costs to find out by which route a known image without a registry is pulled: the agent's own function, in this process.

use crate::contestant::{self, By, Upstream, Verify};
use crate::process::free_address;
use crate::report::{Samples, Table};
use crate::{Bench, Result};
use allocation_counter::measure;
use harbor_pilot::admission::Lookup;
use harbor_pilot::app::{self, Start};
use harbor_pilot::cache::Trust;
use harbor_pilot::config::{Loaded, Loader, Problem};
use harbor_pilot::lifecycle::{DataPlane, Inherited, Notifier};
use harbor_pilot::oci::ResourcePath;
use harbor_pilot::relay::PullRequest;
use harbor_pilot::telemetry::Journal;
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::time::Instant;

/// Decisions of a round.
const DECISIONS: u32 = 1_000_000;

/// Nanoseconds and allocations per decision.
pub(crate) fn of_router(bench: &Bench) -> Result<Table> {
    let columns = ["ns/decision", "allocations/decision"];
    let title = format!("The decision for a known image without a registry, {DECISIONS} times");
    let mut table = Table::new(&title, &columns);
    let images = bench.origin.put_images(1, "decision")?;
    let image = images.first().ok_or("one image was wanted")?;
    let data = DataPlane::for_this_machine()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let running = runtime.block_on(async {
        let (start, loaded, rejected) = start(bench)?;
        Ok::<_, Box<dyn std::error::Error>>(
            app::build(start, loaded, rejected, data.threads()).await?,
        )
    })?;
    let whats = [
        ("by its tag", format!("manifests/{}", image.tag)),
        ("by its digest", format!("manifests/{}", image.digest)),
    ];
    for (label, what) in whats {
        let request = request(&By::Router.path(&what))?;
        let pulled = runtime.block_on(running.entry.pull(request.clone()));
        if !pulled.head.status.is_success() || running.entry.known(&request).is_none() {
            return Err(format!("{what} is not known: {}", pulled.head.status).into());
        }
        let (mut times, mut allocations) = (Samples::default(), Samples::default());
        for _ in 0..bench.settings.rounds {
            let mut elapsed = 0.0;
            let counted = measure(|| {
                let began = Instant::now();
                for _ in 0..DECISIONS {
                    black_box(running.entry.known(black_box(&request)));
                }
                elapsed = began.elapsed().as_secs_f64();
            });
            times.push(elapsed * 1e9 / f64::from(DECISIONS));
            let count = u32::try_from(counted.count_total)?;
            allocations.push(f64::from(count) / f64::from(DECISIONS));
        }
        table.row(label, &[times.spread(0), allocations.spread(3)]);
    }
    Ok(table)
}

/// An agent in front of the origin.
fn start(bench: &Bench) -> Result<(Start, Loaded, Option<Vec<Problem>>)> {
    let home = tempfile::Builder::new()
        .tempdir_in(&bench.directory)?
        .keep();
    let mut loader = Loader::packaged(BTreeMap::new());
    loader.config_file = home.join("configuration");
    loader.explicit = true;
    let text = contestant::agent(
        Verify::Always,
        free_address()?,
        &bench.origin,
        Upstream::Tls,
        &home,
    )?;
    fs::write(&loader.config_file, text + By::Router.tables())?;
    let (loaded, rejected) = app::load(&loader)?;
    let start = Start {
        loader,
        journal: Journal::discarding(),
        notifier: Notifier::new(None, None),
        inherited: Inherited::default(),
        seed: 1,
        clients: Lookup::Kernel,
        explain: None,
    };
    Ok((start, loaded, rejected))
}

/// The kubelet's, for a path as a client asks for it.
fn request(path: &str) -> Result<PullRequest> {
    let (path, ns) = path.split_once("?ns=").ok_or("a path without a name")?;
    let ResourcePath::Resource { name, kind } = ResourcePath::parse(path)? else {
        return Err(format!("{path} is no resource").into());
    };
    Ok(PullRequest {
        head: false,
        ns: Some(ns.to_owned()),
        name,
        kind,
        accept: None,
        ranges: None,
        shows_denials: false,
        query: None,
        trust: Trust::Trusted,
        client: None,
        trace: None,
    })
}
