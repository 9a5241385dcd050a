//! Each role's papers agree with each other: defaults, argument specification, README, and the example inventory.
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

struct Role {
    name: &'static str,
    docs: &'static str,
    /// Of the example inventory.
    groups: &'static [&'static str],
    /// Of filter_plugins.
    filters: &'static [&'static str],
    /// Tags, and variables of the playbooks; each without the role's name.
    others: &'static [&'static str],
}

const ROLES: [Role; 2] = [
    Role {
        name: "harbor_pilot",
        docs: "docs/ansible.md",
        groups: &["harbor_pilot"],
        filters: &[
            "toml",
            "dropins",
            "staged",
            "restart_keys",
            "restart_reasons",
            "unhealthy",
            "findings",
            "problems",
        ],
        others: &[
            "package", "config", "service", "health", "scrape", "k3s", "hosts", "serial",
        ],
    },
    Role {
        name: "harbor_tier",
        docs: "docs/harbor-hosts.md",
        groups: &["harbor_core", "harbor_replica"],
        filters: &["state"],
        others: &["nginx", "api", "healthd", "hosts", "serial"],
    },
];

impl Role {
    fn path(&self, file: &str) -> String {
        format!("ansible/roles/{}/{file}", self.name)
    }
}

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
    for role in &ROLES {
        let defaults = yaml(&role.path("defaults/main.yml"));
        let specification = yaml(&role.path("meta/argument_specs.yml"));
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
}

#[test]
fn every_variable_stands_in_the_readme_and_every_task_file_uses_only_those() {
    for role in &ROLES {
        let defaults: BTreeSet<String> =
            yaml(&role.path("defaults/main.yml")).into_keys().collect();
        let readme = words(role, &text(&role.path("README.md")));
        let missing: Vec<_> = defaults.difference(&readme).collect();
        assert!(missing.is_empty(), "not in the README: {missing:?}");

        let mut known = defaults;
        let others = role.filters.iter().chain(role.others);
        known.extend(others.map(|other| format!("{}_{other}", role.name)));
        for path in papers(role) {
            for word in words(role, &text(&path)) {
                let is_own = word.starts_with(&format!("{}__", role.name));
                assert!(
                    is_own || known.contains(&word),
                    "{path} knows {word}, and nobody else does"
                );
            }
        }
    }
}

/// Everything that names variables.
fn papers(role: &Role) -> Vec<String> {
    let mut papers = vec![role.docs.to_owned(), role.path("README.md")];
    for group in role.groups {
        papers.push(format!("ansible/inventory/example/group_vars/{group}.yml"));
    }
    for folder in [
        "ansible/playbooks",
        "ansible/examples",
        &role.path("tasks"),
        &role.path("handlers"),
        &role.path("templates"),
        &role.path("vars"),
    ] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        // A role may have no handlers.
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                papers.push(format!("{folder}/{}", entry.file_name().display()));
            }
        }
    }
    assert!(papers.len() > 10, "{papers:?}");
    papers
}

/// Words that begin with the role's name.
fn words(role: &Role, text: &str) -> BTreeSet<String> {
    let prefix = format!("{}_", role.name);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.len() > prefix.len() && word.starts_with(&prefix))
        .map(str::to_owned)
        .collect()
}
