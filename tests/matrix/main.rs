//! What one generation of containerd makes of the agent (`make test-matrix`): bodies that break, parallel ranges, and the
//! files that the agent wrote itself. A line a test, with containerd's version.
//!
//! Arguments: words that a test's name must hold one of; none: all. `HARBOR_PILOT_LAB_ROOT` names the Debian root with
//! another containerd than the machine's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    reason = "a test that cannot go on says so and ends"
)]

#[path = "../chaos/control.rs"]
mod control;
#[path = "../chaos/image.rs"]
mod image;
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests and the demonstration use different parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;
#[allow(dead_code, reason = "the chaos suite draws its plans from a seed")]
#[path = "../chaos/plan.rs"]
mod plan;
#[path = "../chaos/sources.rs"]
mod sources;
#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod cri;
mod files;
mod node;
mod oras;
mod podman;
mod ranges;
mod scripted;
mod spoiled;

use node::Layout;
use scripted::Scripted;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a test has measured; said below its line.
static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The tests of a part, by name, and what they stand on.
type Tests<S> = &'static [(&'static str, fn(&mut S))];

/// One test: its name, what it stands on, and the generation of containerd from which on there is something to test.
struct Test {
    name: String,
    since: (u32, u32),
    run: Run,
}

enum Run {
    /// With scripted sources.
    Scripted(fn(&mut Scripted)),
    /// With real ones, and containerd's files kept by the agent.
    Files(Layout, fn(&mut node::Node)),
    /// With real ones, by crictl, podman and oras.
    Cri(fn(&mut cri::Cri)),
}

/// What tests stand on; made when the first one needs it, and made anew after a failed one.
#[derive(Default)]
struct Stages {
    scripted: Option<Scripted>,
    node: Option<(Layout, node::Node)>,
    cri: Option<cri::Cri>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, ca] = arguments.as_slice()
        && word == "sources"
    {
        sources::serve(Path::new(ca));
        return;
    }
    let chosen = |test: &Test| {
        arguments.is_empty()
            || arguments
                .iter()
                .any(|word| test.name.contains(word.as_str()))
    };
    let tests: Vec<Test> = tests().into_iter().filter(chosen).collect();
    assert!(
        !tests.is_empty(),
        "no test has one of {arguments:?} in its name"
    );
    if !run(&tests) {
        std::process::exit(1);
    }
}

/// Says something below the test's line.
fn note(text: String) {
    notes().push(text);
}

fn notes() -> MutexGuard<'static, Vec<String>> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tests() -> Vec<Test> {
    let scripted = |(name, run): &(&str, fn(&mut Scripted)), part: &str, since| Test {
        name: format!("{part}::{name}"),
        since,
        run: Run::Scripted(*run),
    };
    let mut tests: Vec<Test> = Vec::new();
    for (part, list) in [("bodies", bodies::TESTS), ("spoiled", spoiled::TESTS)] {
        let list = list.iter();
        tests.extend(list.map(|test| scripted(test, part, (1, 6))));
    }
    // Before 2.1 containerd fetches a layer by one request.
    tests.extend(
        ranges::TESTS
            .iter()
            .map(|test| scripted(test, "ranges", (2, 1))),
    );
    for layout in [Layout::Containerd, Layout::K3s] {
        tests.extend(files::TESTS.iter().map(|(name, run)| Test {
            name: format!("files::{}::{name}", layout.word()),
            since: (1, 6),
            run: Run::Files(layout, *run),
        }));
    }
    let clients = [
        ("cri", cri::TESTS),
        ("podman", podman::TESTS),
        ("oras", oras::TESTS),
    ];
    for (part, list) in clients {
        tests.extend(list.iter().map(|(name, run)| Test {
            name: format!("{part}::{name}"),
            since: (1, 6),
            run: Run::Cri(*run),
        }));
    }
    tests
}

fn run(tests: &[Test]) -> bool {
    let start = Instant::now();
    let mut stages = Stages::default();
    let (mut passed, mut failed) = (0, 0);
    let mut outside = 0;
    let (version, generation) = containerd();
    for test in tests {
        if test.since > generation {
            outside += 1;
            continue;
        }
        let since = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| stages.run(&test.run)));
        if result.is_err() {
            stages = Stages::default();
            failed += 1;
        } else {
            passed += 1;
        }
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!(
            "containerd {version:<14} {:<60} {verdict:<6} {:6.1} s",
            test.name,
            since.elapsed().as_secs_f32()
        );
        for note in notes().drain(..) {
            println!("    {note}");
        }
    }
    drop(stages);
    if outside > 0 {
        println!("containerd {version} is too old for {outside} of them: there is nothing to test");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; containerd {version}, {} s",
        start.elapsed().as_secs()
    );
    failed == 0 && passed > 0
}

/// Version and generation of the containerd that is tested.
fn containerd() -> (String, (u32, u32)) {
    let lab = lab::Lab::start_without_servers();
    let containerd = lab.containerd();
    (containerd.version().to_owned(), containerd.generation())
}

impl Stages {
    fn run(&mut self, test: &Run) {
        match test {
            Run::Scripted(run) => {
                (self.node, self.cri) = (None, None);
                run(self.scripted.get_or_insert_with(Scripted::start));
            }
            Run::Cri(run) => {
                (self.scripted, self.node) = (None, None);
                run(self.cri.get_or_insert_with(cri::Cri::start));
            }
            Run::Files(layout, run) => {
                (self.scripted, self.cri) = (None, None);
                if self.node.as_ref().is_none_or(|(made, _)| made != layout) {
                    self.node = None;
                    self.node = Some((*layout, node::Node::start(*layout)));
                }
                if let Some((_, node)) = &mut self.node {
                    run(node);
                }
            }
        }
    }
}
