//! `harbor-pilot explain IMAGE [--probe]`: how an image would be routed now, and why, address by address.
//!
//! The route comes from the files on disk, the health from the running agent; where the agent says nothing, the
//! addresses are looked up here and their state is unknown. The order is that of the agent's own selection, save
//! what only the agent knows: which address served this image last and is asked before its equals. `--probe` asks
//! every candidate for the manifest itself, ten seconds each at most, with the configured credentials.
//!
//! `--json` prints one object. Fields may be added, never changed:
//!
//! | field | what |
//! |---|---|
//! | `image`, `reference` | the reference in full; its tag or digest |
//! | `request` | the path and query that containerd sends to the agent |
//! | `registry`, `repository` | what is meant; `registry` is null for a project that only a tier has |
//! | `node` | what was found on the node, as in `status --json`; null: it could not be looked at within 5 s |
//! | `hosts_file` | null, or the file that containerd reads for the registry: `registry`, `path`, `exists`, `read`, `error`, `hosts[]` (`url`, `who`: agent, tier, registry, embedded, nobody, other, `tier`, `server`), `agent` (its place), `then_registry`, `missing` |
//! | `has_path` | there is a candidate; if `probed`, one that has the manifest, or `stale_seconds` (exit status 0, else 1) |
//! | `stale_seconds` | with `probe`, where nobody has the manifest: the age of the copy with which the running agent answers; null: it has none |
//! | `router` | null, or where an image without a registry is looked for: `repository`, `strict`, `candidates[]` (`registry`, `has_manifest`: yes, no, unknown, `refusal`, `sources[]`), `chosen`, `why`; with `probe` the rest of the report is of the chosen one |
//! | `refusal` | null, or `kind`, `what` and `instead`: why nothing may be asked and what to do |
//! | `reasons` | why these sources, a sentence each |
//! | `agent` | `address`, `reachable`, `note`; null if refused |
//! | `sources[]` | `name`, `kind`, `url` (exact), `authoritative`, `credential` (whether one is used), `proxy`, `insecure_skip_verify`, `ready`, `dns_stale`, `dns_error` |
//! | `candidates[]` | `position`, `source`, `address`, `url`, `state` (healthy, ejected, probation, unknown), `why` (healthy, probation, loaded, suspect, fail_open), `since_seconds`, `ejected_for_seconds`, `reason`, `lowered`, `latency_ms`, `in_flight`, `held_back[]` (what the agent knows against it beside its health, a sentence each), `probe` |
//! | `candidates[].probe` | null, or `has_manifest`, `status`, `digest`, `ms`, `error` |
//!
//! A bad reference or configuration (exit status 64) and a failure (2) print to stderr alone.

pub(in crate::cli) mod image;
pub(in crate::cli) mod lookup;
mod probe;
pub(in crate::cli) mod projects;
mod render;
mod report;
mod router;
mod through;
pub(in crate::cli) mod view;

use super::start;
use super::{FAILED, Invocation, USAGE, json, status};
use crate::admin::{Explain, Status};
use crate::config::Config;
use crate::node::detect::Machine;
use crate::node::shown;
use crate::printable::printable;
use crate::route::{Route, RouteTable};
use crate::topology::select::Candidate;
use image::Image;
use indicatif::ProgressBar;
use lookup::Lookups;
use probe::Prober;
use projects::Found;
use report::{AgentReport, ProbeReport, Report};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use view::View;

/// For everything about files; a dead network file system must not hold up the rest.
const FILES_LIMIT: Duration = Duration::from_secs(5);

