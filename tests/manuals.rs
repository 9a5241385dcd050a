//! The manual pages and completions of the package say what `--help` says: the same commands, the same options.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is test code, in which a panic is a failed test"
)]

#[path = "../packaging/manuals.rs"]
#[allow(dead_code, reason = "the program's main is not called here")]
mod manuals;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What `--help` prints for a command.
fn help(command: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"))
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        // A longer description goes on further to the right.
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The long options that a help text describes. Each description begins its line.
fn options(help: &str) -> BTreeSet<String> {
    help.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            let (_, name) = line.split_once("--")?;
            let end = name.find(|letter: char| !is_of_option(letter));
            Some(name[..end.unwrap_or(name.len())].to_owned())
        })
        .collect()
}

/// The long options whose descriptions a manual page contains: `\fB\-\-json\fR` at the beginning of a line.
fn options_of_page(page: &str) -> BTreeSet<String> {
    let plain = page.replace("\\-", "-");
    plain
        .lines()
        .filter(|line| line.starts_with("\\fB-"))
        .filter_map(|line| {
            let (_, name) = line.split_once("\\fB--")?;
            let end = name.find(|letter: char| !is_of_option(letter));
            Some(name[..end.unwrap_or(name.len())].to_owned())
        })
        .collect()
}

fn is_of_option(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-'
}

/// Every command, from the program itself down.
fn all_commands() -> Vec<Vec<String>> {
    let (mut found, mut next) = (Vec::new(), vec![Vec::new()]);
    while let Some(command) = next.pop() {
        for name in commands(&help(&command)) {
            let mut below = command.clone();
            below.push(name);
            next.push(below);
        }
        found.push(command);
    }
    found
}

fn names(directory: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(directory).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn manual_pages_describe_what_help_describes() {
    let home = tempfile::tempdir().unwrap();
    manuals::generate(home.path()).unwrap();
    let man = home.path().join("man");
    let commands = all_commands();
    assert!(commands.len() > 10, "{commands:?}");
    let mut pages = BTreeSet::new();
    for command in &commands {
        let help = options(&help(command));
        assert!(help.contains("help"), "{command:?}: {help:?}");
        let name = format!("harbor-pilot-{}", command.join("-"));
        let name = format!("{}.1", name.trim_end_matches('-'));
        let page = fs::read_to_string(man.join(&name)).unwrap();
        assert_eq!(options_of_page(&page), help, "{name}");
        pages.insert(name);
    }
    let written: BTreeSet<String> = names(&man)
        .into_iter()
        .filter(|name| !name.contains("-help"))
        .collect();
    assert_eq!(written, pages);
}

#[test]
fn completions_know_what_help_describes() {
    let home = tempfile::tempdir().unwrap();
    manuals::generate(home.path()).unwrap();
    let directory = home.path().join("completions");
    let commands = all_commands();
    for (shell, file) in [
        ("bash", "harbor-pilot.bash"),
        ("zsh", "_harbor-pilot"),
        ("fish", "harbor-pilot.fish"),
    ] {
        let script = fs::read_to_string(directory.join(file)).unwrap();
        for command in &commands {
            for word in command {
                assert!(script.contains(word.as_str()), "{shell}: {word}");
            }
            for option in options(&help(command)) {
                let written = match shell {
                    "fish" => format!("-l {option}"),
                    _ => format!("--{option}"),
                };
                assert!(script.contains(&written), "{shell}: {command:?} {written}");
            }
        }
        let printed = Command::new(env!("CARGO_BIN_EXE_harbor-pilot"))
            .args(["completions", shell])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(printed.stdout).unwrap(),
            script,
            "{shell}"
        );
    }
}
