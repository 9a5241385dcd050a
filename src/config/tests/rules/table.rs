//! One row for each thing that may not be written.

/// text, the key that is named, a part of what is said about it.
pub(super) const WRONG: &[(&str, &str, &str)] = &[
    // [server]
    ("[server]\nlisten = []", "server.listen", "empty"),
    (
        "[server]\nlisten = \"127.0.0.1:290\"",
        "server.listen",
        "where a list is wanted",
    ),
    (
        "[server]\nlisten = [\"localhost:290\"]",
        "server.listen",
        "no address with a port",
    ),
    (
        "[server]\nlisten = [\"0.0.0.0:290\"]",
        "server.listen",
        "allow_non_loopback = true",
    ),
    (
        "[server]\nlisten = [\"127.0.0.1:290\", \"127.0.0.1:290\"]",
        "server.listen",
        "taken by listen",
    ),
    (
        "[server]\nlisten = [\"127.0.0.1:291\"]",
        "server.admin",
        "taken by listen",
    ),
    (
        "[server]\nmetrics = \"0.0.0.0:291\"",
        "server.metrics",
        "taken by admin",
    ),
    (
        "[server]\nadmin = \"10.0.0.1:291\"",
        "server.admin",
        "other machines",
    ),
    (
        "[server]\nadmin = \"[::]:291\"",
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
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\n[tier.discovery]\nenabled = true",
        "tier.a.project",
        "[tier.discovery]",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.discovery]\ninterval = \"0s\"",
        "tier.a.discovery.interval",
        "30m",
    ),
    (
        "[[tier]]\nname = \"a\"\nkind = \"mirror\"\nregistries = [\"*\"]\nurl = \"https://a.example\"\n[tier.discovery]\nenabled = true",
        "tier.a.discovery.enabled",
        "kind = \"harbor\"",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.discovery]\nenabled = false",
        "tier.a.project",
        "[tier.projects]",
    ),
    (
        "[[tier]]\nname = \"a\"\nurl = \"https://a.example\"\n[tier.discovery]\nintervall = \"1h\"",
        "tier.a.discovery.intervall",
        "interval",
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
        "[[tier]]\nname = \"a\"\nurl = \"https://[fd00::5]\"\nproject = \"p-{registry}\"\nin_file = true",
        "tier.a.in_file",
        "IPv6 literal",
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
        "[[tier]]\nname = \"a\"\nurl = \"http://127.0.0.1:290\"\nproject = \"p-{registry}\"",
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
        "[[registry]]\nname = \"x.example\"\nupstream = \"http://localhost:290\"",
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
    ("[limits]\nmemory = \"8MiB\"", "limits.memory", "16MiB"),
    (
        "[limits]\nmemory = \"64MiB\"\nmanifest_bytes = \"32MiB\"",
        "limits.memory",
        "128MiB",
    ),
    (
        "[limits]\nmanifest_bytes = \"32MiB\"",
        "limits.manifest_bytes",
        "memory = \"128MiB\"",
    ),
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