/// Runs the command. The exit status is 0 if there is a path (with `probe`: if somebody has the manifest), 1 if there
/// is none, 2 for a failure, 64 for a bad reference or configuration. The report goes to `stdout`, notes and the
/// progress to `stderr`.
pub fn run(
    args: &Invocation,
    image: &str,
    probe: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let image = match Image::parse(image) {
        Ok(image) => image,
        Err(error) => {
            // Who names an image may be somebody else than who asks about it.
            writeln!(stderr, "error: {}", printable(&error.to_string()))?;
            return Ok(USAGE);
        }
    };
    let Some(loaded) = start::load(&args.loader, stderr)? else {
        return Ok(USAGE);
    };
    let Some(runtime) = start::runtime(&mut Builder::new_current_thread(), stderr)? else {
        return Ok(FAILED);
    };
    let progress = start::progress("{msg}", !args.json);
    let report = runtime.block_on(async {
        let said = ask_agent(loaded.config.server.admin).await;
        let (config, machine) = (loaded.config, &args.machine);
        explain(config, said, machine, &image, probe, &progress).await
    });
    // What hangs in a dead file system must not hang this.
    runtime.shutdown_background();
    if let Some(note) = report.agent.as_ref().and_then(|agent| agent.note.as_ref()) {
        writeln!(stderr, "note: {}", printable(note))?;
    }
    if args.json {
        stdout.write_all(json::pretty(&report).as_bytes())?;
    } else {
        let color = start::is_colored(&args.loader.environment);
        stdout.write_all(render::render(&report, color).as_bytes())?;
    }
    Ok(u8::from(!report.has_path))
}

/// For the page: what the agent has in force, and its own status.
pub(super) const FOR_PAGE: Explain = Explain(in_words);

/// The report for people, without colours. Blocks for some seconds at most.
fn in_words(config: &Config, status: Status, image: &str) -> String {
    let image = match Image::parse(image) {
        Ok(image) => image,
        Err(error) => return format!("{}\n", printable(&error.to_string())),
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return format!("starting the runtime: {error}\n"),
    };
    let agent = AgentReport {
        address: config.server.admin.map(|address| address.to_string()),
        reachable: true,
        note: None,
    };
    let said = (Some(status), agent);
    let machine = Arc::new(Machine::this());
    let progress = ProgressBar::hidden();
    let explained = explain(config.clone(), said, &machine, &image, false, &progress);
    let report = runtime.block_on(explained);
    runtime.shutdown_background();
    render::render(&report, false)
}

/// The node is looked at meanwhile: the image's way begins with what containerd reads there.
async fn explain(
    config: Config,
    (status, agent): (Option<Status>, AgentReport),
    machine: &Arc<Machine>,
    image: &Image,
    probe: bool,
    progress: &ProgressBar,
) -> Report {
    let (config, found) = projects::in_force(config, status.as_ref());
    let explanation = Explanation {
        lookups: Lookups::start(&config),
        config: Arc::new(config),
        found,
        status,
        agent,
        probe,
        progress,
    };
    let (machine, registry) = (machine.clone(), image.registry.clone());
    let config = explanation.config.clone();
    let looking = spawn_blocking(move || shown::look(&machine, &config, &registry));
    let looking = timeout(FILES_LIMIT, looking);
    let (mut report, node) = tokio::join!(explanation.route(image), looking);
    if let Ok(Ok(node)) = node {
        report.on(node, explanation.status.as_ref());
    }
    report
}

/// What every route of one report is explained with.
struct Explanation<'a> {
    config: Arc<Config>,
    found: Found,
    status: Option<Status>,
    agent: AgentReport,
    lookups: Lookups,
    probe: bool,
    progress: &'a ProgressBar,
}

