//! Dashboards, rules and the documents about them agree with each other and with what the agent exports. What a real
//! Prometheus makes of them is in `tests/prometheus`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test"
)]

#[path = "monitoring/papers.rs"]
mod papers;

use papers::{DASHBOARDS, FOREIGN, RULES, dashboard, family, names, panels, rules, text};
use std::collections::BTreeSet;

/// Where the package puts the runbook.
const RUNBOOK: &str = "file:///usr/share/doc/harbor-pilot/docs/troubleshooting.md#";

/// The anchors that a page's headings have, as GitHub and Gitea make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        }
        let heading = line.trim_start_matches('#');
        if inside || heading.len() == line.len() {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        found.insert(kept.collect::<String>().replace(' ', "-"));
    }
    found
}

#[test]
fn every_alert_leads_to_a_section_that_says_what_to_do() {
    let page = text("docs/troubleshooting.md");
    let anchors = anchors(&page);
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.is_alert).collect();
    assert!(alerts.len() >= 20, "{alerts:?}");
    for alert in &alerts {
        let name = &alert.name;
        let annotations = &alert.whole["annotations"];
        let url = annotations["runbook_url"].as_str().expect(name);
        let anchor = url.strip_prefix(RUNBOOK).expect(url);
        assert!(anchors.contains(anchor), "{name}: no heading for {url}");
        assert_eq!(anchor, name.to_lowercase());
        assert!(annotations["summary"].as_str().unwrap().ends_with('.'));
        let severity = alert.whole["labels"]["severity"].as_str().expect(name);
        assert!(["critical", "warning"].contains(&severity), "{name}");

        let heading = format!("\n### {name}\n");
        let section = page.split(&heading).nth(1).expect(name);
        let section = section.split("\n##").next().unwrap();
        for part in ["Means: ", "Look at:", "Do: ", "```\n"] {
            assert!(section.contains(part), "{name}: no {part:?}");
        }
    }
    let described = page.lines().filter_map(|line| line.strip_prefix("### "));
    let described: Vec<_> = described
        .filter(|it| it.starts_with("HarborPilot"))
        .collect();
    let given: Vec<_> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(described, given, "sections and alerts, in one order");
    let table = text("docs/monitoring.md");
    for name in given {
        let link = format!("| [{name}](troubleshooting.md#{}) |", name.to_lowercase());
        assert!(table.contains(&link), "docs/monitoring.md: {link}");
    }
}

#[test]
fn dashboards_and_rules_name_only_what_is_exported_or_recorded() {
    let mut known = papers::documented();
    assert!(known.len() >= 35, "{known:?}");
    known.extend(FOREIGN.map(str::to_owned));
    let rules = rules();
    let recorded = rules.iter().filter(|rule| !rule.is_alert);
    let recorded: BTreeSet<_> = recorded.map(|rule| rule.name.clone()).collect();
    let mut used = BTreeSet::new();
    let panels = panels();
    let of_panels = panels.iter().flat_map(|panel| {
        let place = format!("{}: {}", panel.board, panel.title);
        panel.expressions.iter().map(move |it| (place.clone(), it))
    });
    let of_rules = rules
        .iter()
        .map(|rule| (rule.name.clone(), &rule.expression));
    for (place, expression) in of_panels.chain(of_rules) {
        let found = names(expression);
        assert!(!found.is_empty(), "{place}: {expression}");
        for name in found {
            let is_known = known.contains(family(&name)) || recorded.contains(&name);
            assert!(is_known, "{place}: {name} is exported by nobody");
            used.insert(name);
        }
    }
    let unused: Vec<_> = recorded.difference(&used).collect();
    assert!(unused.is_empty(), "recorded for nobody: {unused:?}");
}

#[test]
fn dashboards_are_well_formed() {
    let mut uids = BTreeSet::new();
    for name in DASHBOARDS {
        let board = dashboard(name);
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()));
        let variables = board["templating"]["list"].as_array().unwrap();
        let variables: Vec<_> = variables.iter().map(|it| &it["name"]).collect();
        assert_eq!(variables, ["datasource", "job", "node"]);
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
            let place = ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
            let [x, y, w, h] = place;
            assert!(x + w <= 24, "{title}: {place:?}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{title} covers another panel");
            }
        }
    }
    for panel in panels() {
        let title = &panel.title;
        assert!(panel.whole["description"].as_str().unwrap().ends_with('.'));
        assert_eq!(panel.whole["datasource"]["uid"], "${datasource}", "{title}");
        for expression in &panel.expressions {
            let variables = expression.split('$').skip(1);
            for variable in variables {
                let end = variable.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let variable = &variable[..end.unwrap_or(variable.len())];
                let known = ["job", "node", "__range", "__rate_interval"];
                assert!(known.contains(&variable), "{title}: ${variable}");
            }
        }
    }
}

#[test]
fn the_package_holds_all_of_it() {
    let cargo = text("Cargo.toml");
    let asset = r#"["packaging/monitoring/*", "usr/share/harbor-pilot/monitoring/", "644"]"#;
    assert!(cargo.contains(asset));
    let mut files: Vec<_> = std::fs::read_dir(papers::project("packaging/monitoring"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut expected = [&DASHBOARDS[..], &RULES[..], &["prometheus.yml"]].concat();
    expected.sort_unstable();
    assert_eq!(files, expected);
}
