//! Stock containerd: what its configuration says about host configurations, versions 1, 2 and 3.

use super::Found;
use super::facts::{Facts, Text};
use super::machine::Process;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Where its configuration is.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";

/// The effective setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigPath {
    /// The directories of host configurations, in order.
    pub(super) roots: Vec<PathBuf>,
    /// Of the configuration's format; 0: no file.
    pub(super) version: u32,
    /// `registry.mirrors` or `registry.configs` are there, which may not stand beside a config_path.
    pub(super) has_mirrors: bool,
    /// Pulls do not go through the transfer service, which reads a list of directories as one.
    pub(super) local_pull: bool,
}

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

/// The setting that holds, from a configuration and what it imports, in that order: the later wins.
///
/// # Errors
/// Which file is no TOML.
pub(super) fn config_path(texts: &[Text]) -> Result<ConfigPath, String> {
    let mut found = ConfigPath::default();
    for text in texts {
        let document: Table = text.text.parse().map_err(|error: toml::de::Error| {
            format!("{} is no TOML: {}", text.path.display(), error.message())
        })?;
        let version = document.get("version").and_then(Value::as_integer);
        let version = version.and_then(|version| u32::try_from(version).ok());
        if found.version == 0 {
            // Without the key the format is the first one.
            found.version = version.unwrap_or(1);
        }
        let registries = [
            "io.containerd.cri.v1.images",
            "io.containerd.grpc.v1.cri",
            "cri",
        ];
        for plugin in registries {
            let Some(plugin) = table(&document, &["plugins", plugin]) else {
                continue;
            };
            if let Some(Value::Boolean(local)) = plugin.get("use_local_image_pull") {
                found.local_pull = *local;
            }
            let Some(registry) = table(plugin, &["registry"]) else {
                continue;
            };
            let filled = |key| table(registry, &[key]).is_some_and(|table| !table.is_empty());
            found.has_mirrors |= filled("mirrors") || filled("configs");
            if let Some(path) = registry.get("config_path").and_then(Value::as_str) {
                let roots = path.split(':').filter(|root| !root.is_empty());
                found.roots = roots
                    .map(|root| PathBuf::from(root.trim_end_matches('/')))
                    .collect();
            }
        }
    }
    Ok(found)
}

fn table<'t>(from: &'t Table, path: &[&str]) -> Option<&'t Table> {
    path.iter()
        .try_fold(from, |table, key| table.get(*key)?.as_table())
}

/// What a configuration imports: paths, `*` in the last part.
pub(super) fn imports(text: &str) -> Vec<PathBuf> {
    let document: Table = text.parse().unwrap_or_default();
    let imports = document.get("imports").and_then(Value::as_array);
    let imports = imports.into_iter().flatten().filter_map(Value::as_str);
    imports.map(PathBuf::from).collect()
}

/// The directories that a containerd reads by itself: none before 2.2 (containerd-k3s-facts 1.2), and none in
/// any version with mirrors of the old kind.
pub(super) fn default_roots(read: &ConfigPath, version: Option<&str>) -> Vec<&'static Path> {
    let by_itself = version
        .and_then(major_minor)
        .is_some_and(|version| version >= (2, 2));
    if by_itself && !read.has_mirrors {
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

/// What to add, for the version of the format that is in use.
pub(super) fn lines_to_add(format: u32, certs_d: &Path) -> String {
    let table = if format >= 3 {
        "io.containerd.cri.v1.images"
    } else {
        "io.containerd.grpc.v1.cri"
    };
    let head = if format == 0 { "version = 2\n" } else { "" };
    let table = if format == 1 { "cri" } else { table };
    format!(
        "{head}[plugins.\"{table}\".registry]\n  config_path = \"{}\"",
        certs_d.display()
    )
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
