//! What tiers and registries come to: projects, names, order, probes.

use super::*;

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
