//! The command of a systemd unit, as the files on disk say it.

use super::facts::{Facts, sorted};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where units are, the first place wins (systemd.unit(5)).
const UNIT_PATHS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The words of a unit's effective `ExecStart=`, its drop-ins applied.
pub(super) fn exec_start(facts: &Facts, unit: &str) -> Option<Vec<String>> {
    let directories = UNIT_PATHS
        .iter()
        .map(|path| facts.under_root(Path::new(path)));
    let base = directories
        .clone()
        .find_map(|directory| fs::read_to_string(directory.join(unit)).ok())?;
    let mut drop_ins: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for directory in directories.rev() {
        for path in sorted(&directory.join(format!("{unit}.d"))) {
            let is_drop_in = path.extension().is_some_and(|kind| kind == "conf");
            if let Some(name) = path.file_name().filter(|_| is_drop_in) {
                drop_ins.insert(name.to_owned(), path);
            }
        }
    }
    let texts = drop_ins
        .values()
        .filter_map(|path| fs::read_to_string(path).ok());
    let mut words = Vec::new();
    for text in std::iter::once(base).chain(texts) {
        for line in text.replace("\\\n", " ").lines() {
            if let Some(command) = line.trim().strip_prefix("ExecStart=") {
                // Specifiers and variables stay as they are.
                words = shlex::split(command).unwrap_or_default();
            }
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_split_as_systemd_does() {
        let table: [(&str, &[&str]); 4] = [
            (
                "/usr/local/bin/k3s      server  \t'--disable'  'traefik' ",
                &["/usr/local/bin/k3s", "server", "--disable", "traefik"],
            ),
            (
                r#"a "b c" d\ e '' "f\"g""#,
                &["a", "b c", "d e", "", "f\"g"],
            ),
            ("", &[]),
            ("a'b'c", &["abc"]),
        ];
        for (command, expected) in table {
            assert_eq!(
                shlex::split(command).unwrap_or_default(),
                expected,
                "{command}"
            );
        }
    }
}
