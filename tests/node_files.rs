//! A corpus of real-world shaped `hosts.toml` and `registries.yaml`, each with what the agent makes of it, and
//! what must hold for all of them: applying twice is applying once, taking out gives the original bytes, nothing of
//! the user's is lost.
//!
//! `NAME.toml` is what is there, `NAME.expected.toml` what is made of it, `NAME.refused` why it is left alone. The
//! first word of a name may choose the settings: `keep`, `refuse` (`existing`), `closed` (`direct = false`), `all`
//! (entries for every registry). `HARBOR_PILOT_GOLDEN=write cargo test --test node_files` writes the expected
//! files; look at the difference before it is believed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's own helpers end the test"
)]

#[path = "node_files/corpus.rs"]
mod corpus;
#[path = "node_files/golden.rs"]
mod golden;
#[path = "node_files/properties.rs"]
mod properties;

use corpus::{Kind, Settings};
use harbor_pilot::node::{hosts_toml, registries_yaml};

#[test]
fn every_text_becomes_what_is_expected() {
    let mut wrong = Vec::new();
    for case in corpus::all() {
        wrong.extend(case.compare());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_is_large() {
    for kind in [Kind::HostsToml, Kind::RegistriesYaml] {
        let cases = corpus::all().into_iter().filter(|case| case.kind == kind);
        assert!(cases.count() >= 30);
    }
}

#[test]
fn applying_twice_is_applying_once() {
    for case in corpus::all() {
        if let Ok(once) = case.apply(&case.text) {
            let twice = case.apply(&once);
            assert_eq!(twice.as_ref(), Ok(&once), "{}", case.name);
        }
    }
}

#[test]
fn taking_out_gives_the_original_bytes() {
    for case in corpus::all() {
        // The agent's table in it came from registries.yaml by k3s: it is ours, and does not come back.
        if case.name == "k3s_generated_with_agent" {
            continue;
        }
        if let Ok(applied) = case.apply(&case.text) {
            assert_eq!(
                case.remove(&applied).as_ref(),
                Ok(&case.text),
                "{}",
                case.name
            );
        }
    }
}

/// The handover knows no configuration: the marks in the file say what is ours.
#[test]
fn handing_over_by_the_marks_is_as_good_as_with_the_configuration() {
    let cases = corpus::all().into_iter();
    for case in cases.filter(|case| case.kind == Kind::HostsToml) {
        for (closed, tiers_whole) in [(false, false), (false, true), (true, false), (true, true)] {
            let case = case.with(Settings {
                closed,
                tiers_whole,
                ..case.settings
            });
            if let Err(wrong) = case.handed_over() {
                panic!("{}: {wrong}", case.name);
            }
        }
    }
}

#[test]
fn what_k3s_made_of_our_line_goes_with_us() {
    let case = corpus::all()
        .into_iter()
        .find(|case| case.name == "k3s_generated_with_agent");
    let case = case.expect("it is part of the corpus");
    let applied = case.apply(&case.text).expect("it can be applied");
    let removed = case.remove(&applied).expect("it can be taken out");
    assert!(!removed.contains("290"), "{removed}");
    assert_eq!(case.apply(&removed), Ok(applied));
}

#[test]
fn every_line_of_the_user_survives() {
    for case in corpus::all() {
        let Ok(applied) = case.apply(&case.text) else {
            continue;
        };
        for line in case.text.lines().filter(|line| line.contains('#')) {
            let comment = line.split_once('#').map_or("", |(_, comment)| comment);
            assert!(applied.contains(comment), "{}: {comment}", case.name);
        }
    }
}

/// A change of the topology, the policy or both starts from the user's own text.
#[test]
fn from_any_state_to_any_other() {
    let all = [
        Settings::default(),
        Settings {
            agent_alive: false,
            ..Settings::default()
        },
        Settings {
            tiers_whole: true,
            ..Settings::default()
        },
        Settings {
            closed: true,
            tiers_whole: true,
            ..Settings::default()
        },
        Settings {
            closed: true,
            agent_alive: false,
            ..Settings::default()
        },
    ];
    // The huge ones say nothing more here, 25 times.
    let cases = corpus::all().into_iter().filter(|case| case.name != "huge");
    for case in cases {
        for from in all {
            for to in all {
                let (from, to) = (case.with(from), case.with(to));
                let (Ok(first), Ok(direct)) = (from.apply(&case.text), to.apply(&case.text)) else {
                    continue;
                };
                assert_eq!(to.apply(&first).as_ref(), Ok(&direct), "{}", case.name);
            }
        }
    }
}

#[test]
fn what_is_written_is_read_as_intended() {
    for case in corpus::all() {
        let Ok(applied) = case.apply(&case.text) else {
            continue;
        };
        match case.kind {
            Kind::HostsToml => {
                let view = hosts_toml::read(&applied).expect("it was read back already");
                let agent = view.hosts.iter().position(|host| host.url == corpus::AGENT);
                let only = view
                    .server
                    .is_some_and(|server| server.url == corpus::AGENT);
                let expected = usize::from(case.name == "k3s_embedded_registry");
                assert!(agent == Some(expected) || only, "{}", case.name);
            }
            Kind::RegistriesYaml => {
                let read = registries_yaml::read(&applied).expect("it was read back already");
                for (name, mirror) in read.mirrors {
                    let configured = corpus::hosts(Settings::default());
                    let ours = configured.iter().any(|host| {
                        name.parse()
                            .is_ok_and(|name: harbor_pilot::oci::RegistryName| {
                                name == host.registry
                            })
                    });
                    if ours && !mirror.has_rewrite && mirror.is_written(&name) {
                        let first = mirror.endpoints.first().map(String::as_str);
                        assert_eq!(first, Some(corpus::AGENT), "{} {name}", case.name);
                    }
                }
            }
        }
    }
}

/// What `restore` meets: the user has written around, above and below our lines since.
#[test]
fn taking_out_after_the_user_has_edited() {
    let edits: [fn(&str) -> String; 3] = [
        |text| format!("# a note of mine\n{text}"),
        |text| format!("{text}\n# and another\n"),
        |text| text.replace("mirror.gcr.io", "mirror.new.example"),
    ];
    for case in corpus::all() {
        if case.text.starts_with('\u{feff}') || case.name == "k3s_generated_with_agent" {
            continue;
        }
        let Ok(applied) = case.apply(&case.text) else {
            continue;
        };
        for edit in edits {
            let mut removed = case.remove(&edit(&applied)).expect(&case.name);
            let mut expected = edit(&case.text);
            // A blank line at the end of ours and one of the user's are not told apart.
            removed.retain(|c| c != '\n');
            expected.retain(|c| c != '\n');
            assert_eq!(removed, expected, "{}", case.name);
        }
    }
}
