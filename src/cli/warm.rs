//! `harbor-pilot warm`: fetches images whole and throws them away, so that the caches in front of the registries have them.

mod fetch;
mod limit;
mod list;
mod node;
mod pass;
mod platform;
mod progress;
mod pull;
mod report;

use super::explain::image::Image;
use super::explain::projects;
use super::start;
use super::{FAILED, USAGE, json, status};
use crate::admin::Status;
use crate::admission::dialled;
use crate::config::{BaseUrl, Config, Loader, Probe, ProbeKind, Tls, parse_size};
use crate::topology::{EndpointId, Source, SourceId, SourceKind, Sources};
use crate::upstream::Client;
use fetch::{By, Through};
use futures_util::StreamExt as _;
use futures_util::stream;
use limit::Limit;
use pass::{Choice, Pass, Passes};
use platform::{Platform, Platforms};
use progress::Progress;
use pull::{Shared, pull};
use report::{Report, Row};
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A longer list of images is no list of images.
const LIST_BYTES: u64 = 64 << 20;

/// What is said of an image that the user's end of the run came before.
const INTERRUPTED: &str = "interrupted";

/// What `warm` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Images: nginx:1.27, ghcr.io/org/app@sha256:…
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// A list of images: one a line, a Kubernetes manifest, or what `crictl images -o json` prints; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The images that this node's containerd has
    #[arg(long)]
    from_node: bool,
    /// Of an index, the manifests of these platforms, such as linux/arm64; without it those of this machine
    #[arg(long, value_name = "P", value_delimiter = ',')]
    platform: Vec<String>,
    /// Of an index, all manifests
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// From this tier alone
    #[arg(long, value_name = "NAME", conflicts_with = "each_tier")]
    tier: Option<String>,
    /// From each tier
    #[arg(long)]
    each_tier: bool,
    /// From each address of each tier, or of --tier: their caches are separate
    #[arg(long, conflicts_with = "each_tier")]
    each_address: bool,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// Bytes per second of all together, such as 20MiB
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was understood of it.
struct Work {
    images: Vec<Image>,
    choice: Choice,
    wanted: Platforms,
    rate: Option<u64>,
    parallel: usize,
}

/// The user's wish to end. One for the whole run: a signal between two images must not be lost.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

/// Runs the command. The exit status is 0, 1 where an image could not be fetched or the user ended it, 2 where nothing could be
/// begun, 64 for wrong arguments. The report goes to `stdout`, progress and problems to `stderr`.
pub fn run(
    options: &Options,
    loader: &Loader,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let Some(loaded) = start::load(loader, stderr)? else {
        return Ok(USAGE);
    };
    let work = match work(options) {
        Ok(work) => work,
        Err((code, problems)) => {
            for problem in problems {
                writeln!(stderr, "error: {problem}")?;
            }
            return Ok(code);
        }
    };
    if let Choice::Tier(name) | Choice::EachAddress(Some(name)) = &work.choice
        && !loaded.config.tiers.iter().any(|tier| *tier.name == **name)
    {
        let tiers: Vec<&str> = loaded.config.tiers.iter().map(|tier| &*tier.name).collect();
        writeln!(
            stderr,
            "error: no tier is named {name}; configured are: {}",
            tiers.join(", ")
        )?;
        return Ok(USAGE);
    }
    let mut threads = Builder::new_multi_thread();
    let Some(runtime) = start::runtime(threads.worker_threads(2), stderr)? else {
        return Ok(FAILED);
    };
    let is_terminal = !options.json && io::stderr().is_terminal();
    let report = runtime.block_on(warm(loaded.config, work, is_terminal, options.json, stderr))?;
    runtime.shutdown_background();
    if options.json {
        stdout.write_all(json::pretty(&report).as_bytes())?;
    } else {
        let color = start::is_colored(&loader.environment);
        stdout.write_all(report.for_people(color).as_bytes())?;
    }
    Ok(report.exit_status())
}

