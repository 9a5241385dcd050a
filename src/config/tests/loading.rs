//! Which files are read, in which order, and how they merge.

use super::*;
use std::path::PathBuf;

struct Etc(tempfile::TempDir);

impl Etc {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn loader(&self) -> Loader {
        Loader {
            config_file: self.path("config.toml"),
            explicit: true,
            config_dir: Some(self.path("config.d")),
            environment: BTreeMap::new(),
            outside_the_unit: false,
        }
    }
}

fn load(files: &[(&str, &str)]) -> Loaded {
    Etc::new(files)
        .loader()
        .load()
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
}

const BASE: &str = r#"
[dns]
min_ttl = "2s"
[[tier]]
name = "a"
url = "https://a.example.com"
registries = ["docker.io", "ghcr.io"]
[tier.projects]
"docker.io" = "one"
"ghcr.io" = "two"
[tier.health]
interval = "90s"
[[tier]]
name = "b"
url = "https://b.example.com"
project = "p-{registry}"
"#;

#[test]
fn tables_merge_key_by_key_and_the_later_file_wins() {
    let loaded = load(&[
        ("config.toml", BASE),
        (
            "config.d/20.toml",
            "[dns]\nmax_ttl = \"9m\"\nmin_ttl = \"4s\"\n[[tier]]\nname = \"a\"\n[tier.projects]\n\"ghcr.io\" = \"last\"\n",
        ),
        (
            "config.d/10.toml",
            "[dns]\nmin_ttl = \"3s\"\n[[tier]]\nname = \"a\"\nurl = \"https://x.example.com\"\n[tier.projects]\n\"ghcr.io\" = \"middle\"\n[tier.health]\ntimeout = \"5s\"\n",
        ),
    ]);
    let config = loaded.config;
    assert_eq!(config.dns.min_ttl.as_secs(), 4);
    assert_eq!(config.dns.max_ttl.as_secs(), 540);
    let tier = &config.tiers[0];
    assert_eq!(tier.url.host, "x.example.com");
    let projects: Vec<&String> = tier.projects.values().collect();
    assert_eq!(projects, ["one", "last"]);
    assert_eq!(tier.probe.interval.as_secs(), 90);
    assert_eq!(tier.probe.timeout.as_secs(), 5);
    assert_eq!(config.tiers.len(), 2);
}

#[test]
fn new_names_append_and_enabled_false_takes_out() {
    let extra = "[[tier]]\nname = \"c\"\nurl = \"https://c.example.com\"\nproject = \"p-{registry}\"\n[[tier]]\nname = \"a\"\nenabled = false\n[[registry]]\nname = \"gcr.io\"\nenabled = false\n[[registry]]\nname = \"nvcr.io\"\n";
    let names = |files: &[(&str, &str)]| -> (Vec<String>, usize, String) {
        let loaded = load(files);
        assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
        let config = loaded.config;
        let tiers = config
            .tiers
            .iter()
            .map(|tier| tier.name.to_string())
            .collect();
        let last = config.registries.last().unwrap();
        (tiers, config.registries.len(), last.upstream.to_string())
    };
    let (tiers, count, last) = names(&[("config.toml", BASE), ("config.d/a.toml", extra)]);
    assert_eq!(tiers, ["b", "c"]);
    assert_eq!((count, last.as_str()), (7, "https://nvcr.io"));
    let back = "[[tier]]\nname = \"a\"\nenabled = true\n";
    let (tiers, ..) = names(&[
        ("config.toml", BASE),
        ("config.d/a.toml", extra),
        ("config.d/b.toml", back),
    ]);
    assert_eq!(tiers, ["a", "b", "c"]);
}

#[test]
fn lists_are_replaced_as_a_whole() {
    let loaded = load(&[
        (
            "config.toml",
            "[[registry]]\nname = \"docker.io\"\nprivate = [\"a/*\", \"b/*\"]\n",
        ),
        (
            "config.d/a.toml",
            "[[registry]]\nname = \"index.docker.io\"\nprivate = [\"c/*\"]\n",
        ),
    ]);
    let hub = &loaded.config.registries[0];
    assert_eq!(hub.private, ["c/*"]);
    // The built-in values that nobody wrote over stay.
    assert_eq!(hub.bypass, ["goharbor/*"]);
    assert_eq!(hub.upstream.host, "registry-1.docker.io");
    assert_eq!(loaded.config.registries.len(), 7);
}

#[test]
fn the_same_name_twice_in_one_file_is_an_error_and_in_two_files_none() {
    let rows = [
        ("tier", "a", "a", "tier.a"),
        (
            "registry",
            "docker.io",
            "registry-1.docker.io",
            "registry.\"registry-1.docker.io\"",
        ),
        ("registry", "nvcr.io", "NVCR.io", "registry.\"NVCR.io\""),
    ];
    for (kind, one, two, key) in rows {
        let rest = "url = \"https://a.example.com\"\nproject = \"p-{registry}\"\n";
        let rest = if kind == "tier" {
            rest
        } else {
            "direct = true\n"
        };
        let first = format!("[[{kind}]]\nname = {one:?}\n{rest}");
        let second = format!("[[{kind}]]\nname = {two:?}\n{rest}");
        let etc = Etc::new(&[
            ("config.toml", &format!("{first}{second}")),
            ("config.d/.x", ""),
        ]);
        let found = etc.loader().load().unwrap_err();
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].key, key);
        assert!(found[0].what.contains("line 1"), "{}", found[0]);
        load(&[("config.toml", &first), ("config.d/a.toml", &second)]);
    }
}

