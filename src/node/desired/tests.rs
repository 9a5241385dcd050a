//! Tables of what should stand in the file: who, in which order, with which keys.

use super::*;
use crate::config::Secret;

const AGENT: &str = "http://127.0.0.1:290";

const CONFIG: &str = r#"
[[tier]]
name = "replica"
url = "https://replicas.example.com"
project = "proxy-{registry_dashed}"
cascade = true

[[tier]]
name = "core"
url = "https://core.example.com:8443/base"
project = "a/{registry}"
registries = ["docker.io", "quay.io"]
in_file = true

[[tier]]
name = "near"
kind = "mirror"
url = "http://10.0.0.1:5000"
registries = ["docker.io"]
in_file = true

[[registry]]
name = "quay.io"
direct = false
"#;

fn config(more: &str) -> Config {
    Config::from_toml(&format!("{CONFIG}{more}")).unwrap()
}

fn of(config: &Config, registry: &str, agent_alive: bool, whole: &[&str]) -> DesiredHost {
    let whole: BTreeSet<Arc<str>> = whole.iter().map(|name| (*name).into()).collect();
    let situation = Situation {
        agent: AGENT,
        agent_alive,
        whole_tiers: &whole,
    };
    let all = desired(config, &situation);
    let names: BTreeSet<_> = all.iter().map(|host| host.registry.clone()).collect();
    assert_eq!(names.len(), all.len(), "a registry stands twice");
    let registry = registry.parse().unwrap();
    let found = all.into_iter().find(|host| host.registry == registry);
    found.unwrap()
}

/// `HOST HOST | SERVER`
fn line(host: &DesiredHost) -> String {
    let hosts: Vec<&str> = host.hosts.iter().map(|host| host.url.as_str()).collect();
    format!("{} | {}", hosts.join(" "), host.server.url)
}

#[test]
fn the_chain() {
    const CORE: &str = "https://core.example.com:8443/base/v2/a/docker.io";
    const NEAR: &str = "http://10.0.0.1:5000";
    const HUB: &str = "https://registry-1.docker.io";
    let both: &[&str] = &["core", "near", "replica"];
    for (more, registry, alive, whole, expected) in [
        // F1, F3: tiers follow their health, the cascade never stands there.
        (
            "",
            "docker.io",
            true,
            both,
            format!("{AGENT} {CORE} {NEAR} | {HUB}"),
        ),
        (
            "",
            "docker.io",
            true,
            &["near"][..],
            format!("{AGENT} {NEAR} | {HUB}"),
        ),
        ("", "docker.io", true, &[], format!("{AGENT} | {HUB}")),
        (
            "",
            "ghcr.io",
            true,
            both,
            format!("{AGENT} | https://ghcr.io"),
        ),
        // The handover, and an agent whose port does not answer (F0).
        (
            "",
            "docker.io",
            false,
            both,
            format!("{CORE} {NEAR} | {HUB}"),
        ),
        ("", "docker.io", false, &[], format!(" | {HUB}")),
        // F6
        ("", "quay.io", true, &[], format!(" | {AGENT}")),
        // Out of the file is out of it everywhere: another program may have the port by now.
        ("", "quay.io", false, &[], format!(" | {NOBODY}")),
        (
            "",
            "quay.io",
            true,
            both,
            format!("{AGENT} https://core.example.com:8443/base/v2/a/quay.io | {AGENT}"),
        ),
        (
            "",
            "quay.io",
            false,
            both,
            format!("https://core.example.com:8443/base/v2/a/quay.io | {NOBODY}"),
        ),
        (
            "[node]\nfallback = \"none\"",
            "docker.io",
            true,
            both,
            format!(" | {AGENT}"),
        ),
        (
            "[node]\nfallback = \"none\"",
            "replicas.example.com",
            true,
            both,
            format!(" | {AGENT}"),
        ),
        (
            "[node]\nfallback = \"upstream\"",
            "docker.io",
            true,
            both,
            format!("{AGENT} | {HUB}"),
        ),
        (
            "[node]\nfallback = \"upstream\"",
            "quay.io",
            true,
            both,
            format!(" | {AGENT}"),
        ),
        (
            "[direct]\nenabled = false",
            "docker.io",
            true,
            &[],
            format!(" | {AGENT}"),
        ),
        // Images that name a tier come from it.
        (
            "",
            "replicas.example.com",
            true,
            &[],
            format!("{AGENT} | https://replicas.example.com"),
        ),
        (
            "[direct]\nenabled = false",
            "core.example.com:8443",
            false,
            &[],
            " | https://core.example.com:8443".to_owned(),
        ),
    ] {
        let found = of(&config(more), registry, alive, whole);
        assert_eq!(
            line(&found),
            expected,
            "{more} {registry} {alive} {whole:?}"
        );
    }
}

#[test]
fn the_keys_of_each_entry() {
    let mut config = config("");
    let certificate: Arc<[u8]> = b"PEM".as_slice().into();
    let mut core = (*config.tiers[1]).clone();
    core.tls.ca = Some(certificate.clone());
    config.tiers[1] = Arc::new(core);
    let found = of(&config, "docker.io", true, &["core", "near"]);
    let [agent, core, near] = found.hosts.as_slice() else {
        panic!("{}", line(&found));
    };
    assert!(!agent.override_path && agent.ca.is_none() && agent.header.is_none());
    assert!(core.override_path && !near.override_path && near.ca.is_none());
    let file = CaFile {
        name: "harbor-pilot-core.pem".into(),
        pem: certificate,
    };
    assert_eq!(core.ca.as_ref(), Some(&file));
    assert_eq!(found.ca_files().collect::<Vec<_>>(), [&file]);
}

