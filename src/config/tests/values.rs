//! How single values are read and shown.

use super::super::document::Value;
use super::super::section::Setting;
use super::super::values::{Nameserver, Size};
use super::*;
use std::time::Duration;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn durations_have_units() {
    let good = [
        ("250ms", 250, "250ms"),
        ("60s", 60_000, "1m"),
        ("75s", 75_000, "75s"),
        ("2500ms", 2500, "2500ms"),
        ("5m", 300_000, "5m"),
        ("5min", 300_000, "5m"),
        ("1m30s", 90_000, "90s"),
        ("12h", 43_200_000, "12h"),
        ("7d", 604_800_000, "7d"),
        ("0", 0, "0ms"),
        ("0s", 0, "0ms"),
    ];
    for (written, millis, shown) in good {
        let duration = Duration::read(&text(written)).unwrap();
        assert_eq!(duration, Duration::from_millis(millis), "{written}");
        assert_eq!(duration.show(), toml::Value::from(shown));
        assert_eq!(Duration::read(&text(shown)).unwrap(), duration);
    }
    let bad = [
        "",
        "s",
        "5",
        "-5s",
        "5 s",
        "5sec",
        "1.5s",
        "5s5",
        "99999999999999999999s",
        "400d",
        "5µs",
        "5S",
    ];
    for written in bad {
        assert!(Duration::read(&text(written)).is_err(), "{written}");
    }
    let wrong = Duration::read(&Value::Integer(60)).unwrap_err();
    assert!(wrong.instead.contains("\"60s\""), "{wrong:?}");
}

#[test]
fn sizes_are_binary() {
    let good = [
        ("64MiB", 64 << 20),
        ("4 KiB", 4096),
        ("1GiB", 1 << 30),
        ("512", 512),
        ("7B", 7),
    ];
    for (written, bytes) in good {
        let size = Size::read(&text(written)).unwrap();
        assert_eq!(size.0, bytes, "{written}");
        let toml::Value::String(shown) = size.show() else {
            panic!("a text")
        };
        assert_eq!(Size::read(&text(&shown)).unwrap(), size);
    }
    assert_eq!(Size::read(&Value::Integer(4096)).unwrap(), Size(4096));
    for written in [
        "",
        "MiB",
        "64MB",
        "64mib",
        "-1MiB",
        "1.5MiB",
        "99999999999GiB",
    ] {
        assert!(Size::read(&text(written)).is_err(), "{written}");
    }
    assert!(Size::read(&Value::Integer(-1)).is_err());
}

#[test]
fn urls_are_scheme_host_port_and_prefix() {
    let good = [
        ("https://a.example.com", true, "a.example.com", 443, ""),
        ("HTTPS://A.Example.com/", true, "a.example.com", 443, ""),
        ("http://a.example.com", false, "a.example.com", 80, ""),
        (
            "https://a.example.com.:8443/x/y/",
            true,
            "a.example.com",
            8443,
            "/x/y",
        ),
        ("http://10.0.0.1:5000", false, "10.0.0.1", 5000, ""),
        (
            "http://[2001:DB8::1]:5000/p",
            false,
            "2001:db8::1",
            5000,
            "/p",
        ),
        ("https://[::1]", true, "::1", 443, ""),
        ("http://registry_1:5000", false, "registry_1", 5000, ""),
    ];
    for (written, https, host, port, prefix) in good {
        let url = BaseUrl::parse(written).unwrap_or_else(|wrong| panic!("{written}: {wrong:?}"));
        let found = (url.https, url.host.as_str(), url.port, url.prefix.as_str());
        assert_eq!(found, (https, host, port, prefix), "{written}");
        assert_eq!(BaseUrl::parse(&url.to_string()).unwrap(), url);
    }
    let bad = [
        "",
        "a.example.com",
        "//a.example.com",
        "ftp://a.example.com",
        "https://",
        "https:///x",
        "https://a.example.com:0",
        "https://a.example.com:",
        "https://a.example.com:+5",
        "https://a.example.com:99999",
        "https://user:pw@a.example.com",
        "https://a.example.com?x=1",
        "https://a.example.com/#x",
        "https://a.example.com/v2",
        "https://a.example.com/x/v2/",
        "https://a.example.com/../x",
        "https://a.example.com/x//y",
        "https://a.example.com/%2e",
        "https://a.example.com/x y",
        "https://a b.example.com",
        "https://a..example.com",
        "https://-a.example.com",
        "https://2001:db8::1",
        "https://[2001:db8::1",
        "https://[nonsense]",
        "https://2130706433",
        "https://0x7f.1",
        "https://127.1",
        "https://999.1.1.1",
        "https://a.example.com\r\nHost: b",
        "https://ä.example.com",
    ];
    for written in bad {
        assert!(BaseUrl::parse(written).is_err(), "{written:?}");
    }
}

#[test]
fn a_url_with_a_password_is_refused_without_showing_it() {
    let wrong = BaseUrl::parse("https://user:pa55word@a.example.com/?x").unwrap_err();
    assert!(!format!("{wrong:?}").contains("pa55word"), "{wrong:?}");
    let wrong = BaseUrl::parse("https://user:pa55word@a.example.com").unwrap_err();
    assert!(!format!("{wrong:?}").contains("pa55word"), "{wrong:?}");
    assert!(wrong.instead.contains("password_file"));
    for shape in [
        "user:pa55word@a.example.com",
        "ftp://user:pa55word@a.example.com",
        "https://user:pa55word/@a.example.com",
        "https://user:pa55word/x?@a.example.com",
    ] {
        let wrong = BaseUrl::parse(shape).unwrap_err();
        assert!(
            !format!("{wrong:?}").contains("pa55word"),
            "{shape}: {wrong:?}"
        );
    }
}

#[test]
fn nameservers_may_leave_the_port_out() {
    let rows = [
        ("10.0.0.53", "10.0.0.53:53"),
        ("10.0.0.53:5353", "10.0.0.53:5353"),
        ("2001:db8::53", "[2001:db8::53]:53"),
        ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
    ];
    for (written, meant) in rows {
        let server = Nameserver::read(&text(written)).unwrap();
        assert_eq!(server.0, meant.parse().unwrap(), "{written}");
    }
    assert!(Nameserver::read(&text("dns.example")).is_err());
}
