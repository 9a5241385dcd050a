//! What `init` prints is a valid configuration that means what the layout says.

use super::*;
use crate::config::RegistrySet;

fn init(args: &InitArgs) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = run(args, &mut stdout, &mut stderr).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(stdout), text(stderr))
}

fn both(layout: Option<&str>) -> InitArgs {
    InitArgs {
        replica: Some("https://replicas.example.com".to_owned()),
        core: Some("https://core.example.com:8443".to_owned()),
        layout: layout.map(str::to_owned),
        ..InitArgs::default()
    }
}

fn config_of(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

#[test]
fn every_layout_passes_check_and_names_its_projects() {
    let rows = [
        (None, "docker.io", "proxy-docker-io", 7),
        (Some("glueops"), "public.ecr.aws", "proxy-public-ecr-aws", 7),
        (Some("map"), "registry.k8s.io", "k8s-registry", 4),
        (Some("dotted"), "docker.io", "proxy.docker.io", 7),
    ];
    for (layout, registry, project, count) in rows {
        let (status, stdout, stderr) = init(&both(layout));
        assert_eq!((status, stderr.as_str()), (0, ""), "{layout:?}");
        let config = config_of(&stdout);
        assert_eq!(config.tiers.len(), 2);
        for tier in &config.tiers {
            let registry = registry.parse().unwrap();
            assert_eq!(tier.projects.get(&registry).unwrap(), project, "{layout:?}");
            let RegistrySet::Some(served) = &tier.registries else {
                panic!("a Harbor serves what it has projects for");
            };
            assert_eq!(served.len(), count, "{layout:?}");
        }
        assert!(config.node.manage);
    }
}

#[test]
fn a_replica_in_front_of_core_is_a_cascade_and_only_core_is_for_the_file() {
    let (_, stdout, _) = init(&both(None));
    let config = config_of(&stdout);
    let flags: Vec<_> = config
        .tiers
        .iter()
        .map(|tier| (tier.name.as_ref(), tier.cascade, tier.in_file))
        .collect();
    assert_eq!(flags, [("replica", true, false), ("core", false, true)]);
    assert!(stdout.contains("pull secret"), "what in_file means is said");
}

#[test]
fn one_harbor_alone_is_no_cascade() {
    for one in ["replica", "core"] {
        let mut args = both(None);
        if one == "replica" {
            args.core = None;
        } else {
            args.replica = None;
        }
        let (status, stdout, _) = init(&args);
        assert_eq!(status, 0);
        let config = config_of(&stdout);
        let [tier] = config.tiers.as_slice() else {
            panic!("one tier");
        };
        assert_eq!(
            (tier.name.as_ref(), tier.cascade, tier.in_file),
            (one, false, true)
        );
    }
}

#[test]
fn a_certificate_authority_is_named_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    let certificate =
        rcgen::generate_simple_self_signed(vec!["ca.example.com".to_owned()]).unwrap();
    std::fs::write(&file, certificate.cert.pem()).unwrap();
    let mut args = both(Some("map"));
    args.ca = Some(file.clone());
    let (status, stdout, stderr) = init(&args);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let config = config_of(&stdout);
    assert!(config.tiers.iter().all(|tier| tier.tls.ca.is_some()));
    assert_eq!(config.watched_files, [file]);

    args.ca = Some(directory.path().join("elsewhere.crt"));
    let (status, stdout, stderr) = init(&args);
    assert_eq!(status, 0);
    assert!(
        stderr.starts_with("warning: ") && stderr.contains("elsewhere.crt"),
        "{stderr}"
    );
    assert!(stdout.contains("elsewhere.crt"));
}

#[test]
fn a_file_is_written_as_a_whole_or_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let mut args = both(None);
    let (_, text, _) = init(&args);
    args.output = Some(file.clone());
    let read = || std::fs::read_to_string(&file).unwrap();
    let (status, stdout, stderr) = init(&args);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert_eq!(stdout, format!("wrote {}\n", file.display()));
    assert_eq!(read(), text);
    // What configures something stays, whatever is asked for.
    let own = "# ours\n[server]\nadmin = \"127.0.0.1:1\"\n";
    std::fs::write(&file, own).unwrap();
    let (status, stdout, stderr) = init(&args);
    assert_eq!((status, stdout.as_str(), read().as_str()), (2, "", own));
    assert!(
        stderr.contains("mv ") && stderr.contains("config.toml.old"),
        "{stderr}"
    );
    args.layout = Some("none".to_owned());
    assert_eq!(init(&args).0, 64);
    assert_eq!(read(), own);
    // The package's file says nothing; its mode stays.
    args.layout = None;
    std::fs::write(&file, "# harbor-pilot\n\n  # [server]\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(init(&args).0, 0);
    assert_eq!(read(), text);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    args.output = Some(directory.path().join("no/such/directory"));
    assert_eq!(init(&args).0, 2);
}

#[test]
fn wrong_arguments_are_64() {
    let mut args = both(Some("flat"));
    let (status, stdout, stderr) = init(&args);
    assert_eq!((status, stdout.as_str()), (64, ""));
    assert!(stderr.contains("glueops, map, dotted"), "{stderr}");

    args = both(None);
    args.core = Some("core.example.com".to_owned());
    let (status, stdout, stderr) = init(&args);
    assert_eq!((status, stdout.as_str()), (64, ""));
    assert!(
        stderr.contains("write \"https://core.example.com\""),
        "{stderr}"
    );

    let (status, _, stderr) = init(&InitArgs::default());
    assert_eq!(status, 64);
    assert!(stderr.contains("--replica"), "{stderr}");

    args = both(None);
    args.replica = Some("https://x.example\"\nname = \"evil".to_owned());
    assert_eq!(init(&args).0, 64);
}
