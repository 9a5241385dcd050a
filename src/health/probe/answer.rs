//! What the answer to a probe means. Pure.

#[cfg(test)]
mod tests;

use super::Verdict;
use crate::printable::blanked;
use crate::topology::Failure;
use http::StatusCode;
use serde::Deserialize;

/// The components that a pull needs; the others (trivy, portal, jobservice, registryctl, and those of other
/// versions) say nothing about it (harbor-facts 1.2).
const NEEDED: [&str; 4] = ["core", "database", "redis", "registry"];

/// Of a component's own words, in characters.
const ERROR_CHARS: usize = 120;

#[derive(Deserialize)]
struct Health {
    status: Option<String>,
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    status: String,
    error: Option<String>,
}

/// `GET /api/v2.0/health`: 200 even when unhealthy, so its JSON is read.
pub(super) fn harbor(status: StatusCode, body: &[u8]) -> Verdict {
    match status {
        StatusCode::OK => {}
        // Too many probes behind one address: it is there, and more is not known.
        StatusCode::TOO_MANY_REQUESTS => return Verdict::Passed,
        other => return unexpected(other),
    }
    let health: Health = match serde_json::from_slice(body) {
        Ok(health) => health,
        Err(error) => return content(format!("no health JSON: {error}")),
    };
    let Some(components) = health.components else {
        return match health.status.as_deref() {
            Some("healthy") => Verdict::Passed,
            Some(other) => Verdict::Unhealthy(printable(other)),
            None => content("no health JSON: neither components nor status".to_owned()),
        };
    };
    let unhealthy: Vec<String> = components
        .into_iter()
        .filter(|c| NEEDED.contains(&c.name.as_str()) && c.status != "healthy")
        .map(|component| {
            let said = component.error.unwrap_or(component.status);
            format!("{}: {}", component.name, printable(&said))
        })
        .collect();
    match unhealthy.as_slice() {
        [] => Verdict::Passed,
        _ => Verdict::Unhealthy(unhealthy.join("; ")),
    }
}

/// `GET /v2/`: 401 is how a registry that wants tokens says that it is there.
pub(super) fn v2(status: StatusCode) -> Verdict {
    match status {
        StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Passed
        }
        other => unexpected(other),
    }
}

fn unexpected(status: StatusCode) -> Verdict {
    let failure = match status.is_server_error() {
        true => Failure::ServerError,
        false => Failure::Content,
    };
    let detail = format!("status {}", status.as_u16());
    Verdict::Failed { failure, detail }
}

fn content(detail: String) -> Verdict {
    let failure = Failure::Content;
    Verdict::Failed { failure, detail }
}

/// A stranger's words, short and on one line.
fn printable(text: &str) -> String {
    blanked(text).take(ERROR_CHARS).collect()
}
