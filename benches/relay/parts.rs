//! The parts of a run: what is done to whom, in which order.
//!
//! In every round each contestant has its turn, and every round begins with another one, so that what else the
//! machine does falls on all alike.

use crate::contestant::{Contestant, Kind, Upstream};
use crate::load::{self, Asking};
use crate::pairs::{self, At};
use crate::report::{Samples, Table};
use crate::{Bench, Result};
use std::thread;
use std::time::Duration;

/// Until a program has written its log lines and closed what it closes.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);
/// Images of the sequence: more than the agent keeps for the GET that follows a HEAD.
const IMAGES: usize = 2000;

/// What was measured of one contestant.
pub(crate) struct Measured<const N: usize> {
    pub(crate) kind: Kind,
    pub(crate) samples: [Samples; N],
}

impl<const N: usize> Measured<N> {
    /// Nothing yet, for each of them.
    pub(crate) fn new(contestants: &[Kind]) -> Vec<Self> {
        let empty = |kind: &Kind| Self {
            kind: *kind,
            samples: std::array::from_fn(|_| Samples::default()),
        };
        contestants.iter().map(empty).collect()
    }
}

/// `0..count`, beginning with another one in every round.
pub(crate) fn turns(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round) % count)
}

/// The samples of `kind`, to compare with.
fn samples_of<const N: usize>(measured: &[Measured<N>], kind: Kind, at: usize) -> Samples {
    let found = measured.iter().find(|measured| measured.kind == kind);
    let samples = found.and_then(|measured| measured.samples.get(at));
    samples.cloned().unwrap_or_default()
}

/// One blob at a time: CPU of the relay, and wall time beside a direct download.
pub(crate) fn blob(bench: &Bench, upstream: Upstream) -> Result<Vec<Table>> {
    let (settings, origin) = (&bench.settings, &bench.origin);
    let contestants = Contestant::start_all(bench, upstream)?;
    let mut measured = Measured::<2>::new(&settings.contestants());
    let (mut direct, mut sha256) = (Samples::default(), Samples::default());
    let bytes = settings.blob_bytes();
    let gib = settings.mib as f64 / 1024.0;
    let direct_base = match upstream {
        Upstream::Tls => format!("https://{}", origin.tls),
        Upstream::Plain => format!("http://{}", origin.plain),
    };
    for round in 0..settings.rounds {
        // Another blob in every round: what is asked for again soon is suspect (design P8).
        let seed = u64::try_from(round)? + 1;
        let blob = origin.put_blob(bytes, seed)?;
        let tag = format!("round-{seed}");
        let manifest = origin.put_manifest(&tag, &blob.digest, bytes)?;
        sha256.push(blob.sha256_seconds / gib);
        let resource = format!("blobs/{}", blob.digest);
        // The direct download has the turn behind the last contestant's.
        for turn in turns(contestants.len() + 1, round) {
            let (Some(contestant), Some(row)) = (contestants.get(turn), measured.get_mut(turn))
            else {
                let url = format!("{direct_base}{}/{resource}", crate::origin::REPOSITORY);
                direct.push(load::download(&url, &origin.ca_file, bytes)?);
                continue;
            };
            // As containerd does; it also opens the connection to the origin.
            let found = load::fetch(&contestant.url(&format!("manifests/{tag}")))?;
            if found != manifest {
                let label = contestant.kind.label();
                return Err(format!("{label} answers another manifest").into());
            }
            thread::sleep(SETTLE);
            let before = contestant.process.cpu_seconds()?;
            let url = contestant.url(&resource);
            let wall = load::download(&url, &origin.ca_file, bytes)?;
            thread::sleep(SETTLE);
            let cpu = contestant.process.cpu_seconds()? - before;
            let [cpu_per_gib, seconds] = &mut row.samples;
            cpu_per_gib.push(cpu / gib);
            seconds.push(wall);
        }
    }
    let title = match upstream {
        Upstream::Tls => "Blob, TLS upstream",
        Upstream::Plain => "Blob, plain upstream",
    };
    let mut table = Table::new(
        &format!("{title}, {} MiB", settings.mib),
        &[
            "CPU s/GiB",
            "/ HAProxy",
            "/ nginx",
            "wall s",
            "wall / direct",
        ],
    );
    let haproxy = samples_of(&measured, Kind::Haproxy, 0);
    let nginx = samples_of(&measured, Kind::Nginx, 0);
    for row in &measured {
        let [cpu, wall] = &row.samples;
        table.row(
            row.kind.label(),
            &[
                cpu.spread(2),
                cpu.per(&haproxy).median_text(2),
                cpu.per(&nginx).median_text(2),
                wall.spread(2),
                wall.per(&direct).median_text(2),
            ],
        );
    }
    let nothing = String::new;
    table.row(
        "direct download (curl alone)",
        &[
            nothing(),
            nothing(),
            nothing(),
            direct.spread(2),
            "1.00".to_owned(),
        ],
    );
    table.row(
        "one SHA-256 of the same bytes",
        &[
            sha256.spread(2),
            sha256.per(&haproxy).median_text(2),
            sha256.per(&nginx).median_text(2),
            nothing(),
            nothing(),
        ],
    );
    let before = now_per_before(title, &["CPU", "wall"], &measured);
    Ok(std::iter::once(table).chain(before).collect())
}

