//! Generated texts: what must hold for every one that is not refused.

use super::corpus::{Case, Kind, Settings};
use harbor_pilot::config::Existing;
use harbor_pilot::node::registries_yaml::Scope;
use harbor_pilot::node::{hosts_toml, registries_yaml};
use proptest::prelude::*;

const URLS: [&str; 9] = [
    "http://127.0.0.1:290",
    "http://127.0.0.1:290/v2",
    "https://harbor.example.com/v2/proxy-docker-io",
    "https://replicas.example.com",
    "https://registry-1.docker.io",
    "https://docker.io",
    "https://mirror.gcr.io",
    "https://a.example/v2/x",
    "http://b.example:5000",
];

const NAMES: [&str; 7] = [
    "docker.io",
    "quay.io",
    "\"registry.example.com:5000\"",
    "'*'",
    "index.docker.io",
    "other.example",
    "harbor.example.com",
];

fn url() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&URLS[..])
}

fn settings() -> impl Strategy<Value = Settings> {
    let existing = prop::sample::select(&[Existing::Adopt, Existing::Keep][..]);
    let scope = prop::sample::select(&[Scope::Listed, Scope::All][..]);
    (existing, scope, any::<[bool; 3]>()).prop_map(|(existing, scope, [closed, alive, whole])| {
        Settings {
            existing,
            closed,
            scope,
            agent_alive: alive,
            tiers_whole: whole,
        }
    })
}

/// A comment, a blank line, or nothing.
fn filler() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        1 => Just("\n".to_owned()),
        1 => "# [a-z镜像\t\"'\\[\\]{}:-]{0,12}\n",
    ]
}

fn host() -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(
        vec![
            "  capabilities = [\"pull\", \"resolve\"]\n",
            "\tca = [\n  \"x.pem\", # [not a table]\n]\n",
            "override_path = true # really\n",
            "  skip_verify = false\n",
            "unknown = '''\n[host.\"x\"]\n'''\n",
        ],
        0..=3,
    );
    let header = any::<bool>();
    (filler(), url(), keys, filler(), header).prop_map(|(above, url, keys, below, header)| {
        let header = match header {
            true => format!("[host.\"{url}\".header]\n  x-a = [\"b\"]\n"),
            false => String::new(),
        };
        format!("{above}[host.\"{url}\"]\n{}{header}{below}", keys.concat())
    })
}

fn hosts_toml() -> impl Strategy<Value = String> {
    let server = prop_oneof![
        Just(String::new()),
        url().prop_map(|url| format!("server = \"{url}\" # last\n")),
        Just("server = \"\"\n".to_owned()),
        Just("capabilities = [\"pull\"]\nca = \"x\"\n".to_owned()),
    ];
    let bare = prop::sample::select(&["", "[host]\n", "[host]\n\n"][..]);
    let hosts = prop::collection::vec(host(), 0..5);
    let tail = prop::sample::select(&["", "[other]\nx = 1\n", "\n\n", "# end"][..]);
    (filler(), server, filler(), bare, hosts, tail).prop_map(|(a, server, b, bare, hosts, tail)| {
        format!("{a}{server}{b}{bare}{}{tail}", hosts.concat())
    })
}

/// The value of `endpoint`, with the line's end.
fn endpoints() -> impl Strategy<Value = String> {
    let urls = prop::collection::vec((url(), filler(), 0..3_usize), 0..4);
    (urls, 0..4_usize, any::<bool>()).prop_map(|(urls, style, trailing)| {
        let quoted = |url: &str, quotes| match quotes {
            0 => url.to_owned(),
            1 => format!("\"{url}\""),
            _ => format!("'{url}'"),
        };
        let items: Vec<String> = urls
            .iter()
            .map(|(url, _, quotes)| quoted(url, *quotes))
            .collect();
        match (style, urls.is_empty()) {
            (0, false) => {
                let line = |(item, (_, filler, _)): (&String, &(&str, String, usize))| {
                    format!("{filler}      - {item}  # note\n")
                };
                let lines: Vec<String> = items.iter().zip(&urls).map(line).collect();
                format!("\n{}", lines.concat())
            }
            (1, false) => format!(
                "\n{}",
                items
                    .iter()
                    .map(|item| format!("    - {item}\n"))
                    .collect::<String>()
            ),
            (2, false) => {
                let comma = if trailing { "," } else { "" };
                format!(" [\n  {}{comma} # last\n    ]\n", items.join(", # one\n  "))
            }
            (3, true) => "\n".to_owned(),
            _ => format!(" [{}]  # one line\n", items.join(", ")),
        }
    })
}

