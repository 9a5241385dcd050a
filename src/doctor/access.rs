//! Whether the tiers let us pull, project by project. Facts in, findings out.

use super::code::Code;
use super::report::Check;
use super::sources::{AccessAnswer, AccessFacts, EndpointFacts, SourceFacts};
use crate::printable::counted;
use crate::topology::SourceKind;

/// What a configured user name opens (design S6), in one sentence.
fn opened(tier: &str) -> String {
    format!(
        "every process on this node that reaches the agent's port can pull what the account of tier {tier} can; \
         [server] require_header_file closes that on shared nodes"
    )
}

/// Accounts and projects. `is_closed`: the agent asks its clients for a header.
pub(super) fn access(sources: &[SourceFacts], is_closed: bool) -> Check {
    let tiers: Vec<&SourceFacts> = sources.iter().filter(|one| one.is_tier()).collect();
    if tiers.is_empty() {
        return Check::not_applicable("access", "there is no tier");
    }
    let asked: usize = tiers
        .iter()
        .flat_map(|one| &one.endpoints)
        .map(|one| one.access.len())
        .sum();
    let requests = counted(asked as u64, "pull request", "pull requests");
    let mut check = match asked {
        0 => Check::not_applicable("access", "no tier could be asked"),
        n => Check::made("access", format!("{n} of {requests} allowed")),
    };
    for one in &tiers {
        if let Some(credential) = &one.source.credential
            && !credential.username.is_empty()
            && !is_closed
        {
            check.note(opened(one.source.id.label()));
        }
        for endpoint in &one.endpoints {
            for fact in &endpoint.access {
                judge(&mut check, one, endpoint, fact);
            }
        }
    }
    if !check.findings.is_empty() {
        let allowed = asked.saturating_sub(check.findings.len());
        check.said = format!("{allowed} of {requests} allowed");
    }
    check
}

fn judge(check: &mut Check, one: &SourceFacts, endpoint: &EndpointFacts, fact: &AccessFacts) {
    let subject = format!("{} project {}", endpoint.id, fact.project);
    let answer = match &fact.answer {
        Ok(answer) => answer,
        Err(why) => {
            return check.error(
                Code::TierFails,
                subject,
                why,
                "look at that Harbor and at what it caches: one that waits for its own upstream is silent for a long time",
            );
        }
    };
    let AccessAnswer {
        status,
        denied,
        message,
    } = answer;
    let said = if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    };
    // It names the address, as the finding does.
    let address = format!("{}: ", endpoint.id);
    let why = denied
        .as_deref()
        .map(|why| format!(": {}", why.strip_prefix(&address).unwrap_or(why)))
        .unwrap_or_default();
    let is_harbor = one.source.kind == SourceKind::Harbor;
    match status {
        404 if is_harbor && is_its_own_word(message) => check.warn(
            Code::TierFails,
            subject,
            format!("it did not ask its upstream{said}: what it has not cached is not found there"),
            "see Administration > Registries on that Harbor: one that it calls unhealthy is not asked for up to 5 minutes; test the connection there, and see that the project is a proxy cache",
        ),
        // No such image: that is what was asked for.
        200..=299 | 404 => {}
        401 | 403 if is_missing(message) || is_missing(&why) => check.error(
            Code::ProjectMissing,
            subject,
            format!("it has no such project{said}"),
            format!("correct project or [tier.projects] for {} (docs/layouts.md), or create the proxy-cache project there", fact.registry),
        ),
        401 | 403 => {
            let instead = match &one.source.credential {
                Some(credential) => format!(
                    "see that the account {} exists, has not expired (robots do after 30 days by default) and may pull from the project; a robot's $ stays as it is; then the password file",
                    credential.username
                ),
                None => "make the project public, or give the tier username and password_file; see that the project exists".to_owned(),
            };
            check.error(Code::TierDenied, subject, format!("it answers {status}{why}{said}"), instead);
        }
        429 if message.contains(UPSTREAMS_LIMIT) => check.warn(
            Code::TierFails,
            subject,
            format!("it answers 429: its own upstream limits it{said}"),
            "the limit is between that Harbor and the registry behind it: give the registry endpoint an account (Administration > Registries, Access ID and secret), or wait; more addresses of this tier change nothing. The agent asks the next source for that repository meanwhile, and what the tier has of others it serves",
        ),
        429 => check.warn(
            Code::TierFails,
            subject,
            format!("it answers 429: it is asked too often{said}"),
            "raise the limit in front of that tier, or give the nodes more addresses",
        ),
        _ => check.error(
            Code::TierFails,
            subject,
            format!("it answers {status}{said}"),
            "look at that server's log; the agent asks the next source meanwhile",
        ),
    }
}

