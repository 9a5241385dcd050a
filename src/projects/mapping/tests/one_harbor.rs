//! One Harbor alone: providers, URLs, names and duplicates.

use super::*;

#[test]
fn one_harbor() {
    let table: &[(&str, Harbor, Wanted)] = &[
        // Providers.
        (
            "docker-hub",
            one!("hub", "docker-hub", "https://hub.docker.com"),
            &[("docker.io", "hub")],
        ),
        (
            "docker-hub without a URL",
            one!("hub", "docker-hub", ""),
            &[("docker.io", "hub")],
        ),
        (
            "ghcr",
            one!("gh", "github-ghcr", "https://ghcr.io"),
            &[("ghcr.io", "gh")],
        ),
        (
            "docker-registry of Docker Hub",
            one!("dh", "docker-registry", "https://registry-1.docker.io"),
            &[("docker.io", "dh")],
        ),
        (
            "index.docker.io",
            one!("dh", "docker-registry", "https://index.docker.io/v1/"),
            &[("docker.io", "dh")],
        ),
        (
            "docker-registry of quay",
            one!("q", "docker-registry", "https://quay.io"),
            &[("quay.io", "q")],
        ),
        (
            "quay",
            one!("q", "quay", "https://quay.io"),
            &[("quay.io", "q")],
        ),
        (
            "no scheme",
            one!("q", "quay", "quay.io"),
            &[("quay.io", "q")],
        ),
        (
            "a slash at the end",
            one!("k8s", "docker-registry", "https://registry.k8s.io/"),
            &[("registry.k8s.io", "k8s")],
        ),
        (
            "upper case",
            one!("k8s", "docker-registry", "https://Registry.K8s.io"),
            &[("registry.k8s.io", "k8s")],
        ),
        (
            "gcr",
            one!("g", "google-gcr", "https://gcr.io"),
            &[("gcr.io", "g")],
        ),
        (
            "a region of gcr",
            one!("g", "google-gcr", "https://eu.gcr.io"),
            &[("eu.gcr.io", "g")],
        ),
        (
            "artifact registry",
            one!("pkg", "docker-registry", "https://europe-docker.pkg.dev"),
            &[("europe-docker.pkg.dev", "pkg")],
        ),
        (
            "public ECR",
            one!("p", "docker-registry", "https://public.ecr.aws"),
            &[("public.ecr.aws", "p")],
        ),
        (
            "an account's ECR",
            one!(
                "ecr",
                "aws-ecr",
                "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"
            ),
            &[("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "ecr")],
        ),
        (
            "ECR by its region alone",
            one!("ecr", "aws-ecr", "https://api.ecr.eu-west-1.amazonaws.com"),
            &[],
        ),
        (
            "ACR",
            one!("acr", "azure-acr", "https://team.azurecr.io"),
            &[("team.azurecr.io", "acr")],
        ),
        (
            "ACR that is MCR",
            one!("mcr", "azure-acr", "https://mcr.microsoft.com"),
            &[("mcr.microsoft.com", "mcr")],
        ),
        (
            "a port",
            one!(
                "own",
                "docker-registry",
                "https://registry.example.com:5000"
            ),
            &[("registry.example.com:5000", "own")],
        ),
        (
            "the default port",
            one!("q", "docker-registry", "https://quay.io:443"),
            &[("quay.io", "q")],
        ),
        (
            "a registry that is not configured",
            one!("x", "docker-registry", "https://other.example.org"),
            &[],
        ),
        (
            "an unknown provider whose name fits",
            one!("proxy-quay-io", "tencent-tcr", "https://x.example"),
            &[("quay.io", "~proxy-quay-io")],
        ),
        (
            "an unknown provider",
            one!("x", "tencent-tcr", "https://x.example"),
            &[],
        ),
        (
            "what Harbor says wins over the name",
            one!("proxy-quay-io", "docker-registry", "https://ghcr.io"),
            &[("ghcr.io", "proxy-quay-io")],
        ),
        // Names with dots and dashes.
        (
            "a dotted name",
            one!("proxy.docker.io", "docker-hub", "https://hub.docker.com"),
            &[("docker.io", "proxy.docker.io")],
        ),
        // Unreadable registries.
        (
            "glueops' names",
            unread!("proxy-docker-io", "proxy-public-ecr-aws"),
            &[
                ("docker.io", "~proxy-docker-io"),
                ("public.ecr.aws", "~proxy-public-ecr-aws"),
            ],
        ),
        (
            "dotted names",
            unread!("proxy.docker.io", "proxy.registry.k8s.io"),
            &[
                ("docker.io", "~proxy.docker.io"),
                ("registry.k8s.io", "~proxy.registry.k8s.io"),
            ],
        ),
        (
            "names of registries",
            unread!("docker.io", "quay.io"),
            &[("docker.io", "~docker.io"), ("quay.io", "~quay.io")],
        ),
        (
            "docker-hub by name",
            unread!("docker-hub"),
            &[("docker.io", "~docker-hub")],
        ),
        (
            "dashed names",
            unread!("ghcr-io"),
            &[("ghcr.io", "~ghcr-io")],
        ),
        ("names that say nothing", unread!("mirror", "cache"), &[]),
        (
            "a port in a guessed name",
            unread!("proxy-registry-example-com-5000"),
            &[(
                "registry.example.com:5000",
                "~proxy-registry-example-com-5000",
            )],
        ),
        // An endpoint that is not listed.
        (
            "an endpoint of another page",
            Harbor {
                projects: &[("proxy-quay-io", 9, true)],
                endpoints: Some(&[]),
                doubled: &[],
            },
            &[("quay.io", "~proxy-quay-io")],
        ),
        // Two for one registry.
        (
            "the public one",
            Harbor {
                projects: &[("a", 1, false), ("b", 1, true)],
                endpoints: Some(&[(1, "quay", "https://quay.io")]),
                doubled: &[],
            },
            &[("quay.io", "b")],
        ),
        (
            "the first by name",
            Harbor {
                projects: &[("b", 1, true), ("a", 2, true)],
                endpoints: Some(&[
                    (1, "quay", "https://quay.io"),
                    (2, "docker-registry", "https://quay.io"),
                ]),
                doubled: &[],
            },
            &[("quay.io", "a")],
        ),
        (
            "private ones alone",
            Harbor {
                projects: &[("b", 1, false), ("a", 1, false)],
                endpoints: Some(&[(1, "quay", "https://quay.io")]),
                doubled: &[],
            },
            &[("quay.io", "a")],
        ),
        // Another Harbor behind it that nobody knows.
        (
            "an unknown Harbor",
            one!("proxy-quay-io", "harbor", "https://far.example.com:8443"),
            &[("quay.io", "~proxy-quay-io")],
        ),
        (
            "an unknown Harbor and a name that says nothing",
            one!("cache", "harbor", "https://far.example.com"),
            &[],
        ),
        (
            "a doubled name",
            Harbor {
                projects: &[("proxy-quay-io", 1, true)],
                endpoints: Some(&[(1, "harbor", "https://far.example.com")]),
                doubled: &[("proxy-quay-io", true)],
            },
            &[("quay.io", "~proxy-quay-io/proxy-quay-io")],
        ),
        (
            "a name that was found not to be doubled",
            Harbor {
                projects: &[("proxy-quay-io", 1, true)],
                endpoints: Some(&[(1, "harbor", "https://far.example.com")]),
                doubled: &[("proxy-quay-io", false)],
            },
            &[("quay.io", "~proxy-quay-io")],
        ),
        (
            "a path behind the host is another registry",
            one!("p", "docker-registry", "https://quay.io/mirror"),
            &[],
        ),
        (
            "a name that is no part of a path",
            one!("P x", "quay", "https://quay.io"),
            &[],
        ),
        (
            "no project",
            Harbor {
                projects: &[],
                endpoints: Some(&[]),
                doubled: &[],
            },
            &[],
        ),
    ];
    assert!(table.len() >= 40, "{}", table.len());
    for (name, harbor, wanted) in table {
        let found = mapped(CONFIG, &[("core", harbor)]);
        let found = &found[&Arc::from("core")];
        let wanted: Vec<(String, String)> = wanted
            .iter()
            .map(|(registry, path)| ((*registry).to_owned(), (*path).to_owned()))
            .collect();
        let mut shown = shown(found);
        shown.sort();
        assert_eq!(shown, wanted, "{name}: {found:?}");
        let used = harbor.projects.len() - found.unused.len();
        assert_eq!(
            used,
            found.projects.len(),
            "{name}: each project is used or said: {found:?}"
        );
    }
}
