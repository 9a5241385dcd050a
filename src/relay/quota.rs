//! What a registry says of its quota: how much is left.

use crate::http1::Fields;
use http::header::HeaderName;

/// `ratelimit-remaining: 76;w=21600` as Docker Hub sends it with every manifest (harbor-facts 8).
pub(crate) fn remaining(fields: &Fields) -> Option<u64> {
    const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
    let value = fields.text(&REMAINING)?;
    value.split(';').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_as_docker_hub_says_it() {
        let table = [
            ("76;w=21600", Some(76)),
            ("0;w=21600", Some(0)),
            (" 99 ", Some(99)),
            ("", None),
            ("-1;w=1", None),
            ("many", None),
        ];
        for (value, due) in table {
            let fields = Fields::from_iter([("RateLimit-Remaining", value)]);
            assert_eq!(remaining(&fields), due, "{value}");
        }
        assert_eq!(remaining(&Fields::default()), None);
    }
}
