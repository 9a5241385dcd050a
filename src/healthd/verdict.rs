//! What Harbor's answer to `GET /api/v2.0/health` means. Pure.

use crate::printable::blanked;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Components of one answer. Harbor has eight.
const COMPONENTS: usize = 64;

/// Of a component's own words, in characters.
const WORDS: usize = 200;

/// Which components must be healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Require {
    /// Every component of the answer, as GlueOps' script does it.
    All,
    /// These; each must be in the answer.
    Of(BTreeSet<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    /// Why it is unhealthy, for people; empty: it is healthy.
    pub reason: String,
    /// Harbor's own list; empty: there was none.
    pub components: Vec<Component>,
}

/// A component as Harbor names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Component {
    /// `core`, `database`, …
    pub name: String,
    /// `healthy` or `unhealthy`; what else stands there is unknown.
    pub status: String,
    /// Harbor's words, where it is unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Health {
    status: Option<String>,
    components: Option<Vec<Component>>,
}

// === impl Require ===

impl Require {
    /// From a list such as `core,database`, or `all`.
    ///
    /// # Errors
    /// In words: an empty list, or a name with other characters than lower-case letters.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let names: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        match names.iter().find(|name| !is_name(name)) {
            None => Ok(Self::Of(names)),
            Some(name) => Err(format!(
                "{name:?} is no component: write all, or names of Harbor's components with commas, such as core,database,redis,registry"
            )),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(names) => names.contains(name),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether the answer is 200.
    #[must_use]
    pub(crate) fn is_healthy(&self) -> bool {
        self.reason.is_empty()
    }

    #[must_use]
    pub(crate) fn unhealthy(reason: impl Into<String>) -> Self {
        Self::new(reason.into(), Vec::new())
    }

    fn new(reason: String, components: Vec<Component>) -> Self {
        let status = match reason.is_empty() {
            true => "healthy",
            false => "unhealthy",
        };
        Self {
            status,
            reason,
            components,
        }
    }
}

/// Judges an answer. Everything but a list in which all that is required is healthy is unhealthy: a checker must not take
/// what it cannot read for good.
#[must_use]
pub(super) fn judge(status: StatusCode, body: &[u8], require: &Require) -> Verdict {
    if status != StatusCode::OK {
        return Verdict::unhealthy(format!("Harbor answered with status {}", status.as_u16()));
    }
    if body.trim_ascii_start().starts_with(b"<") {
        return Verdict::unhealthy("Harbor answered with HTML instead of JSON");
    }
    let health: Health = match serde_json::from_slice(body) {
        Ok(health) => health,
        Err(error) => {
            return Verdict::unhealthy(format!("Harbor's answer is no health report: {error}"));
        }
    };
    let components = health.components.unwrap_or_default();
    if components.is_empty() || components.len() > COMPONENTS {
        let count = components.len();
        return Verdict::unhealthy(format!("Harbor's answer lists {count} components"));
    }
    let components: Vec<Component> = components.into_iter().map(Component::printable).collect();
    let mut reasons: Vec<String> = components
        .iter()
        .filter(|component| require.has(&component.name))
        .filter_map(Component::trouble)
        .collect();
    match require {
        Require::All => {
            let overall = health.status.as_deref().unwrap_or("missing");
            if reasons.is_empty() && overall != "healthy" {
                let overall: String = blanked(overall).take(WORDS).collect();
                reasons.push(format!("Harbor's overall status is {overall}"));
            }
        }
        Require::Of(names) => {
            let is_listed = |name: &&String| components.iter().any(|one| one.name == **name);
            let missing = names.iter().filter(|name| !is_listed(name));
            reasons.extend(missing.map(|name| format!("{name}: not in Harbor's answer")));
        }
    }
    Verdict::new(reasons.join("; "), components)
}

// === impl Component ===

impl Component {
    fn trouble(&self) -> Option<String> {
        let name = &self.name;
        match (self.status.as_str(), &self.error) {
            ("healthy", _) => None,
            ("unhealthy", Some(error)) => Some(format!("{name}: {error}")),
            ("unhealthy", None) => Some(format!("{name}: unhealthy")),
            (unknown, _) => Some(format!("{name}: unknown status {unknown:?}")),
        }
    }

    fn printable(self) -> Self {
        let short = |text: &str| blanked(text).take(WORDS).collect::<String>();
        Self {
            name: short(&self.name),
            status: short(&self.status),
            error: self.error.as_deref().map(short),
        }
    }
}

#[cfg(test)]
mod tests;
