//! Stock containerd, with configurations of all formats.

use super::super::running::Running;
use super::*;

/// config.toml, an import, the version; certs.d, and what the first degrading remedy says.
type Row = (
    String,
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
);

#[test]
fn stock_containerd_reads_what_its_configuration_says() {
    const V2: &str = "io.containerd.grpc.v1.cri";
    const V3: &str = "io.containerd.cri.v1.images";
    let registry = |version: u32, plugin: &str, path: &str| {
        format!("version = {version}\n[plugins.\"{plugin}\".registry]\nconfig_path = \"{path}\"\n")
    };
    let nothing = "etc/containerd/certs.d";
    let table: [Row; 11] = [
        (
            registry(2, V2, "ROOT/etc/containerd/certs.d"),
            "",
            Some("1.6.20"),
            nothing,
            None,
        ),
        (
            registry(3, V3, "ROOT/other/"),
            "",
            Some("2.1.9"),
            "other",
            None,
        ),
        (
            registry(2, V2, "ROOT/a:ROOT/b"),
            "",
            Some("1.7.24"),
            "a",
            None,
        ),
        (
            registry(3, V3, "ROOT/a:ROOT/b"),
            "",
            Some("2.1.9"),
            "a",
            Some("change line 3 of "),
        ),
        (
            format!(
                "{}use_x = 1\n[plugins.\"{V3}\"]\nuse_local_image_pull = true\n",
                registry(3, V3, "ROOT/a:ROOT/b")
            ),
            "",
            Some("2.1.9"),
            "a",
            None,
        ),
        (
            "version = 2\n".into(),
            "",
            Some("1.7.24"),
            nothing,
            Some(
                "config.toml:\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = ",
            ),
        ),
        (
            "version = 3\n".into(),
            "",
            Some("2.1.9"),
            nothing,
            Some("[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = "),
        ),
        // 2.2 reads two places by itself, of which the transfer service makes one.
        (
            "version = 3\n".into(),
            "",
            Some("2.2.3"),
            nothing,
            Some("write at the end of "),
        ),
        (
            format!(
                "version = 2\n[plugins.\"{V2}\".registry.mirrors.\"docker.io\"]\nendpoint = [\"https://x\"]\n"
            ),
            "",
            Some("1.6.20"),
            nothing,
            Some("move what these tables say into a hosts.toml"),
        ),
        (
            "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n".into(),
            "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"ROOT/imported\"\n",
            Some("1.7.24"),
            "imported",
            None,
        ),
        (
            "version = \n".into(),
            "",
            Some("1.7.24"),
            nothing,
            Some("will not start"),
        ),
    ];
    for (row, (main, import, version, certs_d, remedy)) in table.into_iter().enumerate() {
        let tree = Tree::new(&[
            ("/etc/containerd/config.toml", &main),
            ("/etc/containerd/conf.d/a.toml", import),
        ]);
        let mut facts = tree.facts();
        facts.containerd_version = version.map(str::to_owned);
        let found = detect(&facts, &tree.node, None);
        assert_eq!(found.runtime, Found::Containerd, "row {row}");
        assert_eq!(found.certs_d, Some(tree.path(certs_d)), "row {row}");
        let degraded = found.findings.iter().find(|finding| finding.degraded);
        match (degraded, remedy) {
            (None, None) => {}
            (Some(finding), Some(remedy)) => {
                assert!(finding.instead.contains(remedy), "row {row}: {finding:?}")
            }
            other => panic!("row {row}: {other:?}"),
        }
    }
}

#[test]
fn a_place_that_containerd_does_not_read_is_said() {
    let config =
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"ROOT/a\"\n";
    let mut tree = Tree::new(&[("/etc/containerd/config.toml", config)]);
    tree.node.certs_d = Some(tree.path("b"));
    let found = tree.detect();
    assert_eq!(found.certs_d, Some(tree.path("b")));
    assert!(found.findings[0].degraded, "{found:?}");
}

/// The tables of the two reproductions: mirrors beside config_path, and passwords, which stay.
#[test]
fn mirrors_are_named_and_passwords_stay() {
    const TABLE: &str = "[plugins.\"io.containerd.grpc.v1.cri\".registry";
    let head = format!("version = 2\n{TABLE}]\nconfig_path = \"ROOT/etc/containerd/certs.d\"\n");
    let mirrors = format!("{head}{TABLE}.mirrors.\"docker.io\"]\nendpoint = [\"https://m\"]\n");
    let found = Tree::new(&[("/etc/containerd/config.toml", &mirrors)]).detect();
    let [finding] = &found.findings[..] else {
        panic!("{found:?}")
    };
    assert!(finding.degraded && finding.what.contains("CRI plugin does not load"));
    assert!(
        finding
            .what
            .contains("registry.mirrors.\"docker.io\" (line 4 of ")
    );
    assert!(!finding.instead.contains("change line"), "{finding:?}");
    let auth = format!("{TABLE}.configs.\"r.test\".auth]\nusername = \"u\"\n");
    let both = format!("{head}{auth}");
    let found = Tree::new(&[("/etc/containerd/config.toml", &both)]).detect();
    assert!(found.findings.is_empty(), "{found:?}");
    let alone = format!("version = 2\n{auth}");
    let found = Tree::new(&[("/etc/containerd/config.toml", &alone)]).detect();
    let instead = &found.findings[0].instead;
    assert!(
        !instead.contains("configs") && instead.contains("write at the end of"),
        "{instead}"
    );
}

/// What runs is what counts, and files are compared by more than seconds.
#[test]
fn what_containerd_says_of_itself_wins_over_times() {
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"ROOT/etc/containerd/certs.d\"\n";
    let tree = Tree::new(&[("/etc/containerd/config.toml", config)]);
    let tree = tree.runs(&["/usr/bin/containerd"], 1000);
    let certs_d = tree.path("etc/containerd/certs.d");
    let at = |milliseconds: u64, says: Option<Running>| {
        let mut facts = tree.facts();
        let config = facts.containerd_config.first_mut().unwrap();
        config.modified = Duration::from_millis(milliseconds);
        facts.running_containerd = says;
        let found = detect(&facts, &tree.node, None);
        let degraded = found.findings.iter().any(|finding| finding.degraded);
        (found.restart_pending.is_some(), degraded)
    };
    // It started at 1000.000 s by the kernel's ticks of 10 ms.
    assert_eq!(at(999_999, None), (false, false));
    assert_eq!(at(1_000_005, None), (false, false));
    assert_eq!(at(1_000_011, None), (true, false));
    let now = |roots: &[&Path]| {
        Some(Running::Reads(
            roots.iter().map(|root| root.to_path_buf()).collect(),
        ))
    };
    assert_eq!(at(2_000_000, now(&[&certs_d])), (false, false));
    assert_eq!(at(999_000, now(&[])), (true, true));
    assert_eq!(at(999_000, Some(Running::WithoutPlugin)), (false, false));
}
