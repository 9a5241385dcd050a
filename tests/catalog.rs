//! packaging/harbor-pilot.catalog: an entry for every event, none for anything else, in the format of systemd's message
//! catalogs, and with everything that a person needs.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test's own helpers end the test"
)]

use harbor_pilot::telemetry::EventName;
use std::collections::BTreeMap;

const CATALOG: &str = include_str!("../packaging/harbor-pilot.catalog");

/// An entry's headers and its text.
struct Entry {
    headers: Vec<(String, String)>,
    text: String,
}

/// Takes the catalog apart as `journalctl --update-catalog` does: `-- ID`, headers, an empty line, text.
fn entries() -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    for part in CATALOG.split("\n-- ").skip(1) {
        let (id, rest) = part.split_once('\n').expect("an identifier's line ends");
        let (headers, text) = rest
            .split_once("\n\n")
            .expect("headers end with an empty line");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header has a value");
            (name.to_owned(), value.to_owned())
        };
        let entry = Entry {
            headers: headers.lines().map(header).collect(),
            text: text.to_owned(),
        };
        assert!(found.insert(id.to_owned(), entry).is_none(), "{id} twice");
    }
    found
}

fn headers<'a>(entry: &'a Entry, name: &str) -> Vec<&'a str> {
    let found = entry.headers.iter().filter(|header| header.0 == name);
    found.map(|header| header.1.as_str()).collect()
}

/// The fields that a text names as `@FIELD@`.
fn fields(text: &str) -> Vec<&str> {
    text.split('@').skip(1).step_by(2).collect()
}

#[test]
fn every_event_is_explained_and_nothing_else() {
    let entries = entries();
    let mut events: Vec<_> = EventName::ALL
        .iter()
        .map(|event| event.message_id())
        .collect();
    events.sort_unstable();
    let explained: Vec<_> = entries.keys().map(String::as_str).collect();
    assert_eq!(explained, events);
}

#[test]
fn an_entry_says_what_happened_what_it_means_and_what_to_do() {
    for (id, entry) in entries() {
        for name in ["Subject", "Defined-By"] {
            assert_eq!(headers(&entry, name).len(), 1, "{id}: {name}");
        }
        assert_eq!(headers(&entry, "Defined-By"), ["harbor-pilot"], "{id}");
        let documentation = headers(&entry, "Documentation");
        assert!(!documentation.is_empty(), "{id}");
        for link in documentation {
            let (scheme, _) = link.split_once(':').expect("a link has a scheme");
            assert!(["man", "file"].contains(&scheme), "{id}: {link}");
        }
        // What happened, and what to do, at least; each a paragraph.
        let paragraphs: Vec<_> = entry.text.trim().split("\n\n").collect();
        assert!(paragraphs.len() >= 2, "{id}: {paragraphs:?}");
        let last = paragraphs[paragraphs.len() - 1];
        assert!(last.len() >= 20, "{id}: {last}");
        for line in entry.text.lines() {
            assert!(line.len() <= 90, "{id}: {line}");
        }
        let subject = headers(&entry, "Subject")[0];
        for field in [fields(subject), fields(&entry.text)].concat() {
            assert!(
                ["TIER", "ENDPOINT", "REASON"].contains(&field),
                "{id}: {field}"
            );
        }
    }
}

/// What needs a person names a command that helps.
#[test]
fn a_loud_event_names_a_command() {
    const COMMANDS: [&str; 7] = [
        "harbor-pilot status",
        "harbor-pilot check",
        "harbor-pilot plan",
        "harbor-pilot doctor",
        "journalctl",
        "journald.conf",
        "ca_file",
    ];
    let entries = entries();
    for &event in EventName::ALL {
        // tracing's order: the more verbose the greater.
        if event.level() > tracing::Level::WARN || event == EventName::DigestMismatch {
            continue;
        }
        let text = &entries[event.message_id()].text;
        assert!(
            COMMANDS.iter().any(|command| text.contains(command)),
            "{event:?}: {text}"
        );
    }
}
