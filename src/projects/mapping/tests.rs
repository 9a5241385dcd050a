//! Constellations of projects and registries as they are met, each with the mapping that is right.

use super::*;
use crate::projects::listing;

const CONFIG: &str = r#"
[[registry]]
name = "registry.example.com:5000"
upstream = "https://registry.example.com:5000"
[[registry]]
name = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
upstream = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"
[[registry]]
name = "eu.gcr.io"
upstream = "https://eu.gcr.io"
[[registry]]
name = "team.azurecr.io"
upstream = "https://team.azurecr.io"
[[registry]]
name = "europe-docker.pkg.dev"
upstream = "https://europe-docker.pkg.dev"
[[tier]]
name = "replica"
url = "https://replica.example.com"
[tier.discovery]
enabled = true
[[tier]]
name = "core"
url = "https://core.example.com"
[tier.discovery]
enabled = true
"#;

/// One Harbor: projects as `name → (endpoint, public)`, endpoints as `(type, url)` where they may be read.
struct Harbor {
    projects: &'static [(&'static str, i64, bool)],
    endpoints: Option<&'static [(i64, &'static str, &'static str)]>,
    doubled: &'static [(&'static str, bool)],
}

/// What comes of it: registries with their paths, `~` in front where it is guessed.
type Wanted = &'static [(&'static str, &'static str)];

impl Harbor {
    fn listing(&self) -> Listing {
        let projects = self.projects.iter().map(|(name, id, public)| Project {
            name: (*name).to_owned(),
            registry_id: *id,
            is_public: *public,
        });
        let endpoints = self.endpoints.map(|endpoints| {
            let endpoint = |(id, provider, url): &(i64, &str, &str)| Endpoint {
                id: *id,
                provider: (*provider).to_owned(),
                url: (*url).to_owned(),
            };
            endpoints.iter().map(endpoint).collect()
        });
        let doubled = self.doubled.iter();
        Listing {
            projects: projects.collect(),
            endpoints,
            doubled: doubled
                .map(|(name, is)| ((*name).to_owned(), *is))
                .collect(),
        }
    }
}

fn mapped(config: &str, harbors: &[(&str, &Harbor)]) -> BTreeMap<Arc<str>, TierProjects> {
    let config = Config::from_toml(config).unwrap();
    let listings = harbors.iter();
    let listings = listings.map(|(tier, harbor)| ((*tier).into(), harbor.listing()));
    map_all(&config, &listings.collect())
}

fn shown(projects: &TierProjects) -> Vec<(String, String)> {
    let found = projects.projects.iter().map(|(registry, found)| {
        let mark = if found.certainty == Certainty::Guessed {
            "~"
        } else {
            ""
        };
        (registry.to_string(), format!("{mark}{}", found.path))
    });
    found.collect()
}

/// One project with one endpoint.
macro_rules! one {
    ($project:literal, $provider:literal, $url:literal) => {
        Harbor {
            projects: &[($project, 1, true)],
            endpoints: Some(&[(1, $provider, $url)]),
            doubled: &[],
        }
    };
}

/// Projects whose endpoints may not be read.
macro_rules! unread {
    ($($project:literal),*) => {
        Harbor {
            projects: &[$(($project, 1, true)),*],
            endpoints: None,
            doubled: &[],
        }
    };
}

mod one_harbor;

#[test]
fn two_projects_for_one_registry_are_a_warning_that_names_both() {
    let harbor = Harbor {
        projects: &[("quay-old", 1, true), ("quay-new", 1, true)],
        endpoints: Some(&[(1, "quay", "https://quay.io")]),
        doubled: &[],
    };
    let found = mapped(CONFIG, &[("core", &harbor)]);
    let found = &found[&Arc::from("core")];
    assert_eq!(
        found.warnings,
        [
            "projects quay-new and quay-old both cache quay.io; quay-new is used. Write the one to use below [tier.projects]"
        ]
    );
}

