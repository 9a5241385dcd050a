//! Texts that one generation of containerd reads and another ignores, all of them and without a word to the pull
//! (containerd-k3s-facts 1.2, 1.6, 13.7).

use super::view;
use toml_edit::Document;

/// The first that reads any text as a key.
const ANY_KEY: (u32, u32) = (2, 0);
/// The first that knows the capability `referrers`.
const REFERRERS: (u32, u32) = (2, 2);

/// Why the containerd of that version ignores a text; one that is not known could be any.
#[must_use]
pub fn ignored_by(text: &str, version: Option<(u32, u32)>) -> Option<String> {
    let mut hosts = view::read(text).ok()?.hosts;
    // The keys above the tables describe the server, written or not.
    let document = Document::parse(text).ok()?;
    hosts.push(view::seen("server".to_owned(), document.as_table()));
    let since = |first| version.is_some_and(|version| version >= first);
    let shown = version.map_or(
        "of a version that is not known".to_owned(),
        |(major, minor)| format!("{major}.{minor}"),
    );
    for host in &hosts {
        if host.url.contains(']') && !since(ANY_KEY) {
            return Some(format!(
                "containerd {shown} ignores a file with the table [host.{:?}]: give that host a name, or take the table out",
                host.url
            ));
        }
        let known = |word: &&String| match word.to_ascii_lowercase().as_str() {
            "pull" | "resolve" | "push" => true,
            "referrers" => since(REFERRERS),
            _ => false,
        };
        if let Some(word) = host.capabilities.iter().find(|word| !known(word)) {
            return Some(format!(
                "containerd {shown} ignores a file with the capability {word:?} ({}): take it out",
                host.url
            ));
        }
    }
    None
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
        let versions = [None, Some((1, 7)), Some((2, 1)), Some((2, 2))];
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
}
