//! The reference agrees with the code: its examples are valid, and it names every key with its default.

use super::super::document::Table;
use super::*;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const LAYOUTS: &str = include_str!("../../../docs/layouts.md");
const ROUTER: &str = include_str!("../../../docs/router.md");
const TRACES: &str = include_str!("../../../docs/traces.md");

fn toml_blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```toml\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_example_is_valid() {
    let blocks: Vec<&str> = [REFERENCE, LAYOUTS, ROUTER, TRACES]
        .into_iter()
        .flat_map(toml_blocks)
        .collect();
    assert!(blocks.len() >= 8);
    for block in blocks {
        // The drop-in's example changes what another file defines.
        let before = if block.contains("enabled = false") {
            "[[tier]]\nname = \"replica\"\nproject = \"p-{registry}\"\n[[tier]]\nname = \"core\"\nurl = \"https://c.example\"\n"
        } else {
            ""
        };
        let mut found = Vec::new();
        let mut merged = Table::new();
        for text in [registry::BUILT_IN, before, block] {
            let later = document::parse(text, Some(Path::new("docs")), &mut found);
            merge::merge(&mut merged, later, &mut found);
        }
        let result = interpret::interpret(merged, found, &BTreeMap::new(), false);
        // The examples' certificates and passwords are not on this machine; nothing else may be wrong.
        for problem in result.err().unwrap_or_default() {
            assert!(
                problem.what.starts_with("cannot read /etc/harbor-pilot/"),
                "{block}\n{problem}"
            );
        }
    }
}

#[test]
fn every_key_stands_in_the_reference_with_its_default() {
    let router =
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nsentinels = [\"h:1\"]\nmaster = \"m\"";
    let otel = "\n[otel]\nendpoint = \"https://otel.example.com\"";
    let loaded = good(&format!("{TIER}{router}{otel}"));
    for table in &loaded.provenance.tables {
        let heading = match table.header.as_str() {
            "[tier.projects]" => continue,
            "[tier.health]" => "\n`[tier.health]`:".to_owned(),
            header => format!("\n## `{header}`"),
        };
        let section = REFERENCE.split(&heading).nth(1);
        let section = section.unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n## ").next().unwrap();
        for setting in &table.settings {
            let key = format!("`{}`", setting.key);
            let row = section.lines().find(|line| {
                line.starts_with("| ") && line.split('|').nth(1).unwrap().contains(&key)
            });
            let row = row.unwrap_or_else(|| panic!("{key} in {heading}"));
            let is_array = table.header.starts_with("[[");
            if setting.origin.is_none() && !is_array {
                let value = match (setting.value.to_string(), setting.key.as_str()) {
                    (_, "interval") => "\"60s\"".to_owned(),
                    (value, _) => value,
                };
                let default = row.split('|').nth(2).unwrap();
                assert!(default.contains(&format!("`{value}`")), "{row}: {value}");
            }
        }
    }
    // Keys without a default do not show by themselves.
    let optional = [
        "metrics",
        "require_header_file",
        "admin_token_file",
        "cert_file",
        "key_file",
        "priority",
        "project",
        "ca_file",
        "client_cert_file",
        "client_key_file",
        "username",
        "password_file",
        "credential",
        "enabled",
        "interval",
        "data_dir",
        "registries_yaml",
        "certs_d",
    ];
    for key in optional {
        assert!(REFERENCE.contains(&format!("`{key}`")), "{key}");
    }
}
