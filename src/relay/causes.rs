//! What was tried and why it did not serve: the list behind a failed pull's message, short enough for
//! `kubectl describe pod`.

use super::rules::Cause;
use crate::route::Route;
use crate::topology::{EndpointId, Snapshot};

/// The longest message, in bytes (docs/observability.md).
const MAX_MESSAGE: usize = 256;

/// One attempt that did not serve.
#[derive(Clone, Debug)]
pub(crate) struct FailedAttempt {
    /// Who; `None`: a source without any address.
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) label: String,
    pub(crate) cause: Cause,
    pub(crate) detail: String,
}

/// Sources of a route that could not be tried because DNS gives no address for them.
pub(crate) fn without_address(route: &Route, snapshot: &Snapshot) -> Vec<FailedAttempt> {
    let targets = route.targets.iter();
    let states = targets.filter_map(|target| snapshot.source(&target.source));
    let without = states.filter(|state| state.endpoints.is_empty());
    let failed = without.map(|state| {
        let detail = state.dns_error.as_deref();
        FailedAttempt {
            endpoint: None,
            label: state.source.id.label().to_owned(),
            cause: Cause::NoAddress,
            detail: detail.unwrap_or("no answer from DNS").to_owned(),
        }
    });
    failed.collect()
}

impl FailedAttempt {
    /// An address did not serve.
    pub(crate) fn at(endpoint: &EndpointId, cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            endpoint: Some(endpoint.clone()),
            label: endpoint.source.label().to_owned(),
            cause,
            detail: detail.into(),
        }
    }

    fn who(&self) -> String {
        let endpoint = self.endpoint.as_ref();
        endpoint.map_or_else(|| self.label.clone(), ToString::to_string)
    }

    /// The shortest word that helps: the status where there was one, else the cause.
    fn reason(&self) -> &str {
        let status = self.detail.strip_prefix("status ");
        status
            .and_then(|status| status.get(..3))
            .unwrap_or(self.cause.word())
    }
}

/// One line that names every source with its reason, at most 256 bytes: `replica/198.51.100.7:443 refused; …`.
/// Where it would be longer, addresses are left out; where it still would, equal reasons of a source are one.
pub(crate) fn message(prefix: &str, failed: &[FailedAttempt]) -> String {
    let with_addresses = failed
        .iter()
        .map(|failed| format!("{} {}", failed.who(), failed.reason()));
    let full = join(prefix, with_addresses);
    if full.len() <= MAX_MESSAGE {
        return full;
    }
    let mut short: Vec<String> = Vec::new();
    for failed in failed {
        let entry = format!("{} {}", failed.label, failed.reason());
        if !short.contains(&entry) {
            short.push(entry);
        }
    }
    truncated(join(prefix, short.into_iter()))
}

/// All attempts that did not serve, for the log's ERROR field.
pub(crate) fn attempts(failed: &[FailedAttempt]) -> String {
    let entries = failed.iter().map(|failed| {
        let (who, cause) = (failed.who(), failed.cause.word());
        match failed.detail.as_str() {
            "" => format!("{who}: {cause}"),
            detail => format!("{who}: {cause} ({detail})"),
        }
    });
    entries.collect::<Vec<_>>().join("; ")
}

fn join(prefix: &str, entries: impl Iterator<Item = String>) -> String {
    let mut entries: Vec<String> = entries.collect();
    if entries.is_empty() {
        entries.push("no source to ask".to_owned());
    }
    format!("{prefix}: {}", entries.join("; "))
}

fn truncated(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let room = MAX_MESSAGE.saturating_sub('…'.len_utf8());
        text.truncate(text.floor_char_boundary(room));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Failure, SourceId};

    fn failed(name: &str, last: u8, cause: Cause) -> FailedAttempt {
        let source = SourceId::Tier(name.into());
        let address = std::net::SocketAddr::from(([198, 51, 100, last], 443));
        FailedAttempt {
            endpoint: Some(EndpointId { source, address }),
            label: name.to_owned(),
            cause,
            detail: String::new(),
        }
    }

    #[test]
    fn every_source_is_named_with_its_reason() {
        let all = [
            failed("replica", 7, Cause::Failed(Failure::ConnectTimeout)),
            FailedAttempt {
                detail: "status 404, no such tag".to_owned(),
                ..failed("core", 9, Cause::NotFound)
            },
        ];
        assert_eq!(
            message("no source could serve docker.io/library/app", &all),
            "no source could serve docker.io/library/app: replica/198.51.100.7:443 connect_timeout; \
             core/198.51.100.9:443 404"
        );
    }

    #[test]
    fn many_addresses_become_one_line() {
        let mut all: Vec<FailedAttempt> = (0..40)
            .map(|n| failed("replica", n, Cause::Failed(Failure::Refused)))
            .collect();
        all.push(failed("core", 1, Cause::ServerError));
        let line = message("failed", &all);
        assert_eq!(line, "failed: replica refused; core server_error");
    }

    #[test]
    fn the_limit_holds_whatever_the_names() {
        let names: Vec<String> = (0..60)
            .map(|n| format!("tier-with-ä-long-name-{n}"))
            .collect();
        let all: Vec<FailedAttempt> = names
            .iter()
            .map(|name| failed(name, 1, Cause::NotFound))
            .collect();
        assert!(message("failed", &all).len() <= MAX_MESSAGE);
        assert_eq!(message("failed", &[]), "failed: no source to ask");
    }
}