#[test]
fn a_written_project_wins_and_the_other_one_is_said() {
    let config = r#"
        [[tier]]
        name = "core"
        url = "https://core.example.com"
        [tier.projects]
        "quay.io" = "quay-old"
        [tier.discovery]
        enabled = true
    "#;
    let harbor = Harbor {
        projects: &[
            ("quay-old", 1, false),
            ("quay-new", 1, true),
            ("gh", 2, true),
        ],
        endpoints: Some(&[(1, "quay", "https://quay.io"), (2, "github-ghcr", "")]),
        doubled: &[],
    };
    let found = mapped(config, &[("core", &harbor)]);
    let found = &found[&Arc::from("core")];
    assert_eq!(shown(found), [("ghcr.io".to_owned(), "gh".to_owned())]);
    assert_eq!(
        found.unused["quay-new"],
        "[tier.projects] writes quay-old for quay.io"
    );
    assert!(found.warnings.is_empty());
    let loaded = Config::from_toml(config).unwrap();
    let paths = |found: &TierProjects| {
        let projects = found.projects.iter();
        projects
            .map(|(registry, found)| (registry.clone(), found.path.clone()))
            .collect()
    };
    let effective = loaded.with_projects(&[("core".into(), paths(found))].into());
    let tier = &effective.tiers[0];
    let projects: Vec<_> = tier
        .projects
        .iter()
        .map(|(r, p)| (r.as_str(), p.as_str()))
        .collect();
    assert_eq!(projects, [("ghcr.io", "gh"), ("quay.io", "quay-old")]);
    assert!(tier.serves(&"ghcr.io".parse().unwrap()));
    assert!(!tier.serves(&"docker.io".parse().unwrap()));
}

#[test]
fn registries_of_the_tier_leaves_others_out() {
    let config = r#"
        [[tier]]
        name = "core"
        url = "https://core.example.com"
        registries = ["quay.io"]
        [tier.discovery]
        enabled = true
    "#;
    let harbor = unread!("proxy-quay-io", "proxy-ghcr-io");
    let found = mapped(config, &[("core", &harbor)]);
    let found = &found[&Arc::from("core")];
    assert_eq!(
        shown(found),
        [("quay.io".to_owned(), "~proxy-quay-io".to_owned())]
    );
    assert!(found.unused.contains_key("proxy-ghcr-io"));
}

#[test]
fn a_harbor_in_front_of_another_takes_what_that_one_is_known_to_hold() {
    let replica = Harbor {
        projects: &[
            ("cache-q", 1, true),
            ("proxy-docker-io", 1, true),
            ("lost", 1, true),
        ],
        endpoints: Some(&[(1, "harbor", "https://core.example.com:8443")]),
        doubled: &[("cache-q", true)],
    };
    let core = Harbor {
        projects: &[("cache-q", 1, true), ("proxy-docker-io", 2, true)],
        endpoints: Some(&[
            (1, "quay", "https://quay.io"),
            (2, "docker-hub", "https://hub.docker.com"),
        ]),
        doubled: &[],
    };
    let found = mapped(CONFIG, &[("replica", &replica), ("core", &core)]);
    let of_replica = &found[&Arc::from("replica")];
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        shown(of_replica),
        [
            pair("docker.io", "proxy-docker-io"),
            pair("quay.io", "cache-q/cache-q")
        ]
    );
    assert!(of_replica.unused["lost"].contains("core.example.com"));
    // CORE alone does not answer: what the name says is a guess.
    let found = mapped(CONFIG, &[("replica", &replica)]);
    assert_eq!(
        shown(&found[&Arc::from("replica")]),
        [pair("docker.io", "~proxy-docker-io")]
    );
}

#[test]
fn what_core_is_written_to_hold_counts_as_well() {
    let config = r#"
        [[tier]]
        name = "replica"
        url = "https://replica.example.com"
        [tier.discovery]
        enabled = true
        [[tier]]
        name = "core"
        url = "https://core.example.com"
        [tier.projects]
        "quay.io" = "red"
    "#;
    let replica = one!("red", "harbor", "https://core.example.com");
    let found = mapped(config, &[("replica", &replica)]);
    let red = ("quay.io".to_owned(), "red".to_owned());
    assert_eq!(shown(&found[&Arc::from("replica")]), [red]);
}

