//! What the corpus does not show: what an editor does to our lines, what k3s knows after reading, notes.

use super::*;
use crate::config::{Config, Existing};
use crate::node::desired::{DesiredHost, Situation, desired};
use std::collections::BTreeSet;

const TIER: &str = "[[tier]]\nname = \"core\"\nurl = \"https://core.example.com\"\nproject = \"p-{registry_dashed}\"\n";

fn hosts(more: &str) -> Vec<DesiredHost> {
    let config = Config::from_toml(&format!("{TIER}{more}")).unwrap();
    let situation = Situation {
        agent: "http://127.0.0.1:290",
        agent_alive: true,
        whole_tiers: &BTreeSet::new(),
    };
    desired(&config, &situation)
}

fn edited(text: &str, more: &str, default_endpoint_disabled: bool) -> Edited {
    let wanted = Edit {
        desired: &hosts(more),
        existing: Existing::Adopt,
        scope: Scope::Listed,
        default_endpoint_disabled,
    };
    edit(text, &wanted).unwrap()
}

/// wharfie's types: with others k3s waits for ever at its next start (containerd-k3s-facts 13.5).
#[test]
fn what_k3s_cannot_unmarshal_is_said_with_its_line() {
    let config =
        |text: &str| format!("mirrors:\n  docker.io:\nconfigs:\n  m.example:\n    {text}\n");
    for (text, line) in [
        ("auth: dTpw", "line 5"),
        ("tls: true", "line 5"),
        ("tls: {insecure_skip_verify: \"maybe\"}", "line 5"),
        ("tls: {insecure_skip_verify: \"true\"}", "line 5"),
        ("tls: {insecure_skip_verify: 1}", "line 5"),
        ("auth: {username: u, password: [p]}", "line 5"),
    ] {
        let refused = read(&config(text)).unwrap_err();
        assert!(
            matches!(refused, Refused::Unreadable(_)),
            "{text}: {refused}"
        );
        assert!(refused.to_string().contains(line), "{text}: {refused}");
    }
    let rewrite = "mirrors:\n  docker.io:\n    rewrite:\n      a: [b]\n";
    assert!(read(rewrite).unwrap_err().to_string().contains("line 4"));
    for text in [
        "auth: {username: 1, password: true}",
        "auth:",
        "tls: {insecure_skip_verify: Yes, ca_file: ~}",
        "tls: {insecure_skip_verify: }",
    ] {
        assert!(read(&config(text)).is_ok(), "{text}");
    }
}

