//! DNS: whether every name has addresses, and whether containerd sees the same ones. Facts in, findings out.

use super::code::Code;
use super::report::{Check, Severity};
use super::sources::SourceFacts;
use crate::printable::counted;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Names and addresses. Upstreams without an address are said here only if `upstreams` is set: else their way out leads
/// through a proxy, and that is said elsewhere.
pub(super) fn names(sources: &[SourceFacts], servers: &[SocketAddr], upstreams: bool) -> Check {
    let looked_up = sources
        .iter()
        .filter(|one| !is_literal(&one.source.dialled().host));
    let looked_up: Vec<&SourceFacts> = looked_up.collect();
    if looked_up.is_empty() {
        return Check::not_applicable("dns", "every source is configured by address");
    }
    let good = looked_up.iter().filter(|one| one.dns.is_ok()).count();
    let who = match servers {
        [] => "the name servers of /etc/resolv.conf".to_owned(),
        _ => format!("the name servers {} of [dns]", joined(servers)),
    };
    let mut check = Check::made(
        "dns",
        format!(
            "{good} of {} resolved",
            counted(looked_up.len() as u64, "name", "names")
        ),
    );
    let configured = !servers.is_empty();
    failures(&mut check, &looked_up, &who, configured, upstreams);
    for one in &looked_up {
        differences(&mut check, one, &who);
    }
    check
}

/// One finding for each reason: dead name servers have one for all names.
fn failures(
    check: &mut Check,
    sources: &[&SourceFacts],
    who: &str,
    configured: bool,
    upstreams: bool,
) {
    let mut by_reason: BTreeMap<(String, bool), Vec<&SourceFacts>> = BTreeMap::new();
    for one in sources {
        if let Err(why) = &one.dns
            && (one.is_tier() || upstreams)
        {
            let elsewhere = matches!(one.system, Some(Ok(_)));
            by_reason
                .entry((why.clone(), elsewhere))
                .or_default()
                .push(one);
        }
    }
    for ((why, elsewhere), hosts) in by_reason {
        let names: Vec<String> = hosts
            .iter()
            .map(|one| one.source.dialled().host.clone())
            .collect();
        let has_tier = hosts.iter().any(|one| one.is_tier());
        let first = names.first().map_or("", String::as_str);
        let instead = if elsewhere {
            "the system's resolver knows the name: correct nameservers under [dns], or leave them out".to_owned()
        } else if configured {
            "see that these servers answer and know the name, or leave nameservers out of [dns] to use the system's; the agent keeps using the addresses that it had".to_owned()
        } else {
            format!(
                "see that the servers in /etc/resolv.conf answer and know the name: getent ahosts {first}; the agent keeps using the addresses that it had"
            )
        };
        check.find(
            Severity::error_if(has_tier),
            Code::DnsFails,
            joined(&names),
            format!("{who} give no address: {why}"),
            instead,
        );
    }
}

fn differences(check: &mut Check, one: &SourceFacts, who: &str) {
    let host = &one.source.dialled().host;
    match (&one.dns, &one.system) {
        (Ok(ours), Some(Ok(theirs))) if !ours.iter().any(|address| theirs.contains(address)) => {
            check.warn(
                Code::DnsDiffers,
                host,
                format!("{who} say {}, those of /etc/resolv.conf {}: containerd, where it goes there itself, reaches another place", joined(ours), joined(theirs)),
                "see which of them is right; leave nameservers out of [dns] to use the system's",
            );
        }
        (Ok(_), Some(Err(why))) => check.warn(
            Code::DnsDiffers,
            host,
            format!("{who} know it, those of /etc/resolv.conf do not ({why}): containerd cannot go there itself while the agent is down"),
            "give the node's /etc/resolv.conf servers that know the name",
        ),
        _ => {}
    }
}

fn is_literal(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

fn joined<T: ToString>(all: &[T]) -> String {
    all.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tier, upstream};
    use super::*;

    fn ip(text: &str) -> Result<Vec<IpAddr>, String> {
        Ok(vec![text.parse().unwrap()])
    }

    fn no(why: &str) -> Result<Vec<IpAddr>, String> {
        Err(why.to_owned())
    }

    type Dns = Result<Vec<IpAddr>, String>;

    fn of(tier_dns: Dns, system: Option<Dns>, hub: Dns, upstreams: bool) -> Check {
        let mut one = tier("replica", "https://replicas.example.com");
        (one.dns, one.system) = (tier_dns, system);
        let mut other = upstream("docker.io", "https://registry-1.docker.io");
        other.dns = hub;
        names(&[one, other], &[], upstreams)
    }

    #[test]
    fn what_has_no_address_is_said_once_per_reason() {
        let reached = || ip("192.0.2.1");
        let table = [
            (of(reached(), None, reached(), true), vec![]),
            (
                of(no("late"), None, no("late"), true),
                vec![(
                    "replicas.example.com, registry-1.docker.io",
                    Severity::Error,
                )],
            ),
            (
                of(no("late"), None, no("refused"), true),
                vec![
                    ("replicas.example.com", Severity::Error),
                    ("registry-1.docker.io", Severity::Warning),
                ],
            ),
            (
                of(reached(), None, no("late"), true),
                vec![("registry-1.docker.io", Severity::Warning)],
            ),
            (of(reached(), None, no("late"), false), vec![]),
        ];
        for (number, (check, due)) in table.into_iter().enumerate() {
            let found: Vec<_> = check
                .findings
                .iter()
                .map(|one| (one.subject.as_str(), one.severity))
                .collect();
            assert_eq!(found, due, "row {number}");
            let name = due
                .first()
                .map_or("", |(names, _)| names.split(',').next().unwrap());
            let asks = format!("getent ahosts {name};");
            assert!(
                check
                    .findings
                    .iter()
                    .take(1)
                    .all(|one| one.instead.contains(&asks)),
                "{check:?}"
            );
        }
    }

    #[test]
    fn containerds_view_counts_too() {
        let one = || ip("192.0.2.1");
        assert!(of(one(), Some(one()), one(), true).codes().is_empty());
        assert_eq!(
            of(one(), Some(ip("192.0.2.9")), one(), true).codes(),
            ["dns-differs"]
        );
        assert_eq!(
            of(one(), Some(no("x")), one(), true).codes(),
            ["dns-differs"]
        );
        let check = of(no("x"), Some(one()), one(), true);
        assert_eq!(check.codes(), ["dns-fails"]);
        assert!(check.findings[0].instead.contains("[dns]"), "{check:?}");
    }

    #[test]
    fn addresses_need_no_name() {
        let one = tier("replica", "https://192.0.2.1");
        assert_eq!(
            names(&[one], &[], true).state,
            super::super::report::State::NotApplicable
        );
    }
}
