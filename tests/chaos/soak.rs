//! The soak (`make soak MINUTES=…`): one agent for all of the time, clients that pull in parallel, the faults of the chaos
//! plan one after the other, the page open, metrics scraped and every request traced. Its memory and its open files must not
//! grow.

use crate::control::Control;
use crate::image;
use crate::lab::{AgentOptions, Lab, Place};
use crate::observers::{self, Seen};
use crate::plan::{NodeFault, Plan};
use crate::puller::{self, Tally};
use crate::{pull, sources};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pulls at once.
const CLIENTS: usize = 6;

/// Between looks at the agent.
const EVERY: Duration = Duration::from_secs(2);

/// Idle connections are closed after 55 s, and looked for every 30 s.
const UNTIL_AT_REST: Duration = Duration::from_secs(100);

/// The second half's highest memory may be this much of the first half's, and a little more; so may its median of open files, whose
/// highest is of the one fault that keeps most connections waiting, whenever that is drawn.
const GROWTH: f64 = 1.1;
const MEMORY_SLACK: u64 = 2 * 1024 * 1024;
const FILES_SLACK: u64 = 8;

/// One look at the agent.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    resident_bytes: u64,
    /// Of those, what the program has written: the others are pages of its file, which a debug build has many of.
    own_bytes: u64,
    files: u64,
}

/// A process of this program inside the laboratory's network, obeying lines of JSON. It ends with the value.
struct Helper {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

pub(crate) fn run(minutes: u64, first_seed: u64) -> bool {
    let mut lab = Lab::start_without_servers();
    let mut control = Control::start(&lab);
    lab.set_dns("dead.lab.example", &[Place::Private]);
    lab.start_agent(&AgentOptions {
        more: observers::TRACES.to_owned(),
        ..AgentOptions::default()
    });
    let observers = Helper::start(&lab, "observers");
    let mut puller = Helper::start(&lab, "puller");
    let process = lab.agent().id();
    let (begin, first) = (Instant::now(), look(process, Duration::ZERO));
    println!(
        "{minutes} minutes from seed {first_seed}, {CLIENTS} pulls at once; at the start {first}"
    );
    let (over, sampler) = sample(process, begin);
    let (mut seed, mut sum) = (first_seed, Tally::default());
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        let plan = without_ends_of_the_agent(Plan::of(seed));
        let tally = round(&mut lab, &mut control, &mut puller, &plan);
        for reason in &tally.failed {
            println!("FAILED    seed {seed}: {reason}; {plan}");
        }
        if !tally.failed.is_empty() {
            let seen = lab.agent().command(&["status"]);
            println!("{}", String::from_utf8_lossy(&seen.stdout));
        }
        sum.complete += tally.complete;
        sum.again += tally.again;
        sum.resumed += tally.resumed;
        sum.failed.extend(tally.failed);
        seed += 1;
    }
    over.store(true, Ordering::Relaxed);
    let seen = observers.stop();
    let samples = sampler.join().expect("the samples' thread ends");
    std::thread::sleep(UNTIL_AT_REST);
    let last = look(process, begin.elapsed());
    println!(
        "{} rounds: {} pulls complete, {} begun again, {} blobs asked for from where they had ended, {} failed",
        seed - first_seed,
        sum.complete,
        sum.again,
        sum.resumed,
        sum.failed.len()
    );
    for line in lab.agent().metrics().lines().filter(|line| is_told(line)) {
        println!("    {line}");
    }
    let flat = is_flat(&samples, first, last);
    println!(
        "page: {}; metrics: {}; {} exports of spans with {} bytes",
        seen.pages, seen.scrapes, seen.exports, seen.exported_bytes
    );
    let looked = seen.pages.failed == 0
        && seen.scrapes.failed == 0
        && seen.pages.answered > 0
        && seen.scrapes.answered > 0
        && seen.exports > 0;
    drop(control);
    flat && looked && sum.failed.is_empty() && sum.complete > 0
}

/// The agent must live on: its own ends are the chaos suite's.
fn without_ends_of_the_agent(plan: Plan) -> Plan {
    let node = plan.node.filter(|fault| {
        matches!(
            fault,
            NodeFault::DnsChange | NodeFault::DnsFailure | NodeFault::DnsEmpty
        )
    });
    Plan { node, ..plan }
}

/// One image, pulled by everybody while the plan goes wrong.
fn round(lab: &mut Lab, control: &mut Control, puller: &mut Helper, plan: &Plan) -> Tally {
    let image = image::make(plan.seed, &plan.layers);
    control.tell(&sources::Order::Hold {
        seed: plan.seed,
        layers: plan.layers.clone(),
    });
    pull::prepare(control, plan, &image);
    puller.begin(&puller::Order {
        seed: plan.seed,
        layers: plan.layers.clone(),
        clients: CLIENTS,
    });
    if plan.has_a_moment() {
        // A source that is not asked (it is ejected from earlier) meets its fault all the same.
        let patience = Instant::now() + Duration::from_secs(3);
        while !control.has_seen() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        pull::meddle_from_outside(lab, control, plan);
    }
    let tally = puller.end();
    pull::undo(lab, plan);
    tally
}