#[test]
fn a_project_that_is_renamed_or_gone_is_mapped_anew() {
    let before = one!("q", "quay", "https://quay.io");
    let renamed = one!("quay", "quay", "https://quay.io");
    let gone = Harbor {
        projects: &[],
        endpoints: Some(&[]),
        doubled: &[],
    };
    let of = |harbor: &Harbor| {
        mapped(CONFIG, &[("core", harbor)])[&Arc::from("core")]
            .projects
            .clone()
    };
    let changes = |from: &Harbor, to: &Harbor| crate::projects::changes(&of(from), &of(to));
    assert_eq!(
        changes(&before, &renamed),
        ["quay.io is at quay, and was at q"]
    );
    assert_eq!(
        changes(&before, &gone),
        ["quay.io is no longer found, and was at q"]
    );
    assert_eq!(changes(&gone, &before), ["quay.io is at q"]);
    assert!(changes(&before, &before).is_empty());
}

#[test]
fn pages_are_read_as_harbor_writes_them() {
    let body = br#"[
        {"project_id": 1, "name": "library", "registry_id": null, "metadata": {"public": "true"}},
        {"project_id": 2, "name": "normal", "registry_id": 0, "metadata": {"public": "false"}},
        {"project_id": 3, "name": "plain"},
        {"project_id": 4, "name": "a", "registry_id": 3, "metadata": {"public": "true", "proxy_speed_kb": "-1"}},
        {"project_id": 5, "name": "b", "registry_id": 4, "metadata": {"public": "false"}},
        {"project_id": 6, "name": "c", "registry_id": 5, "metadata": {"public": true}},
        {"project_id": 7, "name": "d", "registry_id": 6}
    ]"#;
    let page = listing::projects(body).unwrap();
    let names: Vec<_> = page
        .entries
        .iter()
        .map(|one| (one.name.as_str(), one.is_public))
        .collect();
    assert_eq!(
        names,
        [("a", true), ("b", false), ("c", true), ("d", false)]
    );
    assert_eq!(page.listed, 7);
    assert!(!page.has_next(None) && page.has_next(Some(true)) && !page.has_next(Some(false)));
    let registries = br#"[{"id": 3, "name": "dockerhub", "type": "docker-hub", "url": "https://hub.docker.com", "insecure": false, "status": "healthy", "credential": {}}]"#;
    let page = listing::all::<Endpoint>(registries).unwrap();
    assert_eq!(page.entries[0].provider, "docker-hub");
    for broken in [&b"{}"[..], b"<html>", b"", b"[{}]"] {
        assert!(listing::projects(broken).is_err());
        assert!(listing::all::<Endpoint>(broken).is_err());
    }
    assert_eq!(
        listing::first_repository(br#"[{"name": "p/p/library/nginx"}]"#, "p").as_deref(),
        Some("p/library/nginx")
    );
    assert_eq!(listing::first_repository(b"[]", "p"), None);
}

/// An upstream tells a registry only where it is one registry's alone, with its path; a name tells it before.
#[test]
fn registries_that_share_an_upstreams_host_are_told_apart() {
    let config = r#"
        [[registry]]
        name = "copy.example.com"
        upstream = "https://quay.io"
        [[registry]]
        name = "a.corp"
        upstream = "https://mirror.corp/a"
        [[registry]]
        name = "b.corp"
        upstream = "https://mirror.corp/b"
        [[registry]]
        name = "c.corp"
        upstream = "https://twice.corp"
        [[registry]]
        name = "d.corp"
        upstream = "https://twice.corp"
        [[tier]]
        name = "core"
        url = "https://core.example.com"
        [tier.discovery]
        enabled = true
    "#;
    for (url, due) in [
        ("https://quay.io", Some("quay.io")),
        ("https://mirror.corp/b/", Some("b.corp")),
        ("https://mirror.corp", None),
        ("https://mirror.corp/c", None),
        ("https://twice.corp", None),
    ] {
        let mut listing = one!("p", "docker-registry", "").listing();
        listing.endpoints.as_mut().unwrap()[0].url = url.to_owned();
        let config = Config::from_toml(config).unwrap();
        let found = map_all(&config, &[("core".into(), listing)].into());
        let found = shown(&found[&Arc::from("core")]);
        let registries: Vec<&str> = found
            .iter()
            .map(|(registry, _)| registry.as_str())
            .collect();
        assert_eq!(registries, due.into_iter().collect::<Vec<_>>(), "{url}");
    }
}
