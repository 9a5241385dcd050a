//! The pure decisions of an exchange, as tables. The exchange itself is tried in `tests/exchange.rs`.

use super::unauthorized::{Next, Presented, after_unauthorized};
use crate::auth::testing::source;
use crate::auth::{Hop, Position, follow, instead_of_http, location, parse_challenges};
use crate::http1::Fields;
use crate::printable::chain;
use crate::topology::SourceKind;
use http::StatusCode;

#[test]
fn what_a_401_leads_to() {
    use Presented::*;
    let both = "Basic realm=x, Bearer realm=\"https://a/t\"";
    let cases = [
        (Nothing, "Bearer realm=\"https://a/t\"", false, "token"),
        (Nothing, "Bearer realm=\"https://a/t\"", true, "token"),
        (Nothing, both, true, "token"),
        (Nothing, "Basic realm=\"harbor\"", true, "password"),
        (
            Nothing,
            "Basic realm=\"harbor\"",
            false,
            "it asks for a user name",
        ),
        (Nothing, "", true, "401 without a challenge"),
        (Nothing, "Negotiate", true, "401 without a challenge"),
        (Cached, both, true, "token"),
        (Cached, "Basic realm=\"harbor\"", true, "bare"),
        (Cached, "", true, "bare"),
        (Fresh, both, true, "401 in spite of a fresh token"),
        (Fresh, "", false, "401 in spite of a fresh token"),
        (Password, both, true, "it refuses the configured credential"),
        (
            Password,
            "Basic realm=\"harbor\"",
            true,
            "it refuses the configured credential",
        ),
    ];
    for (presented, header, has_credential, expected) in cases {
        let challenges = parse_challenges(header);
        let found = match after_unauthorized(presented, &challenges, has_credential) {
            Next::Token(challenge) => {
                assert_eq!(challenge.realm.as_deref(), Some("https://a/t"));
                "token"
            }
            Next::Bare => "bare",
            Next::Password => "password",
            Next::Denied(why) => why,
        };
        assert!(
            found.starts_with(expected),
            "{presented:?} {header}: {found}"
        );
    }
}

fn named(url: &str) -> Position<'static> {
    let url = crate::auth::NamedUrl::parse(url).unwrap();
    Position {
        hop: Hop::Named(url.origin),
        target: url.target.into(),
    }
}

