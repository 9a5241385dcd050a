//! Every kind of address from every kind of source.

use super::{Class, Forbidden, Rule, check_target, classify};
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
        ("2002:a9fe:a9fe::", Never),
        ("::ffff:0.0.0.0", Never),
        ("::ffff:255.255.255.255", Never),
    ];
    for (address, class) in rows {
        let parsed = address.parse().unwrap();
        assert_eq!(classify(parsed), class, "{address}");
    }
}

#[test]
fn own_addresses_depend_on_what_was_configured() {
    let ok: Result<(), Forbidden> = Ok(());
    let (loopback, private, never) = (
        Err(Forbidden::Loopback),
        Err(Forbidden::Private),
        Err(Forbidden::Never),
    );
    let rows: [(Source, &str, Result<(), Forbidden>); 32] = [
        (upstream("https://registry-1.docker.io"), "203.0.113.7", ok),
        (upstream("https://registry-1.docker.io"), "198.18.0.9", ok),
        (
            upstream("https://registry-1.docker.io"),
            "10.1.2.3",
            private,
        ),
        (
            upstream("https://registry-1.docker.io"),
            "100.64.0.1",
            private,
        ),
        (upstream("https://registry-1.docker.io"), "fd00::1", private),
        (
            upstream("https://registry-1.docker.io"),
            "::ffff:192.168.0.1",
            private,
        ),
        (
            upstream("https://registry-1.docker.io"),
            "127.0.0.1",
            loopback,
        ),
        (upstream("https://registry-1.docker.io"), "::1", loopback),
        (
            upstream("https://registry-1.docker.io"),
            "::ffff:127.0.0.1",
            loopback,
        ),
        (
            upstream("https://registry-1.docker.io"),
            "169.254.169.254",
            never,
        ),
        (upstream("https://registry-1.docker.io"), "0.0.0.0", never),
        (upstream("http://10.1.2.3:5000"), "10.1.2.3", ok),
        (upstream("http://10.1.2.3:5000"), "::ffff:10.1.2.3", ok),
        (upstream("http://10.1.2.3:5000"), "10.1.2.4", private),
        (upstream("http://127.0.0.1:5000"), "127.0.0.1", ok),
        (upstream("http://127.0.0.1:5000"), "127.0.0.2", loopback),
        (upstream("http://[::1]:5000"), "::1", ok),
        (upstream("http://localhost:5000"), "127.0.0.1", loopback),
        (upstream("http://169.254.169.254"), "169.254.169.254", never),
        (tier("https://replica.example.com"), "203.0.113.7", ok),
        (tier("https://replica.example.com"), "10.1.2.3", ok),
        (tier("https://replica.example.com"), "192.168.7.7", ok),
        (tier("https://replica.example.com"), "fd00::7", ok),
        (tier("https://replica.example.com"), "127.0.0.1", loopback),
        (tier("https://replica.example.com"), "fe80::1", never),
        (tier("https://replica.example.com"), "fd00:ec2::254", never),
        (tier("https://127.0.0.1:8443"), "127.0.0.1", ok),
        (tier("http://localhost:8080"), "127.0.0.1", ok),
        (tier("http://localhost:8080"), "::1", ok),
        (tier("http://harbor.localhost"), "127.0.0.1", ok),
        (tier("http://notlocalhost"), "127.0.0.1", loopback),
        (tier("http://[fe80::1]"), "fe80::1", never),
    ];
    for (source, address, expected) in rows {
        let found = Rule::own(&source).check(address.parse().unwrap());
        assert_eq!(found, expected, "{} at {address}", source.url);
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
    let rows: [(Source, &str, Result<(), Forbidden>); 15] = [
        (upstream("https://ghcr.io"), "203.0.113.7", ok),
        (upstream("https://ghcr.io"), "10.0.0.1", private),
        (upstream("https://ghcr.io"), "127.0.0.1", loopback),
        (upstream("https://ghcr.io"), "169.254.169.254", never),
        (upstream("http://10.0.0.1:5000"), "10.0.0.1", ok),
        (upstream("http://10.0.0.1:5000"), "10.0.0.2", private),
        (upstream("http://10.0.0.1:5000"), "127.0.0.1", loopback),
        (upstream("http://127.0.0.1:5000"), "127.0.0.5", ok),
        (upstream("http://127.0.0.1:5000"), "::1", ok),
        (upstream("http://127.0.0.1:5000"), "10.0.0.1", private),
        (tier("https://replica.example.com"), "10.0.0.1", ok),
        (tier("https://replica.example.com"), "127.0.0.1", loopback),
        (
            tier("https://replica.example.com"),
            "169.254.169.254",
            never,
        ),
        (tier("http://localhost:8080"), "127.0.0.1", ok),
        (tier("http://127.0.0.1:8080"), "169.254.169.254", never),
    ];
    for (source, address, expected) in rows {
        let found = Rule::named(&source).check(address.parse().unwrap());
        assert_eq!(found, expected, "{} names {address}", source.url);
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
        let found = check_target(&source, &target(to));
        assert_eq!(found, expected, "{} names {to}", source.url);
    }
}

#[test]
fn a_proxy_may_be_anywhere_but_at_metadata() {
    for address in ["127.0.0.1", "10.0.0.1", "203.0.113.7", "fd00::1"] {
        assert_eq!(Rule::proxy().check(address.parse().unwrap()), Ok(()));
    }
    for address in ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"] {
        let found = Rule::proxy().check(address.parse().unwrap());
        assert_eq!(found, Err(Forbidden::Never), "{address}");
    }
}