/// The newer agent over the older one, round by round: median, least and greatest. Nothing without an older one.
pub(crate) fn now_per_before<const N: usize>(
    title: &str,
    columns: &[&str; N],
    measured: &[Measured<N>],
) -> Option<Table> {
    let mut table = Table::new(&format!("{title}: now / before"), columns);
    let mut compared = false;
    for row in measured {
        let before = |kind| measured.iter().find(|measured| measured.kind == kind);
        let Some(before) = row.kind.before().and_then(before) else {
            continue;
        };
        let pairs = row.samples.iter().zip(&before.samples);
        let cells: Vec<_> = pairs
            .map(|(now, before)| now.per(before).spread(3))
            .collect();
        table.row(row.kind.label(), &cells);
        compared = true;
    }
    compared.then_some(table)
}

/// containerd's sequence over kept-alive connections, each pair another image.
pub(crate) fn sequence(bench: &Bench) -> Result<Vec<Table>> {
    let (settings, origin) = (&bench.settings, &bench.origin);
    let contestants = Contestant::start_all(bench, Upstream::Tls)?;
    let mut measured = Measured::<3>::new(&settings.contestants());
    let images = origin.put_images(IMAGES, "sequence")?;
    let ask = |contestant: &Contestant, time| {
        let path = |what: &str| contestant.path(what);
        let at = At {
            address: contestant.listen,
            path: &path,
        };
        pairs::pairs(&at, &images, time)
    };
    for contestant in &contestants {
        ask(contestant, Duration::from_secs(1))?;
    }
    for round in 0..settings.rounds {
        for turn in turns(contestants.len(), round) {
            let (Some(contestant), Some(row)) = (contestants.get(turn), measured.get_mut(turn))
            else {
                continue;
            };
            let before = contestant.process.cpu_seconds()?;
            let found = ask(contestant, settings.load_time())?;
            thread::sleep(SETTLE);
            let cpu = contestant.process.cpu_seconds()? - before;
            let [rate, p99, cpu_per_request] = &mut row.samples;
            rate.push(found.per_second);
            p99.push(found.p99);
            cpu_per_request.push(cpu * 1e6 / found.count);
        }
    }
    let title = format!(
        "HEAD by tag and GET by digest, {IMAGES} images in turn, TLS upstream, 16 kept-alive connections, {} s",
        settings.seconds
    );
    Ok(manifests_tables(&title, &measured))
}

