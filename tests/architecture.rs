//! The architecture, held by a test: which module may know which, and how files look.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's own helpers end the test"
)]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/citations.rs"]
mod citations;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A module knows itself, its own children and the floors below; modules of one floor do
/// not know each other. Each floor with the reason for its place.
const FLOORS: &[(&[&str], &str)] = &[
    (&["printable"], "text of others made safe to show; pure"),
    (
        &["oci", "http1", "cache"],
        "the vocabulary of the wire, and what is kept for a while; pure",
    ),
    (
        &["lifecycle", "budget"],
        "tasks and the drain, and the bytes that wait in memory: needed everywhere, know nobody",
    ),
    (
        &["admission"],
        "who may connect, and who makes way: for both listeners and the checks of them",
    ),
    (&["telemetry"], "says what happened, in oci's words"),
    (
        &["metrics"],
        "counts what telemetry records, so that log and metrics cannot differ",
    ),
    (
        &["config"],
        "the checked settings; no I/O besides its files",
    ),
    (
        &["topology"],
        "sources, endpoints and their states, made from the configuration",
    ),
    (
        &["route", "bandwidth"],
        "picks sources for a request, and how fast blobs may come from them; pure",
    ),
    (
        &["discovery", "upstream"],
        "where endpoints are, and connections to them; neither decides",
    ),
    (
        &["health", "auth", "traces"],
        "judge and enter endpoints over those connections; and where traces go, which are made from finished requests",
    ),
    (&["node"], "the node's files, which follow the topology"),
    (
        &["exchange"],
        "one request at one endpoint, credentials inside",
    ),
    (
        &["relay", "projects"],
        "one request over all its sources: the pull path; and which projects the Harbors among them have",
    ),
    (
        &["router"],
        "the entry of requests: looks for the registry of an image that names none, and hands on to the pull path",
    ),
    (
        &["server", "admin"],
        "the listeners, for containerd and for people",
    ),
    (
        &["healthd"],
        "the health responder of a Harbor host: a process of its own",
    ),
    (
        &["doctor"],
        "looks at the whole node from outside, with the parts' own functions",
    ),
    (&["app"], "puts everything together"),
    (&["cli"], "commands; the only place that prints"),
    (&["lib"], "names the modules"),
    (&["main"], "hands over to cli"),
];

const MAX_LINES: usize = 400;

/// Names that gather what belongs elsewhere.
const VAGUE: [&str; 6] = ["utils", "util", "common", "helpers", "misc", "shared"];

struct Source {
    /// Relative to `src`, such as `oci/tests/names.rs`.
    path: PathBuf,
    text: String,
}

/// The module that a source belongs to: `oci` for `oci.rs` and everything in `oci/`.
fn module_of(path: &Path) -> String {
    let first = path.iter().next().expect("a path has a component");
    let first = first.to_str().expect("a source's name is UTF-8");
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

/// How many modules deep a source is: 1 for `oci.rs`, 2 for `oci/path.rs`.
fn depth_of(path: &Path) -> usize {
    path.iter().count()
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(directory).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source {
                    text: fs::read_to_string(&path).expect("a source is text"),
                    path: path.strip_prefix(root).expect("below src").to_owned(),
                });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 20, "src was not found whole");
    found
}

/// The text without its line comments: documentation may point anywhere.
fn code(text: &str) -> String {
    let without = |line: &str| line.split("//").next().unwrap_or("").to_owned();
    text.lines().map(without).collect::<Vec<_>>().join("\n")
}

/// The top-level modules that a piece of code names: by `crate::x`, `crate::{x::…, y}`, `harbor_pilot::x`, and
/// by as many `super::` as lead to the crate's root from `depth` modules below it.
fn named_modules(code: &str, depth: usize) -> Vec<String> {
    let to_root = "super::".repeat(depth);
    let mut named = Vec::new();
    for root in ["crate::", "harbor_pilot::", to_root.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = code.get(..at).unwrap_or_default();
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = code.get(at + root.len()..).unwrap_or_default();
            named.extend(heads(rest));
        }
    }
    named
}

/// The first identifier of `a::b` or of each member of `{a::b, c::{d, e}}`.
fn heads(rest: &str) -> Vec<String> {
    let identifier = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text.get(..end.unwrap_or(text.len()))
            .unwrap_or_default()
            .to_owned()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![identifier(rest)];
    };
    let mut nesting = 0_usize;
    let mut member = String::new();
    let mut found = Vec::new();
    for c in group.chars() {
        match c {
            '}' if nesting == 0 => break,
            ',' if nesting == 0 => found.push(identifier(&std::mem::take(&mut member))),
            _ => {
                match c {
                    '{' => nesting += 1,
                    '}' => nesting -= 1,
                    _ => {}
                }
                member.push(c);
            }
        }
    }
    found.push(identifier(&member));
    found.retain(|name| !name.is_empty());
    found
}

