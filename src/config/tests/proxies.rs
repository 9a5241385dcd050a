//! Which proxy a source is reached through.

use super::*;

const PROXY: (&str, &str) = ("HTTPS_PROXY", "http://proxy.example.com:3128");

fn registry_proxy(text: &str, registry: &str, environment: &[(&str, &str)]) -> Option<Proxy> {
    let loaded = with_environment(text, environment).unwrap();
    let config = loaded.config;
    config
        .registry(&registry.parse().unwrap())
        .unwrap()
        .proxy
        .clone()
}

#[test]
fn registries_follow_the_environment_and_tiers_do_not() {
    let loaded = with_environment(TIER, &[PROXY]).unwrap();
    assert_eq!(loaded.config.tiers[0].proxy, None);
    for registry in &loaded.config.registries {
        let proxy = registry.proxy.as_ref().unwrap();
        assert_eq!(proxy.url.to_string(), "http://proxy.example.com:3128");
    }
    let tier = format!("{TIER}proxy = \"env\"");
    let loaded = with_environment(&tier, &[PROXY]).unwrap();
    assert!(loaded.config.tiers[0].proxy.is_some());
    let none = "[direct]\nproxy = \"none\"\n[[registry]]\nname = \"ghcr.io\"\nproxy = \"env\"";
    assert_eq!(registry_proxy(none, "docker.io", &[PROXY]), None);
    assert!(registry_proxy(none, "ghcr.io", &[PROXY]).is_some());
}

#[test]
fn the_variable_fits_the_scheme_and_either_case_counts() {
    let plain = "[[registry]]\nname = \"x.example\"\nupstream = \"http://x.example\"";
    let host = |text: &str, registry: &str, environment: &[(&str, &str)]| {
        registry_proxy(text, registry, environment).map(|proxy| proxy.url.host)
    };
    let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "http://b:1")];
    assert_eq!(host(plain, "x.example", &both).as_deref(), Some("a"));
    assert_eq!(host(plain, "ghcr.io", &both).as_deref(), Some("b"));
    // As Go does: the upper-case name wins, an empty one is none.
    let cases = [
        ("HTTPS_PROXY", "http://upper:1"),
        ("https_proxy", "http://lower:1"),
    ];
    assert_eq!(host("", "ghcr.io", &cases).as_deref(), Some("upper"));
    let cases = [("HTTPS_PROXY", ""), ("https_proxy", "http://lower:1")];
    assert_eq!(host("", "ghcr.io", &cases).as_deref(), Some("lower"));
    assert_eq!(host("", "ghcr.io", &[("ALL_PROXY", "http://a:1")]), None);
    assert_eq!(
        host("", "ghcr.io", &[("HTTPS_PROXY", "bare.example:3128")]).as_deref(),
        Some("bare.example")
    );
}

#[test]
fn a_proxys_name_and_password_are_decoded_and_not_shown() {
    let environment = [("HTTPS_PROXY", "http://us%40er:p%3Ass@proxy.example.com")];
    let proxy = registry_proxy("", "ghcr.io", &environment).unwrap();
    assert_eq!(
        (proxy.url.host.as_str(), proxy.url.port),
        ("proxy.example.com", 80)
    );
    let credential = proxy.credential.unwrap();
    assert_eq!(credential.username, "us@er");
    assert_eq!(credential.password.reveal(), "p:ss");
    let text = "[direct]\nproxy = \"http://user:pa55word@proxy.example.com:3128\"";
    let shown = good(text).provenance.to_string();
    assert!(!shown.contains("pa55word"), "{shown}");
    assert!(
        shown.contains("http://[redacted]@proxy.example.com:3128"),
        "{shown}"
    );
}

#[test]
fn what_is_no_proxy_is_refused_without_showing_a_password() {
    let bad = [
        "https://proxy.example.com",
        "socks5://user:pa55word@proxy.example.com",
        "user:pa55word@proxy.example.com",
        "http://user:pa55word@proxy example",
        "http://user:pa55word@proxy.example.com/path",
        "http://user:pa55word%zz@proxy.example.com",
        "http://user:pa55word%0a@proxy.example.com",
        "http://",
        "nome",
    ];
    for url in bad {
        let found = problems(&format!("[direct]\nproxy = {url:?}"));
        assert_eq!(found.len(), 1, "{url}");
        assert_eq!(found[0].key, "direct.proxy");
        assert!(!found[0].to_string().contains("pa55word"), "{}", found[0]);
    }
}

