//! How long a tier's change of state takes until it stands in the last host configuration on disk, with 1, 7 and 100
//! registries (design F1: within 100 ms, apart from what the disk takes to flush).
//!
//! The daemon's own task in this process: what is measured begins with the published snapshot, and ends when a reader
//! sees the last file. Once in memory (tmpfs, whose fsync costs nothing), once on the disk of `BENCH_DIR`.

use harbor_pilot::config::Config;
use harbor_pilot::lifecycle::Tasks;
use harbor_pilot::metrics::Metrics;
use harbor_pilot::node::{self, FilesState};
use harbor_pilot::telemetry::Journal;
use harbor_pilot::topology::{
    EndpointGauges, EndpointId, EndpointState, EndpointStatus, Snapshot, SourceState, Sources,
};
use std::error::Error;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const REGISTRIES: [usize; 3] = [1, 7, 100];
const BUILT_IN: [&str; 7] = [
    "docker.io",
    "ghcr.io",
    "quay.io",
    "gcr.io",
    "public.ecr.aws",
    "mcr.microsoft.com",
    "registry.k8s.io",
];
const TIER: &str = "https://core.example.com/";
const MEMORY: &str = "/dev/shm";
/// Between two looks of the reader.
const LOOK: Duration = Duration::from_micros(200);
/// A change that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a series of changes took, in milliseconds.
#[derive(Default)]
struct Samples(Vec<f64>);

#[allow(
    clippy::print_stderr,
    reason = "a bench reports to the one who started it"
)]
fn main() -> ExitCode {
    // `cargo test --all-targets` starts benches too, without this flag.
    if !env::args().any(|argument| argument == "--bench") {
        eprintln!("not measured: run `cargo bench --bench files`");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the table is the bench's product")]
fn run() -> Result<()> {
    let rounds = env::var("BENCH_ROUNDS").map_or(Ok(5), |text| text.parse())?;
    let disk = env::var_os("BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let cores = std::thread::available_parallelism()?;
    println!(
        "Tier's change of state to the last hosts.toml, in ms; {rounds} rounds of two changes: median (least–greatest).\n\
         {cores} cores, load at the start {}.\n",
        load.join(" ")
    );
    println!(
        "| registries | in memory | on {} |\n|---|---:|---:|",
        disk.display()
    );
    for registries in REGISTRIES {
        let mut line = format!("| {registries} |");
        for place in [Path::new(MEMORY), &disk] {
            let mut samples = Samples::default();
            for _ in 0..rounds {
                runtime.block_on(round(place, registries, &mut samples))?;
            }
            write!(line, " {} |", samples.text())?;
        }
        println!("{line}");
    }
    Ok(())
}

/// A fresh task, because a tier that is lost more often is taken back later: one loss, one return.
async fn round(place: &Path, registries: usize, samples: &mut Samples) -> Result<()> {
    let root = tempfile::Builder::new()
        .prefix("harbor-pilot-bench-")
        .tempdir_in(place)?;
    let certs_d = root.path().join("certs.d");
    fs::create_dir(&certs_d)?;
    let (text, names) = configuration(&certs_d, registries);
    let config = Config::from_toml(&text)
        .map_err(|problems| format!("the bench's configuration: {problems:?}"))?;
    let config = Arc::new(config);
    let files: Vec<PathBuf> = names
        .iter()
        .map(|name| certs_d.join(name).join("hosts.toml"))
        .collect();
    let tasks = Tasks::default();
    let listen = own_port(&tasks).await?;
    let (snapshots, snapshot) = watch::channel(snapshot(&config, EndpointStatus::Healthy));
    let (_config_in, in_force) = watch::channel(config.clone());
    let journal = Journal::discarding();
    let state = root.path().join("state");
    let metrics = Arc::new(Metrics::default());
    let place = node::Place {
        machine: Arc::new(node::detect::Machine::this()),
        listen,
        state_dir: state,
    };
    let mut status = node::start(place, in_force, snapshot, journal, metrics, &tasks);
    let settled = |state| matches!(state, FilesState::Current | FilesState::Degraded);
    tokio::time::timeout(PATIENCE, status.wait_for(|status| settled(status.state))).await??;
    until(&files, true).await?;
    // Whatever the first pass still does is over.
    sleep(Duration::from_millis(500)).await;
    for (health, stands) in [
        (EndpointStatus::Probation { successes: 0 }, false),
        (EndpointStatus::Healthy, true),
    ] {
        let next = self::snapshot(&config, health);
        let start = Instant::now();
        snapshots.send_replace(next);
        until(&files, stands).await?;
        samples.0.push(start.elapsed().as_secs_f64() * 1e3);
        sleep(Duration::from_millis(200)).await;
    }
    tasks.stop();
    Ok(())
}

/// So many registries, all of them at the tier.
fn configuration(certs_d: &Path, registries: usize) -> (String, Vec<String>) {
    let more = (BUILT_IN.len()..registries).map(|number| format!("r{number}.example.com"));
    let names: Vec<String> = BUILT_IN
        .map(str::to_owned)
        .into_iter()
        .chain(more)
        .collect();
    let mut text = format!(
        "[[tier]]\nname = \"core\"\nurl = \"https://core.example.com\"\nproject = \"proxy-{{registry_dashed}}\"\nin_file = true\n\
         [node]\nmanage = true\nruntime = \"containerd\"\ncerts_d = {certs_d:?}\n"
    );
    for (number, name) in names.iter().enumerate() {
        text.push_str(&format!("[[registry]]\nname = \"{name}\"\n"));
        if number >= registries {
            text.push_str("enabled = false\n");
        }
    }
    (text, names.into_iter().take(registries).collect())
}

fn snapshot(config: &Config, status: EndpointStatus) -> Arc<Snapshot> {
    let sources = Sources::from_config(config, 1);
    let states = sources.tiers.iter().map(|source| {
        let endpoint = EndpointState {
            id: EndpointId {
                source: source.id.clone(),
                address: SocketAddr::from(([203, 0, 113, 1], 443)),
            },
            status,
            lowered: false,
            since: Instant::now(),
            readmitted: None,
            gauges: Arc::new(EndpointGauges::default()),
            reason: None,
            latency: None,
            next_try: None,
        };
        Arc::new(SourceState {
            source: source.clone(),
            endpoints: vec![endpoint],
            ready: status == EndpointStatus::Healthy,
            dns_stale: false,
            dns_error: None,
            refused: None,
        })
    });
    Arc::new(Snapshot {
        generation: 1,
        sources: states.collect(),
    })
}

/// Answers as the agent does: the files name it only while it is there.
async fn own_port(tasks: &Tasks) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tasks.spawn("own port", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let answer = b"HTTP/1.1 200 OK\r\nx-harbor-pilot-request-id: 1\r\n\r\n";
            // Whoever asked asks again.
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    Ok(address)
}

/// Waits until the tier stands in all files, or in none.
async fn until(files: &[PathBuf], stands: bool) -> Result<()> {
    let start = Instant::now();
    for file in files {
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            if !text.is_empty() && text.contains(TIER) == stands {
                break;
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{} does not follow:\n{text}", file.display()).into());
            }
            sleep(LOOK).await;
        }
    }
    Ok(())
}

// === impl Samples ===

impl Samples {
    fn text(mut self) -> String {
        self.0.sort_by(f64::total_cmp);
        let at = |index: usize| self.0.get(index).copied().unwrap_or(f64::NAN);
        let last = self.0.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        format!("{median:.1} ({:.1}–{:.1})", at(0), at(last))
    }
}
