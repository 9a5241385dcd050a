//! Memory: of everybody idle, with many slow streams, and after them.

use crate::contestant::{Contestant, Upstream};
use crate::load::SlowStreams;
use crate::parts::{Measured, SETTLE, now_per_before, turns};
use crate::report::Table;
use crate::{Bench, Result};
use std::thread;
use std::time::{Duration, Instant};

/// Until every slow stream flows: the agent lets requests wait up to 2 s at a loaded address (rule P12).
const STREAMS_FLOW: Duration = Duration::from_secs(4);
/// Streams last so much longer than they are measured: starting them takes time, and curl reads its first part unlimited.
const SPARE: Duration = Duration::from_secs(30);

/// Resident memory of freshly started programs.
pub(crate) fn memory(bench: &Bench) -> Result<Vec<Table>> {
    let (settings, origin) = (&bench.settings, &bench.origin);
    let kinds = settings.contestants();
    let mut measured = Measured::<3>::new(&kinds);
    let bytes = SlowStreams::bytes_for(settings.load_time() + STREAMS_FLOW + SPARE);
    let blob = origin.put_blob(bytes, u64::MAX - 1)?;
    let resource = format!("blobs/{}", blob.digest);
    for round in 0..settings.rounds {
        for turn in turns(kinds.len(), round) {
            let Some(row) = measured.get_mut(turn) else {
                continue;
            };
            let contestant = Contestant::start(bench, row.kind, Upstream::Tls)?;
            thread::sleep(Duration::from_secs(1));
            let [idle, peak, after] = &mut row.samples;
            idle.push(contestant.process.resident_mib()?);
            let mut streams = SlowStreams::start(&contestant.url(&resource), settings.streams)?;
            thread::sleep(STREAMS_FLOW);
            let end = Instant::now() + settings.load_time();
            let mut highest = 0.0_f64;
            while Instant::now() < end {
                highest = highest.max(contestant.process.resident_mib()?);
                thread::sleep(SETTLE);
            }
            streams.check()?;
            peak.push(highest);
            drop(streams);
            thread::sleep(Duration::from_secs(1));
            after.push(contestant.process.resident_mib()?);
        }
    }
    let streams = settings.streams;
    let title = format!("Resident memory in MiB, {streams} streams of 4 MiB/s, TLS upstream");
    let columns = ["idle", "highest with streams", "1 s after"];
    let mut table = Table::new(&title, &columns);
    for row in &measured {
        let cells = row.samples.each_ref().map(|samples| samples.spread(1));
        table.row(row.kind.label(), &cells);
    }
    let before = now_per_before("Resident memory", &columns, &measured);
    Ok(std::iter::once(table).chain(before).collect())
}
