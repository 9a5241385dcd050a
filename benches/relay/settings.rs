//! What a run does, from BENCH_… variables; the defaults are those of a run worth quoting.

use crate::Result;
use crate::contestant::{Build, Kind};
use std::env;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A part of the run, with a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// One blob at a time, TLS upstream.
    Blob,
    /// The same, plain upstream.
    Plain,
    /// containerd's sequence: HEAD by tag, GET by digest, each pair another; and what a pull costs the tier.
    Manifest,
    /// GET by tag over keep-alive, each request another.
    Tag,
    /// The same, all requests alike.
    Alike,
    /// Instructions of an agent per request of containerd's sequence, by callgrind.
    Instructions,
    /// Images without a registry beside the same ones by their registry.
    Router,
    /// Resident memory, idle and with many slow streams.
    Memory,
    /// Bytes of an agent with a limit of bandwidth.
    Bandwidth,
}

/// All that can be set.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `BENCH_MIB`: size of a blob (1024).
    pub(crate) mib: u64,
    /// `BENCH_ROUNDS`: interleaved rounds of every part (5).
    pub(crate) rounds: usize,
    /// `BENCH_SECONDS`: of load per contestant and round, for manifests and memory (4).
    pub(crate) seconds: u64,
    /// `BENCH_STREAMS`: slow streams at once (64).
    pub(crate) streams: usize,
    /// `BENCH_PARTS`: blob,plain,manifest,tag,alike,router,memory (all of these), instructions, bandwidth.
    pub(crate) parts: Vec<Part>,
    /// `BENCH_DIR`: where blobs and logs are kept while it runs (the system's place for temporary files).
    pub(crate) directory: PathBuf,
    /// `BENCH_AGENT`: another binary, or `none` to measure the others alone.
    pub(crate) agent: Option<PathBuf>,
    /// `BENCH_AGENT_BEFORE`: an older binary, which takes part beside the agent.
    pub(crate) agent_before: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment.
    pub(crate) fn from_environment() -> Result<Self> {
        let agent = match env::var_os("BENCH_AGENT") {
            None => Some(PathBuf::from(env!("CARGO_BIN_EXE_harbor-pilot"))),
            Some(none) if none == "none" => None,
            Some(path) => Some(path.into()),
        };
        let agent_before = env::var_os("BENCH_AGENT_BEFORE").map(PathBuf::from);
        let mut binaries = agent.iter().chain(&agent_before);
        if let Some(missing) = binaries.find(|binary| !binary.is_file()) {
            let missing = missing.display();
            return Err(format!("no agent at {missing}: build it, or set BENCH_AGENT=none").into());
        }
        let settings = Self {
            mib: number("BENCH_MIB", 1024)?,
            rounds: number("BENCH_ROUNDS", 5)?,
            seconds: number("BENCH_SECONDS", 4)?,
            streams: number("BENCH_STREAMS", 64)?,
            parts: parts(&env::var("BENCH_PARTS").unwrap_or_default())?,
            directory: env::var_os("BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from),
            agent,
            agent_before,
        };
        if settings.mib == 0 || settings.rounds == 0 || settings.seconds == 0 {
            return Err("BENCH_MIB, BENCH_ROUNDS and BENCH_SECONDS must be at least 1".into());
        }
        Ok(settings)
    }

    /// Everything that takes part, in the order of the tables.
    pub(crate) fn contestants(&self) -> Vec<Kind> {
        Kind::PROXIES.into_iter().chain(self.agents()).collect()
    }

    /// The agents among them.
    pub(crate) fn agents(&self) -> Vec<Kind> {
        let all = Kind::AGENTS.into_iter();
        all.filter(|kind| self.binary(*kind).is_some()).collect()
    }

    /// The binary of an agent.
    pub(crate) fn binary(&self, kind: Kind) -> Option<&PathBuf> {
        match kind {
            Kind::Agent { build, .. } => match build {
                Build::Now => self.agent.as_ref(),
                Build::Before => self.agent_before.as_ref(),
            },
            _ => None,
        }
    }

    /// Of load per contestant and round.
    pub(crate) fn load_time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// A blob's size in bytes.
    pub(crate) fn blob_bytes(&self) -> u64 {
        self.mib << 20
    }
}

fn number<T: FromStr>(name: &str, default: T) -> Result<T> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{name}={text} is not a number").into()),
        Err(_) => Ok(default),
    }
}

fn parts(text: &str) -> Result<Vec<Part>> {
    if text.is_empty() {
        return Ok(vec![
            Part::Blob,
            Part::Plain,
            Part::Manifest,
            Part::Tag,
            Part::Alike,
            Part::Router,
            Part::Memory,
        ]);
    }
    let part = |word: &str| match word {
        "blob" => Ok(Part::Blob),
        "plain" => Ok(Part::Plain),
        "manifest" => Ok(Part::Manifest),
        "tag" => Ok(Part::Tag),
        "alike" => Ok(Part::Alike),
        "router" => Ok(Part::Router),
        "memory" => Ok(Part::Memory),
        "instructions" => Ok(Part::Instructions),
        "bandwidth" => Ok(Part::Bandwidth),
        other => Err(format!("BENCH_PARTS: no part is called {other}").into()),
    };
    text.split(',').map(part).collect()
}