#[test]
fn where_redirects_lead() {
    let home = "https://reg.example:8443";
    let at_home = Position::home(&source(SourceKind::Harbor, home, None), "/v2/x");
    let same = |target: &'static str| Position {
        hop: Hop::Endpoint,
        target: target.into(),
    };
    let cdn = || named("https://cdn.example/a?sig=s");
    let cases = [
        (
            home,
            at_home.clone(),
            "/v2/library/x?y=1",
            Ok(same("/v2/library/x?y=1")),
        ),
        (
            home,
            at_home.clone(),
            "https://reg.example:8443/v2/y#z",
            Ok(same("/v2/y")),
        ),
        (
            home,
            at_home.clone(),
            "https://cdn.example/a?sig=s",
            Ok(cdn()),
        ),
        (
            home,
            at_home.clone(),
            "//cdn.example/a",
            Ok(named("https://cdn.example/a")),
        ),
        // Another port is another origin.
        (
            home,
            at_home.clone(),
            "https://reg.example/v2/x",
            Ok(named("https://reg.example/v2/x")),
        ),
        // Relative to where it came from.
        (home, cdn(), "/b", Ok(named("https://cdn.example/b"))),
        // Back from abroad: still a stranger, without a credential.
        (
            home,
            cdn(),
            "https://reg.example:8443/v2/x",
            Ok(named("https://reg.example:8443/v2/x")),
        ),
        // The same host by http, as a server behind a TLS proxy says it: by https, where it was asked.
        (
            home,
            at_home.clone(),
            "http://reg.example:8443/v2/x",
            Ok(same("/v2/x")),
        ),
        (
            home,
            at_home.clone(),
            "http://reg.example/v2/x",
            Ok(same("/v2/x")),
        ),
        (
            home,
            cdn(),
            "http://cdn.example:8080/b",
            Ok(named("https://cdn.example/b")),
        ),
        (
            home,
            cdn(),
            "http://reg.example/b",
            Err("would go from https to http"),
        ),
        (
            home,
            at_home.clone(),
            "http://cdn.example/x?sig=s",
            Err("would go from https to http"),
        ),
        (
            "http://reg.example",
            cdn(),
            "http://other.example/x",
            Err("would go from https to http"),
        ),
        (
            "http://reg.example",
            at_home.clone(),
            "http://cdn.example/x",
            Ok(named("http://cdn.example/x")),
        ),
        (
            home,
            at_home.clone(),
            "https://u:p@cdn.example/x",
            Err("user name or password"),
        ),
        (
            "http://reg.example",
            at_home.clone(),
            "https://reg.example/v2/x",
            Ok(named("https://reg.example/v2/x")),
        ),
        // Relative to what was asked.
        (home, at_home.clone(), "y?z=1", Ok(same("/v2/y?z=1"))),
        (home, at_home.clone(), "../w", Ok(same("/w"))),
        (home, at_home.clone(), "?n=1", Ok(same("/v2/x?n=1"))),
        (home, at_home.clone(), "", Ok(same("/v2/x"))),
        (home, cdn(), "c/d", Ok(named("https://cdn.example/c/d"))),
        (
            home,
            at_home.clone(),
            "https://cdn.example/\u{e9} a?f=\"b c\"",
            Ok(named("https://cdn.example/%C3%A9%20a?f=%22b%20c%22")),
        ),
        (home, at_home.clone(), "file:///etc/passwd", Err("scheme")),
        (
            home,
            at_home.clone(),
            "https://cdn.example/\u{1}",
            Err("character"),
        ),
        (
            home,
            at_home.clone(),
            "https://\u{e9}.example/",
            Err("host"),
        ),
    ];
    for (url, at, location, expected) in cases {
        let source = source(SourceKind::Harbor, url, None);
        match (follow(&source, &at, location.as_bytes(), &mut 0), expected) {
            (Err(why), Err(expected)) => {
                let why = chain(&why);
                assert!(why.contains(expected), "{location}: {why}");
                assert!(!why.contains("sig="), "{why}");
            }
            (found, expected) => assert_eq!(found.ok(), expected.ok(), "{location}"),
        }
    }
    let source = source(SourceKind::Harbor, home, None);
    // Byte by byte, whatever the encoding was.
    let found = follow(&source, &at_home, b"https://cdn.example/\xff", &mut 0);
    assert_eq!(found, Ok(named("https://cdn.example/%FF")));
    assert!(follow(&source, &at_home, b"/x", &mut 9).is_ok());
    assert!(follow(&source, &at_home, b"/x", &mut 10).is_err());
}

#[test]
fn who_is_written_by_http_and_leads_to_https_is_told_what_to_write() {
    let to = |url: &str| Hop::Named(crate::auth::NamedUrl::parse(url).unwrap().origin);
    let advice = |url: &str, hop: &Hop| instead_of_http(&source(SourceKind::Path, url, None), hop);
    let due = "http://reg.example leads to https: write \"https://reg.example\" in its place";
    let found = advice("http://reg.example", &to("https://reg.example/v2/"));
    assert_eq!(found.as_deref(), Some(due));
    let found = advice("http://reg.example:8080", &to("https://reg.example:8443/"));
    assert!(found.unwrap().contains("\"https://reg.example:8443\""));
    for (url, hop) in [
        ("https://reg.example", to("https://reg.example:444/")),
        ("http://reg.example", to("http://reg.example:81/")),
        ("http://reg.example", to("https://cdn.example/")),
        ("http://reg.example", Hop::Endpoint),
    ] {
        assert_eq!(advice(url, &hop), None, "{url} {hop:?}");
    }
}

#[test]
fn what_is_a_redirect() {
    let is = |status: u16, fields: &Fields| {
        location(StatusCode::from_u16(status).unwrap(), fields).is_some()
    };
    for status in [200, 300, 301, 302, 303, 304, 307, 308] {
        assert!(!is(status, &Fields::default()), "{status} without Location");
    }
    let fields = Fields::from_iter([("location", "/x")]);
    for (status, expected) in [
        (200, false),
        (201, false),
        (300, false),
        (301, true),
        (302, true),
        (303, true),
        (304, false),
        (305, false),
        (307, true),
        (308, true),
        (401, false),
    ] {
        assert_eq!(is(status, &fields), expected, "{status}");
    }
}

#[test]
fn the_sources_prefix_stands_before_the_path() {
    let mut source = (*source(SourceKind::Path, "https://reg.example", None)).clone();
    source.url.prefix = "/nexus".into();
    assert_eq!(Position::home(&source, "/v2/x").target, "/nexus/v2/x");
    assert!(!Position::home(&source, "/v2/x?ns=y").is_presigned());
    assert!(named("https://cdn.example/x?sig=s").is_presigned());
}
