//! Challenges as registries send them, and as nobody should.

use super::*;
use proptest::prelude::*;

fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Challenge::Bearer(BearerChallenge {
        realm: some(realm),
        service: some(service),
        scope: some(scope),
    })
}

fn basic(realm: &str) -> Challenge {
    Challenge::Basic {
        realm: (!realm.is_empty()).then(|| realm.to_owned()),
    }
}

#[test]
fn challenges_of_real_registries() {
    let harbor = r#"Bearer realm="https://h.example/service/token",service="harbor-registry",scope="repository:p/library/nginx:pull""#;
    let cases: &[(&str, Vec<Challenge>)] = &[
        (
            harbor,
            vec![bearer(
                "https://h.example/service/token",
                "harbor-registry",
                "repository:p/library/nginx:pull",
            )],
        ),
        (r#"Basic realm="harbor""#, vec![basic("harbor")]),
        (
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull",error="insufficient_scope""#,
            vec![bearer(
                "https://auth.docker.io/token",
                "registry.docker.io",
                "repository:library/x:pull",
            )],
        ),
        ("", vec![]),
    ];
    for (header, expected) in cases {
        assert_eq!(parse_challenges(header), *expected, "{header}");
    }
}

#[test]
fn the_grammar() {
    let b = || bearer("r", "", "");
    let cases: &[(&str, Vec<Challenge>)] = &[
        // Several challenges in one header, with empty list elements.
        (
            r#"Bearer realm=r, service="s" , Basic realm="x""#,
            vec![bearer("r", "s", ""), basic("x")],
        ),
        (r#",, Bearer realm="r" ,, "#, vec![b()]),
        ("Basic, Bearer realm=r", vec![basic(""), b()]),
        ("Basic , Bearer realm=r", vec![basic(""), b()]),
        // Schemes and names in any case, blanks around the equals sign.
        ("bEaReR REALM = \t\"r\"", vec![b()]),
        // Escapes, and a comma and an equals sign inside quotes.
        (
            r#"Bearer realm="a\"b\\c,d=e""#,
            vec![bearer(r#"a"b\c,d=e"#, "", "")],
        ),
        // Unknown schemes with parameters or token68.
        (r#"Digest realm="d", nonce="n", Bearer realm=r"#, vec![b()]),
        ("Negotiate YII+/a==, Bearer realm=r", vec![b()]),
        ("Negotiate abc=, Bearer realm=r", vec![b()]),
        ("Negotiate, Bearer realm=r", vec![b()]),
        // An empty value is none.
        (r#"Bearer realm="""#, vec![bearer("", "", "")]),
        ("Bearer", vec![bearer("", "", "")]),
        // Broken: what stands whole before counts, the broken one not.
        (r#"Basic realm="x", Bearer realm="r"#, vec![basic("x")]),
        (
            r#"Basic realm="x", Bearer realm="r" junk"#,
            vec![basic("x")],
        ),
        ("Bearer realm=", vec![]),
        ("Bearer realm=r service=s", vec![]),
        ("Bearer\trealm=r", vec![]),
        (r#""Bearer" realm=r"#, vec![]),
        ("Bearer =r", vec![]),
        ("Bearer realm=\"a\u{0}b\"", vec![]),
        ("Bearer realm=\"a\\\u{7f}\"", vec![]),
        ("Bearer realm=\"a\\", vec![]),
        // Named twice.
        (
            "Bearer realm=r, Realm=evil, Basic realm=x",
            vec![basic("x")],
        ),
    ];
    for (header, expected) in cases {
        assert_eq!(parse_challenges(header), *expected, "{header}");
    }
}

#[test]
fn limits() {
    let long = format!("Bearer realm=\"{}\"", "x".repeat(MAX_HEADER));
    assert_eq!(parse_challenges(&long), []);

    let many = "Basic,".repeat(100);
    assert_eq!(parse_challenges(&many).len(), MAX_CHALLENGES);

    let parameters: Vec<String> = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=v")).collect();
    let header = format!("Bearer {}, Basic realm=x", parameters.join(","));
    assert_eq!(parse_challenges(&header), [basic("x")]);
}

proptest! {
    #[test]
    fn never_panics(header in "\\PC*") {
        let _ = parse_challenges(&header);
    }

    #[test]
    fn never_panics_near_the_grammar(header in "((Bearer|Basic|x)? ?(realm|a)?=?[\"\\\\,= a\u{e9}]{0,6},?){0,6}") {
        let _ = parse_challenges(&header);
    }

    /// Whatever is quoted properly comes out as it was.
    #[test]
    fn quoting_round_trips(realm in "[ -~\u{e9}]{1,64}") {
        let quoted: String = realm.chars().flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c => vec![c],
        }).collect();
        let header = format!("Basic realm=\"{quoted}\"");
        prop_assert_eq!(parse_challenges(&header), vec![basic(&realm)]);
    }
}
