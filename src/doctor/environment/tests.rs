//! Tables of proxies.

use super::super::testing::{endpoint, tier, upstream};
use super::*;
use crate::config::Proxy;
use std::sync::Arc;

fn hub(reached: bool, proxied: bool) -> SourceFacts {
    let mut one = upstream("docker.io", "https://registry-1.docker.io");
    if proxied {
        Arc::make_mut(&mut one.source).proxy = Some(Proxy {
            url: BaseUrl {
                https: false,
                host: "proxy.example.com".to_owned(),
                port: 3128,
                prefix: String::new(),
            },
            credential: None,
        });
    }
    let mut at = endpoint(&one, "192.0.2.1:443");
    if !reached {
        at.shown = Err("connecting to upstream: no answer within 2.5s".to_owned());
    }
    one.endpoints.push(at);
    one
}

fn place(name: &str, of_runtime: bool, text: &str) -> Place {
    Place {
        name: name.to_owned(),
        of_runtime,
        variables: variables_of(text),
    }
}

fn config(tiers: bool) -> Config {
    let text = "[[tier]]\nname = \"core\"\nurl = \"https://core.example.com\"\nproject = \"{registry_dashed}\"\n";
    Config::from_toml(if tiers { text } else { "" }).unwrap()
}

#[test]
fn the_way_out_is_judged() {
    let k3s = || {
        place(
            "k3s.service.env",
            true,
            "HTTPS_PROXY=http://user:secret@proxy.example.com:3128\n",
        )
    };
    let excepted = || {
        place(
            "k3s.service.env",
            true,
            "HTTPS_PROXY=http://p:1\nNO_PROXY=.docker.io\n",
        )
    };
    let none: &[&str] = &[];
    let table = [
        (hub(true, false), vec![], none),
        (hub(true, false), vec![k3s()], none),
        (hub(true, true), vec![], none),
        (hub(false, true), vec![k3s()], &["proxy-fails"]),
        (hub(false, false), vec![k3s()], &["proxy-missing"]),
        (
            hub(false, false),
            vec![excepted()],
            &["upstream-unreachable"],
        ),
        (hub(false, false), vec![], &["upstream-unreachable"]),
    ];
    for (number, (hub, places, due)) in table.into_iter().enumerate() {
        let replica = tier("replica", "https://replicas.example.com");
        let check = environment(&[replica, hub], &places, &config(true), None);
        assert_eq!(check.codes(), due, "row {number}");
        assert!(!format!("{check:?}").contains("secret"), "{check:?}");
    }
}

#[test]
fn a_missing_proxy_names_the_place_and_many_registries_are_one_finding() {
    let mut ghcr = hub(false, false);
    Arc::make_mut(&mut ghcr.source).id =
        crate::topology::SourceId::Upstream("ghcr.io".parse().unwrap());
    let places = [place(
        "/etc/environment",
        false,
        "https_proxy=proxy.example.com:3128",
    )];
    let check = environment(&[hub(false, false), ghcr], &places, &config(true), None);
    assert_eq!(check.codes(), ["proxy-missing"]);
    let finding = &check.findings[0];
    assert_eq!(finding.subject, "registry docker.io, registry ghcr.io");
    assert!(
        finding
            .what
            .contains("/etc/environment says https_proxy=http://proxy.example.com:3128"),
        "{finding:?}"
    );
    assert_eq!(finding.severity, Severity::Error);
}

#[test]
fn without_tiers_there_is_no_other_way() {
    let severity =
        |tiers| environment(&[hub(false, false)], &[], &config(tiers), None).findings[0].severity;
    assert_eq!(
        (severity(true), severity(false)),
        (Severity::Warning, Severity::Error)
    );
}

#[test]
fn only_an_agent_off_loopback_can_be_caught_by_a_proxy() {
    let at = |host: &str| BaseUrl {
        https: false,
        host: host.to_owned(),
        port: 290,
        prefix: String::new(),
    };
    let text = "Environment=\"HTTP_PROXY=http://p:1\" \"NO_PROXY=10.0.0.0/8\"";
    let containerd = [place("containerd.service.d/proxy.conf", true, text)];
    let shell = [place("shell", false, text)];
    let table = [
        ("127.0.0.1", &containerd, false),
        ("10.1.2.3", &containerd, false),
        ("192.168.1.2", &containerd, true),
        ("192.168.1.2", &shell, false),
    ];
    for (host, places, due) in table {
        let check = environment(&[hub(true, false)], places, &config(true), Some(&at(host)));
        assert_eq!(check.codes() == ["proxy-catches-agent"], due, "{host}");
    }
}

#[test]
fn variables_are_read_from_units_and_files() {
    let table: [(&str, &[(&str, &str)]); 10] = [
        (
            "Environment=\"HTTPS_PROXY=http://p:1\" \\\n  NO_PROXY=a\n",
            &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "a")],
        ),
        (
            "HTTPS_PROXY=http://p:1\nNO_PROXY=a,b\n",
            &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "a,b")],
        ),
        (
            "HTTPS_PROXY='http://p:1'\n",
            &[("HTTPS_PROXY", "http://p:1")],
        ),
        (
            "https_proxy=\"http://p:1\" # x\n",
            &[("https_proxy", "http://p:1")],
        ),
        (
            "export HTTP_PROXY=http://p:1",
            &[("HTTP_PROXY", "http://p:1")],
        ),
        (
            "[Service]\nEnvironment=\"HTTPS_PROXY=http://p:1\" \"NO_PROXY=a, b\"\n",
            &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "a, b")],
        ),
        (
            "Environment=HTTPS_PROXY=http://p:1 NO_PROXY=a",
            &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "a")],
        ),
        (
            "CONTAINERD_HTTPS_PROXY=http://p:1",
            &[("HTTPS_PROXY", "http://p:1")],
        ),
        ("MY_HTTPS_PROXY=http://p:1\n# HTTPS_PROXY=http://p:1\n", &[]),
        ("HTTPS_PROXY=\n", &[]),
    ];
    for (text, due) in table {
        let due: Environment = due
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(variables_of(text), due, "{text}");
    }
}

#[test]
fn the_usual_places_are_read_below_the_root() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("etc/systemd/system/containerd.service.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(
        directory.join("http-proxy.conf"),
        "[Service]\nEnvironment=HTTPS_PROXY=http://p:1\n",
    )
    .unwrap();
    fs::write(root.path().join("etc/environment"), "LANG=C\n").unwrap();
    let here = Environment::from([
        ("https_proxy".to_owned(), "http://q:1".to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
    ]);
    let found = places(root.path(), &here);
    let names: Vec<(&str, bool, usize)> = found
        .iter()
        .map(|place| (place.name.as_str(), place.of_runtime, place.variables.len()))
        .collect();
    let file = directory.join("http-proxy.conf").display().to_string();
    assert_eq!(
        names,
        [
            ("this shell's environment", false, 1),
            (file.as_str(), true, 1)
        ]
    );
}

#[test]
fn a_name_that_only_a_proxy_knows_is_explained() {
    let mut one = hub(false, false);
    one.dns = Err("no such name".to_owned());
    one.endpoints.clear();
    let known = [place("x", true, "HTTPS_PROXY=http://p:1")];
    assert!(explains(&known, std::slice::from_ref(&one)));
    assert!(!explains(&[], std::slice::from_ref(&one)));
    let check = environment(&[one], &known, &config(true), None);
    assert_eq!(check.codes(), ["proxy-missing"]);
}
