//! Which known word was probably meant: by other programs' names for the same thing, else by the fewest
//! edits.

use strsim::levenshtein;

/// Keys that people bring along from containerd, k3s, nginx and Docker, with ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("address", "listen"),
    ("bind", "listen"),
    ("ca", "ca_file"),
    ("ca_cert", "ca_file"),
    ("cert_file", "client_cert_file"),
    ("endpoint", "url"),
    ("host", "url"),
    ("insecure", "insecure_skip_verify"),
    ("key_file", "client_key_file"),
    ("level", "filter"),
    ("mirror", "tier"),
    ("mirrors", "tier"),
    ("namespace", "registries"),
    ("password", "password_file"),
    ("path", "directory"),
    ("rewrite", "project"),
    ("server", "upstream"),
    ("skip_verify", "insecure_skip_verify"),
    ("token", "password_file"),
    ("type", "kind"),
    ("user", "username"),
];

/// The known word that `word` most probably stands for.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = word.to_ascii_lowercase().replace('-', "_");
    if let Some(same) = known.iter().find(|known| **known == plain) {
        return Some(same);
    }
    let elsewhere = ELSEWHERE.iter().find(|(theirs, _)| *theirs == plain);
    if let Some((_, ours)) = elsewhere
        && let Some(known) = known.iter().find(|known| *known == ours)
    {
        return Some(known);
    }
    // A third of the word may be wrong, else the hint would mislead more than it helps. A word that is that much longer or shorter
    // is not compared: what stands in a file may be of any length.
    let length = plain.chars().count();
    let most = |known: &str| (length.max(known.len()) / 3).max(1);
    let alike = known
        .iter()
        .filter(|known| length.abs_diff(known.len()) <= most(known));
    let best = alike.min_by_key(|known| levenshtein(&plain, known))?;
    (levenshtein(&plain, best) <= most(best)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_word_of_any_length_is_looked_at_in_no_time() {
        let long = "x".repeat(3_000_000);
        let since = Instant::now();
        let known: Vec<&str> = ELSEWHERE.iter().map(|(_, ours)| *ours).collect();
        assert_eq!(nearest(&long, &known), None);
        assert_eq!(nearest(&"url".repeat(1_000_000), &known), None);
        assert!(since.elapsed() < Duration::from_secs(3), "{since:?}");
    }
}
