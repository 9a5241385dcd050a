//! What may not be written in `[router]` and `[otel]`.

/// text, the key that is named, a part of what is said about it.
pub(super) const WRONG: &[(&str, &str, &str)] = &[
    ("[server.gateway]", "server.gateway.listen", "is missing"),
    (
        "[server.gateway]\nlisten = [\"0.0.0.0:443\"]",
        "server.gateway.cert_file",
        "is missing",
    ),
    (
        "[server.gateway]\nlisten = [\"0.0.0.0:443\"]\nkey_file = \"/nowhere/a.pem\"\ncert_file = \"/nowhere/a.crt\"",
        "server.gateway.cert_file",
        "/nowhere/a.crt",
    ),
    (
        "[router]\nproject = \"p\"",
        "router.names",
        "is missing or empty",
    ),
    (
        "[router]\nnames = []",
        "router.names",
        "is missing or empty",
    ),
    ("[router]\nnames = [\"a b\"]", "router.names", "registry"),
    (
        "[router]\nnames = [\"docker.io\"]",
        "router.names",
        "is a configured registry",
    ),
    (
        "[router]\nnames = [\"r.example\"]\nproject = \"Proxy/\"",
        "router.project",
        "no part of an image's name",
    ),
    (
        "[router]\nnames = [\"r.example\"]\norder = [\"nvcr.io\"]",
        "router.order",
        "not a configured registry",
    ),
    (
        "[router]\nnames = [\"r.example\"]\norder = [\"ghcr.io\", \"ghcr.io\"]",
        "router.order",
        "twice",
    ),
    (
        "[router]\nnames = [\"r.example\"]\nmax_fanout = 0",
        "router.max_fanout",
        "is zero",
    ),
    (
        "[router]\nnames = [\"r.example\"]\nttl = \"0s\"",
        "router.ttl",
        "is zero",
    ),
    (
        "[router]\nnames = [\"r.example\"]\ngrace = \"1m\"",
        "router.grace",
        "is long",
    ),
    (
        "[router]\nnames = [\"r.example\"]\nnegative_ttl = \"61m\"",
        "router.negative_ttl",
        "is longer than an hour",
    ),
    (
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nmaster = \"m\"",
        "router.redis.sentinels",
        "is missing or empty",
    ),
    (
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nsentinels = [\"10.0.0.1\"]",
        "router.redis.master",
        "is missing",
    ),
    (
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nsentinels = [\"redis://:pw@h:1\"]\nmaster = \"m\"",
        "router.redis.sentinels",
        "is no host with a port",
    ),
    (
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nsentinels = [\"h:1\"]\nmaster = \"m\"\nkey_prefix = \"a*\"",
        "router.redis.key_prefix",
        "more than 64 letters",
    ),
    (
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nsentinels = [\"h:1\"]\nmaster = \"m\"\ndb = -1",
        "router.redis.db",
        "out of range",
    ),
    (
        "[router]\nnames = [\"r.example\"]\n[router.redis]\nsentinels = [\"h:1\"]\nmaster = \"m\"\n\
         password_file = \"/nonexistent/secret\"",
        "router.redis.password_file",
        "cannot read",
    ),
    ("[otel]\nsample_ratio = 1", "otel.endpoint", "is missing"),
    (
        "[otel]\nendpoint = \"http://otel.example.com:4318\"",
        "otel.endpoint",
        "loopback address of a collector on this node",
    ),
    (
        "[otel]\nendpoint = \"grpc://127.0.0.1:4317\"",
        "otel.endpoint",
        "is not spoken here",
    ),
    (
        "[otel]\nprotocol = \"grpc\"\nendpoint = \"https://otel.example.com/v1\"",
        "otel.endpoint",
        "gRPC has no use for",
    ),
    (
        "[otel]\nprotocol = \"grpcs\"\nendpoint = \"http://[::1]:4317\"",
        "otel.protocol",
        "write \"grpc\"",
    ),
    (
        "[otel]\nsample_ratio = 1.5\nendpoint = \"http://localhost:4318\"",
        "otel.sample_ratio",
        "1.5 is out of range",
    ),
    (
        "[otel]\nsample_ratio = 5\nendpoint = \"http://localhost:4318\"",
        "otel.sample_ratio",
        "5 is out of range",
    ),
    (
        "[otel]\nsample_ratio = \"1%\"\nendpoint = \"http://localhost:4318\"",
        "otel.sample_ratio",
        "from 0 to 1",
    ),
    (
        "[otel]\nca_file = \"/nowhere/a.pem\"\nendpoint = \"https://otel.example.com\"",
        "otel.ca_file",
        "/nowhere/a.pem",
    ),
];
