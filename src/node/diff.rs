//! Unified diffs of the node's files, as `plan` shows them.

use crate::config::Secret;
use similar::TextDiff;

/// The change from `old` to `new` of the file at `path`, with three lines around; empty if there is none.
/// `None` is a file that is not there. Secrets are taken out of what is shown (design S2).
pub(crate) fn unified(
    path: &str,
    old: Option<&str>,
    new: Option<&str>,
    secrets: &[&Secret],
) -> String {
    if old == new {
        return String::new();
    }
    let name = |text: Option<&str>| text.map_or("/dev/null", |_| path);
    let names = (name(old), name(new));
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let diff = TextDiff::from_lines(old, new);
    let mut shown = diff
        .unified_diff()
        .context_radius(3)
        .header(names.0, names.1)
        .to_string();
    if shown.is_empty() {
        // A file comes or goes without a byte in it.
        shown = format!("--- {}\n+++ {}\n", names.0, names.1);
    }
    for secret in secrets.iter().filter(|secret| !secret.reveal().is_empty()) {
        shown = shown.replace(secret.reveal(), "[redacted]");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_change_and_nothing_else() {
        let (old, new) = ("a\nb\nc\n", "a\nB\nc\n");
        let expected = "--- f\n+++ f\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n";
        assert_eq!(unified("f", Some(old), Some(new), &[]), expected);
        assert_eq!(unified("f", Some(old), Some(old), &[]), "");
        assert_eq!(unified("f", None, None, &[]), "");
    }

    #[test]
    fn files_that_come_and_go() {
        let come = unified("f", None, Some("a\n"), &[]);
        assert_eq!(come, "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+a\n");
        let go = unified("f", Some("a"), None, &[]);
        assert!(
            go.starts_with("--- f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"),
            "{go}"
        );
        assert_eq!(unified("f", None, Some(""), &[]), "--- /dev/null\n+++ f\n");
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new("hunter2");
        let shown = unified("f", None, Some("k = \"hunter2\"\n"), &[&secret]);
        assert!(shown.ends_with("+k = \"[redacted]\"\n"), "{shown}");
    }
}