fn floor_by_module() -> BTreeMap<&'static str, usize> {
    let floors = FLOORS.iter().enumerate();
    let rows: Vec<_> = floors
        .flat_map(|(floor, (modules, _))| modules.iter().map(move |module| (*module, floor)))
        .collect();
    let map: BTreeMap<_, _> = rows.iter().copied().collect();
    assert_eq!(map.len(), rows.len(), "a module stands on two floors");
    map
}

/// What `importer` may not know, of the modules that it names.
fn offences(importer: &str, named: &[String], floors: &BTreeMap<&str, usize>) -> Vec<String> {
    let own = floors[importer];
    let not_below = |name: &&String| floors.get(name.as_str()).is_some_and(|floor| *floor >= own);
    named
        .iter()
        .filter(|name| *name != importer)
        .filter(not_below)
        .cloned()
        .collect()
}

#[test]
fn every_module_has_a_floor() {
    let floors = floor_by_module();
    for source in sources() {
        let module = module_of(&source.path);
        assert!(
            floors.contains_key(module.as_str()),
            "{module} ({}) is on no floor",
            source.path.display()
        );
    }
}

#[test]
fn modules_know_only_the_floors_below() {
    let floors = floor_by_module();
    let mut found = Vec::new();
    for source in sources() {
        let module = module_of(&source.path);
        let named = named_modules(&code(&source.text), depth_of(&source.path));
        for name in offences(&module, &named, &floors) {
            found.push(format!("{} names {name}", source.path.display()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_modules_of_a_folder_know_each_other() {
    assert_eq!(circles::circles(&sources()), []);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut found = Vec::new();
    for source in sources() {
        let path = source.path.display();
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            found.push(format!("{path}: {lines} lines, at most {MAX_LINES}"));
        }
        if !source.text.starts_with("//! ") {
            found.push(format!("{path}: begins without `//!`"));
        }
        let stem = source.path.file_stem().and_then(|stem| stem.to_str());
        if stem == Some("mod") {
            found.push(format!("{path}: a mod.rs; write x.rs beside x/"));
        }
        let segments = source.path.iter().filter_map(|segment| segment.to_str());
        for segment in segments {
            if VAGUE.contains(&segment.trim_end_matches(".rs")) {
                found.push(format!("{path}: `{segment}` says nothing"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Code and documents cite decisions by number.
#[test]
fn a_decisions_number_stands_once_and_in_its_title() {
    let mut titles = BTreeMap::new();
    for entry in fs::read_dir("docs/decisions").expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let (number, _) = name
            .and_then(|name| name.split_once('-'))
            .expect("a name is NNN-title.md");
        let text = fs::read_to_string(&path).expect("the file is readable");
        let due = format!("# {}. ", number.trim_start_matches('0'));
        assert!(text.starts_with(&due), "{}: {due:?}", path.display());
        let other = titles.insert(number.to_owned(), path.clone());
        assert_eq!(other, None, "the number of {}", path.display());
    }
}

#[test]
fn test_help_has_one_name() {
    let found = sources().into_iter().flat_map(|source| {
        let path = source.path.display().to_string();
        let lines: Vec<_> = source.text.lines().map(str::to_owned).collect();
        let modules = lines
            .windows(2)
            .filter(|two| two[0].trim() == "#[cfg(test)]");
        let modules = modules.filter_map(|two| {
            let (_, name) = two[1].split_once("mod ")?;
            Some(name.trim_end_matches([';', '{', ' ']).to_owned())
        });
        // What is below tests/ may be called as its part of them is; the fleet simulates a whole cluster.
        let other = modules.filter(|name| !["tests", "testing", "fleet"].contains(&name.as_str()));
        other
            .map(|name| format!("{path}: the test module {name} is no `tests` or `testing`"))
            .collect::<Vec<_>>()
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Where `unsafe` stands, with what it calls. Each call has its measured need in a decision.
const UNSAFE: [(&str, &str); 2] = [
    ("budget/allocator.rs", "libc::malloc_trim(0);"),
    (
        "budget/code.rs",
        "let _ = madvise(start, length, Advice::LinuxDontNeed);",
    ),
];

#[test]
fn unsafe_code_is_two_calls() {
    let mut found = Vec::new();
    for source in sources() {
        let text = code(&source.text);
        let path = source.path.display().to_string();
        for (at, _) in text.match_indices("unsafe {") {
            let block = text.get(at..).unwrap_or_default();
            let block = block.split_once('{').map_or("", |(_, rest)| rest);
            let call = block.split_once('}').map_or("", |(call, _)| call.trim());
            found.push((path.clone(), call.to_owned()));
        }
        let words = text.matches("unsafe ").count();
        let allowed = UNSAFE.iter().filter(|(file, _)| *file == path).count();
        assert_eq!(words, allowed, "{path}: unsafe");
    }
    let due = UNSAFE.map(|(file, call)| (file.to_owned(), call.to_owned()));
    assert_eq!(found, due);
}

/// The modules whose arithmetic clippy does not look at: they read nothing that others write. Everything else reads foreign
/// bytes, a new module included.
const OWN_NUMBERS: [&str; 5] = ["config", "lifecycle", "metrics", "node", "telemetry"];

#[test]
fn arithmetic_on_foreign_numbers_is_checked() {
    const LINT: &str = "clippy::arithmetic_side_effects";
    let mut left_out = Vec::new();
    for source in sources() {
        let path = source.path.display().to_string();
        let mut lines = source.text.lines();
        while let Some(line) = lines.next() {
            if !line.contains(LINT) {
                continue;
            }
            if line == format!("#![cfg_attr(not(test), warn({LINT}))]") {
                assert_eq!(path, "lib.rs");
                left_out.push(String::new());
                continue;
            }
            assert_eq!(path, "lib.rs", "{line}");
            let module = lines.find_map(|line| line.strip_prefix("pub mod "));
            left_out.extend(module.map(|name| name.trim_end_matches(';').to_owned()));
        }
    }
    assert_eq!(
        left_out.remove(0),
        "",
        "the lint is on for the whole library"
    );
    assert_eq!(left_out, OWN_NUMBERS);
}

#[test]
fn the_reader_of_paths_reads_them() {
    let rows: [(&str, usize, &[&str]); 9] = [
        ("use crate::oci::Digest;", 1, &["oci"]),
        (
            "use crate::{config::{A, B}, oci, route::X as Y};",
            1,
            &["config", "oci", "route"],
        ),
        (
            "use crate::{\n    app::App,\n    cli,\n};",
            1,
            &["app", "cli"],
        ),
        ("let x = crate::relay::plan();", 1, &["relay"]),
        ("harbor_pilot::cli::main()", 1, &["cli"]),
        ("use super::super::server::Server;", 2, &["server"]),
        ("use super::sibling::X;", 2, &[]),
        ("// crate::app::x\n/// [`crate::app`]\nlet url = 1;", 1, &[]),
        ("my_crate::app::x", 1, &[]),
    ];
    for (text, depth, expected) in rows {
        assert_eq!(named_modules(&code(text), depth), expected, "{text}");
    }
    let floors = floor_by_module();
    let offence = |importer, named: &str| offences(importer, &[named.to_owned()], &floors);
    assert_eq!(offence("oci", "relay"), ["relay"]);
    assert_eq!(offence("health", "auth"), ["auth"]);
    assert!(offence("relay", "relay").is_empty());
    assert!(offence("relay", "oci").is_empty());
    assert!(offence("relay", "SomeType").is_empty());
}

/// `make demo` installs what the laboratory runs, and `make deps` more: neither list forgets what the other has.
#[test]
fn the_demonstration_installs_what_the_laboratory_runs() {
    let read = |path: &str| fs::read_to_string(path).expect("the file is readable");
    let (deps, programs) = (read("tests/lab/deps.sh"), read("tests/lab/programs.rs"));
    let list = deps.split("LABORATORY=\"").nth(1).expect("the list exists");
    let list = list.split('"').next().unwrap_or_default();
    let installed: Vec<&str> = list.split_whitespace().collect();
    let needed = programs.lines().filter_map(|line| {
        let pair = line.trim().strip_prefix("(\"")?.strip_suffix("\"),")?;
        pair.split_once("\", \"")
    });
    let packages: Vec<&str> = needed.map(|(_, package)| package).collect();
    assert!(packages.len() > 10, "{packages:?}");
    for package in packages.into_iter().chain(["busybox-static"]) {
        assert!(installed.contains(&package), "{package} is not in {list}");
    }
}