/// Harbor's own words for what its upstream said (harbor-facts 13.8).
const UPSTREAMS_LIMIT: &str = "too many requests to upstream registry";

/// Harbor's own words (harbor-facts 13.4), or the exchange's for them.
fn is_missing(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let is_missing = message.contains("not found") || message.contains("no such");
    message.contains("project") && is_missing
}

/// `repository X not found` is Harbor's own word, `resource not found: repo X, tag Y` is its upstream's (harbor-facts 13.9).
fn is_its_own_word(message: &str) -> bool {
    message.starts_with("repository ") && message.ends_with(" not found")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{endpoint, tier};
    use super::*;
    use crate::config::{Credential, Secret};
    use std::sync::Arc;

    fn of(
        answer: Result<(u16, Option<&str>, &str), &str>,
        username: Option<&str>,
        closed: bool,
    ) -> Check {
        let mut one = tier("replica", "https://replicas.example.com");
        if let Some(username) = username {
            Arc::make_mut(&mut one.source).credential = Some(Credential {
                username: username.to_owned(),
                password: Secret::new("never-shown"),
            });
        }
        let mut at = endpoint(&one, "192.0.2.1:443");
        at.access.push(AccessFacts {
            registry: "docker.io".parse().unwrap(),
            project: "proxy-docker-io".to_owned(),
            answer: answer
                .map_err(str::to_owned)
                .map(|(status, denied, message)| AccessAnswer {
                    status,
                    denied: denied.map(str::to_owned),
                    message: message.to_owned(),
                }),
        });
        one.endpoints.push(at);
        access(&[one], closed)
    }

    #[test]
    fn what_an_answer_means() {
        let no: &[&str] = &[];
        let table = [
            (Ok((404, None, "")), no),
            (Ok((200, None, "")), no),
            (
                Ok((401, Some("401 in spite of a fresh token"), "unauthorized")),
                &["tier-denied"],
            ),
            (Ok((403, None, "denied")), &["tier-denied"]),
            (
                Ok((401, Some("x"), "project proxy-docker-io not found: x")),
                &["project-missing"],
            ),
            (
                Ok((
                    401,
                    Some("401 in spite of a fresh token: there is no such project"),
                    "",
                )),
                &["project-missing"],
            ),
            (
                Ok((
                    404,
                    None,
                    "resource not found: repo library/x, tag doctor not found",
                )),
                no,
            ),
            (
                Ok((404, None, "repository proxy-docker-io/x not found")),
                &["tier-fails"],
            ),
            (Ok((429, None, "")), &["tier-fails"]),
            (Ok((502, None, "")), &["tier-fails"]),
            (Err("no answer within 6 s"), &["tier-fails"]),
        ];
        for (answer, due) in table {
            assert_eq!(of(answer, None, false).codes(), due, "{answer:?}");
        }
    }

    #[test]
    fn the_remedy_of_a_limit_is_where_the_limit_is() {
        let own = of(Ok((429, None, "")), None, false);
        assert!(own.findings[0].instead.contains("in front of that tier"));
        let words = "too many requests to upstream registry";
        let upstreams = of(Ok((429, None, words)), None, false);
        let finding = &upstreams.findings[0];
        assert!(finding.instead.contains("Registries"), "{finding:?}");
        assert!(finding.what.contains("its own upstream"), "{finding:?}");
    }

    #[test]
    fn the_remedy_fits_the_account_and_shows_no_secret() {
        let anonymous = of(Ok((401, None, "")), None, false);
        assert!(
            anonymous.findings[0].instead.contains("username"),
            "{anonymous:?}"
        );
        let robot = of(Ok((401, None, "")), Some("robot$node"), false);
        assert!(
            robot.findings[0].instead.contains("robot$node"),
            "{robot:?}"
        );
        assert!(!format!("{robot:?}").contains("never-shown"));
    }

    #[test]
    fn an_open_account_is_noted_and_no_finding() {
        let open = of(Ok((404, None, "")), Some("robot$node"), false);
        assert!(open.codes().is_empty());
        assert!(open.notes[0].contains("require_header_file"), "{open:?}");
        assert!(
            of(Ok((404, None, "")), Some("robot$node"), true)
                .notes
                .is_empty()
        );
        assert!(of(Ok((404, None, "")), None, false).notes.is_empty());
    }
}
