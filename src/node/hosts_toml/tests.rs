//! What the corpus does not show: the header's key, our keys in full, what an editor does to our lines.

use super::*;
use crate::config::{Config, Existing, Secret};
use crate::node::desired::{CaFile, DesiredHost, HostEntry, Role, Situation, desired};
use std::collections::BTreeSet;

fn hub(agent: &str, key: Option<&str>, direct: bool) -> DesiredHost {
    let tier = "[[tier]]\nname = \"core\"\nurl = \"https://core.example.com\"\nproject = \"p\"\nregistries = [\"docker.io\"]\nin_file = true\n";
    let direct = if direct {
        ""
    } else {
        "[direct]\nenabled = false\n"
    };
    let mut config = Config::from_toml(&format!("{tier}{direct}")).unwrap();
    config.server.require_header = key.map(Secret::new);
    let situation = Situation {
        agent,
        agent_alive: true,
        whole_tiers: &BTreeSet::from(["core".into()]),
    };
    desired(&config, &situation).remove(0)
}

fn fresh(desired: &DesiredHost) -> String {
    merge(None, desired, Existing::Adopt).unwrap().text
}

#[test]
fn a_new_file() {
    let text = fresh(&hub("http://127.0.0.1:290", None, true));
    let expected = "server = \"https://registry-1.docker.io\" # harbor-pilot\n\n# harbor-pilot: agent\n[host.\"http://127.0.0.1:290\"]\ncapabilities = [\"pull\", \"resolve\"]\n\n# harbor-pilot: tier core\n[host.\"https://core.example.com/v2/p\"]\ncapabilities = [\"pull\", \"resolve\"]\noverride_path = true\ndial_timeout = \"2s\"\n\n";
    assert_eq!(text, format!("{HEADER}\n{expected}"));
    assert!(is_ours(&text) && !is_generated(&text));
    assert_eq!(remove(&text).unwrap(), "");
}

#[test]
fn the_key_of_a_shared_node() {
    for agent in ["http://127.0.0.1:290", "http://[::1]:290"] {
        for direct in [true, false] {
            let desired = hub(agent, Some("k\"\\ey"), direct);
            let text = fresh(&desired);
            let written = "\"x-harbor-pilot-key\" = \"k\\\"\\\\ey\"";
            let times = if direct { 1 } else { 2 };
            assert_eq!(text.matches(written).count(), times, "{text}");
            assert_eq!(remove(&text).unwrap(), "", "{text}");
            let user = "# mine\n[host.\"https://a.example\"]\n[host.\"https://a.example\".header]\nx = \"y\"\n";
            let merged = merge(Some(user), &desired, Existing::Adopt).unwrap().text;
            assert_eq!(remove(&merged).unwrap(), user);
        }
    }
}

#[test]
fn certificates_are_named() {
    let mut desired = hub("http://127.0.0.1:290", None, true);
    desired.hosts[1].ca = Some(CaFile {
        name: "harbor-pilot-core.pem".into(),
        pem: b"pem".as_slice().into(),
    });
    let user = "[host.\"https://a.example\"]\nclient = [[\"/c.pem\", \"/k.pem\"]]\n";
    let text = merge(Some(user), &desired, Existing::Adopt).unwrap().text;
    assert!(
        text.contains("\nca = \"harbor-pilot-core.pem\"\n"),
        "{text}"
    );
    let files = ["/c.pem", "/k.pem", "harbor-pilot-core.pem"];
    assert_eq!(
        referenced_files(&text).unwrap(),
        files.map(std::path::PathBuf::from)
    );
}

/// An http table with one would be asked by TLS first by containerd 2.0.7–2.0.11.
#[test]
fn a_dial_timeout_is_written_for_https_alone() {
    for (url, times) in [("https://core.example.com", 1), ("http://10.0.0.1:5000", 0)] {
        let mut desired = hub("http://127.0.0.1:290", None, true);
        desired.hosts[1].url = url.to_owned();
        let text = fresh(&desired);
        assert_eq!(
            text.matches("dial_timeout = \"2s\"").count(),
            times,
            "{text}"
        );
    }
}

/// The user's root keys describe the upstream and stay; ours do not stand beside them.
/// containerd asks it by HTTPS and then by HTTP: found by the law, seed 866.
#[test]
fn tls_for_a_registry_of_this_machine_cannot_be_written() {
    let mut desired = hub("http://127.0.0.1:290", None, true);
    desired.server = HostEntry::new(Role::Upstream, "http://localhost:5000".to_owned());
    for (text, is_left) in [
        ("skip_verify = false\n[host]\n", true),
        ("ca = \"/etc/ca.pem\"\n", true),
        ("capabilities = [\"pull\"]\n[host]\n", false),
        (
            "server = \"https://localhost:5000\"\nskip_verify = true\n",
            false,
        ),
    ] {
        let merged = merge(Some(text), &desired, Existing::Adopt);
        let left = matches!(merged, Err(Refused::Unusual(_)));
        assert_eq!(left, is_left, "{text}: {merged:?}");
    }
}

/// k3s' containerd goes nowhere else then, and to the registry if no host is left: found by the law, seed 5896.
#[test]
fn a_file_that_ends_with_a_tier_does_not_lead_to_the_registry_without_the_agent() {
    let alive = hub("http://127.0.0.1:290", None, true);
    let agent = alive.hosts[0].clone();
    let user = "capabilities = [\"pull\"]\n[host.\"https://core.example.com/v2/p\"]\noverride_path = true\n";
    let merged = |hosts: &[&HostEntry], user: &str| {
        let desired = DesiredHost {
            agent_alive: hosts.contains(&&agent),
            hosts: hosts.iter().map(|host| (*host).clone()).collect(),
            ..alive.clone()
        };
        merge(Some(user), &desired, Existing::Adopt).unwrap().text
    };
    let with = merged(&[&agent], user);
    assert!(with.contains("aside# [host.\"https://core"), "{with}");
    let out = merged(&[], user);
    assert_eq!(out, format!("{HEADER}\n\n{user}"));
    assert_eq!(hand_over(&with, None).unwrap(), out);
    // Never to the agent's own port.
    let own = "[host.\"http://127.0.0.1:290\"]\n";
    let out = merged(&[], own);
    assert!(read(&out).unwrap().hosts.is_empty(), "{out}");
    assert_eq!(hand_over(&merged(&[&agent], own), None).unwrap(), out);
}

