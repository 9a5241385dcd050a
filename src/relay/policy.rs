//! Why a Harbor's policy denies an image: its words, as a closed set for metrics (harbor-facts, "Classification table").

/// `vulnerability`, `signature`, `quota` or `other`.
pub(crate) fn reason(detail: &str) -> &'static str {
    let detail = detail.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if says(&["signature", "signed", "cosign", "notation", "notary"]) {
        "signature"
    } else if says(&["vulnerab", "severity", "scan", "cve"]) {
        "vulnerability"
    } else if says(&["quota"]) {
        "quota"
    } else {
        "other"
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn harbors_words_have_a_reason() {
        let table = [
            (
                "status 412, current image with 3 vulnerabilities cannot be pulled due to configured policy",
                "vulnerability",
            ),
            (
                "status 412, The image is not signed by cosign.",
                "signature",
            ),
            (
                "status 403, adding 1 GiB of storage resource would exceed the quota",
                "quota",
            ),
            ("status 403", "other"),
        ];
        for (detail, due) in table {
            assert_eq!(reason(detail), due, "{detail}");
        }
    }
}
