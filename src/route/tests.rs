//! Tables of routing: what is asked, and which sources may be asked for what.

mod table;

use super::*;
use crate::oci::ResourcePath;
use std::fmt::Write as _;
use table::ROWS;

const CONFIG: &str = r#"
[[tier]]
name = "replica"
url = "https://replicas.example.com"
cascade = true
[tier.projects]
"docker.io" = "proxy-docker-io"
"ghcr.io" = "proxy-ghcr-io"
"quay.io" = "proxy-quay-io"
"registry.k8s.io" = "proxy-registry-k8s-io"
"public.ecr.aws" = "proxy-public-ecr-aws"

[[tier]]
name = "core"
url = "https://core.example.com:8443"
project = "proxy.{registry}"
registries = ["docker.io", "ghcr.io", "reg.example:5000"]

[[tier]]
name = "inner"
url = "https://inner.example.com"
registries = ["quay.io"]
project = "mirror/mirror-{registry_dashed}"
names = ["inner.example.com", "images.example.com"]

[[tier]]
name = "nexus"
kind = "path"
url = "https://nexus.example.com/repository"
[tier.projects]
"quay.io" = "Quay"
"ghcr.io" = "group/github"

[[tier]]
name = "spegel"
kind = "mirror"
url = "http://10.0.0.7:5000"
registries = ["docker.io", "reg.example:5000"]

[[registry]]
name = "docker.io"
private = ["myorg/*", "library/secret"]

[[registry]]
name = "reg.example:5000"
upstream = "https://reg.example:5000"
private = ["team/closed"]

[[registry]]
name = "gcr.io"
direct = false

[[registry]]
name = "quay.io"
direct = false
private = ["robot/*"]

[[registry]]
name = "ghcr.io"
bypass = ["straight/*"]
"#;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn table(text: &str) -> RouteTable {
    let config = Config::from_toml(text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    RouteTable::new(Arc::new(config))
}

fn ask(table: &RouteTable, ns: Option<&str>, name: &str, kind: &str) -> Result<Arc<Route>, String> {
    let suffix = match kind {
        "blob" => format!("blobs/{DIGEST}"),
        "tags" => "tags/list".to_owned(),
        "referrers" => format!("referrers/{DIGEST}"),
        _ => "manifests/latest".to_owned(),
    };
    match ResourcePath::parse(&format!("/v2/{name}/{suffix}")) {
        Ok(ResourcePath::Resource { name, kind }) => table
            .route(ns, &name, &kind)
            .map_err(|refusal| word(&refusal)),
        Ok(ResourcePath::Ping) => Err("ping".to_owned()),
        Err(_) => Err("path".to_owned()),
    }
}

fn word(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotConfigured(name) => format!("not configured: {name}"),
        Refusal::InvalidName => "invalid".to_owned(),
        Refusal::Private(repository) => format!("private: {repository}"),
        Refusal::NoSource(registry) => format!("no source: {registry}"),
        Refusal::NotRelayed(word) => format!("not relayed: {word}"),
    }
}

/// `replica:proxy-docker-io/library/nginx upstream:library/nginx`; `?` before a query, `!` for authority,
/// `-` for a credential that stays here.
fn shown(result: Result<Arc<Route>, String>) -> String {
    match result {
        Err(refusal) => refusal,
        Ok(route) => {
            let mut text = String::new();
            for target in &route.targets {
                let gap = if text.is_empty() { "" } else { " " };
                let query = target
                    .query
                    .as_ref()
                    .map_or(String::new(), |query| format!("?{query}"));
                let credential = if target.with_credential { "" } else { "-" };
                let authority = if target.authoritative { "!" } else { "" };
                let source = target.source.label();
                write!(
                    text,
                    "{gap}{source}{authority}{credential}:{}{query}",
                    target.path
                )
                .unwrap();
            }
            text
        }
    }
}

