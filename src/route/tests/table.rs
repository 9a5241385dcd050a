//! What is asked, and the targets or the refusal that come out.

const NGINX: &str = "replica:proxy-docker-io/library/nginx core:proxy.docker.io/library/nginx spegel:library/nginx?ns=docker.io upstream!:library/nginx";
const GITHUB: &str =
    "replica:proxy-ghcr-io/o/r core:proxy.ghcr.io/o/r nexus:group/github/o/r upstream!:o/r";
const QUAY: &str = "replica:proxy-quay-io/o/r inner:mirror/mirror-quay-io/o/r nexus:Quay/o/r";

/// ns, name, kind, what comes out.
pub(super) type Row = (
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

pub(super) const ROWS: &[Row] = &[
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
    // Said in both, the registry counts once (regctl with a path per mirror).
    ns("registry-1.docker.io", "docker.io/library/nginx", NGINX),
    ns("docker.io", "index.docker.io/nginx", NGINX),
    ns("ghcr.io", "ghcr.io/o/r", GITHUB),
    ns(
        "reg.example:5000",
        "reg.example:5000/team/closed",
        "private: team/closed",
    ),
    ns("docker.io", "docker.io/myorg/app", "private: myorg/app"),
    ns(
        "replicas.example.com",
        "replicas.example.com/proxy-ghcr-io/o/r",
        GITHUB,
    ),
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
        "127.0.0.1:290",
        "library/nginx",
        "not configured: 127.0.0.1:290",
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
