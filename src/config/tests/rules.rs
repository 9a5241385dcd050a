//! The rules of the reference: one row for each thing that may not be written.

use super::*;

/// text, the key that is blamed, a part of what is said about it.
const WRONG: &[(&str, &str, &str)] = &[
    // [server]
    ("[server]\nlisten = []", "server.listen", "empty"),
    (
        "[server]\nlisten = \"127.0.0.1:5180\"",
        "server.listen",
        "where a list is wanted",
    ),
    (
        "[server]\nlisten = [\"localhost:5180\"]",
        "server.listen",
        "no address with a port",
    ),
    (
        "[server]\nlisten = [\"0.0.0.0:5180\"]",
        "server.listen",
        "allow_non_loopback = true",
    ),
    (
        "[server]\nlisten = [\"127.0.0.1:5180\", \"127.0.0.1:5180\"]",
        "server.listen",
        "taken by listen",
    ),
    (
        "[server]\nlisten = [\"127.0.0.1:5181\"]",
        "server.admin",
        "taken by listen",
    ),
    (
        "[server]\nmetrics = \"0.0.0.0:5181\"",
        "server.metrics",
        "taken by admin",
    ),
    (
        "[server]\nadmin = \"10.0.0.1:5181\"",
        "server.admin",
        "other machines",
    ),
    (
        "[server]\nadmin = \"[::]:5181\"",
        "server.admin",
        "other machines",
    ),
    ("server = 1", "server", "where a table is wanted"),
    // [[tier]]
    ("[tier]\nname = \"a\"", "tier", "double brackets"),
    ("tier = \"a\"", "tier", "double brackets"),
    (
        "[[tier]]\nurl = \"https://a.example\"\nproject = \"p-{registry}\"",
        "tier #1.name",
        "is missing",
    ),
    (
        "[[tier]]\nname = \"a\"\nproject = \"p-{registry}\"",
        "tier.a.url",
        "is missing",
    ),
    (
        "[[tier]]\nname = \"Upstream\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"",
        "tier.Upstream.name",
        "another name",
    ),
    (
        "[[tier]]\nname = \"a b\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"",
        "tier.\"a b\".name",
        "no name for logs",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"",
        "tier.a.project",
        "[tier.projects]",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"path\"\nurl = \"https://a.example\"",
        "tier.a.project",
        "is missing",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"mirror\"\nurl = \"https://a.example\"",
        "tier.a.registries",
        "is missing",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"mirror\"\nurl = \"https://a.example\"\nregistries = [\"*\"]\nproject = \"p\"",
        "tier.a.project",
        "no meaning",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"mirror\"\nurl = \"https://a.example\"\nregistries = [\"*\"]\n[tier.projects]\n\"docker.io\" = \"p\"",
        "tier.a.projects",
        "no meaning",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"mirror\"\nurl = \"https://a.example\"\nregistries = [\"*\", \"docker.io\"]",
        "tier.a.registries",
        "alone",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"nexus\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"",
        "tier.a.kind",
        "harbor, path, mirror",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nregistries = []",
        "tier.a.registries",
        "serve nothing",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nregistries = [\"nvcr.io\"]",
        "tier.a.registries",
        "add [[registry]] with name = \"nvcr.io\"",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nregistries = [\"docker.io\", \"ghcr.io\"]\n[tier.projects]\n\"docker.io\" = \"p\"",
        "tier.a.registries",
        "ghcr.io, which has no project",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"nvcr.io\" = \"p\"",
        "tier.a.projects.\"nvcr.io\"",
        "not a configured registry",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = \"Proxy\"",
        "tier.a.projects.\"docker.io\"",
        "no project path",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = \"a/../b\"",
        "tier.a.projects.\"docker.io\"",
        "no project path",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"path\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = \"a%2fb\"",
        "tier.a.projects.\"docker.io\"",
        "no project path",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = 5",
        "tier.a.projects.\"docker.io\"",
        "text is wanted",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = \"p\"\n\"index.docker.io\" = \"q\"",
        "tier.a.projects.\"index.docker.io\"",
        "listed already",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = \"p\"\n\"ghcr.io\" = \"p\"",
        "tier.a.projects",
        "taken for the other's",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.projects]\n\"docker.io\" = \"p\"\ncascade = true",
        "tier.a.projects.cascade",
        "move the line up",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"all\"",
        "tier.a.projects",
        "list in registries",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{host}\"",
        "tier.a.project",
        "{registry_dashed}",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nnames = [\"ghcr.io\"]",
        "tier.a.names",
        "configured registry already",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\ncascade = true\nin_file = true",
        "tier.a.in_file",
        "cascade",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nin_file = true\nusername = \"u\"",
        "tier.a.in_file",
        "credentials",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nusername = \"u\"",
        "tier.a.password_file",
        "is missing",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\npassword_file = \"/x\"",
        "tier.a.username",
        "is missing",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nusername = \"u\"\npassword_file = \"/x\"\ncredential = \"c\"",
        "tier.a.credential",
        "keep one",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\nusername = \"u\"\npassword_file = \"secret\"",
        "tier.a.password_file",
        "no absolute path",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"http://a.example\"\nproject = \"p-{registry}\"\ninsecure_skip_verify = true",
        "tier.a.insecure_skip_verify",
        "http://",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\npriority = -1",
        "tier.a.priority",
        "out of range",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\n[tier.health]\ninterval = \"3s\"\ntimeout = \"3s\"",
        "tier.a.health.interval",
        "overlap",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\n[tier.health]\ntimeout = \"0s\"",
        "tier.a.health.timeout",
        "zero",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"path\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\n[tier.health]\nprobe = \"harbor\"",
        "tier.a.health.probe",
        "v2",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"http://127.0.0.1:5180\"\nproject = \"p-{registry}\"",
        "tier.a.url",
        "ask itself",
    ),
    // [[registry]]
    (
        "[[registry]]\nupstream = \"https://nvcr.io\"",
        "registry #8.name",
        "is missing",
    ),
    (
        "[[registry]]\nname = \"https://nvcr.io\"",
        "registry.\"https://nvcr.io\".name",
        "without https://",
    ),
    (
        "[[registry]]\nname = \"nvcr.io\"\nupstream = \"https://nvcr.io/v2/\"",
        "registry.\"nvcr.io\".upstream",
        "leave /v2 out",
    ),
    (
        "[[registry]]\nname = \"docker.io\"\ndirect = false\nbypass = [\"x/*\"]",
        "registry.\"docker.io\".bypass",
        "direct = false forbids",
    ),
    (
        "[direct]\nenabled = false\n[[registry]]\nname = \"ghcr.io\"\nbypass = [\"x/*\"]",
        "registry.\"ghcr.io\".bypass",
        "direct = false forbids",
    ),
    (
        "[[registry]]\nname = \"docker.io\"\nbypass = [\"docker.io/goharbor/*\"]",
        "registry.\"docker.io\".bypass",
        "write \"goharbor/*\"",
    ),
    (
        "[[registry]]\nname = \"docker.io\"\nprivate = [\"MyOrg/*\"]",
        "registry.\"docker.io\".private",
        "lower-case",
    ),
    (
        "[[registry]]\nname = \"docker.io\"\nprivate = [\"app:latest\"]",
        "registry.\"docker.io\".private",
        "without a tag",
    ),
    (
        "[[registry]]\nname = \"docker.io\"\nbypass = [\"nginx\"]",
        "registry.\"docker.io\".bypass",
        "write \"library/nginx\"",
    ),
    (
        "[[registry]]\nname = \"x.example\"\nupstream = \"http://localhost:5180\"",
        "registry.\"x.example\".upstream",
        "ask itself",
    ),
    // The small tables.
    (
        "[direct]\nproxy = \"socks5://p:1080\"",
        "direct.proxy",
        "http://",
    ),
    (
        "[relay]\nverify = \"alway\"",
        "relay.verify",
        "write \"always\"",
    ),
    (
        "[failover]\nharbor_policy = \"stop\"",
        "failover.harbor_policy",
        "next, final",
    ),
    (
        "[stale]\nmax_age = \"0s\"",
        "stale.max_age",
        "enabled = false",
    ),
    ("[stale]\nmax_bytes = \"64MB\"", "stale.max_bytes", "64MiB"),
    (
        "[dns]\nmin_ttl = \"10m\"",
        "dns.min_ttl",
        "longer than max_ttl",
    ),
    (
        "[dns]\nmax_ttl = \"2s\"",
        "dns.max_ttl",
        "longer than max_ttl",
    ),
    (
        "[dns]\nmin_ttl = \"0s\"",
        "dns.min_ttl",
        "less than a second",
    ),
    (
        "[dns]\nnameservers = [\"dns.example.com\"]",
        "dns.nameservers",
        "no address",
    ),
    (
        "[timeouts]\nconnect_race = \"3s\"",
        "timeouts.connect_race",
        "connect",
    ),
    ("[timeouts]\ntotal = \"1s\"", "timeouts.total", "first_byte"),
    ("[timeouts]\nstall = \"0s\"", "timeouts.stall", "zero"),
    ("[limits]\nloaded = 100", "limits.loaded", "per_address"),
    ("[limits]\nper_address = 4", "limits.per_address", "loaded"),
    ("[limits]\nconnections = 0", "limits.connections", "zero"),
    (
        "[limits]\nmanifest_bytes = \"1KiB\"",
        "limits.manifest_bytes",
        "64KiB",
    ),
    ("[node]\nruntime = \"k3\"", "node.runtime", "write \"k3s\""),
    ("[node]\ncerts_d = \"certs.d\"", "node.certs_d", "absolute"),
    (
        "[node]\nruntime = \"containerd\"\nregistries_yaml = \"/x\"",
        "node.registries_yaml",
        "no meaning",
    ),
    ("[log]\nfilter = \"a=b=c\"", "log.filter", "no log filter"),
    (
        "[state]\ndirectory = \"state\"",
        "state.directory",
        "absolute",
    ),
];

#[test]
fn each_thing_that_may_not_be_written_is_reported() {
    for (text, key, said) in WRONG {
        let found = problems(text);
        let one = found.iter().find(|problem| {
            problem.key == *key && (problem.what.contains(said) || problem.instead.contains(said))
        });
        assert!(
            one.is_some(),
            "{text}\nwanted {key}: {said}\nfound {found:#?}"
        );
    }
}

#[test]
fn one_mistake_is_reported_once() {
    // Mistakes from which others follow are few; all others have exactly one report.
    let several = [
        "tier.a.in_file",
        "tier.a.password_file",
        "tier.a.username",
        "tier.a.credential",
        "tier.a.projects",
        "timeouts.total",
    ];
    for (text, key, _) in WRONG.iter().filter(|(_, key, _)| !several.contains(key)) {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}\n{key}\n{found:#?}");
    }
}

#[test]
fn what_is_doubtful_is_a_warning_and_no_error() {
    let rows = [
        (
            "[server]\nlisten = [\"0.0.0.0:5180\"]\nallow_non_loopback = true".to_owned(),
            "server.listen",
            "require_header_file",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:0\"]".to_owned(),
            "server.listen",
            "fixed port",
        ),
        (
            format!("{TIER}insecure_skip_verify = true"),
            "tier.t.insecure_skip_verify",
            "ca_file",
        ),
        (
            format!("{TIER}[tier.health]\ninterval = \"5s\""),
            "tier.t.health.interval",
            "60s",
        ),
        (
            TIER.replace("t.example.com", "t.example.com/proxy-docker-io"),
            "tier.t.url",
            "before /v2",
        ),
        (
            format!("{TIER}registries = [\"docker.io\"]\n[tier.projects]\n\"ghcr.io\" = \"x\""),
            "tier.t.projects",
            "leaves out",
        ),
        (
            "[[registry]]\nname = \"docker.io\"\ndirect = false\nprivate = [\"a/*\"]".to_owned(),
            "registry.\"docker.io\".private",
            "direct = false",
        ),
        (
            "[direct]\nenabled = false\n[[registry]]\nname = \"docker.io\"\nprivate = [\"a/*\"]"
                .to_owned(),
            "registry.\"docker.io\".private",
            "direct = false",
        ),
        (
            "[[registry]]\nname = \"dokcer.io\"\nenabled = false".to_owned(),
            "registry.\"dokcer.io\".enabled",
            "nothing defines",
        ),
        (
            "[[tier]]\nname = \"t\"\nenabled = false".to_owned(),
            "tier.t.enabled",
            "nothing defines",
        ),
        ("[node]\nmanage = true".to_owned(), "node.manage", "no tier"),
        (
            "[timeouts]\ntotal = \"30s\"".to_owned(),
            "timeouts.total",
            "containerd",
        ),
        (
            "[timeouts]\ndrain = \"10s\"".to_owned(),
            "timeouts.drain",
            "TimeoutStopSec",
        ),
    ];
    for (text, key, said) in rows {
        let warnings = good(&text).warnings;
        let one = warnings.iter().find(|problem| {
            problem.key == key && (problem.what.contains(said) || problem.instead.contains(said))
        });
        assert!(
            one.is_some(),
            "{text}\nwanted {key}: {said}\nfound {warnings:#?}"
        );
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
    }
}

#[test]
fn direct_off_drops_the_default_bypass_and_holds_everywhere() {
    let off = good("[direct]\nenabled = false").config;
    assert!(
        off.registries
            .iter()
            .all(|one| !one.direct && one.bypass.is_empty())
    );
    let one = good("[[registry]]\nname = \"docker.io\"\ndirect = false").config;
    assert!(!one.registries[0].direct && one.registries[0].bypass.is_empty());
    assert!(one.registries[1].direct);
}

#[test]
fn a_tier_serves_what_has_a_project() {
    let served = |tail: &str| -> Vec<String> {
        let text = format!("[[tier]]\nname = \"t\"\nurl = \"https://t.example.com\"\n{tail}");
        let tier = good(&text).config.tiers[0].clone();
        let RegistrySet::Some(names) = &tier.registries else {
            panic!("not for Harbor")
        };
        assert_eq!(names, &tier.projects.keys().cloned().collect::<Vec<_>>());
        tier.projects
            .iter()
            .map(|(name, project)| format!("{name}={project}"))
            .collect()
    };
    assert_eq!(served("project = \"p-{registry}\"").len(), 7);
    assert_eq!(
        served("project = \"p-{registry}\"\nregistries = [\"*\"]").len(),
        7
    );
    assert_eq!(
        served("project = \"p-{registry_dashed}\"\nregistries = [\"public.ecr.aws\"]"),
        ["public.ecr.aws=p-public-ecr-aws"]
    );
    assert_eq!(
        served("[tier.projects]\n\"quay.io\" = \"quay\""),
        ["quay.io=quay"]
    );
    assert_eq!(
        served(
            "project = \"p/p-{registry}\"\nregistries = [\"docker.io\", \"quay.io\"]\n[tier.projects]\n\"index.docker.io\" = \"hub\""
        ),
        ["docker.io=hub", "quay.io=p/p-quay.io"]
    );
    // A registry that was taken out may still be named.
    assert_eq!(
        served(
            "[tier.projects]\n\"quay.io\" = \"quay\"\n\"gcr.io\" = \"g\"\n[[registry]]\nname = \"gcr.io\"\nenabled = false"
        ),
        ["quay.io=quay"]
    );
    // A template covers registries that are added.
    assert!(
        served("project = \"p-{registry_dashed}\"\n[[registry]]\nname = \"reg.example:5000\"")
            .contains(&"reg.example:5000=p-reg-example-5000".to_owned())
    );
}

#[test]
fn a_tiers_names_are_its_host_unless_that_is_a_registry() {
    let names = |url: &str, tail: &str| -> Vec<String> {
        let text = TIER.replace("https://t.example.com", url) + tail;
        let config = good(&text).config;
        config.tiers[0]
            .names
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(names("https://T.example.com", ""), ["t.example.com"]);
    assert_eq!(names("https://t.example.com:443", ""), ["t.example.com"]);
    assert_eq!(
        names("https://t.example.com:8443/x", ""),
        ["t.example.com:8443"]
    );
    assert_eq!(names("http://10.0.0.1:5000", ""), ["10.0.0.1:5000"]);
    assert!(names("http://[2001:db8::1]:5000", "").is_empty());
    assert_eq!(
        names(
            "https://t.example.com",
            "names = [\"a.example\", \"b.example\"]"
        ),
        ["a.example", "b.example"]
    );
    assert!(
        names(
            "https://t.example.com",
            "[[registry]]\nname = \"t.example.com\""
        )
        .is_empty()
    );
}

#[test]
fn priority_sorts_before_the_order_of_the_file() {
    let tier = |name: &str, tail: &str| {
        format!(
            "[[tier]]\nname = \"{name}\"\nurl = \"https://{name}.example.com\"\nproject = \"p-{{registry}}\"\n{tail}\n"
        )
    };
    let text = [
        tier("a", ""),
        tier("b", "priority = 20"),
        tier("c", ""),
        tier("d", "priority = 10"),
        tier("e", "priority = 20"),
    ];
    let config = good(&text.concat()).config;
    let names: Vec<&str> = config.tiers.iter().map(|tier| tier.name.as_ref()).collect();
    assert_eq!(names, ["d", "b", "e", "a", "c"]);
}

#[test]
fn probes_fit_their_kind() {
    let probe = |text: &str| good(text).config.tiers[0].probe.kind;
    assert_eq!(probe(TIER), ProbeKind::Harbor);
    assert_eq!(probe(&format!("{TIER}kind = \"path\"")), ProbeKind::V2);
    let mirror = "[[tier]]\nname = \"m\"\nkind = \"mirror\"\nurl = \"http://m.example\"\nregistries = [\"*\"]\n";
    assert_eq!(probe(mirror), ProbeKind::V2);
    assert_eq!(good(mirror).config.tiers[0].registries, RegistrySet::All);
    assert_eq!(
        probe(&format!("{TIER}[tier.health]\nprobe = \"port\"")),
        ProbeKind::Port
    );
    let none = format!("{TIER}[tier.health]\nprobe = \"none\"\ninterval = \"4s\"");
    assert!(good(&none).warnings.is_empty());
}

#[test]
fn admin_can_be_switched_off() {
    let server = good("[server]\nadmin = \"none\"\nmetrics = \"0.0.0.0:9105\"")
        .config
        .server;
    assert_eq!(server.admin, None);
    assert_eq!(server.metrics, Some("0.0.0.0:9105".parse().unwrap()));
}
