//! Texts that an older containerd ignores as a whole and a newer one reads.

use super::read::{View, read};
use crate::node::detect::Version;

/// The first containerd that reads any text as a key.
const ANY_KEY: Version = (2, 0, 0);
/// The first that reads a file without any `host` table.
const NO_HOST: Version = (1, 7, 32);
/// The first that knows the capability `referrers`.
const REFERRERS: Version = (2, 2, 0);

/// Why the containerd of that version ignores a text that another generation reads, all of it and without a word to the
/// pull (containerd-k3s-facts 1.2, 1.6, 13.7); a version that is not known could be any.
pub(crate) fn ignored_by(text: &str, version: Option<Version>) -> Option<String> {
    let View { hosts, root, .. } = read(text).ok()?;
    let since = |first| version.is_some_and(|version| version >= first);
    let shown = version.map_or(
        "of a version that is not known".to_owned(),
        |(major, minor, patch)| format!("{major}.{minor}.{patch}"),
    );
    let known = |word: &&String| match word.to_ascii_lowercase().as_str() {
        "pull" | "resolve" | "push" => true,
        "referrers" => since(REFERRERS),
        _ => false,
    };
    hosts.iter().chain([&root]).find_map(|host| {
        let url = &host.url;
        if url.contains(']') && !since(ANY_KEY) {
            return Some(format!(
                "containerd {shown} ignores a file with the table [host.{url:?}]: give that host a name, or take the table out"
            ));
        }
        let word = host.capabilities.iter().find(|word| !known(word))?;
        Some(format!(
            "containerd {shown} ignores a file with the capability {word:?} ({url}): take it out"
        ))
    })
}

/// Why a containerd that is known to be older takes a text that it can read for none: no `host` table is in it. With ours in
/// it what else it says would begin to count.
pub(crate) fn without_host(text: &str, version: Option<Version>) -> Option<String> {
    let (major, minor, patch) = version.filter(|version| *version < NO_HOST)?;
    let view = read(text).ok()?;
    let has_none = view.bare_host.is_none() && view.hosts.is_empty();
    has_none.then(|| {
        format!("containerd {major}.{minor}.{patch} ignores a file without a [host] table: add the line [host] at its end, or move it away")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_generation_reads_another_ignores() {
        let ipv6 = "[host.\"http://[fd00::5]:5000\"]\n";
        let server = "server = \"http://[fd00::5]:5000\"\n[host]\n";
        let referrers = "[host.\"https://a\"]\ncapabilities = [\"pull\", \"referrers\"]\n";
        let word = "capabilities = [\"pulling\"]\n";
        let plain = "[host.\"https://a\"]\ncapabilities = [\"Pull\", \"RESOLVE\"]\n";
        let versions = [None, Some((1, 7, 35)), Some((2, 1, 9)), Some((2, 2, 0))];
        for (text, ignored) in [
            (ipv6, [true, true, false, false]),
            (server, [false; 4]),
            (referrers, [true, true, true, false]),
            (word, [true; 4]),
            (plain, [false; 4]),
        ] {
            let found = versions.map(|version| ignored_by(text, version).is_some());
            assert_eq!(found, ignored, "{text}");
        }
    }

    #[test]
    fn without_a_host_table_an_older_one_reads_nothing() {
        let server = "server = \"https://a\"\n";
        let versions = [
            (None, false),
            (Some((1, 6, 20)), true),
            (Some((1, 7, 31)), true),
            (Some((1, 7, 32)), false),
            (Some((2, 0, 0)), false),
        ];
        for (version, expected) in versions {
            let found = |text: &str| without_host(text, version).is_some();
            assert_eq!(found(server), expected, "{version:?}");
            assert_eq!(found("# nothing\n"), expected, "{version:?}");
            for host in ["[host]\n", "[host.\"https://m\"]\n"] {
                assert!(!found(&format!("{server}{host}")), "{version:?}");
            }
        }
    }
}