/// Looks at the agent until it is told to stop.
fn sample(process: u32, begin: Instant) -> (Arc<AtomicBool>, JoinHandle<Vec<Sample>>) {
    let over = Arc::<AtomicBool>::default();
    let stop = over.clone();
    let thread = std::thread::spawn(move || {
        let mut samples: Vec<Sample> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            samples.push(look(process, begin.elapsed()));
            std::thread::sleep(EVERY);
        }
        samples
    });
    (over, thread)
}

fn look(process: u32, at: Duration) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the agent lives");
    let bytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kilobytes.expect("a number of kilobytes") * 1024
    };
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the agent lives");
    Sample {
        at,
        resident_bytes: bytes("VmRSS:"),
        own_bytes: bytes("RssAnon:"),
        files: files.count() as u64,
    }
}

/// Prints the course by tenths, and judges it.
fn is_flat(samples: &[Sample], first: Sample, last: Sample) -> bool {
    let highest = |samples: &[Sample], of: fn(&Sample) -> u64| {
        let values = samples.iter().map(of);
        values.max().unwrap_or(0)
    };
    let memory = |samples: &[Sample]| highest(samples, |sample| sample.resident_bytes);
    println!("highest of each tenth ({} samples):", samples.len());
    for tenth in samples.chunks(samples.len().div_ceil(10).max(1)) {
        let until = tenth.last().map_or(0, |sample| sample.at.as_secs());
        println!(
            "    until {until:>5} s: {:.1} MiB, {:.1} of its own, {} files, median {}",
            mebibytes(memory(tenth)),
            mebibytes(highest(tenth, |sample| sample.own_bytes)),
            highest(tenth, |sample| sample.files),
            median_of_files(tenth)
        );
    }
    println!("at rest: {last}; at the start: {first}");
    let (earlier, later) = samples.split_at(samples.len() / 2);
    let may = |value: u64, slack: u64| (value as f64).mul_add(GROWTH, slack as f64);
    let (before, after) = (memory(earlier), memory(later));
    let memory = after as f64 <= may(before, MEMORY_SLACK);
    println!(
        "memory {}: {:.1} MiB at most in the first half, {:.1} MiB in the second",
        word(memory),
        mebibytes(before),
        mebibytes(after)
    );
    let (before, after) = (median_of_files(earlier), median_of_files(later));
    let files = after as f64 <= may(before, FILES_SLACK);
    println!(
        "files {}: the median is {before} in the first half, {after} in the second",
        word(files)
    );
    let rest = last.files <= first.files + FILES_SLACK;
    println!(
        "files at rest {}: {} at the start, {} at the end",
        word(rest),
        first.files,
        last.files
    );
    memory && files && rest
}

fn median_of_files(samples: &[Sample]) -> u64 {
    let mut files: Vec<u64> = samples.iter().map(|sample| sample.files).collect();
    files.sort_unstable();
    files.get(files.len() / 2).copied().unwrap_or(0)
}

fn word(flat: bool) -> &'static str {
    if flat { "flat" } else { "GROWN" }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// What shows that the faults were met, and that nothing broke inside.
fn is_told(line: &str) -> bool {
    [
        "failovers_total",
        "resumes_total",
        "digest_mismatches_total",
        "task_panics_total",
        "log_dropped_total",
        "spans_",
        "memory_bytes",
    ]
    .iter()
    .any(|name| line.starts_with(&format!("harbor_pilot_{name}")))
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} MiB, {:.1} of its own, {} files",
            mebibytes(self.resident_bytes),
            mebibytes(self.own_bytes),
            self.files
        )
    }
}

// === impl Helper ===

impl Helper {
    fn start(lab: &Lab, task: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = lab
            .command(program)
            .arg(task)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        Self {
            child,
            orders,
            answers,
        }
    }

    fn begin(&mut self, order: &puller::Order) {
        let mut line = serde_json::to_string(order).expect("an order is JSON");
        line.push('\n');
        let orders = self.orders.as_mut().expect("open until the end");
        orders
            .write_all(line.as_bytes())
            .expect("the clients are alive");
    }

    fn end(&mut self) -> Tally {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the clients are alive");
        serde_json::from_str(&line).expect("a tally")
    }

    /// Ends the observers, and reads what they saw.
    fn stop(mut self) -> Seen {
        self.orders = None;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the observers are alive");
        serde_json::from_str(&line).expect("what they saw")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The end of its input is the end of the process.
        self.orders = None;
        drop(self.child.wait());
    }
}