#[test]
fn every_problem_of_every_file_names_its_file() {
    let etc = Etc::new(&[
        ("config.toml", "[dns]\nmin_ttl = 5\n"),
        ("config.d/a.toml", "[stale]\nenabeld = true\n"),
        ("config.d/b.toml", "[[tier]]\nname = \"a\"\n"),
        ("config.d/c.toml", "= nonsense"),
    ]);
    let found = etc.loader().load().unwrap_err();
    let places: Vec<(PathBuf, Option<usize>, &str)> = found
        .iter()
        .map(|problem| {
            (
                problem.file.clone().unwrap(),
                problem.line,
                problem.key.as_str(),
            )
        })
        .collect();
    let place = |file: &str, line: usize, key: &'static str| (etc.path(file), Some(line), key);
    let expected = [
        place("config.d/a.toml", 2, "stale.enabeld"),
        place("config.d/b.toml", 1, "tier.a.project"),
        place("config.d/b.toml", 1, "tier.a.url"),
        place("config.d/c.toml", 1, ""),
        place("config.toml", 2, "dns.min_ttl"),
    ];
    for one in &expected {
        assert!(places.contains(one), "{one:?} in {found:#?}");
    }
}

#[test]
fn unknown_keys_count_even_in_entries_that_are_taken_out() {
    let found = problems("[[tier]]\nname = \"a\"\nenabled = false\nulr = \"https://a.example\"\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].key, "tier.a.ulr");
    // But nothing else does.
    let off = good("[[tier]]\nname = \"a\"\nenabled = false\npassword_file = \"/nonexistent\"\n");
    assert!(off.config.tiers.is_empty() && off.config.watched_files.is_empty());
    let wrong = problems(
        "[[tier]]\nname = \"a\"\nenabled = \"no\"\nurl = \"https://a.example\"\nproject = \"p-{registry}\"\n",
    );
    assert_eq!(wrong[0].key, "tier.a.enabled", "{wrong:#?}");
}

#[test]
fn only_toml_files_that_are_not_hidden_are_drop_ins() {
    let bad = "nonsense";
    load(&[
        ("config.toml", ""),
        ("config.d/x.toml.dpkg-old", bad),
        ("config.d/.x.toml", bad),
        ("config.d/README", bad),
    ]);
}

#[test]
fn drop_ins_are_read_where_they_are_named_and_nowhere_else() {
    let etc = Etc::new(&[("config.toml", ""), ("config.d/a.toml", "nonsense")]);
    let mut loader = etc.loader();
    assert!(loader.load().is_err());
    assert_eq!(
        loader.watched(),
        [etc.path("config.toml"), etc.path("config.d")]
    );
    loader.config_dir = None;
    loader.load().unwrap();
    assert_eq!(loader.watched(), [etc.path("config.toml")]);
    loader.config_dir = Some(etc.path("elsewhere"));
    assert!(
        loader.load().unwrap_err()[0]
            .what
            .contains("cannot be listed")
    );
    let packaged = Loader::packaged(BTreeMap::new());
    assert_eq!(
        packaged.watched(),
        [
            Path::new("/etc/harbor-pilot/config.toml"),
            Path::new("/etc/harbor-pilot/config.d")
        ]
    );
}

#[test]
fn a_missing_file_is_the_built_in_configuration_unless_it_was_named() {
    let etc = Etc::new(&[("config.d/a.toml", "[dns]\nmin_ttl = \"2s\"\n")]);
    let mut loader = etc.loader();
    assert!(
        loader.load().unwrap_err()[0]
            .what
            .contains("cannot be read")
    );
    loader.explicit = false;
    // Drop-ins alone are a configuration too.
    assert_eq!(loader.load().unwrap().config.dns.min_ttl.as_secs(), 2);
    loader.config_dir = None;
    assert_eq!(loader.load().unwrap().config, Config::built_in());
}

#[test]
fn files_that_are_no_text_are_reported() {
    let etc = Etc::new(&[]);
    std::fs::write(etc.path("config.toml"), b"\xff\xfe").unwrap();
    std::fs::create_dir(etc.path("config.d")).unwrap();
    std::fs::create_dir(etc.path("config.d/x.toml")).unwrap();
    let found = etc.loader().load().unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    let config = good("\u{feff}[dns]\r\nmin_ttl = \"2s\"\r\n").config;
    assert_eq!(config.dns.min_ttl.as_secs(), 2);
    let found = problems("\u{feff}[dns]\r\nmin_tll = \"2s\"\r\n");
    assert_eq!(found[0].line, Some(2));
}

#[test]
fn the_state_directory_is_found_in_a_broken_configuration() {
    let etc = Etc::new(&[
        (
            "config.toml",
            "[state]\ndirectory = \"/srv/pilot\"\n[dns]\nmin_ttl = 5\nbroken",
        ),
        ("config.d/.keep", ""),
    ]);
    let mut loader = etc.loader();
    assert!(loader.load().is_err());
    assert_eq!(loader.state_directory(), Path::new("/srv/pilot"));
    std::fs::write(etc.path("config.toml"), "broken").unwrap();
    assert_eq!(loader.state_directory(), Path::new("/var/lib/harbor-pilot"));
    loader.environment = [("STATE_DIRECTORY".to_owned(), "/run/x:/run/y".to_owned())].into();
    assert_eq!(loader.state_directory(), Path::new("/run/x"));
}
