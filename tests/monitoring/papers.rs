//! What `packaging/monitoring` and the documents about it hold, read for the tests.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Dashboards, as they are installed.
pub const DASHBOARDS: [&str; 2] = ["fleet.dashboard.json", "node.dashboard.json"];
/// Rule files, as they are installed.
pub const RULES: [&str; 2] = ["harbor-pilot.recording.yml", "harbor-pilot.alerts.yml"];

/// Metrics that others export.
pub const FOREIGN: [&str; 2] = ["kubelet_runtime_operations_total", "up"];

/// A panel that shows something.
#[derive(Debug)]
pub struct Panel {
    pub board: &'static str,
    pub title: String,
    pub expressions: Vec<String>,
    pub whole: Value,
}

/// A rule of either kind.
#[derive(Debug)]
pub struct Rule {
    /// Of an alert, or of the series that is recorded.
    pub name: String,
    pub is_alert: bool,
    pub expression: String,
    pub whole: Value,
}

pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn text(path: &str) -> String {
    let path = project(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn dashboard(name: &str) -> Value {
    serde_json::from_str(&text(&format!("packaging/monitoring/{name}"))).unwrap()
}

/// The panels of both dashboards, rows left out.
pub fn panels() -> Vec<Panel> {
    let mut found = Vec::new();
    for board in DASHBOARDS {
        for panel in dashboard(board)["panels"].as_array().unwrap() {
            if panel["type"] == "row" {
                continue;
            }
            let targets = panel["targets"].as_array().unwrap();
            let expressions = targets
                .iter()
                .map(|it| it["expr"].as_str().unwrap().to_owned());
            found.push(Panel {
                board,
                title: panel["title"].as_str().unwrap().to_owned(),
                expressions: expressions.collect(),
                whole: panel.clone(),
            });
        }
    }
    found
}

pub fn rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for file in RULES {
        let file = text(&format!("packaging/monitoring/{file}"));
        let file: Value = yaml_serde::from_str(&file).unwrap();
        for group in file["groups"].as_array().unwrap() {
            for rule in group["rules"].as_array().unwrap() {
                let name = rule.get("alert").or(rule.get("record"));
                found.push(Rule {
                    name: name.unwrap().as_str().unwrap().to_owned(),
                    is_alert: rule.get("alert").is_some(),
                    expression: rule["expr"].as_str().unwrap().to_owned(),
                    whole: rule.clone(),
                });
            }
        }
    }
    found
}

/// The metrics and recorded series in an expression: words that stand before `{`, or that begin as ours do.
pub fn names(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut quoted = false;
    let mut word = String::new();
    for c in expression.chars().chain(['\n']) {
        if c == '"' {
            quoted = !quoted;
        }
        if !quoted && is_part(c) {
            word.push(c);
            continue;
        }
        let word = std::mem::take(&mut word);
        let is_metric = FOREIGN.contains(&word.as_str())
            || word.contains(':')
            || word.starts_with("harbor_pilot_")
            || word.starts_with("process_")
            || (c == '{' && !word.is_empty());
        if is_metric {
            found.insert(word);
        }
    }
    found
}

/// A histogram's name for one of its series.
pub fn family(name: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    let part = parts.iter().find_map(|part| name.strip_suffix(part));
    part.filter(|family| family.ends_with("_seconds"))
        .unwrap_or(name)
}

/// What docs/observability.md promises to export.
pub fn documented() -> BTreeSet<String> {
    let page = text("docs/observability.md");
    let section = page.split("\n## Metrics\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| `process_"));
    let mut found = BTreeSet::new();
    for row in rows {
        let cell = row.split('|').nth(1).unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            let is_process = name.starts_with("process_");
            let prefix = if is_process { "" } else { "harbor_pilot_" };
            found.insert(format!("{prefix}{name}"));
        }
    }
    found
}
