//! Texts of all formats, and what the installed containerd makes of what is advised.

use super::*;
use std::path::Path;
use std::process::Command;

const V2_TABLE: &str = "[plugins.\"io.containerd.grpc.v1.cri\".registry]";
const V3_TABLE: &str = "[plugins.\"io.containerd.cri.v1.images\".registry]";

fn text(path: &str, text: &str) -> Text {
    Text {
        path: path.into(),
        text: text.to_owned(),
        modified: std::time::Duration::ZERO,
    }
}

fn roots(texts: &[&str], version: Option<Version>) -> Vec<String> {
    let texts: Vec<Text> = texts.iter().map(|one| text("/c", one)).collect();
    let found = read(&texts, version).unwrap();
    let roots = found.roots.iter();
    roots.map(|root| root.display().to_string()).collect()
}

/// A text, containerd's version, and the directories.
type Row<'a> = (&'a str, Option<Version>, &'a [&'a str]);

#[test]
fn the_table_of_the_files_own_format_holds() {
    let v1 = "[plugins.cri.registry]\nconfig_path = \"/1\"\n";
    let (v2, v3) = (
        format!("{V2_TABLE}\nconfig_path = \"/2\"\n"),
        format!("{V3_TABLE}\nconfig_path = \"/3\"\n"),
    );
    let of = |version: u32, text: &str| format!("version = {version}\n{text}");
    let (old, new) = (Some((1, 6, 20)), Some((2, 1, 9)));
    let table: [Row<'_>; 9] = [
        (v1, old, &["/1"]),
        // Format 1 has no other name.
        (&v2, old, &[]),
        (&of(2, &v2), old, &["/2"]),
        (&of(2, &v3), old, &[]),
        (&of(3, &v3), new, &["/3"]),
        (&of(3, &v2), new, &[]),
        // From 2.0 on format 2 is made into format 3, over what stands there.
        (&of(2, &v3), new, &["/3"]),
        (&of(2, &format!("{v3}{v2}")), new, &["/2"]),
        ("version = 2\n", None, &[]),
    ];
    for (text, version, expected) in table {
        assert_eq!(roots(&[text], version), expected, "{text} {version:?}");
    }
}

#[test]
fn an_imports_table_of_the_plugin_replaces_the_files() {
    let main = format!("version = 2\n{V2_TABLE}\nconfig_path = \"/a\"\n");
    let other = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"x\"\n";
    let third = format!("{V2_TABLE}\nconfig_path = \"/b:/c/\"\n");
    let version = Some((1, 7, 24));
    assert_eq!(roots(&[&main, other], version), Vec::<String>::new());
    assert_eq!(roots(&[&main, other, &third], version), ["/b", "/c"]);
    assert_eq!(roots(&[&main, "oom_score = 1\n"], version), ["/a"]);
}

#[test]
fn what_may_not_stand_beside_it_is_named_and_passwords_are_not() {
    let config = format!(
        "version = 2\n{V2_TABLE}\n  config_path = \"/a\"\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n  endpoint = [\"https://m\"]\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r.test\".auth]\n  username = \"u\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"s.test\".tls]\n  ca_file = \"/x\"\n"
    );
    let found = read(&[text("/c", &config)], None).unwrap();
    let barred: Vec<String> = found.barred.iter().map(ToString::to_string).collect();
    assert_eq!(
        barred,
        [
            "registry.mirrors.\"docker.io\" (line 5 of /c)",
            "registry.configs.\"s.test\".tls (line 9 of /c)"
        ]
    );
    let empty = format!(
        "version = 2\n{V2_TABLE}\nconfig_path = \"/a\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n"
    );
    assert!(read(&[text("/c", &empty)], None).unwrap().barred.is_empty());
}

#[test]
fn a_table_with_the_name_of_another_format_is_said() {
    let of = |config: &str| {
        read(&[text("/c", config)], Some((2, 1, 9)))
            .unwrap()
            .misplaced
    };
    let place = of(&format!("version = 3\n\n{V2_TABLE}\n")).unwrap();
    assert_eq!((place.line, place.format), (3, 3));
    assert_eq!(of(&format!("version = 3\n\n{V3_TABLE}\n")), None);
    // containerd moves it from there by itself.
    assert_eq!(of(&format!("version = 2\n\n{V2_TABLE}\n")), None);
    let refused = read(&[text("/c", "version = 2\n[plugins.cri]\n")], None).unwrap_err();
    assert!(refused.contains("/c, line 2: ") && refused.contains("grpc.v1.cri"));
    let refused = read(&[text("/c", "version = \n")], None).unwrap_err();
    assert!(
        refused.starts_with("/c, line 1: it is no TOML"),
        "{refused}"
    );
}

/// Does what a remedy says, as a person does who reads it.
fn carried_out(remedy: &str, before: &str) -> String {
    let (what, lines) = remedy.split_once(":\n").unwrap();
    let number = |text: &str| -> usize {
        let (_, number) = text.split_once("line ").unwrap();
        number.split(' ').next().unwrap().parse().unwrap()
    };
    let mut all: Vec<String> = before.lines().map(str::to_owned).collect();
    if what.starts_with("change line ") {
        let at = number(what) - 1;
        assert!(at < all.len(), "{remedy}");
        all[at] = lines.to_owned();
    } else if let Some((_, behind)) = what.split_once("behind ") {
        all.insert(number(behind), lines.to_owned());
    } else if what.starts_with("write at the end of ") {
        all.extend(lines.lines().map(str::to_owned));
    } else {
        assert!(what.starts_with("write /"), "{remedy}");
        all = lines.lines().map(str::to_owned).collect();
    }
    all.join("\n") + "\n"
}

