//! The grammar of the command line.

use super::*;

fn parsed(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_grammar_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_exists() {
    let command = Arguments::command();
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    let contract = [
        "run",
        "check",
        "init",
        "status",
        "explain",
        "doctor",
        "plan",
        "apply",
        "restore",
        "warm",
        "healthd",
        "handover",
        "completions",
    ];
    for name in contract {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(names.len(), contract.len(), "{names:?}");
}

#[test]
fn good_usage_is_read() {
    let table = [
        "harbor-pilot run",
        "harbor-pilot run --config /x.toml --config-dir /y --log debug",
        "harbor-pilot --config /x.toml run",
        "harbor-pilot check",
        "harbor-pilot check --json --config /x.toml",
        "harbor-pilot init --replica https://r --core https://c --layout dashed --ca /ca.crt",
        "harbor-pilot init --discover https://c --username robot$a --password-file /s --ca /ca.crt",
        "harbor-pilot status --watch",
        "harbor-pilot status --json",
        "harbor-pilot explain nginx:1.27",
        "harbor-pilot explain --probe --json ghcr.io/org/app@sha256:00",
        "harbor-pilot completions bash",
        "harbor-pilot completions zsh",
        "harbor-pilot completions fish",
        "harbor-pilot doctor --json",
        "harbor-pilot plan --for crio",
        "harbor-pilot apply --json",
        "harbor-pilot restore",
        "harbor-pilot warm nginx redis -f images.txt",
        "harbor-pilot warm --from-node --platform linux/amd64,linux/arm64 --each-tier --parallel 8 --rate 20MiB --json",
        "harbor-pilot warm -f - --all-platforms --tier core --each-address",
        "harbor-pilot healthd --harbor https://h --listen 0.0.0.0:1337",
        "harbor-pilot handover",
    ];
    for line in table {
        assert!(parsed(line).is_ok(), "{line}");
    }
}

#[test]
fn bad_usage_is_an_error_for_stderr() {
    let table = [
        "harbor-pilot",
        "harbor-pilot pull",
        "harbor-pilot run --listen 127.0.0.1:290",
        "harbor-pilot run extra",
        "harbor-pilot check --yaml",
        "harbor-pilot status --watch=often",
        "harbor-pilot explain",
        "harbor-pilot explain one two",
        "harbor-pilot completions",
        "harbor-pilot completions tcsh",
        "harbor-pilot check --config",
        "harbor-pilot warm nginx --parallel 0",
        "harbor-pilot warm nginx --tier core --each-tier",
        "harbor-pilot warm nginx --all-platforms --platform linux/amd64",
    ];
    for line in table {
        let error = parsed(line).expect_err(line);
        assert!(error.use_stderr(), "{line}");
    }
    for line in [
        "harbor-pilot --help",
        "harbor-pilot --version",
        "harbor-pilot run --help",
    ] {
        let shown = parsed(line).expect_err(line);
        assert!(!shown.use_stderr(), "{line}");
    }
}

#[test]
fn options_stand_before_or_behind_the_command() {
    for line in [
        "harbor-pilot --config /x.toml --config-dir /y --log trace check",
        "harbor-pilot check --config /x.toml --config-dir /y --log trace",
    ] {
        let arguments = parsed(line).unwrap();
        assert_eq!(arguments.config, Some("/x.toml".into()), "{line}");
        assert_eq!(arguments.config_dir, Some("/y".into()), "{line}");
        assert_eq!(arguments.log.as_deref(), Some("trace"), "{line}");
    }
}