/// Reads what was written; the exit status and what is wrong otherwise.
fn work(options: &Options) -> Result<Work, (u8, Vec<String>)> {
    let usage = |problem: String| (USAGE, vec![problem]);
    let mut names = options.images.clone();
    if let Some(file) = &options.file {
        let shown = file.display();
        let text =
            read(file).map_err(|error| (FAILED, vec![format!("reading {shown}: {error}")]))?;
        let listed = list::images(&text).map_err(|error| usage(format!("{shown}: {error}")))?;
        names.extend(listed);
    }
    if options.from_node {
        names.extend(node::images().map_err(|problem| (FAILED, vec![problem]))?);
    }
    if names.is_empty() {
        return Err(usage(match options.file.is_some() || options.from_node {
            true => "no image is named there".to_owned(),
            false => "no image is named; write images, -f FILE or --from-node".to_owned(),
        }));
    }
    let (mut images, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        match Image::parse(&name) {
            Ok(image) if !images.contains(&image) => images.push(image),
            Ok(_) => {}
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    if !problems.is_empty() {
        return Err((USAGE, problems));
    }
    let wanted = match (options.all_platforms, options.platform.is_empty()) {
        (true, _) => Platforms::All,
        (false, true) => Platforms::These(vec![Platform::this()]),
        (false, false) => {
            let platforms = options.platform.iter().map(|text| Platform::parse(text));
            Platforms::These(platforms.collect::<Result<_, _>>().map_err(usage)?)
        }
    };
    let rate = options.rate.as_deref().map(|text| {
        let size = parse_size(text.trim_end_matches("/s"));
        size.ok_or_else(|| usage(format!("--rate {text:?} is no rate; write 20MiB or 512KiB")))
    });
    Ok(Work {
        images,
        choice: match (
            options.each_address,
            options.each_tier,
            options.tier.clone(),
        ) {
            (true, _, tier) => Choice::EachAddress(tier),
            (_, true, _) => Choice::EachTier,
            (_, _, Some(tier)) => Choice::Tier(tier),
            _ => Choice::AsAPull,
        },
        wanted,
        rate: rate.transpose()?,
        parallel: usize::from(options.parallel),
    })
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    match file.to_str() {
        Some("-") => io::stdin().take(LIST_BYTES).read_to_string(&mut text)?,
        _ => std::fs::File::open(file)?
            .take(LIST_BYTES)
            .read_to_string(&mut text)?,
    };
    Ok(text)
}

async fn warm(
    config: Config,
    work: Work,
    is_terminal: bool,
    is_quiet: bool,
    stderr: &mut dyn Write,
) -> io::Result<Report> {
    // Before anything is asked: an end by the user has a summary from here on.
    let mut stop = Stop::new()?;
    let manifest_bytes = config.limits.manifest_bytes;
    // By the name that was written, and the one that is pulled.
    let mut jobs: Vec<(String, Image, Pass)> = Vec::new();
    let mut done: Vec<Row> = Vec::new();
    let mut images = work.images.into_iter();
    // What it looks up is needed until the end.
    let mut passes = None;
    let looking = async {
        let status = match config.server.admin {
            Some(admin) => status::fetch(admin).await.ok(),
            None => None,
        };
        let agent = agent(&config, status.as_ref());
        let in_force = projects::in_force(config, status.as_ref());
        let passes = passes.insert(Passes::new(in_force, status, agent));
        while let Some(image) = images.as_slice().first() {
            match passes.for_image(image, &work.choice).await {
                Ok((pulled, passes)) => {
                    let job = |pass| (image.to_string(), pulled.clone(), pass);
                    jobs.extend(passes.into_iter().map(job));
                }
                Err(why) => done.push(Row::failed(image, why)),
            }
            images.next();
        }
    };
    let mut interrupted = tokio::select! {
        // Not cancel safe, and needs not be: an image that was not looked up whole is still among `images`.
        () = looking => false,
        // Cancel safe: it only waits.
        () = stop.wanted() => true,
    };
    done.extend(images.map(|image| Row::failed(&image, INTERRUPTED.to_owned())));
    let shared = Shared {
        wanted: work.wanted,
        limit: Limit::new(work.rate, Instant::now()),
        places: Semaphore::new(work.parallel),
        manifest_bytes,
        fetched: Mutex::default(),
    };
    let progress = Progress::new(is_terminal);
    let rows: Vec<Mutex<Row>> = jobs
        .iter()
        .map(|(name, _, pass)| Mutex::new(Row::new(name, &pass.name)))
        .collect();
    {
        let numbered = jobs.iter().zip(&rows).enumerate();
        let pulls = numbered.map(|(number, ((_, image, pass), row))| {
            let (shared, progress) = (&shared, &progress);
            async move {
                let bar = progress.bar(&copied(row));
                pull(shared, pass, image, &bar, row).await;
                bar.end(&copied(row));
                number
            }
        });
        let mut pulls = std::pin::pin!(stream::iter(pulls).buffered(work.parallel));
        while !interrupted {
            // All are cancel safe: an image that has not ended goes on, or is dropped with the stream.
            tokio::select! {
                ended = pulls.next() => {
                    let Some(number) = ended else { break };
                    if !progress.is_shown() && !is_quiet && let Some(row) = rows.get(number) {
                        writeln!(stderr, "{}", copied(row).line())?;
                    }
                }
                () = stop.wanted() => interrupted = true,
            }
        }
    }
    progress.end();
    let ended = rows.into_iter().map(|row| {
        let mut row = row.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !row.has_ended {
            row.error = Some(INTERRUPTED.to_owned());
        }
        row
    });
    done.extend(ended);
    Ok(Report::new(done, interrupted))
}

// === impl Stop ===

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wanted(&mut self) {
        // Both are cancel safe (tokio's `Signal::recv`).
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn copied(row: &Mutex<Row>) -> Row {
    row.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The running agent as a source; `None`: none answers.
fn agent(config: &Config, status: Option<&Status>) -> Option<Through> {
    status?;
    let listen = *config.server.listen.first()?;
    let address = dialled(listen);
    let source = Arc::new(Source {
        id: SourceId::Tier("agent".into()),
        kind: SourceKind::Mirror,
        url: BaseUrl {
            https: false,
            host: address.ip().to_string(),
            port: address.port(),
            prefix: String::new(),
        },
        tls: Tls::default(),
        credential: None,
        proxy: None,
        probe: Probe {
            kind: ProbeKind::None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    });
    let client = Client::new(config.timeouts);
    client.update(&Sources {
        generation: 1,
        tiers: vec![source.clone()],
        ..Sources::default()
    });
    let key = config.server.require_header.clone();
    Some(Through {
        endpoint: EndpointId {
            source: source.id.clone(),
            address,
        },
        source,
        by: By::Agent { client, key },
    })
}
