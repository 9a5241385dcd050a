//! Each role's papers agree with each other: defaults, argument specification, README, and the example inventory. What the
//! role makes of variables is accepted by `harbor-pilot check`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so and ends"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
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

/// What is in force, by key, with the configuration that the role makes of a site's variables. Their secrets and certificates
/// stand in `home`.
fn in_force(home: &Path, variables: &str) -> BTreeMap<String, String> {
    let (given, rendered) = (home.join("variables.yml"), home.join("config.toml"));
    fs::write(&given, variables).unwrap();
    let ansible = Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible");
    let files = serde_json::json!({
        "site_variables": given, "rendered": rendered, "vault_robot_secret": "sesame",
    });
    let output = Command::new("ansible-playbook")
        .current_dir(&ansible)
        .env("ANSIBLE_HOME", home.join("ansible"))
        .env("ANSIBLE_NOCOLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .env(
            "ANSIBLE_FILTER_PLUGINS",
            ansible.join("roles/harbor_pilot/filter_plugins"),
        )
        .args(["--inventory", "localhost,", "--extra-vars"])
        .arg(files.to_string())
        .arg("../tests/ansible/render.yml")
        .output()
        .unwrap_or_else(|error| panic!("ansible-playbook: {error}; run `make deps` as root"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let output = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"))
        .args(["check", "--json", "--config"])
        .arg(&rendered)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = answer["settings"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    settings
        .map(|one| (text(&one["key"]), one["value"].to_string()))
        .collect()
}

/// A place for what the variables name, with a secret in it.
fn home_with_secret() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("robot.secret");
    fs::write(&secret, "sesame").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    home
}

#[test]
fn discovery_is_a_variable_of_a_tier() {
    let home = home_with_secret();
    let variables = serde_json::json!({ "harbor_pilot_tiers": [{
        "name": "core", "url": "https://core.example.com",
        "username": "robot$node", "password_file": home.path().join("robot.secret"),
        "discovery": { "enabled": true, "interval": "45m" },
        "projects": { "quay.io": "written" },
    }] });
    let settings = in_force(home.path(), &variables.to_string());
    for (key, value) in [
        ("tier.core.discovery.enabled", "true"),
        ("tier.core.discovery.interval", "\"45m\""),
        ("tier.core.projects.\"quay.io\"", "\"written\""),
    ] {
        assert_eq!(settings[key], value, "{settings:#?}");
    }
}

/// As it stands, and with the lines on discovery in force.
#[test]
fn the_example_inventory_is_accepted() {
    let home = home_with_secret();
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let ca = ca.self_signed(&key).unwrap().pem();
    fs::write(home.path().join("ca.crt"), ca).unwrap();
    let example = text("ansible/inventory/example/group_vars/harbor_pilot.yml")
        .replace("/etc/harbor-pilot/", &format!("{}/", home.path().display()));
    let settings = in_force(home.path(), &example);
    assert!(settings["tier.core.project"].contains("{registry_dashed}"));
    let lines = "    # discovery: {enabled: true}\n    project: proxy-{registry_dashed}\n";
    assert!(example.contains(lines), "{example}");
    let example = example.replace(lines, "    discovery: {enabled: true}\n");
    let settings = in_force(home.path(), &example);
    assert_eq!(settings["tier.core.discovery.enabled"], "true");
}
