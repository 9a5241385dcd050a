//! Tables of routing: what is asked, and which sources may be asked for what.

use super::*;
use crate::oci::ResourcePath;
use std::fmt::Write as _;

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
    RouteTable::of(Arc::new(config))
}

fn ask(table: &RouteTable, ns: Option<&str>, name: &str, kind: &str) -> Result<Route, String> {
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
fn shown(result: Result<Route, String>) -> String {
    match result {
        Err(refusal) => refusal,
        Ok(route) => {
            let mut text = String::new();
            for leg in &route.legs {
                let gap = if text.is_empty() { "" } else { " " };
                let query = leg
                    .query
                    .as_ref()
                    .map_or(String::new(), |query| format!("?{query}"));
                let credential = if leg.with_credential { "" } else { "-" };
                let authority = if leg.authoritative { "!" } else { "" };
                let source = leg.source.label();
                write!(
                    text,
                    "{gap}{source}{authority}{credential}:{}{query}",
                    leg.path
                )
                .unwrap();
            }
            text
        }
    }
}

const NGINX: &str = "replica:proxy-docker-io/library/nginx core:proxy.docker.io/library/nginx spegel:library/nginx?ns=docker.io upstream!:library/nginx";
const GITHUB: &str =
    "replica:proxy-ghcr-io/o/r core:proxy.ghcr.io/o/r nexus:group/github/o/r upstream!:o/r";
const QUAY: &str = "replica:proxy-quay-io/o/r inner:mirror/mirror-quay-io/o/r nexus:Quay/o/r";

/// ns, name, kind, what comes out.
type Row = (
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
);

const fn ns(ns: &'static str, name: &'static str, expected: &'static str) -> Row {
    (Some(ns), name, "manifest", expected)
}

const fn plain(name: &'static str, expected: &'static str) -> Row {
    (None, name, "manifest", expected)
}

const ROWS: &[Row] = &[
    // By ns, in configured order; Docker Hub's three names are one.
    ns("docker.io", "library/nginx", NGINX),
    ns("index.docker.io", "library/nginx", NGINX),
    ns("registry-1.docker.io", "library/nginx", NGINX),
    ns("DOCKER.IO", "library/nginx", NGINX),
    ns("docker.io", "nginx", NGINX),
    (Some("docker.io"), "library/nginx", "blob", NGINX),
    ns("ghcr.io", "o/r", GITHUB),
    ns("quay.io", "o/r", QUAY),
    ns(
        "ghcr.io",
        "single",
        "replica:proxy-ghcr-io/single core:proxy.ghcr.io/single nexus:group/github/single upstream!:single",
    ),
    ns(
        "public.ecr.aws",
        "a/b/c",
        "replica:proxy-public-ecr-aws/a/b/c upstream!:a/b/c",
    ),
    ns("mcr.microsoft.com", "dotnet/sdk", "upstream!:dotnet/sdk"),
    ns(
        "reg.example:5000",
        "team/app",
        "core:proxy.reg.example:5000/team/app spegel:team/app?ns=reg.example:5000 upstream!:team/app",
    ),
    // With ns the path is never parsed for a registry.
    ns(
        "docker.io",
        "ghcr.io/o/r",
        "replica:proxy-docker-io/ghcr.io/o/r core:proxy.docker.io/ghcr.io/o/r spegel:ghcr.io/o/r?ns=docker.io upstream!:ghcr.io/o/r",
    ),
    ns(
        "docker.io",
        "replicas.example.com/proxy-ghcr-io/o/r",
        "replica:proxy-docker-io/replicas.example.com/proxy-ghcr-io/o/r core:proxy.docker.io/replicas.example.com/proxy-ghcr-io/o/r spegel:replicas.example.com/proxy-ghcr-io/o/r?ns=docker.io upstream!:replicas.example.com/proxy-ghcr-io/o/r",
    ),
    ns("docker.io", "reg.example:5000/team/app", "invalid"),
    ns(
        "nowhere.example",
        "docker.io/library/nginx",
        "not configured: nowhere.example",
    ),
    // Without ns the first component routes if it is configured.
    plain("docker.io/library/nginx", NGINX),
    plain("index.docker.io/nginx", NGINX),
    plain("docker.io/nginx", NGINX),
    plain("ghcr.io/o/r", GITHUB),
    plain("quay.io/o/r", QUAY),
    plain(
        "reg.example:5000/team/app",
        "core:proxy.reg.example:5000/team/app spegel:team/app?ns=reg.example:5000 upstream!:team/app",
    ),
    // Else it is Docker Hub's, if it looks like a name and not like a host.
    plain("nginx", NGINX),
    plain("library/nginx", NGINX),
    plain(
        "o/r",
        "replica:proxy-docker-io/o/r core:proxy.docker.io/o/r spegel:o/r?ns=docker.io upstream!:o/r",
    ),
    plain(
        "localhost/nginx",
        "replica:proxy-docker-io/localhost/nginx core:proxy.docker.io/localhost/nginx spegel:localhost/nginx?ns=docker.io upstream!:localhost/nginx",
    ),
    plain(
        "nowhere.example/library/nginx",
        "not configured: nowhere.example",
    ),
    plain("localhost:5000/nginx", "not configured: localhost:5000"),
    plain("reg.example/team/app", "not configured: reg.example"),
    plain("foo.bar", "not configured: foo.bar"),
    plain(
        "169.254.169.254/latest/meta-data",
        "not configured: 169.254.169.254",
    ),
    plain("127.0.0.1:22/x", "not configured: 127.0.0.1:22"),
    // A tier's own name is mapped back and takes the normal route.
    ns(
        "replicas.example.com",
        "proxy-docker-io/library/nginx",
        NGINX,
    ),
    ns("replicas.example.com", "proxy-docker-io/nginx", NGINX),
    ns("REPLICAS.example.com", "proxy-ghcr-io/o/r", GITHUB),
    ns("replicas.example.com", "proxy-quay-io/o/r", QUAY),
    ns(
        "core.example.com:8443",
        "proxy.docker.io/library/nginx",
        NGINX,
    ),
    ns("images.example.com", "mirror/mirror-quay-io/o/r", QUAY),
    ns("nexus.example.com", "group/github/o/r", GITHUB),
    plain("replicas.example.com/proxy-docker-io/library/nginx", NGINX),
    plain("core.example.com:8443/proxy.ghcr.io/o/r", GITHUB),
    (
        Some("replicas.example.com"),
        "proxy-docker-io/library/nginx",
        "blob",
        NGINX,
    ),
    // The default port is no part of the name; another port is another name.
    ns(
        "core.example.com",
        "proxy.docker.io/nginx",
        "not configured: core.example.com",
    ),
    ns(
        "replicas.example.com:443",
        "proxy-docker-io/nginx",
        "not configured: replicas.example.com:443",
    ),
    // An unmapped project of that name goes to that tier only, without our credential, and is final.
    ns("replicas.example.com", "team/app", "replica!-:team/app"),
    ns(
        "replicas.example.com",
        "proxy-docker-io",
        "replica!-:proxy-docker-io",
    ),
    ns(
        "replicas.example.com",
        "proxy-docker-iox/nginx",
        "replica!-:proxy-docker-iox/nginx",
    ),
    ns(
        "core.example.com:8443",
        "proxy.quay.io/o/r",
        "core!-:proxy.quay.io/o/r",
    ),
    plain("images.example.com/team/app", "inner!-:team/app"),
    ns("10.0.0.7:5000", "library/nginx", "spegel!-:library/nginx"),
    // bypass: straight to upstream, under every name.
    ns(
        "docker.io",
        "goharbor/harbor-core",
        "upstream!:goharbor/harbor-core",
    ),
    ns("ghcr.io", "straight/a/b", "upstream!:straight/a/b"),
    ns(
        "replicas.example.com",
        "proxy-docker-io/goharbor/harbor-core",
        "upstream!:goharbor/harbor-core",
    ),
    // private: left to containerd, under every name and also where direct = false.
    ns("docker.io", "myorg/app", "private: myorg/app"),
    ns("docker.io", "secret", "private: library/secret"),
    ns("quay.io", "robot/arm", "private: robot/arm"),
    ns(
        "replicas.example.com",
        "proxy-docker-io/myorg/app",
        "private: myorg/app",
    ),
    ns("reg.example:5000", "team/closed", "private: team/closed"),
    (Some("docker.io"), "myorg/app", "tags", "private: myorg/app"),
    // direct = false
    ns("gcr.io", "o/r", "no source: gcr.io"),
    plain("gcr.io/o/r", "no source: gcr.io"),
    // Tags and referrers: upstream or nobody.
    (
        Some("docker.io"),
        "library/nginx",
        "tags",
        "upstream!:library/nginx",
    ),
    (Some("ghcr.io"), "o/r", "referrers", "upstream!:o/r"),
    (Some("quay.io"), "o/r", "tags", "not relayed: tags"),
    (
        Some("quay.io"),
        "o/r",
        "referrers",
        "not relayed: referrers",
    ),
    (
        Some("replicas.example.com"),
        "proxy-docker-io/nginx",
        "tags",
        "upstream!:library/nginx",
    ),
    (
        Some("replicas.example.com"),
        "team/app",
        "tags",
        "not relayed: tags",
    ),
    // Values of ns that want to lead somewhere else.
    ns("", "library/nginx", "not configured: the empty name"),
    ns(
        "169.254.169.254",
        "latest/meta-data",
        "not configured: 169.254.169.254",
    ),
    ns("127.0.0.1:22", "x/y", "not configured: 127.0.0.1:22"),
    ns(
        "127.0.0.1:5180",
        "library/nginx",
        "not configured: 127.0.0.1:5180",
    ),
    ns("localhost", "library/nginx", "not configured: localhost"),
    ns("[::1]:5000", "library/nginx", "not configured: [::1]:5000"),
    ns("::1", "library/nginx", "not configured: ::1"),
    ns("0x7f000001", "library/nginx", "not configured: 0x7f000001"),
    ns("docker.io.", "library/nginx", "not configured: docker.io."),
    ns(
        "docker.io:443",
        "library/nginx",
        "not configured: docker.io:443",
    ),
    ns(
        "docker.io:0",
        "library/nginx",
        "not configured: docker.io:0",
    ),
    ns(
        "docker.io:99999",
        "library/nginx",
        "not configured: docker.io:99999",
    ),
    ns(
        "user:pass@docker.io",
        "library/nginx",
        "not configured: user:pass@docker.io",
    ),
    ns(
        "docker.io@evil.example",
        "library/nginx",
        "not configured: docker.io@evil.example",
    ),
    ns(
        "docker.io/../evil",
        "library/nginx",
        "not configured: docker.io/../evil",
    ),
    ns(
        "docker.io\r\nHost: evil",
        "library/nginx",
        "not configured: docker.io??Host:?evil",
    ),
    ns("docker.io\0", "library/nginx", "not configured: docker.io?"),
    ns(" docker.io", "library/nginx", "not configured: ?docker.io"),
    ns("docker。io", "library/nginx", "not configured: docker?io"),
    ns("dοcker.io", "library/nginx", "not configured: d?cker.io"),
    ns(
        "docker.io%2f",
        "library/nginx",
        "not configured: docker.io%2f",
    ),
    ns(
        "https://docker.io",
        "library/nginx",
        "not configured: https://docker.io",
    ),
    ns("-docker.io", "library/nginx", "not configured: -docker.io"),
    ns("*", "library/nginx", "not configured: *"),
    ns(
        "evil.docker.io",
        "library/nginx",
        "not configured: evil.docker.io",
    ),
    ns(
        "docker.io.evil.example",
        "library/nginx",
        "not configured: docker.io.evil.example",
    ),
    // Names that are none never get this far.
    ns("docker.io", "library/../nginx", "path"),
    ns("docker.io", "library%2fnginx", "path"),
    ns("docker.io", "Library/nginx", "invalid"),
    ns("docker.io", "library//nginx", "path"),
];

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
        assert!(!route.legs.is_empty());
        assert!(!route.reasons.is_empty());
        for leg in &route.legs {
            match &leg.source {
                SourceId::Tier(tier) => assert!(tiers.contains(&tier.as_ref())),
                SourceId::Upstream(registry) => {
                    assert!(table.config.registry(registry).unwrap().direct);
                }
            }
            assert!(!leg.path.contains(['%', '?', '\\', '@']), "{}", leg.path);
            assert!(
                leg.path
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
        route.legs.into_iter().map(|leg| leg.token_scope).collect()
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
fn with_direct_off_no_upstream_is_ever_a_leg() {
    let text = format!(
        "[direct]\nenabled = false\n{}",
        CONFIG.replace("bypass = [\"straight/*\"]", "")
    );
    let table = table(&text);
    for (ns, name, kind, _) in ROWS {
        if let Ok(route) = ask(&table, *ns, name, kind) {
            for leg in route.legs {
                assert!(matches!(leg.source, SourceId::Tier(_)), "{ns:?} {name}");
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
