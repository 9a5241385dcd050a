//! Stock containerd: its process, its version, and what it reads by itself.

use super::Found;
use super::config_toml::Registries;
use super::facts::{Facts, Text};
use super::machine::Process;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Where its configuration is.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";
/// Where it answers.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// What runs; else what is installed.
pub(super) fn runtime(facts: &Facts) -> Found {
    if process(facts).is_some() || facts.containerd_installed {
        Found::Containerd
    } else {
        Found::None
    }
}

/// A containerd with the configuration at its usual place.
pub(super) fn process(facts: &Facts) -> Option<&Process> {
    let stock = |process: &&Process| {
        is_containerd(process) && config_of(process).is_none_or(|path| path == CONFIG)
    };
    facts.processes.iter().find(stock)
}

fn is_containerd(process: &Process) -> bool {
    let program = process.argv.first();
    program.is_some_and(|program| program.rsplit('/').next() == Some("containerd"))
}

/// The configuration that a containerd was started with.
pub(super) fn config_of(process: &Process) -> Option<&str> {
    if !is_containerd(process) {
        return None;
    }
    let mut words = process.argv.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-c" | "--config" | "-config" => return words.next().map(String::as_str),
            _ => {}
        }
        if let Some(path) = word
            .strip_prefix("--config=")
            .or_else(|| word.strip_prefix("-c="))
        {
            return Some(path);
        }
    }
    None
}

/// What a configuration imports: paths, `*` in the last part; relative ones start at its directory.
pub(super) fn imports(main: &Text) -> Vec<PathBuf> {
    let document: Table = main.text.parse().unwrap_or_default();
    let imports = document.get("imports").and_then(Value::as_array);
    let imports = imports.into_iter().flatten().filter_map(Value::as_str);
    let here = main.path.parent().unwrap_or(Path::new("/"));
    imports.map(|path| here.join(path)).collect()
}

/// The directories that a containerd reads by itself: none before 2.2 (containerd-k3s-facts 1.2), and none in
/// any version with mirrors of the old kind.
pub(super) fn default_roots(read: &Registries, version: Option<(u32, u32)>) -> Vec<&'static Path> {
    let by_itself = version.is_some_and(|version| version >= (2, 2));
    if by_itself && read.barred.is_empty() {
        vec![Path::new(super::CERTS_D), Path::new(super::DOCKER_CERTS_D)]
    } else {
        Vec::new()
    }
}

/// `2.1` of `2.1.9` or `1.7.25-k3s1`.
pub(super) fn major_minor(version: &str) -> Option<(u32, u32)> {
    numbers(version).map(|(major, minor, _)| (major, minor))
}

/// `2.1.9` of `2.1.9-k3s1`; a missing patch is 0.
pub(super) fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split(['.', '-', '+', '~']);
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let patch = parts.next().and_then(|patch| patch.parse().ok());
    Some((major, minor, patch.unwrap_or_default()))
}

/// Takes the version out of `containerd --version`.
pub(super) fn version(printed: &str) -> Option<String> {
    let word = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
    };
    let found = printed.split_whitespace().find(word)?;
    Some(found.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let table = [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1",
                Some("1.6.20~ds1"),
                Some((1, 6)),
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.1.9 abc",
                Some("2.1.9"),
                Some((2, 1)),
            ),
            (
                "containerd github.com/k3s-io/containerd v1.7.25-k3s1 bcc",
                Some("1.7.25-k3s1"),
                Some((1, 7)),
            ),
            ("nothing", None, None),
        ];
        for (printed, expected, numbers) in table {
            assert_eq!(version(printed).as_deref(), expected, "{printed}");
            assert_eq!(expected.and_then(major_minor), numbers);
        }
    }
}
