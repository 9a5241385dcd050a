//! What `check` prints, where, and with which exit status.

use super::*;
use crate::config::{Config, Loader};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const GOOD: &str = r#"
[server]
listen = ["127.0.0.1:280"]

[[tier]]
name = "replica"
url = "https://replicas.example.com"
project = "proxy-{registry_dashed}"
proxy = "http://node:pa55word@proxy.example.com:3128"
[tier.projects]
"docker.io" = "docker-hub"
"#;

fn check(file: &Path, json: bool) -> (u8, String, String) {
    checked(file, json, true)
}

fn checked(file: &Path, json: bool, all: bool) -> (u8, String, String) {
    let args = Invocation {
        loader: Loader {
            config_file: file.to_owned(),
            explicit: true,
            config_dir: None,
            environment: BTreeMap::new(),
            outside_the_unit: true,
        },
        json,
        machine: Arc::new(Machine::below(Path::new("/nowhere"), Vec::new())),
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = run(&args, all, &mut stdout, &mut stderr).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(stdout), text(stderr))
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    (directory, file)
}

#[test]
fn every_value_is_shown_with_where_it_came_from() {
    let (_directory, file) = written(GOOD);
    let (status, stdout, stderr) = check(&file, false);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let line = |start: &str| {
        let found = stdout.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start} in {stdout}"))
            .to_owned()
    };
    let from = |number: u32| format!("# from {}:{number}", file.display());
    assert!(line("listen = [\"127.0.0.1:280\"]").ends_with(&from(3)));
    assert!(line("admin = \"127.0.0.1:291\"").ends_with("# default"));
    assert!(line("url = \"https://replicas.example.com\"").ends_with(&from(7)));
    assert!(line("\"docker.io\" = \"docker-hub\"").ends_with(&from(11)));
    assert!(line("\"quay.io\" = \"proxy-quay-io\"").ends_with(&from(8)));
    assert!(line("upstream = \"https://registry-1.docker.io\"").ends_with("# default"));
    assert!(line("max_bytes = \"64MiB\"").ends_with("# default"));
}

#[test]
fn a_port_that_every_user_may_bind_is_said() {
    let (_directory, file) = written(&GOOD.replace(":280", ":5000"));
    let (status, _, stderr) = check(&file, false);
    assert_eq!(status, 0);
    let due = format!(
        "warning: {}:3: server.listen: every user of this node may bind 127.0.0.1:5000",
        file.display()
    );
    assert!(stderr.starts_with(&due), "{stderr}");
    assert!(stderr.contains("choose a port below 1024"), "{stderr}");
    let (_, stdout, _) = check(&file, true);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["warnings"][0]["key"], "server.listen");
}

#[test]
fn secrets_are_not_shown() {
    let (_directory, file) = written(GOOD);
    for json in [false, true] {
        let (_, stdout, stderr) = check(&file, json);
        assert!(!stdout.contains("pa55word"), "{stdout}");
        assert!(!stderr.contains("pa55word"), "{stderr}");
        assert!(stdout.contains("http://[redacted]@proxy.example.com:3128"));
    }
}

/// What a person has written, and the word that it may be used; the rest is in the manual.
#[test]
fn defaults_are_shown_where_they_are_asked_for() {
    let (_directory, file) = written(GOOD);
    let (status, stdout, _) = checked(&file, false, false);
    assert_eq!(status, 0);
    assert!(!stdout.contains("# default"), "{stdout}");
    assert!(stdout.contains("listen = [\"127.0.0.1:280\"]") && stdout.contains("[[tier]]"));
    assert!(stdout.lines().count() < 25, "{stdout}");
    let (_, everything, _) = checked(&file, false, true);
    assert!(everything.contains("[relay]"), "{everything}");
    for text in [stdout, everything] {
        assert!(text.ends_with(&format!("# {}: valid\n", file.display())));
        let again = Config::from_toml(&text.replace("[redacted]@", "node:pa55word@")).unwrap();
        assert_eq!(again, Config::from_toml(GOOD).unwrap());
    }
}