/// What containerd and others may well use must not keep the agent from starting.
#[test]
fn a_variable_that_cannot_be_used_is_a_warning_for_those_who_need_it() {
    let unusable = [
        "socks5://user:pa55word@p:1",
        "https://user:pa55word@p:1",
        "http://user:pa55word@p:1/path",
    ];
    for url in unusable {
        let loaded = with_environment("", &[("HTTPS_PROXY", url)]).unwrap();
        let registries = loaded.config.registries.iter();
        assert!(registries.clone().all(|registry| registry.proxy.is_none()));
        let [warning] = loaded.warnings.as_slice() else {
            panic!("said once, not for every registry: {:#?}", loaded.warnings);
        };
        assert_eq!(warning.key, "environment.HTTPS_PROXY");
        let said = warning.to_string();
        assert!(said.contains("dialled without a proxy"), "{said}");
        assert!(!said.contains("pa55word"), "{said}");

        for unneeded in [
            with_environment("", &[("HTTPS_PROXY", url), ("NO_PROXY", "*")]),
            with_environment("", &[("HTTP_PROXY", url)]),
            with_environment("[direct]\nproxy = \"none\"\n", &[("HTTPS_PROXY", url)]),
        ] {
            assert!(unneeded.unwrap().warnings.is_empty(), "{url}");
        }
    }
}

#[test]
fn no_proxy_means_what_it_means_to_go() {
    let rows = [
        ("", "a.example.com", false),
        ("*", "a.example.com", true),
        ("example.com", "example.com", true),
        ("example.com", "a.example.com", true),
        ("example.com", "aexample.com", false),
        (".example.com", "example.com", false),
        (".example.com", "a.example.com", true),
        ("*.example.com", "a.example.com", true),
        (" Example.COM , other", "a.example.com", true),
        ("example.com:443", "example.com", true),
        ("example.com:8443", "example.com", false),
        ("example.org", "example.com", false),
        ("com", "example.com", true),
        (".", "example.com", false),
        (":443", "example.com", false),
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.1.2.3", false),
        ("10.1.2.3/32", "10.1.2.3", true),
        ("0.0.0.0/0", "11.1.2.3", true),
        ("10.0.0.0/33", "10.1.2.3", false),
        ("10.0.0.0/x", "10.1.2.3", false),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3:443", "10.1.2.3", true),
        ("10.1.2.3:80", "10.1.2.3", false),
        ("2001:db8::/32", "[2001:db8::1]", true),
        ("2001:db9::/32", "[2001:db8::1]", false),
        ("::/0", "[2001:db8::1]", true),
        ("2001:db8::1", "[2001:db8::1]", true),
        ("[2001:db8::1]:443", "[2001:db8::1]", true),
        ("10.0.0.0/8", "[2001:db8::1]", false),
        ("10.0.0.0/8", "a.example.com", false),
        ("", "localhost", true),
        ("", "127.0.0.1", true),
        ("", "[::1]", true),
    ];
    for (no_proxy, host, without) in rows {
        let text = format!("[[registry]]\nname = \"x.example\"\nupstream = \"https://{host}\"");
        let environment = [PROXY, ("NO_PROXY", no_proxy)];
        let proxy = registry_proxy(&text, "x.example", &environment);
        assert_eq!(proxy.is_none(), without, "NO_PROXY={no_proxy:?} {host}");
    }
}

#[test]
fn a_proxy_that_is_named_is_used_whatever_no_proxy_says() {
    let text = "[direct]\nproxy = \"http://proxy.example.com:3128\"";
    let environment = [("NO_PROXY", "*")];
    assert!(registry_proxy(text, "ghcr.io", &environment).is_some());
}

#[test]
fn a_configuration_with_a_proxys_password_is_a_secret() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(
        &file,
        "[direct]\nproxy = \"http://user:pa55word@proxy.example.com\"\n",
    )
    .unwrap();
    let loader = Loader {
        config_file: file.clone(),
        explicit: true,
        config_dir: None,
        environment: BTreeMap::new(),
        outside_the_unit: false,
    };
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = loader.load().unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].instead.contains("chmod o-rwx"), "{}", found[0]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    loader.load().unwrap();
}