#[test]
fn keys_of_the_users_own_server() {
    let mut desired = hub("http://127.0.0.1:290", None, true);
    desired.server.skip_verify = true;
    let user = "skip_verify = false\ncapabilities = [\"pull\"]\n";
    let text = merge(Some(user), &desired, Existing::Adopt).unwrap().text;
    assert!(
        text.contains("\nskip_verify = false\n") && !text.contains("skip_verify = true"),
        "{text}"
    );
    // Which containerd does not mind where it adds the registry by itself.
    assert!(text.contains("aside# capabilities"), "{text}");
    assert_eq!(remove(&text).unwrap(), user);
}

#[test]
fn an_editor_between_our_lines() {
    let desired = hub("http://127.0.0.1:290", None, true);
    let text = fresh(&desired);
    for (from, to, left) in [
        // A key in our table goes with the table, a comment stays.
        (
            "override_path = true\n",
            "override_path = true\n# why\n\nskip_verify = true\n",
            "# why\n",
        ),
        (
            "# harbor-pilot: tier core\n",
            "",
            "server = \"https://registry-1.docker.io\"\n[host.\"https://core.example.com/v2/p\"]\n",
        ),
        (
            "\n# harbor-pilot: tier core\n",
            "[host.\"https://b.example\"]\n# harbor-pilot: tier core\n",
            "server = \"https://registry-1.docker.io\"\n[host.\"https://b.example\"]\n",
        ),
        (
            "dial_timeout = \"2s\"\n",
            "dial_timeout = \"2s\"\n\n[host.\"https://b.example\"]\nca = \"x\"\n",
            "server = \"https://registry-1.docker.io\"\n[host.\"https://b.example\"]\nca = \"x\"\n",
        ),
        ("server = ", "version = 1\nserver = ", "version = 1\n"),
        (HEADER, "# mine now", "# mine now\n"),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        let removed = remove(&edited).unwrap();
        assert!(removed.starts_with(left), "{removed}");
        assert!(!removed.contains("harbor-pilot"), "{removed}");
        // And it can be put in again.
        merge(Some(&edited), &desired, Existing::Adopt).unwrap();
    }
}

#[test]
fn what_is_not_readable_is_still_taken_out() {
    let text = fresh(&hub("http://127.0.0.1:290", None, true));
    let broken = format!("{text}\n[host.\"https://b.example\"\n");
    assert!(matches!(read(&broken), Err(Refused::Unreadable(_))));
    assert_eq!(remove(&broken).unwrap(), "\n[host.\"https://b.example\"\n");
}

/// One blank line behind each table is ours, behind the last one too: what a user writes there is the user's.
#[test]
fn a_blank_line_behind_our_last_table_stays() {
    for direct in [true, false] {
        let desired = hub("http://127.0.0.1:290", None, direct);
        for (base, end) in [
            ("", ""),
            ("# mine\nca = \"a.pem\"\n", ""),
            ("# mine\r\nca = \"a.pem\"\r\n", ""),
            // An editor ends the last line before the user writes on.
            ("# mine\nca = \"a.pem\"", "\n"),
        ] {
            let text = merge(Some(base), &desired, Existing::Adopt).unwrap().text;
            assert_eq!(remove(&text).unwrap(), base);
            let out = hand_over(&text, None).unwrap();
            assert_eq!(remove(&out).unwrap(), base, "{out}");
            let more = "\n[host.\"https://mine.example\"]\n";
            for text in [text, out] {
                assert_eq!(
                    remove(&format!("{text}{end}\n")).unwrap(),
                    format!("{base}{end}\n")
                );
                let edited = format!("{text}{end}{more}");
                let removed = remove(&edited).unwrap();
                assert!(
                    removed.ends_with(&format!("{base}{end}{more}")),
                    "{removed:?}"
                );
            }
        }
    }
}

/// With the key that the agent wants, which no file may keep for whoever comes to its port later.
#[test]
fn a_file_with_a_key_is_handed_over() {
    for direct in [true, false] {
        let alive = hub("http://127.0.0.1:290", Some("secret"), direct);
        let text = fresh(&alive);
        let tier = alive.hosts.last().unwrap();
        let server = match direct {
            true => alive.server.clone(),
            false => HostEntry::new(Role::Nobody, "http://127.0.0.1:0".to_owned()),
        };
        let stopped = DesiredHost {
            agent_alive: false,
            hosts: vec![tier.clone()],
            server,
            ..alive.clone()
        };
        let handed = hand_over(&text, None).unwrap();
        assert_eq!(handed, fresh(&stopped), "{text}");
        assert!(!handed.contains("secret"));
    }
}

#[test]
fn who_generated_it() {
    for (text, generated) in [
        ("# File generated by k3s. DO NOT EDIT.\nserver", true),
        ("# File generated by rke2. DO NOT EDIT.\n", true),
        ("# File generated by rke2. DO NOT EDIT.\r\n", false),
        ("\n# File generated by k3s. DO NOT EDIT.\n", false),
        (HEADER, false),
        ("", false),
    ] {
        assert_eq!(is_generated(text), generated, "{text}");
    }
}
