//! What may not be written in `[router]`.

/// text, the key that is named, a part of what is said about it.
pub(super) const WRONG: &[(&str, &str, &str)] = &[
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
];