#[test]
fn each_request_goes_where_the_table_says() {
    let table = table(CONFIG);
    let mut wrong = String::new();
    for (ns, name, kind, expected) in ROWS {
        let found = shown(ask(&table, *ns, name, kind));
        if found != *expected {
            writeln!(
                wrong,
                "{ns:?} {name} {kind}\n  wanted {expected}\n  found  {found}"
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(ROWS.len() >= 60, "the issue's table has at least 60 rows");
}

#[test]
fn whatever_is_asked_only_configured_sources_come_out() {
    let table = table(CONFIG);
    let tiers = ["replica", "core", "inner", "nexus", "spegel"];
    for (ns, name, kind, _) in ROWS {
        let Ok(route) = ask(&table, *ns, name, kind) else {
            continue;
        };
        assert!(!route.targets.is_empty());
        assert!(
            route.reasons.is_empty(),
            "nobody reads them on the pull path"
        );
        for target in &route.targets {
            match &target.source {
                SourceId::Tier(tier) => assert!(tiers.contains(&tier.as_ref())),
                SourceId::Upstream(registry) => {
                    assert!(table.config.registry(registry).unwrap().direct);
                }
            }
            assert!(
                !target.path.contains(['%', '?', '\\', '@']),
                "{}",
                target.path
            );
            assert!(
                target
                    .path
                    .split('/')
                    .all(|part| part != ".." && !part.is_empty())
            );
        }
    }
}

#[test]
fn a_refused_name_is_shown_short() {
    let long = "a".repeat(5000);
    let refusal = ask(
        &table(""),
        Some(&format!("{long}.example")),
        "o/r",
        "manifest",
    );
    assert_eq!(refusal.unwrap_err().len(), "not configured: ".len() + 80);
}

#[test]
fn tokens_are_kept_under_the_project_only_where_they_open_it() {
    let table = table(CONFIG);
    let scopes = |ns: &str, name: &str| -> Vec<String> {
        let route = ask(&table, Some(ns), name, "manifest").unwrap();
        route
            .targets
            .iter()
            .map(|target| target.token_scope.to_string())
            .collect()
    };
    assert_eq!(
        scopes("docker.io", "nginx"),
        [
            "proxy-docker-io",
            "proxy.docker.io",
            "library/nginx",
            "library/nginx"
        ]
    );
    assert_eq!(
        scopes("quay.io", "o/r"),
        ["proxy-quay-io", "mirror/mirror-quay-io", "Quay/o/r"]
    );
    assert_eq!(scopes("replicas.example.com", "team/app"), ["team"]);
}

#[test]
fn an_image_named_after_a_tier_keeps_the_name_in_its_label() {
    let table = table(CONFIG);
    let unmapped = ask(&table, Some("replicas.example.com"), "team/app", "manifest").unwrap();
    assert_eq!(unmapped.registry, None);
    assert_eq!(unmapped.registry_label.as_str(), "replicas.example.com");
    let mapped = ask(
        &table,
        Some("replicas.example.com"),
        "proxy-ghcr-io/o/r",
        "manifest",
    )
    .unwrap();
    assert_eq!(mapped.registry_label.as_str(), "ghcr.io");
    assert_eq!(mapped.repository.as_str(), "o/r");
}

#[test]
fn the_longest_project_says_which_registry_is_meant() {
    let table = table(
        r#"
[[tier]]
name = "t"
url = "https://t.example.com"
[tier.projects]
"docker.io" = "mirror"
"quay.io" = "mirror/quay"
"#,
    );
    let found = |name: &str| {
        let route = ask(&table, Some("t.example.com"), name, "manifest").unwrap();
        format!("{}/{}", route.registry_label, route.repository)
    };
    assert_eq!(found("mirror/quay/o/r"), "quay.io/o/r");
    assert_eq!(found("mirror/o/r"), "docker.io/o/r");
    assert_eq!(found("mirror/quayx"), "docker.io/library/quayx");
}

#[test]
fn without_tiers_everything_is_upstreams() {
    let table = table("");
    let found = shown(ask(&table, Some("docker.io"), "library/nginx", "manifest"));
    assert_eq!(found, "upstream!:library/nginx");
    let found = shown(ask(&table, None, "registry.k8s.io/pause", "manifest"));
    assert_eq!(found, "upstream!:pause");
}

#[test]
fn with_direct_off_no_upstream_is_ever_a_target() {
    let text = format!(
        "[direct]\nenabled = false\n{}",
        CONFIG.replace("bypass = [\"straight/*\"]", "")
    );
    let table = table(&text);
    for (ns, name, kind, _) in ROWS {
        if let Ok(route) = ask(&table, *ns, name, kind) {
            for target in &route.targets {
                assert!(matches!(target.source, SourceId::Tier(_)), "{ns:?} {name}");
            }
        }
    }
    let found = shown(ask(
        &table,
        Some("docker.io"),
        "goharbor/harbor-core",
        "manifest",
    ));
    assert!(
        found.starts_with("replica:proxy-docker-io/goharbor"),
        "{found}"
    );
}

#[test]
fn a_removed_registry_is_not_configured() {
    let table = table("[[registry]]\nname = \"docker.io\"\nenabled = false\n");
    for (ns, name) in [(Some("docker.io"), "library/nginx"), (None, "nginx")] {
        let found = shown(ask(&table, ns, name, "manifest"));
        assert_eq!(found, "not configured: docker.io");
    }
}

#[test]
fn a_mirror_of_everything_is_asked_for_everything() {
    let table = table(
        "[[tier]]\nname = \"m\"\nkind = \"mirror\"\nurl = \"http://m.example:5000\"\nregistries = [\"*\"]\n",
    );
    let found = shown(ask(&table, Some("gcr.io"), "o/r", "blob"));
    assert_eq!(found, "m:o/r?ns=gcr.io upstream!:o/r");
}

#[test]
fn a_route_is_made_once_and_never_for_another_name() {
    let table = table(CONFIG);
    let ask = |ns: Option<&str>, name: &str, kind: &str| ask(&table, ns, name, kind);
    let first = ask(Some("docker.io"), "library/nginx", "manifest").unwrap();
    let again = ask(Some("docker.io"), "library/nginx", "blob").unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let others = [
        (Some("quay.io"), "library/nginx", "manifest"),
        (Some("docker.io"), "library/nginx2", "manifest"),
        (None, "library/nginx", "manifest"),
        (Some("docker.io"), "library/nginx", "tags"),
    ];
    for (ns, name, kind) in others {
        if let Ok(other) = ask(ns, name, kind) {
            assert!(!Arc::ptr_eq(&first, &other), "{ns:?} {name} {kind}");
        }
    }
    // More than are kept.
    for number in 0..3000 {
        let name = format!("library/app-{number}");
        let route = ask(Some("docker.io"), &name, "manifest").unwrap();
        assert_eq!(route.repository.as_str(), name);
    }
}
