//! URLs that sources name.

use super::*;
use InvalidUrl::*;

fn base() -> BaseUrl {
    BaseUrl {
        https: true,
        host: "reg.example".into(),
        port: 8443,
        prefix: "/prefix".into(),
    }
}

/// The origin and target as one text, query included.
fn whole(url: &NamedUrl) -> String {
    format!("{}{}", url.origin, url.target)
}

#[test]
fn absolute_urls() {
    let cases: &[(&str, Result<&str, InvalidUrl>)] = &[
        ("https://a.example/t?x=1", Ok("https://a.example/t?x=1")),
        ("HTTPS://A.Example:443/T", Ok("https://a.example/T")),
        ("http://a.example:8080", Ok("http://a.example:8080/")),
        ("https://a.example?x=1", Ok("https://a.example/?x=1")),
        ("https://a.example./t#frag", Ok("https://a.example/t")),
        (
            "https://[2001:DB8::1]:5000/t",
            Ok("https://[2001:db8::1]:5000/t"),
        ),
        ("https://192.0.2.1/t", Ok("https://192.0.2.1/t")),
        ("https://a_b.example/", Ok("https://a_b.example/")),
        ("https://user@a.example/", Err(Userinfo)),
        ("https://user:pw@a.example/", Err(Userinfo)),
        ("https://a.example@evil.example/", Err(Userinfo)),
        ("ftp://a.example/", Err(Scheme)),
        ("/service/token", Err(Scheme)),
        ("", Err(Scheme)),
        ("https:///t", Err(Authority)),
        ("https://a..b/t", Err(Authority)),
        ("https://-a.example/t", Err(Authority)),
        ("https://a%2eb/t", Err(Authority)),
        ("https://a.example:0/", Err(Authority)),
        ("https://a.example:/", Err(Authority)),
        ("https://a.example:+80/", Err(Authority)),
        ("https://a.example:65536/", Err(Authority)),
        ("https://a:1:2/", Err(Authority)),
        ("https://[::1/", Err(Authority)),
        ("https://[::1]x/", Err(Authority)),
        ("https://[fe80::1%25eth0]/", Err(Authority)),
        // IPv4 addresses in disguise.
        ("https://127.1/", Err(Authority)),
        ("https://2130706433/", Err(Authority)),
        ("https://0x7f.0.0.1/", Err(Authority)),
        ("https://0x7f000001/", Err(Authority)),
        ("https://0177.0.0.1/", Err(Authority)),
        ("https://a.example/t x", Ok("https://a.example/t%20x")),
        (
            " https://a.example/t?service=My Registry ",
            Ok("https://a.example/t?service=My%20Registry"),
        ),
        (
            "https://a.example/\u{e4}?f=\"<|>{}\"\\^`",
            Ok("https://a.example/%C3%A4?f=%22%3C|%3E{}%22%5C%5E%60"),
        ),
        ("https://a.example/%zz%2F", Ok("https://a.example/%zz%2F")),
        ("https://a.example/\r\nX: y", Err(Character)),
        ("https://a.example\\@evil.example/", Err(Userinfo)),
        ("https://ä.example/", Err(Authority)),
        ("https://a .example/", Err(Authority)),
        ("https://a.example\\.evil.example/", Err(Authority)),
    ];
    for (text, expected) in cases {
        let found = NamedUrl::parse(text).map(|url| whole(&url));
        assert_eq!(found.as_deref().map_err(|e| *e), *expected, "{text}");
    }
    let long = format!("https://a.example/{}", "x".repeat(MAX_URL));
    assert_eq!(NamedUrl::parse(&long), Err(TooLong));
}

#[test]
fn locations() {
    let cases: &[(&str, Result<&str, InvalidUrl>)] = &[
        (
            "/v2/p/library/x?ns=y#f",
            Ok("https://reg.example:8443/v2/p/library/x?ns=y"),
        ),
        ("//cdn.example/x", Ok("https://cdn.example/x")),
        ("http://cdn.example/x", Ok("http://cdn.example/x")),
        (
            "https://cdn.example:8443/x",
            Ok("https://cdn.example:8443/x"),
        ),
        // Relative to what was asked (RFC 3986, 5.4).
        ("x/y", Ok("https://reg.example:8443/v2/p/blobs/x/y")),
        ("./x/.", Ok("https://reg.example:8443/v2/p/blobs/x/")),
        ("../../q/x", Ok("https://reg.example:8443/v2/q/x")),
        ("../../../../x", Ok("https://reg.example:8443/x")),
        ("..", Ok("https://reg.example:8443/v2/p/")),
        ("/a/../b/./c", Ok("https://reg.example:8443/b/c")),
        ("/a/%2e%2e/b", Ok("https://reg.example:8443/a/%2e%2e/b")),
        ("/a//b/", Ok("https://reg.example:8443/a//b/")),
        ("?x=1", Ok("https://reg.example:8443/v2/p/blobs/d?x=1")),
        ("", Ok("https://reg.example:8443/v2/p/blobs/d?ns=a")),
        ("#f", Ok("https://reg.example:8443/v2/p/blobs/d?ns=a")),
        (
            "x/y?to=https://z/../w",
            Ok("https://reg.example:8443/v2/p/blobs/x/y?to=https://z/../w"),
        ),
        (
            "x y?a=b c",
            Ok("https://reg.example:8443/v2/p/blobs/x%20y?a=b%20c"),
        ),
        // What a browser takes for a host is a path here.
        (
            "\\\\evil.example/x",
            Ok("https://reg.example:8443/v2/p/blobs/%5C%5Cevil.example/x"),
        ),
        ("x\r\nHost: y", Err(Character)),
        ("x\0", Err(Character)),
        ("data:text/plain,x", Err(Scheme)),
        ("//user@cdn.example/x", Err(Userinfo)),
    ];
    for (location, expected) in cases {
        let found = NamedUrl::resolve(&base(), "/v2/p/blobs/d?ns=a", location.as_bytes());
        let found = found.map(|url| whole(&url));
        assert_eq!(found.as_deref().map_err(|e| *e), *expected, "{location}");
    }
}

#[test]
fn origins_and_what_is_shown() {
    let same = NamedUrl::resolve(&base(), "/", b"https://REG.example:8443/x?sig=secret").unwrap();
    assert!(same.has_origin_of(&base()));
    assert_eq!(format!("{same} {same:?}").matches("secret").count(), 0);
    for other in [
        "https://reg.example/x",
        "http://reg.example:8443/x",
        "https://r.example:8443/",
    ] {
        assert!(
            !NamedUrl::parse(other).unwrap().has_origin_of(&base()),
            "{other}"
        );
    }
}
