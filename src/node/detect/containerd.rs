//! Stock containerd: its process, its version, and what it reads by itself.

use super::Version;
use super::facts::{Facts, Text};
use super::machine::{Process, config_file};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The configuration of a containerd that was not told another.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";
/// The gRPC socket of a containerd that was not told another.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// A containerd with the configuration at its usual place.
pub(super) fn process(facts: &Facts) -> Option<&Process> {
    let stock = |process: &&Process| {
        is_containerd(process) && config_of(process).is_none_or(|path| path == Path::new(CONFIG))
    };
    facts.processes.iter().find(stock)
}

fn is_containerd(process: &Process) -> bool {
    let program = process.argv.first();
    program.is_some_and(|program| program.rsplit('/').next() == Some("containerd"))
}

/// The configuration that a containerd was started with.
pub(super) fn config_of(process: &Process) -> Option<PathBuf> {
    config_file(&process.argv).filter(|_| is_containerd(process))
}

/// What a configuration imports: paths, `*` in the last part; relative ones start at its directory.
pub(super) fn imports(main: &Text) -> Vec<PathBuf> {
    let document: Table = main.text.parse().unwrap_or_default();
    let imports = document.get("imports").and_then(Value::as_array);
    let imports = imports.into_iter().flatten().filter_map(Value::as_str);
    let here = main.path.parent().unwrap_or(Path::new("/"));
    imports.map(|path| here.join(path)).collect()
}

/// `2.1.9` of `2.1.9-k3s1`; a missing patch is 0.
pub(super) fn numbers(version: &str) -> Option<Version> {
    let mut parts = version.split(['.', '-', '+', '~']);
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let patch = parts.next().and_then(|patch| patch.parse().ok());
    Some((major, minor, patch.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::machine::printed_version;
    use super::numbers;

    #[test]
    fn versions_are_read() {
        let table = [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1",
                Some("1.6.20~ds1"),
                Some((1, 6, 20)),
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.1.9 abc",
                Some("2.1.9"),
                Some((2, 1, 9)),
            ),
            (
                "containerd github.com/k3s-io/containerd v1.7.25-k3s1 bcc",
                Some("1.7.25-k3s1"),
                Some((1, 7, 25)),
            ),
            ("nothing", None, None),
        ];
        for (printed, expected, version) in table {
            assert_eq!(printed_version(printed).as_deref(), expected, "{printed}");
            assert_eq!(expected.and_then(numbers), version);
        }
    }
}