#[test]
fn who_may_not_stand_there() {
    type Change = fn(&mut Tier);
    let secret = || Secret::new("s");
    let changes: [(Change, &str); 4] = [
        (|tier| tier.cascade = true, "is a cascade"),
        (
            |tier| {
                tier.credential = Some(crate::config::Credential {
                    username: "u".to_owned(),
                    password: Secret::new("p"),
                });
            },
            "wants a credential",
        ),
        (
            |tier| tier.tls.client = Some((Arc::from(&b"PEM"[..]), Secret::new("k"))),
            "wants a client certificate",
        ),
        (
            |tier| {
                tier.proxy = Some(crate::config::Proxy {
                    url: tier.url.clone(),
                    credential: None,
                });
            },
            "is behind a proxy",
        ),
    ];
    for (change, reason) in changes {
        let mut config = config("");
        let mut core = (*config.tiers[1]).clone();
        change(&mut core);
        config.tiers[1] = Arc::new(core);
        let found = of(&config, "docker.io", true, &["core"]);
        assert_eq!(found.hosts.len(), 1, "{reason}");
        let said = found.reasons.iter().any(|said| said.contains(reason));
        assert!(said, "{reason} is not in {:?}", found.reasons);
    }
    // S6: with a header the agent needs a table of its own, because old containerd reads none for a server.
    let mut config = config("");
    config.server.require_header = Some(secret());
    let found = of(&config, "quay.io", true, &[]);
    assert_eq!(line(&found), format!("{AGENT} | {AGENT}"));
    let header = Some(secret());
    assert_eq!(
        (&found.hosts[0].header, &found.server.header),
        (&header, &header)
    );
    assert!(!format!("{found:?}").contains("\"s\""));
}

#[test]
fn names_of_the_router_are_closed_and_those_of_a_tier_are_not() {
    let more = "[router]\nnames = [\"registry.example.com\", \"replicas.example.com\"]\n";
    let config = config(more);
    for (alive, due) in [(true, AGENT), (false, NOBODY)] {
        let host = of(&config, "registry.example.com", alive, &["core", "near"]);
        assert_eq!(line(&host), format!(" | {due}"));
        assert!(host.closed);
    }
    let host = of(&config, "replicas.example.com", true, &[]);
    assert_eq!(
        line(&host),
        format!("{AGENT} | https://replicas.example.com")
    );
}

#[test]
fn nothing_without_a_tier() {
    let config = Config::built_in();
    let situation = Situation {
        agent: AGENT,
        agent_alive: true,
        whole_tiers: &BTreeSet::new(),
    };
    assert!(desired(&config, &situation).is_empty());
}

#[test]
fn where_containerd_finds_the_agent() {
    for (listen, expected) in [
        (&["127.0.0.1:290"][..], Some("http://127.0.0.1:290")),
        (
            &["[::1]:290", "127.0.0.2:291"],
            Some("http://127.0.0.2:291"),
        ),
        (
            &["10.0.0.1:290", "0.0.0.0:291"],
            Some("http://127.0.0.1:291"),
        ),
        (&["[::]:290"], Some("http://127.0.0.1:290")),
        (&["[::1]:290"], Some("http://[::1]:290")),
        (&[], None),
    ] {
        let mut server = Config::built_in().server;
        server.listen = listen
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        assert_eq!(agent_url(&server).as_deref(), expected, "{listen:?}");
    }
}

#[test]
fn adopted_is_who_is_asked_at_the_same_place() {
    let found = of(&config(""), "docker.io", true, &[]);
    for (url, override_path, role) in [
        ("https://docker.io", false, None),
        ("https://registry-1.docker.io/v2", false, Some("upstream")),
        ("registry-1.docker.io/", false, Some("upstream")),
        ("https://registry-1.docker.io", true, None),
        ("http://registry-1.docker.io", false, None),
        ("https://core.example.com:8443/v2/x", true, None),
        ("http://10.0.0.1:5000", false, Some("near")),
        ("http://10.0.0.1:5000/v2", true, Some("near")),
        ("http://10.0.0.1:5000/other", false, None),
        ("https://replicas.example.com", false, None),
    ] {
        let root = EndpointUrl::root(url, override_path).unwrap();
        let name = found.role_of(&root).map(|role| match role {
            Role::Tier(name) => name.to_string(),
            _ => "upstream".to_owned(),
        });
        assert_eq!(name.as_deref(), role, "{url}");
    }
}

/// `ConfigureHosts` and `IsLocalhost` of containerd (containerd-k3s-facts 1.4, 6).
#[test]
fn where_containerd_goes_by_itself() {
    for (name, url, skip_verify) in [
        ("docker.io", "https://registry-1.docker.io", false),
        ("quay.io", "https://quay.io", false),
        ("reg.example:5000", "https://reg.example:5000", false),
        ("localhost:5000", "http://localhost:5000", true),
        ("localhost:443", "https://localhost:443", true),
        ("127.0.0.1:80", "http://127.0.0.1:80", false),
    ] {
        let server = own_server(&name.parse().unwrap());
        assert_eq!(
            (server.url.as_str(), server.skip_verify),
            (url, skip_verify)
        );
    }
}