/// `containerd config dump` of a text; its `config_path` for pods.
fn dumped(text: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let output = Command::new("containerd")
        .arg("--config")
        .arg(&file)
        .args(["config", "dump"])
        .output()
        .unwrap_or_else(|error| panic!("cannot run containerd: {error}; `make deps` installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{text}");
    let dump = String::from_utf8(output.stdout).unwrap();
    let dump: toml::Table = dump.parse().unwrap();
    let names = [V3, V2];
    let of = |name: &&str| {
        let plugin = dump["plugins"].get(*name)?.get("registry")?;
        Some(plugin.get("config_path")?.as_str()?.to_owned())
    };
    names.iter().find_map(of).unwrap_or_default()
}

/// What the installed containerd says of its version.
fn installed() -> Version {
    let output = Command::new("containerd").arg("--version").output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let version = crate::node::detect::machine::printed_version(&said).unwrap();
    crate::node::detect::containerd::numbers(&version).unwrap()
}

#[test]
fn the_installed_containerd_reads_the_directory_after_what_is_advised() {
    let default = Command::new("containerd")
        .args(["config", "default"])
        .output();
    let default = String::from_utf8(default.unwrap().stdout).unwrap();
    // As Debian's package has it.
    let debian = "version = 2\n\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      bin_dir = \"/usr/lib/cni\"\n  [plugins.\"io.containerd.internal.v1.opt\"]\n    path = \"/var/lib/containerd/opt\"\n";
    let auth = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r.test\".auth]\n  username = \"u\"\n";
    let table = [
        (default.as_str(), "change line "),
        (debian, "write at the end of "),
        (
            &format!("version = 2\n{V2_TABLE}\n  config_path = \"\""),
            "change line 3 ",
        ),
        (
            &format!(
                "version = 2\n  {V2_TABLE}\n\n    [plugins.\"io.containerd.grpc.v1.cri\".registry.auths]\n"
            ),
            "write this line behind line 2 ",
        ),
        (
            &format!("version = 2\n{V2_TABLE} # at the end of the file"),
            "write this line behind line 2 ",
        ),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nregistry = { config_path = '/old', headers = {} }\n",
            "change line 3 ",
        ),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nregistry.config_path = \"/old\" # ours\n",
            "change line 3 ",
        ),
        (auth, "write at the end of "),
        (
            "[plugins.cri.registry]\nconfig_path = \"/a:/b\"\n",
            "change line 2 ",
        ),
        ("# nothing\n", "write at the end of "),
        ("", "write at the end of "),
        ("oom_score = 0", "write at the end of "),
        (
            "version = 2\r\n[debug]\r\n  level = \"info\"\r\n",
            "write at the end of ",
        ),
    ];
    let version = Some(installed());
    let wanted = Path::new("/etc/containerd/certs.d");
    for (before, expected) in table {
        let texts = [text("/etc/containerd/config.toml", before)];
        let found = read(&texts, version).unwrap();
        let remedy = found
            .remedy(&texts, Path::new("/x"), version, wanted)
            .unwrap();
        let said = &remedy.advice;
        assert!(said.starts_with(expected), "{said}\n{before}");
        for after in [carried_out(said, before), remedy.text.clone()] {
            assert_eq!(dumped(&after), "/etc/containerd/certs.d", "{said}\n{after}");
        }
        // The rest of the file is as it was.
        let changed: Vec<&str> = remedy
            .text
            .lines()
            .filter(|line| !before.contains(*line))
            .collect();
        assert!(changed.len() <= 2, "{changed:?}");
        assert!(dumped(before) != "/etc/containerd/certs.d", "{before}");
    }
    let found = read(&[], version).unwrap();
    let remedy = found
        .remedy(
            &[],
            Path::new("/etc/containerd/config.toml"),
            version,
            wanted,
        )
        .unwrap();
    let said = &remedy.advice;
    assert!(
        said.starts_with("write /etc/containerd/config.toml:\n"),
        "{said}"
    );
    assert_eq!(dumped(&carried_out(said, "")), "/etc/containerd/certs.d");
}

#[test]
fn a_text_that_only_a_person_can_change_has_no_remedy() {
    for before in [
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nregistry = {}\n",
        "version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { } }\n",
    ] {
        let texts = [text("/c", before)];
        let found = read(&texts, None).unwrap();
        let remedy = found.remedy(&texts, Path::new("/x"), None, Path::new("/d"));
        assert_eq!(remedy, None);
    }
}

/// Format 3 is of containerd 2, which is not installed everywhere: the text alone.
#[test]
fn a_file_of_format_3_gets_the_table_of_format_3() {
    let before = format!("version = 3\n{V2_TABLE}\n  config_path = \"/d\"\n");
    let texts = [text("/c", &before)];
    let version = Some((2, 1, 9));
    let found = read(&texts, version).unwrap();
    let remedy = found
        .remedy(&texts, Path::new("/x"), version, Path::new("/d"))
        .unwrap();
    assert_eq!(
        remedy.advice,
        format!("write at the end of /c:\n{V3_TABLE}\n  config_path = \"/d\"")
    );
    assert_eq!(roots(&[&remedy.text], version), ["/d"]);
}