/// ProtectHome= of the unit.
#[test]
fn files_that_the_unit_cannot_see_are_said() {
    let text = "[[tier]]\nname = \"a\"\nurl = \"https://a.example.com\"\nproject = \"p\"\nca_file = \"/root/there/is/none.crt\"\n";
    let (_directory, file) = written(text);
    let (_, _, stderr) = check(&file, false);
    assert!(
        stderr.contains("put the file into /etc/harbor-pilot: the unit sees nothing of /root"),
        "{stderr}"
    );
    for (path, hidden) in [
        ("/root/ca.crt", true),
        ("/home/op/ca.crt", true),
        ("/run/user/0/ca.crt", true),
        ("/rooted/ca.crt", false),
        ("/etc/harbor-pilot/ca.crt", false),
    ] {
        let (_directory, file) = written(GOOD);
        let loader = Loader {
            config_file: file,
            explicit: true,
            config_dir: None,
            environment: BTreeMap::new(),
            outside_the_unit: true,
        };
        let mut loaded = loader.load().unwrap();
        let table = loaded
            .provenance
            .tables
            .iter_mut()
            .find(|table| table.path == "tier.replica")
            .unwrap();
        let mut named = table.settings[0].clone();
        named.key = "ca_file".to_owned();
        named.value = path.into();
        table.settings.push(named);
        let said = hidden_from_the_unit(&loaded);
        assert_eq!(said.len(), usize::from(hidden), "{path}");
        assert!(
            said.iter()
                .all(|one| one.key == "tier.replica.ca_file" && one.line.is_some())
        );
    }
}

#[test]
fn what_is_printed_means_the_same_when_it_is_read_again() {
    let text = GOOD.replace("node:pa55word@", "");
    let (_directory, file) = written(&text);
    let (_, stdout, _) = check(&file, false);
    let again = Config::from_toml(&stdout).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(again, Config::from_toml(&text).unwrap());
}

#[test]
fn a_bad_configuration_is_64_and_says_all() {
    let (_directory, file) = written("[server]\nlisten = []\n[dns]\nmin_tll = \"5s\"\n");
    let (status, stdout, stderr) = check(&file, false);
    assert_eq!((status, stdout.as_str()), (64, ""));
    let file = file.display();
    assert!(
        stderr.contains(&format!("error: {file}:2: server.listen: ")),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!(
            "error: {file}:4: dns.min_tll: is no key that is known here; write min_ttl"
        )),
        "{stderr}"
    );
    assert!(stderr.ends_with("2 errors: this configuration may not be used\n"));
}

#[test]
fn the_json_has_its_documented_shape() {
    let (_directory, file) = written("[server]\nlisten = [\"127.0.0.1:0\"]\n");
    let (status, stdout, stderr) = check(&file, true);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["problems", "settings", "valid", "warnings"]);
    assert_eq!(report["valid"], true);
    assert_eq!(report["warnings"][0]["key"], "server.listen");
    assert_eq!(report["warnings"][0]["line"], 2);
    let settings = report["settings"].as_array().unwrap();
    let find = |key: &str| settings.iter().find(|one| one["key"] == key).unwrap();
    assert_eq!(find("server.listen")["value"], json!(["127.0.0.1:0"]));
    assert_eq!(find("server.listen")["file"], json!(file));
    assert_eq!(find("server.listen")["line"], 2);
    assert_eq!(find("stale.enabled")["line"], Value::Null);
    assert_eq!(
        find("registry.\"docker.io\".bypass")["value"],
        json!(["goharbor/*"])
    );

    let (_directory, file) = written("[server]\nlisten = 5\n");
    let (status, stdout, _) = check(&file, true);
    assert_eq!(status, 64);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["valid"], false);
    let problem = &report["problems"][0];
    assert_eq!(problem["file"], json!(file));
    assert_eq!(problem["line"], 2);
    assert_eq!(problem["key"], "server.listen");
    assert!(problem["what"].is_string() && problem["instead"].is_string());
}

#[test]
fn a_file_that_was_named_must_exist() {
    let (status, _, stderr) = check(Path::new("/nonexistent/config.toml"), false);
    assert_eq!(status, 64);
    assert!(
        stderr.contains("/nonexistent/config.toml: cannot be read"),
        "{stderr}"
    );
}
