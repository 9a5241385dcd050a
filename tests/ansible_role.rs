//! The role's papers agree with each other: defaults, argument specification, README, and the example inventory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so and ends"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use yaml_serde::Value;

const PREFIX: &str = "harbor_pilot_";
const ROLE: &str = "ansible/roles/harbor_pilot";

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn mapping(value: &Value) -> BTreeMap<String, Value> {
    let pairs = value.as_mapping().expect("a mapping").iter();
    pairs
        .map(|(key, value)| (key.as_str().unwrap().to_owned(), value.clone()))
        .collect()
}

fn yaml(path: &str) -> BTreeMap<String, Value> {
    mapping(&yaml_serde::from_str::<Value>(&text(path)).unwrap())
}

#[test]
fn every_default_is_specified_as_it_is() {
    let defaults = yaml(&format!("{ROLE}/defaults/main.yml"));
    let specification = yaml(&format!("{ROLE}/meta/argument_specs.yml"));
    let mut specified = BTreeMap::new();
    for (entry, described) in mapping(&specification["argument_specs"]) {
        for (name, option) in mapping(&mapping(&described)["options"]) {
            let option = mapping(&option);
            let default = option
                .get("default")
                .unwrap_or_else(|| panic!("{entry}: {name} has no default"));
            if let Some(other) = specified.insert(name.clone(), default.clone()) {
                assert_eq!(&other, default, "{name} differs between entry points");
            }
        }
    }
    assert_eq!(defaults, specified);
}

#[test]
fn every_variable_stands_in_the_readme_and_every_task_file_uses_only_those() {
    let defaults: BTreeSet<String> = yaml(&format!("{ROLE}/defaults/main.yml"))
        .into_keys()
        .collect();
    let readme = words(&text(&format!("{ROLE}/README.md")));
    let missing: Vec<_> = defaults.difference(&readme).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");

    let mut known = defaults;
    // Of the playbooks, and of the package and role themselves.
    for name in ["harbor_pilot_hosts", "harbor_pilot_serial"] {
        known.insert(name.to_owned());
    }
    for path in papers() {
        for word in words(&text(&path)) {
            let is_own = word.starts_with("harbor_pilot__");
            let is_filter = FILTERS.contains(&word.as_str());
            let is_tag = ["package", "config", "service", "health", "scrape", "k3s"]
                .iter()
                .any(|tag| word == format!("harbor_pilot_{tag}"));
            assert!(
                is_own || is_filter || is_tag || known.contains(&word),
                "{path} knows {word}, and nobody else does"
            );
        }
    }
}

/// Of filter_plugins/harbor_pilot.py.
const FILTERS: [&str; 8] = [
    "harbor_pilot_toml",
    "harbor_pilot_dropins",
    "harbor_pilot_staged",
    "harbor_pilot_restart_keys",
    "harbor_pilot_restart_reasons",
    "harbor_pilot_unhealthy",
    "harbor_pilot_findings",
    "harbor_pilot_problems",
];

/// Everything that names variables.
fn papers() -> Vec<String> {
    let mut papers = vec![
        "docs/ansible.md".to_owned(),
        "ansible/inventory/example/group_vars/harbor_pilot.yml".to_owned(),
        format!("{ROLE}/README.md"),
    ];
    for folder in [
        "ansible/playbooks",
        "ansible/examples",
        &format!("{ROLE}/tasks"),
        &format!("{ROLE}/handlers"),
        &format!("{ROLE}/templates"),
        &format!("{ROLE}/vars"),
    ] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                papers.push(format!("{folder}/{}", entry.file_name().display()));
            }
        }
    }
    papers
}

/// Words that begin with `harbor_pilot_`.
fn words(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}
