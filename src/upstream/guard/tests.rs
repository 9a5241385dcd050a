//! Every kind of address from every kind of source.

use super::{Class, Forbidden, Rule, check_target, classify, literal};
use crate::config::BaseUrl;
use crate::topology::Source;
use crate::upstream::tests::support::{tier, upstream};

fn target(url: &str) -> BaseUrl {
    crate::upstream::tests::support::url(url)
}

#[test]
fn addresses_have_a_class() {
    use Class::{Loopback, Never, Private, Public};
    let rows = [
        ("8.8.8.8", Public),
        ("203.0.113.7", Public),
        ("198.18.0.1", Public),
        ("198.19.255.255", Public),
        ("198.51.100.1", Public),
        ("192.0.2.1", Public),
        ("2606:4700::1", Public),
        ("2001:db8::1", Public),
        ("172.15.255.255", Public),
        ("172.32.0.0", Public),
        ("100.63.255.255", Public),
        ("100.128.0.0", Public),
        ("169.253.1.1", Public),
        ("64:ff9b::8.8.8.8", Public),
        ("::ffff:8.8.8.8", Public),
        ("2002:808:808::1", Public),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("::127.0.0.1", Loopback),
        ("::ffff:0:127.0.0.1", Loopback),
        ("64:ff9b::7f00:1", Loopback),
        ("2002:7f00:1::", Loopback),
        ("10.0.0.1", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.1.1", Private),
        ("100.64.0.1", Private),
        ("100.127.255.255", Private),
        ("240.0.0.1", Private),
        ("255.255.255.254", Private),
        ("fc00::1", Private),
        ("fd12:3456::1", Private),
        ("fec0::1", Private),
        ("::ffff:10.0.0.1", Private),
        ("64:ff9b::a00:1", Private),
        ("64:ff9b:1::8.8.8.8", Private),
        ("0.0.0.0", Never),
        ("0.1.2.3", Never),
        ("169.254.169.254", Never),
        ("169.254.0.1", Never),
        ("224.0.0.1", Never),
        ("239.255.255.255", Never),
        ("255.255.255.255", Never),
        ("100.100.100.200", Never),
        ("168.63.129.16", Never),
        ("192.0.0.192", Never),
        ("::", Never),
        ("fe80::1", Never),
        ("febf::1", Never),
        ("ff02::1", Never),
        ("fd00:ec2::254", Never),
        ("fd00:ec2::23", Never),
        ("fd20:ce::254", Never),
        ("::ffff:169.254.169.254", Never),
        ("::169.254.169.254", Never),
        ("::ffff:0:169.254.169.254", Never),
        ("64:ff9b::a9fe:a9fe", Never),
        ("64:ff9b:1::a9fe:a9fe", Never),
        // The other places of RFC 6052, 2.2: behind /48, /56 and /64.
        ("64:ff9b:1:a9fe:a9:fe00::", Never),
        ("64:ff9b:1:a9:fe:a9fe::", Never),
        ("64:ff9b:1:0:a9:fea9:fe00:0", Never),
        ("64:ff9b:1:6464:64:c800::", Never),
        ("64:ff9b:1:808:8:800::", Private),
        ("64:ff9b:1:7f00:0:100::", Private),
        ("2002:a9fe:a9fe::", Never),
        ("::ffff:0.0.0.0", Never),
        ("::ffff:255.255.255.255", Never),
    ];
    for (address, class) in rows {
        let parsed = address.parse().unwrap();
        assert_eq!(classify(parsed), class, "{address}");
    }
}

/// By name or by address, on-premise and on this very node; each address by itself.
#[test]
fn what_a_person_configured_may_be_anywhere_but_where_nobodys_registry_is() {
    for address in [
        "203.0.113.7",
        "198.18.0.9",
        "10.1.2.3",
        "100.64.0.1",
        "192.168.7.7",
        "fd00::7",
        "::ffff:192.168.0.1",
        "127.0.0.1",
        "127.0.1.1",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
    ] {
        let found = Rule::configured().check(address.parse().unwrap());
        assert_eq!(found, Ok(()), "{address}");
    }
    for address in [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::",
    ] {
        let found = Rule::configured().check(address.parse().unwrap());
        assert_eq!(found, Err(Forbidden::Never), "{address}");
    }
}

#[test]
fn named_addresses_depend_on_who_names_them() {
    let ok: Result<(), Forbidden> = Ok(());
    let (loopback, private, never) = (
        Err(Forbidden::Loopback),
        Err(Forbidden::Private),
        Err(Forbidden::Never),
    );
    // Who names, at which address it stands, what it names.
    let hub = || upstream("https://ghcr.io");
    let corp = || upstream("http://reg.corp.test");
    let replica = || tier("https://replica.example.com");
    let rows: [(Source, &str, &str, Result<(), Forbidden>); 24] = [
        (hub(), "203.0.113.1", "203.0.113.7", ok),
        (hub(), "203.0.113.1", "10.0.0.1", private),
        (hub(), "203.0.113.1", "::ffff:10.0.0.1", private),
        (hub(), "203.0.113.1", "127.0.0.1", loopback),
        (hub(), "203.0.113.1", "169.254.169.254", never),
        // A name that leads to a private address leads to no other one.
        (corp(), "10.0.0.1", "10.0.0.1", ok),
        (corp(), "10.0.0.1", "::ffff:10.0.0.1", ok),
        (corp(), "10.0.0.1", "10.0.0.2", private),
        (corp(), "10.0.0.1", "127.0.0.1", loopback),
        (corp(), "10.0.0.1", "203.0.113.7", ok),
        (corp(), "127.0.1.1", "127.0.0.5", ok),
        (corp(), "127.0.1.1", "::1", ok),
        (corp(), "127.0.1.1", "10.0.0.1", private),
        (corp(), "127.0.1.1", "169.254.169.254", never),
        (corp(), "::ffff:127.0.1.1", "127.0.0.1", ok),
        // The public address of a name does not lead where its private one may.
        (corp(), "203.0.113.1", "10.0.0.1", private),
        (corp(), "203.0.113.1", "127.0.0.1", loopback),
        (replica(), "203.0.113.1", "10.0.0.1", ok),
        (replica(), "203.0.113.1", "127.0.0.1", loopback),
        (replica(), "127.0.1.1", "127.0.0.1", ok),
        (replica(), "10.0.0.1", "169.254.169.254", never),
        (tier("http://localhost:8080"), "127.0.0.1", "127.0.0.1", ok),
        (tier("http://localhost:8080"), "::1", "127.0.0.1", ok),
        (tier("http://127.0.0.1:8080"), "127.0.0.1", "fe80::1", never),
    ];
    for (source, at, address, expected) in rows {
        let rule = Rule::named(&source, Some(at.parse().unwrap()));
        let found = rule.check(address.parse().unwrap());
        assert_eq!(found, expected, "{} at {at} names {address}", source.url);
    }
}

#[test]
fn targets_are_checked_before_anything_is_known_of_them() {
    let ok: Result<(), Forbidden> = Ok(());
    let (loopback, private, never, down) = (
        Err(Forbidden::Loopback),
        Err(Forbidden::Private),
        Err(Forbidden::Never),
        Err(Forbidden::Downgrade),
    );
    let rows: [(Source, &str, Result<(), Forbidden>); 14] = [
        (upstream("https://ghcr.io"), "https://cdn.example.com", ok),
        (upstream("https://ghcr.io"), "http://cdn.example.com", down),
        (upstream("https://ghcr.io"), "http://ghcr.io", down),
        (upstream("http://203.0.113.7"), "http://cdn.example.com", ok),
        (
            upstream("http://203.0.113.7"),
            "https://cdn.example.com",
            ok,
        ),
        (
            upstream("https://ghcr.io"),
            "https://169.254.169.254",
            never,
        ),
        (
            upstream("https://ghcr.io"),
            "https://[fd00:ec2::254]",
            never,
        ),
        (
            upstream("https://ghcr.io"),
            "https://127.0.0.1:291",
            loopback,
        ),
        (upstream("https://ghcr.io"), "https://localhost", loopback),
        (
            upstream("https://ghcr.io"),
            "https://a.LOCALHOST.",
            loopback,
        ),
        (upstream("https://ghcr.io"), "https://192.168.0.1", private),
        (
            tier("https://replica.example.com"),
            "https://192.168.0.1",
            ok,
        ),
        (tier("https://127.0.0.1"), "https://localhost:444", ok),
        (tier("https://127.0.0.1"), "http://127.0.0.1", down),
    ];
    for (source, to, expected) in rows {
        let rule = Rule::named(&source, literal(&source.url.host));
        let found = check_target(&source, rule, &target(to));
        assert_eq!(found, expected, "{} names {to}", source.url);
    }
}
