//! What configurations mean and how wrong ones are reported.

mod accepted;
mod docs;
mod files;
mod loading;
mod meaning;
mod proxies;
mod rules;
mod values;

use super::*;
use std::collections::BTreeMap;
use std::path::Path;

/// One Harbor, for texts that are about something else.
const TIER: &str = "[[tier]]\nname = \"t\"\nurl = \"https://t.example.com\"\nproject = \"proxy-{registry_dashed}\"\n";

fn good(text: &str) -> Loaded {
    with_environment(text, &[]).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

fn with_environment(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let environment: BTreeMap<String, String> = environment
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    load::load_text(text, Path::new("config.toml"), &environment)
}

fn problems(text: &str) -> Vec<Problem> {
    with_environment(text, &[])
        .map_or_else(|problems| problems, |loaded| panic!("{text}\n{loaded:#?}"))
}

#[test]
fn without_a_word_the_built_in_registries_are_served_directly() {
    let config = Config::built_in();
    let upstreams: Vec<String> = config
        .registries
        .iter()
        .map(|registry| format!("{} {}", registry.name, registry.upstream))
        .collect();
    assert_eq!(
        upstreams,
        [
            "docker.io https://registry-1.docker.io",
            "ghcr.io https://ghcr.io",
            "quay.io https://quay.io",
            "gcr.io https://gcr.io",
            "public.ecr.aws https://public.ecr.aws",
            "mcr.microsoft.com https://mcr.microsoft.com",
            "registry.k8s.io https://registry.k8s.io",
        ]
    );
    assert!(config.registries.iter().all(|registry| registry.direct));
    assert_eq!(config.registries[0].bypass, ["goharbor/*"]);
    assert!(config.tiers.is_empty());
    assert!(!config.node.manage);
    assert_eq!(config.server.listen, ["127.0.0.1:290".parse().unwrap()]);
    assert_eq!(config.server.admin, Some("127.0.0.1:291".parse().unwrap()));
    assert_eq!(config.stale.max_bytes, 64 << 20);
    assert_eq!(config.state_directory, Path::new("/var/lib/harbor-pilot"));
    assert!(good("").warnings.is_empty());
}

/// The example of the interface's page, but for its files.
const INTERFACE: &str = r#"
[server]
listen = ["127.0.0.1:290"]
admin  = "127.0.0.1:291"
[[tier]]
name = "replica"
kind = "harbor"
url  = "https://replicas.mirror.example.com"
project = "proxy-{registry_dashed}"
registries = ["docker.io", "ghcr.io"]
names = ["replicas.mirror.example.com"]
cascade = true
in_file = false
proxy = "none"
[tier.projects]
"docker.io" = "docker-hub"
[tier.health]
probe = "harbor"
interval = "60s"
timeout = "3s"
[[registry]]
name = "docker.io"
upstream = "https://registry-1.docker.io"
direct = true
bypass = ["goharbor/*"]
private = ["myorg/*"]
[direct]
enabled = true
proxy = "env"
[relay]
verify = "always"
[failover]
harbor_policy = "next"
[stale]
enabled = true
max_age = "7d"
max_bytes = "64MiB"
[dns]
nameservers = []
min_ttl = "5s"
max_ttl = "5m"
[node]
manage = false
runtime = "auto"
fallback = "tiers"
existing = "adopt"
"#;

#[test]
fn the_interfaces_example_means_what_it_says() {
    let loaded = good(INTERFACE);
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    let tier = &loaded.config.tiers[0];
    let projects: Vec<String> = tier
        .projects
        .iter()
        .map(|(registry, project)| format!("{registry}={project}"))
        .collect();
    // The explicit name wins over the template; registries limits both.
    assert_eq!(projects, ["docker.io=docker-hub", "ghcr.io=proxy-ghcr-io"]);
    assert!(tier.cascade && !tier.in_file);
    assert_eq!(tier.probe.interval, std::time::Duration::from_secs(60));
    assert_eq!(loaded.config.registries[0].private, ["myorg/*"]);
    // Everything that it writes is a default, but the tier and the private repositories.
    let mut defaults = loaded.config;
    defaults.tiers.clear();
    std::sync::Arc::make_mut(&mut defaults.registries[0])
        .private
        .clear();
    assert_eq!(defaults, Config::built_in());
}

#[test]
fn eight_mistakes_are_reported_at_once() {
    let text = r#"
[server]
lisen = ["127.0.0.1:290"]
admin = "0.0.0.0:291"
[[tier]]
name = "upstream"
url = "replicas.example.com"
project = "proxy-{registri}"
cascade = "yes"
[tier.health]
interval = "2s"
[[registry]]
name = "docker.io"
direct = false
bypass = ["library/*"]
[dns]
min_ttl = 5
"#;
    let found: Vec<(usize, String)> = problems(text)
        .into_iter()
        .map(|problem| {
            assert_eq!(problem.file.as_deref(), Some(Path::new("config.toml")));
            assert!(!problem.what.is_empty() && !problem.instead.is_empty());
            (problem.line.unwrap(), problem.key)
        })
        .collect();
    let expected = [
        (3, "server.lisen"),
        (4, "server.admin"),
        (6, "tier.upstream.name"),
        (7, "tier.upstream.url"),
        (8, "tier.upstream.project"),
        (9, "tier.upstream.cascade"),
        (11, "tier.upstream.health.interval"),
        (15, "registry.\"docker.io\".bypass"),
        (17, "dns.min_ttl"),
    ];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn broken_syntax_does_not_hide_what_else_is_wrong() {
    let text = "[dns\nmin_ttl = \"5s\"\n[stale]\nmax_age = \"seven\"\n[relay]\nverify = \"always\nfoo = 1\n";
    let found = problems(text);
    let lines: Vec<usize> = found.iter().filter_map(|problem| problem.line).collect();
    assert!(lines.contains(&1), "{found:#?}");
    assert!(lines.contains(&4), "{found:#?}");
    assert!(lines.contains(&6), "{found:#?}");
}

#[test]
fn a_problem_says_where_what_and_what_instead() {
    let found = problems("[dns]\nmin_tll = \"5s\"\n");
    assert_eq!(
        found[0].to_string(),
        "config.toml:2: dns.min_tll: is no key that is known here; write min_ttl"
    );
}

#[test]
fn unknown_keys_are_met_with_the_key_that_was_meant() {
    let rows = [
        ("[servr]", "servr", "write server"),
        (
            "[[tier]]\nname=\"a\"\nurl=\"https://a.example\"\nproject=\"p\"\nendpoint=\"x\"",
            "tier.a.endpoint",
            "write url",
        ),
        (
            "[[tier]]\nname=\"a\"\nurl=\"https://a.example\"\nproject=\"p\"\nca=\"x\"",
            "tier.a.ca",
            "write ca_file",
        ),
        (
            "[[tier]]\nname=\"a\"\nurl=\"https://a.example\"\nproject=\"p\"\nin-file=true",
            "tier.a.in-file",
            "write in_file",
        ),
        (
            "[[tier]]\nname=\"a\"\nurl=\"https://a.example\"\nproject=\"p\"\npassword=\"x\"",
            "tier.a.password",
            "put the password into a file",
        ),
        (
            "[[registry]]\nname=\"docker.io\"\nskip_verify=true",
            "registry.\"docker.io\".skip_verify",
            "known keys are bypass, ca_file",
        ),
        ("[log]\nlevel=\"debug\"", "log.level", "write filter"),
        ("[mirrors]", "mirrors", "write tier"),
        ("[stale]\nmaxage=\"7d\"", "stale.maxage", "write max_age"),
        ("zzzzz = 1", "zzzzz", "known keys are direct, dns"),
    ];
    for (text, key, instead) in rows {
        let found = problems(text);
        let one = found.iter().find(|problem| problem.key == key);
        let one = one.unwrap_or_else(|| panic!("{key} in {found:#?}"));
        assert!(one.instead.starts_with(instead), "{key}: {}", one.instead);
    }
}
