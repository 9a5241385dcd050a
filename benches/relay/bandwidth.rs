//! Whether a limit of bandwidth is reached and kept, with few and many streams.

use crate::contestant::{Build, Contestant, Kind, Verify};
use crate::load::bytes_in;
use crate::report::{Samples, Table};
use crate::{Bench, Result};

/// MiB per second.
const LIMITS: [u64; 3] = [1, 10, 100];
const STREAMS: [usize; 3] = [1, 8, 64];
/// So many times BENCH_SECONDS a cell is measured.
const LONG: u64 = 5;
/// What the agent holds back of each stream until it is proved (at most 64 KiB) is on its way then: with 64 streams at 1 MiB/s it
/// is as much as comes in 2 s.
const FIRST_SECONDS: u64 = 5;

/// What came after the first seconds, over the limit.
pub(crate) fn bandwidth(bench: &Bench) -> Result<Table> {
    let seconds = bench.settings.seconds.saturating_mul(LONG);
    let columns = STREAMS.map(|streams| format!("{streams} streams"));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let title = format!("Bytes of blobs in {seconds} s over the limit of bandwidth");
    let mut table = Table::new(&title, &columns);
    let agent = Kind::Agent {
        build: Build::Now,
        verify: Verify::Always,
    };
    for limit in LIMITS {
        // More than one stream can have in that time.
        let blob = bench.origin.put_blob(
            (limit << 20) * (FIRST_SECONDS + seconds + 5),
            u64::MAX - limit,
        )?;
        let tables = format!("[limits]\nbandwidth = \"{limit}MiB/s\"\n");
        let mut cells = Vec::new();
        for streams in STREAMS {
            let mut samples = Samples::default();
            for _ in 0..bench.settings.rounds {
                let came_in = |seconds| {
                    let contestant = Contestant::start_agent(bench, agent, &tables)?;
                    let url = contestant.url(&format!("blobs/{}", blob.digest));
                    bytes_in(&url, streams, seconds)
                };
                let bytes = came_in(FIRST_SECONDS + seconds)? - came_in(FIRST_SECONDS)?;
                #[allow(clippy::cast_precision_loss, reason = "a ratio with three digits")]
                samples.push(bytes as f64 / (seconds * (limit << 20)) as f64);
            }
            cells.push(samples.spread(3));
        }
        table.row(&format!("{limit} MiB/s"), &cells);
    }
    Ok(table)
}
