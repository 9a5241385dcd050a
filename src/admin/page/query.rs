//! The query of the page: which pulls are shown.

use crate::telemetry::{Pull, RequestOutcome};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// What was asked for. An empty text asks for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::admin) struct Query {
    /// A part of the image's name.
    pub(in crate::admin) image: String,
    /// A word of [`RequestOutcome`].
    pub(in crate::admin) outcome: String,
    /// A tier's name; `none`: nobody served.
    pub(in crate::admin) tier: String,
    /// The page's parts alone, as JSON.
    pub(in crate::admin) is_for_script: bool,
}

/// Of a pull that nobody served.
pub(super) const NOBODY: &str = "none";

// === impl Query ===

impl Query {
    /// Reads `image=…&outcome=…`; what is not known is left out.
    pub(in crate::admin) fn read(query: Option<&str>) -> Self {
        let mut read = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "image" => read.image = value,
                "outcome" => read.outcome = value,
                "tier" => read.tier = value,
                "view" => read.is_for_script = value == "page",
                _ => {}
            }
        }
        read
    }

    /// Whether a pull is among what was asked for.
    pub(super) fn admits(&self, pull: &Pull) -> bool {
        let wanted = self.image.trim().to_ascii_lowercase();
        let has_name = wanted.is_empty() || {
            let image = format!("{}:{}", image(pull), pull.reference);
            image.to_ascii_lowercase().contains(&wanted)
        };
        let outcome = self.outcome.is_empty() || self.outcome == pull.outcome.word();
        let tier = self.tier.is_empty() || self.tier == served_by(pull);
        has_name && outcome && tier
    }

    /// Each outcome, and whether it is the one that was asked for.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let words = RequestOutcome::ALL.iter().map(|outcome| outcome.word());
        words.map(|word| (word, self.outcome == word))
    }
}

/// The image of a pull without its tag: what pulls are grouped by.
pub(super) fn image(pull: &Pull) -> Cow<'_, str> {
    match (&pull.registry, pull.repository.as_str()) {
        (None, "") => Cow::Borrowed("(no image)"),
        (None, repository) => Cow::Borrowed(repository),
        (Some(registry), repository) => Cow::Owned(format!("{registry}/{repository}")),
    }
}

/// The tier of a pull, or that nobody served it.
pub(super) fn served_by(pull: &Pull) -> &str {
    match &*pull.tier {
        "" => NOBODY,
        tier => tier,
    }
}

fn decoded(value: &str) -> String {
    let spaces = value.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_chooses_pulls() {
        let pull = Pull {
            registry: Some("docker.io".parse().unwrap()),
            repository: "library/nginx".to_owned(),
            reference: "1.27".to_owned(),
            outcome: RequestOutcome::Failover,
            tier: "core".into(),
            ..Pull::default()
        };
        for (query, due) in [
            ("", true),
            ("image=NGINX", true),
            ("image=docker.io%2Flibrary%2Fnginx%3A1.27&nonsense", true),
            ("image=+nginx+", true),
            ("image=redis", false),
            ("outcome=failover&tier=core", true),
            ("outcome=failover&tier=none", false),
            ("outcome=served", false),
            ("image=%ff&outcome", false),
        ] {
            assert_eq!(Query::read(Some(query)).admits(&pull), due, "{query}");
        }
        assert!(Query::read(Some("view=page")).is_for_script);
        assert_eq!(Query::read(None), Query::default());
    }
}
