//! The relay beside nginx and HAProxy: CPU, wall time, requests per second and memory, as ratios from one run.
//!
//! docs/benchmarks.md says what is measured, how, and what the numbers do not say. Needs nginx, haproxy, wrk and
//! curl; talks to loopback only; everything that it starts it stops.

mod bandwidth;
mod contestant;
mod decision;
mod instructions;
mod load;
mod memory;
mod origin;
mod pairs;
mod parts;
mod process;
mod report;
mod router;
mod settings;

use contestant::Upstream;
use load::Asking;
use origin::Origin;
use settings::{Part, Settings};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What goes wrong ends the run: a bench that skips what failed measures something else.
type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What all parts of a run share.
pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) origin: Origin,
    /// Temporary.
    pub(crate) directory: PathBuf,
}

const HELP: &str = "\
The relay beside nginx and HAProxy in front of the same origin. Wants a quiet machine; all parts take a quarter of an hour.
Tables go to standard output, in Markdown. docs/benchmarks.md says what they mean.

  cargo bench --locked --bench relay
  BENCH_PARTS=manifest BENCH_ROUNDS=2 BENCH_SECONDS=1 cargo bench --locked --bench relay

BENCH_PARTS    blob,plain,manifest,tag,alike,router,memory: which parts, in this order (all); instructions, by
               callgrind, and bandwidth only where they are named
BENCH_MIB      size of a blob (1024)
BENCH_ROUNDS   interleaved rounds of every part (5)
BENCH_SECONDS  of load per contestant and round, for manifests and memory (4)
BENCH_STREAMS  slow streams at once, for memory (64)
BENCH_DIR      where blobs and logs are kept while it runs (the system's place for temporary files)
BENCH_AGENT    another binary, or none to measure the others alone (the release build)
BENCH_AGENT_BEFORE  an older binary that takes part as well; a second table has the ratios now / before
";

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench reports to the one who started it"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| matches!(argument.as_str(), "--help" | "-h"))
    {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    // `cargo test --all-targets` starts benches too, without this flag.
    if !arguments.iter().any(|argument| argument == "--bench") {
        eprintln!("not measured: run `cargo bench --bench relay`");
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.iter().find(|argument| *argument != "--bench") {
        eprintln!("bench: {unknown} means nothing here: --help says what can be set");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the tables are the bench's product")]
fn run() -> Result<()> {
    let settings = Settings::from_environment()?;
    let directory = tempfile::Builder::new()
        .prefix("harbor-pilot-bench-")
        .tempdir_in(&settings.directory)?;
    let bench = Bench {
        origin: Origin::start(directory.path())?,
        directory: directory.path().to_owned(),
        settings,
    };
    println!("{}", report::preamble(&bench.settings)?);
    for part in &bench.settings.parts {
        let tables = match part {
            Part::Blob => parts::blob(&bench, Upstream::Tls)?,
            Part::Plain => parts::blob(&bench, Upstream::Plain)?,
            Part::Manifest => {
                let mut tables = parts::sequence(&bench)?;
                tables.push(parts::requests_per_pull(&bench)?);
                tables
            }
            Part::Tag => parts::manifest(&bench, Asking::Differently)?,
            Part::Alike => parts::manifest(&bench, Asking::Alike)?,
            Part::Router => vec![router::beside(&bench)?, decision::of_router(&bench)?],
            Part::Memory => memory::memory(&bench)?,
            Part::Bandwidth => vec![bandwidth::bandwidth(&bench)?],
            Part::Instructions => vec![instructions::per_request(&bench)?],
        };
        for table in tables {
            println!("{table}");
        }
    }
    println!(
        "Cipher suites seen by the origin: {}.",
        bench.origin.suites()?
    );
    Ok(())
}