/// Neither the depth nor the number of entries costs more than a refusal.
#[test]
fn bottomless_and_endless_files_are_refused_at_once() {
    let start = std::time::Instant::now();
    for (open, close, levels, said) in [
        ("[", "]", 65, "mirrors is not of the type"),
        ("[", "]", 200, "recursion limit"),
        ("[", "]", 50_000, "256 levels"),
        ("{a: ", "}", 200, "recursion limit"),
        ("{a: ", "}", 50_000, "256 levels"),
    ] {
        let text = format!("mirrors: {}{}\n", open.repeat(levels), close.repeat(levels));
        let refused = read(&text).unwrap_err().to_string();
        assert!(refused.contains(said), "{levels}: {refused}");
        // What stands there for our marks is no deeper.
        assert!(remove(&text).is_ok_and(|kept| kept == text));
    }
    let entries =
        (0..15_000).map(|at| format!("  r{at}.example:\n    endpoint: [https://m{at}.example]\n"));
    let text = format!("mirrors:\n{}", entries.collect::<String>());
    assert_eq!(read(&text).unwrap().mirrors.len(), 15_000);
    assert!(
        start.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_editor_in_our_lists() {
    let lines = "mirrors:\n  docker.io:\n    endpoint:\n      - https://core.example.com/v2/p-docker-io # ours\n      - https://a.example\n";
    let flow = "mirrors:\n  docker.io:\n    endpoint: [\"https://core.example.com/v2/p-docker-io\", https://a.example]\n";
    // Which gets an entry where each registry needs one.
    let empty = "mirrors:\n  mine.example:\n";
    for (text, from, to, expected) in [
        // A new endpoint of the user's stays.
        (
            lines,
            "      - https://a.example\n",
            "      - https://b.example\n      - https://a.example\n",
            "mirrors:\n  docker.io:\n    endpoint:\n      - https://core.example.com/v2/p-docker-io # ours\n      - https://b.example\n      - https://a.example\n",
        ),
        // As in brackets.
        (
            flow,
            "https://a.example]\n",
            "https://b.example]\n",
            "mirrors:\n  docker.io:\n    endpoint: [\"https://core.example.com/v2/p-docker-io\", https://b.example]\n",
        ),
        (
            flow,
            "\"https://core.example.com/v2/p-docker-io\", https://a.example]",
            "]",
            "mirrors:\n  docker.io:\n    endpoint: []\n",
        ),
        (
            flow,
            "\"http://127.0.0.1:290\", # harbor-pilot: the line goes on below\n      ",
            "",
            flow,
        ),
        (
            flow,
            "https://a.example]\n",
            "https://a.example]   # note\n",
            "mirrors:\n  docker.io:\n    endpoint: [\"https://core.example.com/v2/p-docker-io\", https://a.example]   # note\n",
        ),
        // Whatever the entry is called by now.
        (
            flow,
            "mirrors:\n  docker.io:",
            "mirrors:\n  quay.io:",
            "mirrors:\n  quay.io:\n    endpoint: [\"https://core.example.com/v2/p-docker-io\", https://a.example]\n",
        ),
        // Without its mark it is the user's.
        (
            flow,
            "\"http://127.0.0.1:290\", # harbor-pilot: the line goes on below\n      ",
            "http://127.0.0.1:290, ",
            "mirrors:\n  docker.io:\n    endpoint: [http://127.0.0.1:290, \"https://core.example.com/v2/p-docker-io\", https://a.example]\n",
        ),
        // A key of ours that the user needs by now stays.
        (
            empty,
            "# harbor-pilot\n      - \"http://127.0.0.1:290\" # harbor-pilot\n",
            "# harbor-pilot\n      - \"http://127.0.0.1:290\" # harbor-pilot\n      - https://b.example\n",
            "mirrors:\n  \"docker.io\":\n    endpoint:\n      - https://b.example\n  mine.example:\n",
        ),
        (
            empty,
            "    endpoint: # harbor-pilot\n",
            "    note: x\n    endpoint: # harbor-pilot\n",
            "mirrors:\n  \"docker.io\":\n    note: x\n  mine.example:\n",
        ),
    ] {
        let wanted = Edit {
            desired: &hosts("")[..1],
            existing: Existing::Adopt,
            scope: if text == empty {
                Scope::All
            } else {
                Scope::Listed
            },
            default_endpoint_disabled: true,
        };
        let applied = edit(text, &wanted).unwrap().text;
        assert_eq!(remove(&applied).as_deref(), Ok(text));
        let at = applied
            .rfind(from)
            .unwrap_or_else(|| panic!("{from} is not in {applied}"));
        let mut changed = applied.clone();
        changed.replace_range(at..at + from.len(), to);
        assert_eq!(remove(&changed).as_deref(), Ok(expected), "{changed}");
    }
}

/// As 0.1.0 wrote it: adopted endpoints were set aside, in brackets with the whole list.
#[test]
fn what_an_older_version_set_aside_comes_back() {
    let written = "# harbor-pilot: {\"mirror\":\"quay.io\",\"was\":\"[https://core.example.com/v2/p-quay-io, https://q.example]\",\"now\":\"[\\\"http://127.0.0.1:290\\\", https://q.example]\"}\nmirrors:\n  docker.io:\n    endpoint:\n      - \"http://127.0.0.1:290\" # harbor-pilot\n#harbor-pilot:aside#       - https://core.example.com/v2/p-docker-io\n      - https://a.example\n  quay.io:\n    endpoint: [\"http://127.0.0.1:290\", https://q.example]\n";
    let text = "mirrors:\n  docker.io:\n    endpoint:\n      - https://core.example.com/v2/p-docker-io\n      - https://a.example\n  quay.io:\n    endpoint: [https://core.example.com/v2/p-quay-io, https://q.example]\n";
    assert_eq!(remove(written).as_deref(), Ok(text));
    let now = edited(written, "", true).text;
    assert!(!now.contains("aside"), "{now}");
    assert_eq!(remove(&now).as_deref(), Ok(text));
    // The agent would stay where nobody takes it out.
    let changed = written.replace(
        "[\"http://127.0.0.1:290\", https://q.example]\n",
        "[\"http://127.0.0.1:290\"]\n",
    );
    assert_ne!(changed, written);
    let refused = remove(&changed).unwrap_err().to_string();
    assert!(refused.contains("take it out of"), "{refused}");
    let gone = changed.replace("  quay.io:\n", "  mine.example:\n");
    assert!(remove(&gone).is_ok_and(|kept| kept.contains("  mine.example:\n")));
}

#[test]
fn a_text_that_nobody_can_read_is_still_cleared() {
    let applied = edited(
        "mirrors:\n  docker.io:\n    endpoint:\n      - https://a.example\n",
        "",
        true,
    )
    .text;
    let broken = format!("{applied}  x: [\n");
    assert!(matches!(read(&broken), Err(Refused::Unreadable(_))));
    let removed = remove(&broken).unwrap();
    assert!(
        !removed.contains("290") && removed.ends_with("  x: [\n"),
        "{removed}"
    );
}

#[test]
fn what_k3s_cannot_be_told() {
    let text = "mirrors:\n  docker.io:\n    endpoint: [https://a.example]\nconfigs:\n  docker.io: {auth: {username: u}}\n";
    let closed = "[direct]\nenabled = false\n";
    let notes = |more, disabled| edited(text, more, disabled).notes.join("\n");
    assert_eq!(notes("", false), "");
    assert!(notes(closed, false).contains("--disable-default-registry-endpoint keeps"));
    assert!(notes(closed, true).contains("configs.docker.io keeps k3s from"));
    assert!(notes(closed, true).contains("no way round"));
}

#[test]
fn places_that_a_line_cannot_be_put_beside() {
    let wanted = Edit {
        desired: &hosts("")[..1],
        existing: Existing::Adopt,
        // So that entries without an endpoint are edited as well.
        scope: Scope::All,
        default_endpoint_disabled: true,
    };
    for (text, said) in [
        ("mirrors:\n  ? docker.io\n  :\n", "line 2"),
        ("mirrors:\n  docker.io: !!map\n    endpoint: []\n", "a tag"),
        (
            "mirrors: &m\n  docker.io:\n    endpoint: [https://a.example]\n",
            "mirrors has an anchor",
        ),
        (
            "x: &x {endpoint: [a]}\nmirrors:\n  docker.io:\n    <<: *x\n",
            "a merge",
        ),
    ] {
        let error = edit(text, &wanted).unwrap_err();
        assert!(matches!(error, Refused::Unusual(_)), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    for item in [
        "-\n        https://a.example",
        "- https://a.example\n        x",
        "- &a https://a.example\n      - *a",
    ] {
        let text = format!("mirrors:\n  docker.io:\n    endpoint:\n      {item}\n");
        let now = edit(&text, &wanted).unwrap().text;
        assert_eq!(
            read(&now).unwrap().mirrors["docker.io"].endpoints[0],
            "http://127.0.0.1:290"
        );
        assert_eq!(remove(&now), Ok(text));
    }
}

#[test]
fn what_k3s_knows() {
    let text = "mirrors:\n  \"*\":\n    endpoint:\n      - localhost:5000\n      - all.example/v2/x\n      - https://docker.io\n      - https://tls.example:8443/v2\n      - ~\n  a.example:\n    rewrite: {x: y}\n  b.example: {endpoint: , rewrite: {}}\nconfigs:\n  tls.example:8443:\n    tls: {ca_file: /ca.pem, cert_file: /c.pem, key_file: /k.pem, insecure_skip_verify: yes}\n  c.example:\n    auth: {username: u}\n";
    let known = read(text).unwrap();
    assert!(known.mirrors["a.example"].has_rewrite);
    assert_eq!(known.mirrors["b.example"], Mirror::default());
    assert_eq!(known.configs, ["c.example", "tls.example:8443"]);
    // One meaning, two texts: no restart of k3s is pending between them.
    let (one, two) = (
        "mirrors: {a.example: {endpoint: [x]}}",
        "# c\nmirrors:\n  a.example:\n    endpoint:\n    - 'x'\n",
    );
    assert_eq!(read(one), read(two));
}