/// What a pull costs the tier in requests: an image that nobody has asked for, one that was pulled before and is asked for by its
/// tag alone (`imagePullPolicy: Always`), and one that a client asks for by GET.
pub(crate) fn requests_per_pull(bench: &Bench) -> Result<Table> {
    let origin = &bench.origin;
    let contestants = Contestant::start_all(bench, Upstream::Tls)?;
    let columns = ["new image", "known image", "GET by tag"];
    let mut table = Table::new("Requests at the tier per pull", &columns);
    for contestant in &contestants {
        let label = contestant.kind.label();
        let images = origin.put_images(2, label)?;
        let [new, by_get] = images.as_slice() else {
            return Err("two images were wanted".into());
        };
        let by_digest = format!("manifests/{}", new.digest);
        let (tag, other) = (
            format!("manifests/{}", new.tag),
            format!("manifests/{}", by_get.tag),
        );
        let pulls: [&[(&str, &String)]; 3] = [
            &[("HEAD", &tag), ("GET", &by_digest)],
            &[("HEAD", &tag)],
            &[("GET", &other)],
        ];
        let path = |what: &str| contestant.path(what);
        let at = At {
            address: contestant.listen,
            path: &path,
        };
        let mut cells = Vec::new();
        for pull in pulls {
            let before = origin.requests()?;
            for (method, what) in pull {
                pairs::once(&at, method, what)?;
            }
            cells.push((origin.requests()? - before).to_string());
        }
        table.row(label, &cells);
    }
    Ok(table)
}

/// Small manifests over kept-alive connections.
pub(crate) fn manifest(bench: &Bench, asking: Asking) -> Result<Vec<Table>> {
    let (settings, origin, directory) = (&bench.settings, &bench.origin, &bench.directory);
    let contestants = Contestant::start_all(bench, Upstream::Tls)?;
    let mut measured = Measured::<3>::new(&settings.contestants());
    let images = origin.put_images(1, "load")?;
    let image = images.first().ok_or("one image was wanted")?;
    let resource = format!("manifests/{}", image.tag);
    for contestant in &contestants {
        let url = contestant.url(&resource);
        load::requests(&url, asking, Duration::from_secs(1), directory)?;
    }
    for round in 0..settings.rounds {
        for turn in turns(contestants.len(), round) {
            let (Some(contestant), Some(row)) = (contestants.get(turn), measured.get_mut(turn))
            else {
                continue;
            };
            let url = contestant.url(&resource);
            let before = contestant.process.cpu_seconds()?;
            let found = load::requests(&url, asking, settings.load_time(), directory)?;
            thread::sleep(SETTLE);
            let cpu = contestant.process.cpu_seconds()? - before;
            let [rate, p99, cpu_per_request] = &mut row.samples;
            rate.push(found.per_second);
            p99.push(found.p99);
            cpu_per_request.push(cpu * 1e6 / found.count);
        }
    }
    let title = format!(
        "GET by tag, {}, {} bytes, TLS upstream, 16 kept-alive connections, {} s",
        match asking {
            Asking::Differently => "each request another",
            Asking::Alike => "all requests alike",
        },
        image.length,
        settings.seconds
    );
    Ok(manifests_tables(&title, &measured))
}

fn manifests_tables(title: &str, measured: &[Measured<3>]) -> Vec<Table> {
    let columns = [
        "requests/s",
        "/ HAProxy",
        "/ nginx",
        "p99 ms",
        "CPU µs/request",
    ];
    let mut table = Table::new(title, &columns);
    let haproxy = samples_of(measured, Kind::Haproxy, 0);
    let nginx = samples_of(measured, Kind::Nginx, 0);
    for row in measured {
        let [rate, p99, cpu] = &row.samples;
        table.row(
            row.kind.label(),
            &[
                rate.spread(0),
                rate.per(&haproxy).median_text(2),
                rate.per(&nginx).median_text(2),
                p99.spread(1),
                cpu.spread(1),
            ],
        );
    }
    let before = now_per_before(title, &["requests/s", "p99", "CPU/request"], measured);
    std::iter::once(table).chain(before).collect()
}