fn registries_yaml() -> impl Strategy<Value = String> {
    let entry =
        (filler(), 0..6_usize, endpoints()).prop_map(|(filler, kind, endpoints)| match kind {
            0 => "\n".to_owned(),
            1 => " ~ # null\n".to_owned(),
            2 => " {}\n".to_owned(),
            3 => format!("\n{filler}    endpoint:{endpoints}    rewrite:\n      \"^a\": b\n"),
            _ => format!(
                " # entry\n{filler}    endpoint:{endpoints}    note: |\n      text # no comment\n\n"
            ),
        });
    let names = prop::sample::subsequence(NAMES.to_vec(), 0..5);
    let entries = (names, prop::collection::vec((entry, filler()), 5..6));
    let head =
        prop::sample::select(&["", "---\n", "# Ansible managed\n", "x: [1]\n", "\u{feff}"][..]);
    let tail = prop::sample::select(
        &[
            "",
            "configs:\n  a.example:\n    auth: {username: \"u: #\"}\n",
            "# end",
        ][..],
    );
    (head, entries, tail).prop_map(|(head, (names, entries), tail)| {
        let entries = names.iter().zip(entries);
        let lines: String = entries
            .map(|(name, (entry, filler))| format!("{filler}  {name}:{entry}"))
            .collect();
        format!("{head}mirrors:\n{lines}{tail}")
    })
}

/// The text in other clothes: CRLF, no last line end.
fn dressed(text: String, crlf: bool, bare: bool) -> String {
    let text = if crlf {
        text.replace('\n', "\r\n")
    } else {
        text
    };
    match bare {
        true => text.trim_end_matches(['\r', '\n']).to_owned(),
        false => text,
    }
}

fn comments(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.trim_start().starts_with('#'))
        .collect()
}

/// Whether the text was applied; a refused one is left alone.
fn holds(case: &Case) -> Result<bool, TestCaseError> {
    let applied = match case.apply(&case.text) {
        Ok(applied) => applied,
        Err(error) => {
            prop_assert!(!error.contains("please report"), "{}\n{}", error, case.text);
            return Ok(false);
        }
    };
    let twice = case.apply(&applied);
    prop_assert_eq!(twice.as_ref(), Ok(&applied));
    let removed = case.remove(&applied);
    prop_assert_eq!(removed.as_ref(), Ok(&case.text));
    for comment in comments(&case.text) {
        prop_assert!(applied.contains(comment), "{} is lost", comment);
    }
    Ok(true)
}

proptest! {
    #[test]
    fn any_hosts_toml(text in hosts_toml(), settings in settings(), crlf: bool, bare: bool) {
        let text = dressed(text, crlf, bare);
        let readable = hosts_toml::read(&text).is_ok();
        let case = Case { kind: Kind::HostsToml, name: String::new(), text, settings };
        prop_assert_eq!(holds(&case)?, readable, "{}", case.text);
    }

    #[test]
    fn any_registries_yaml(text in registries_yaml(), settings in settings(), crlf: bool, bare: bool) {
        let text = dressed(text, crlf, bare);
        let readable = registries_yaml::read(&text).is_ok();
        let case = Case { kind: Kind::RegistriesYaml, name: String::new(), text, settings };
        prop_assert_eq!(holds(&case)?, readable, "{}", case.text);
    }

    /// Handing over by the marks alone makes what a merge would make for an agent that has stopped.
    #[test]
    fn any_hosts_toml_is_handed_over(text in hosts_toml(), settings in settings(), crlf: bool, bare: bool) {
        let text = dressed(text, crlf, bare);
        let case = Case { kind: Kind::HostsToml, name: String::new(), text, settings };
        case.handed_over().map_err(TestCaseError::fail)?;
    }

    /// Bytes that are nearly a file.
    #[test]
    fn any_text_at_all(
        lines in prop::collection::vec("[ \\-#:\\[\\]{}\"',.a-z&*|>!%@`=\t镜]{0,14}", 0..12),
        hosts: bool,
        settings in settings(),
    ) {
        let kind = if hosts { Kind::HostsToml } else { Kind::RegistriesYaml };
        let text = format!("mirrors:\n{}", lines.join("\n"));
        let text = if hosts { lines.join("\n") } else { text };
        holds(&Case { kind, name: String::new(), text, settings })?;
    }

    /// A line of the user's anywhere, ours included, and a text that was cut off anywhere: nothing panics, nothing
    /// but ours is lost.
    #[test]
    fn edited_since(text in hosts_toml(), settings in settings(), at in any::<prop::sample::Index>()) {
        let case = Case { kind: Kind::HostsToml, name: String::new(), text, settings };
        let Ok(applied) = case.apply(&case.text) else { return Ok(()) };
        let mut lines: Vec<&str> = applied.split_inclusive('\n').collect();
        let at = at.index(lines.len());
        let in_text = lines.iter().take(at).filter(|line| line.contains("'''")).count() % 2 == 1;
        let line_begins = at == 0 || lines.get(at - 1).is_some_and(|line| line.ends_with('\n'));
        prop_assume!(!in_text && line_begins);
        lines.insert(at, "# my own line\n");
        let removed = case.remove(&lines.concat()).map_err(TestCaseError::fail)?;
        let without = removed.replacen("# my own line", "", 1);
        prop_assert!(without.len() < removed.len(), "the line is lost");
        let dense = |text: &str| text.replace('\n', "");
        prop_assert_eq!(dense(&without), dense(&case.text));
        let _ = case.remove(&lines.get(..at).unwrap_or_default().concat());
    }
}