impl Explanation<'_> {
    /// How the image is routed; one that names no registry to each of those that are asked for it.
    async fn route(&self, image: &Image) -> Report {
        let repository = match router::repository(&self.config, image) {
            Some(Ok(repository)) => repository,
            Some(Err(why)) => return Report::outside(image, why),
            None => return self.route_one(image).await,
        };
        let mut reports = Vec::new();
        for one in router::images(&self.config, image, &repository) {
            let report = self.route_one(&one).await;
            reports.push((one.registry, report));
        }
        router::report(&self.config, image, &repository, reports)
    }

    async fn route_one(&self, image: &Image) -> Report {
        let config = &self.config;
        let table = RouteTable::new(config.clone());
        let routed = table.explain(Some(image.registry.as_str()), &image.name, &image.kind());
        let mut route = match routed {
            Ok(route) => route,
            Err(refusal) => return Report::refused(image, &refusal),
        };
        route.reasons.extend(self.found.reasons(&route));
        let sources = self.lookups.sources_of(&route);
        let view = View::look(&sources, self.status.as_ref(), &self.lookups).await;
        let order = view.order(&route, &image.reference, config.limits, Instant::now());
        let agent = self.agent.clone();
        let mut report = Report::new(image, &route, &sources, &view, &order, agent);
        if self.probe {
            report.probed(self.ask_all(&route, &order, image).await);
            if !report.has_path
                && let Some(agent) = config.server.listen.first()
            {
                let progress = self.progress;
                progress.set_message(format!("asking the agent at {agent}"));
                let key = config.server.require_header.as_ref();
                report.is_kept(through::stale_seconds(*agent, key, image).await);
                progress.finish_and_clear();
            }
        }
        report
    }

    /// One after the other: a request asks them so, and what one answers must not slow the next.
    async fn ask_all(&self, route: &Route, order: &[Candidate], image: &Image) -> Vec<ProbeReport> {
        let prober = Prober::new(&self.config, &self.lookups);
        let mut answers = Vec::with_capacity(order.len());
        for (number, candidate) in (1_usize..).zip(order) {
            let endpoint = &candidate.endpoint;
            // Every candidate is of a target.
            let Some(target) = route.target(&endpoint.source) else {
                continue;
            };
            self.progress
                .set_message(format!("asking {number} of {}: {endpoint}", order.len()));
            let source = &candidate.source;
            answers.push(prober.ask(source, endpoint, target, &image.reference).await);
        }
        self.progress.finish_and_clear();
        answers
    }
}

/// The image as it is pulled, of one that names no registry: from where probes of all that may have it tell. `None`: it names one.
///
/// # Errors
/// In words: nobody has it, or nothing is taken without somebody's word.
pub(in crate::cli) async fn named(
    (config, found): (&Arc<Config>, &Found),
    image: &Image,
    status: Option<&Status>,
) -> Option<Result<Image, String>> {
    let repository = match router::repository(config, image)? {
        Ok(repository) => repository,
        Err(why) => return Some(Err(why)),
    };
    let explanation = Explanation {
        lookups: Lookups::start(config),
        config: config.clone(),
        found: found.clone(),
        status: status.cloned(),
        agent: AgentReport {
            address: None,
            reachable: status.is_some(),
            note: None,
        },
        probe: true,
        progress: &ProgressBar::hidden(),
    };
    let router = explanation.route(image).await.router?;
    let mut all = router::images(config, image, &repository).into_iter();
    let chosen = all.find(|one| router.chosen.as_deref() == Some(one.registry.as_str()));
    Some(chosen.ok_or(router.why))
}

/// The running agent's status, and what must be known of it.
async fn ask_agent(admin: Option<SocketAddr>) -> (Option<Status>, AgentReport) {
    let asked = match admin {
        Some(admin) => status::fetch(admin).await,
        None => Err(status::Error::Off),
    };
    let note = match &asked {
        Ok(status) if !status.config.last_reload_ok => Some(
            "the running agent has refused the files on disk and uses an older configuration; this report is of the files"
                .to_owned(),
        ),
        Ok(status) if status.reputation_hidden > 0 => Some(
            "what the agent knows of single images is told to root and to the agent's own user alone"
                .to_owned(),
        ),
        Ok(_) => None,
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Some(format!(
                "{first}; addresses were looked up here and their state is unknown"
            ))
        }
    };
    let agent = AgentReport {
        address: admin.map(|address| address.to_string()),
        reachable: asked.is_ok(),
        note,
    };
    (asked.ok(), agent)
}

#[cfg(test)]
mod tests;
