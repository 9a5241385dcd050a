//! `harbor-pilot doctor`: the node from end to end. Facts are gathered by thin readers, all at once and within limits;
//! judgements are pure functions from facts to findings, each with a code for programs and a remedy for people.
//!
//! Changes nothing: what it pulls for a test is its own image, and is taken away again. Asks sources for no more than
//! the agent itself would.

mod access;
pub(crate) mod agent;
mod certificates;
mod clock;
pub(crate) mod code;
pub(crate) mod environment;
mod files;
mod look;
mod names;
pub(crate) mod port;
mod pull;
pub(crate) mod report;
mod sources;
#[cfg(test)]
mod testing;
mod tool;
mod verdict;

use crate::admin::{Status, Verdict};
use crate::config::{BaseUrl, Config};
use crate::node::detect::Machine;
use crate::node::files::Tiers;
use agent::{AgentFacts, ConfigFacts};
use environment::Environment;
use files::FilesFacts;
use futures_util::future::join_all;
use look::Looked;
use pull::Trial;
use report::{Check, Report};
use sources::SourceFacts;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tool::Tool;

/// For everything about files; a dead network file system must not hold up the rest.
const FILES_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The configuration that the rest is about.
    pub config: Arc<Config>,
    /// What is known of its files.
    pub files: ConfigFacts,
    /// What is known of the agent.
    pub agent: AgentFacts,
    pub machine: Arc<Machine>,
    /// Tiers that may stand in a file.
    pub tiers: Tiers,
    /// Environment variables of the shell in which doctor runs.
    pub environment: Environment,
    /// For the test image's tag.
    pub nonce: u64,
}

/// The checks by name, in the order of the report.
pub(crate) const CHECKS: [&str; 9] = [
    "configuration",
    "agent",
    "files",
    "environment",
    "dns",
    "connections",
    "clock",
    "access",
    "pull",
];

/// Makes every check, within 20 seconds or so. `done` is told which checks are over.
pub(crate) async fn examine(subject: &Subject, done: &dyn Fn(&[&str])) -> Report {
    let status = match &subject.agent.status {
        Some(Ok(status)) => Some(status),
        _ => None,
    };
    let configuration = agent::configuration(&subject.files, status);
    let agent = agent::agent(&subject.agent);
    done(&["configuration", "agent"]);
    if subject.files.is_hidden().is_some() {
        return without_configuration(subject, configuration, agent, done);
    }
    let on_disk = async {
        let (files, facts) = files_of(subject, status).await;
        done(&["files"]);
        let pull = pull_of(subject, facts.as_ref()).await;
        done(&["pull"]);
        (files, pull)
    };
    let outside = async {
        let sources = sources::look(&subject.config).await;
        let judged = outside_of(subject, &sources).await;
        done(&["environment", "dns", "connections", "clock", "access"]);
        judged
    };
    let ((files, pull), outside) = tokio::join!(on_disk, outside);
    let mut checks = vec![configuration, agent, files];
    checks.extend(outside);
    checks.push(pull);
    let verdict = verdict::settle(&mut checks, &subject.agent);
    Report { verdict, checks }
}

/// Somebody who may not read the configuration learns what the agent says, if it is where it is without one.
fn without_configuration(
    subject: &Subject,
    configuration: Check,
    agent: Check,
    done: &dyn Fn(&[&str]),
) -> Report {
    let why = "the configuration cannot be read: run doctor as root";
    let mut checks = vec![configuration];
    checks.push(match subject.agent.answers() {
        true => agent,
        false => Check::not_made("agent", why),
    });
    let (_, rest) = CHECKS.split_at(checks.len());
    checks.extend(rest.iter().map(|name| Check::not_made(name, why)));
    done(rest);
    let verdict = match subject.agent.answers() {
        true => verdict::settle(&mut checks, &subject.agent),
        // Nothing is known.
        false => Verdict::Ready,
    };
    Report { verdict, checks }
}

/// What was seen of the sources, judged.
async fn outside_of(subject: &Subject, sources: &[SourceFacts]) -> Vec<Check> {
    let config = &subject.config;
    let (root, here) = (
        subject.machine.root().to_owned(),
        subject.environment.clone(),
    );
    let places = spawn_blocking(move || environment::places(&root, &here));
    let places = timeout(FILES_LIMIT, places).await;
    let places = places.ok().and_then(Result::ok).unwrap_or_default();
    let upstreams_are_dns = !environment::explains(&places, sources);
    let agent = config.server.listen.first().map(|listen| BaseUrl {
        https: false,
        host: listen.ip().to_string(),
        port: listen.port(),
        prefix: String::new(),
    });
    let is_closed = config.server.require_header.is_some();
    vec![
        environment::environment(sources, &places, config, agent.as_ref()),
        names::names(sources, &config.dns.nameservers, upstreams_are_dns),
        certificates::connections(sources, SystemTime::now(), clock::ahead(sources)),
        clock::clock(sources),
        access::access(sources, is_closed),
    ]
}

async fn files_of(subject: &Subject, status: Option<&Status>) -> (Check, Option<FilesFacts>) {
    let (machine, config) = (subject.machine.clone(), subject.config.clone());
    let tiers = subject.tiers.clone();
    let agent_alive = subject.agent.answers();
    let look = spawn_blocking(move || {
        look::look(Looked {
            machine: &machine,
            config: &config,
            agent_alive,
            tiers: &tiers,
        })
    });
    let Ok(Ok(mut facts)) = timeout(FILES_LIMIT, look).await else {
        let why = format!(
            "the node's files could not be read within {} s",
            FILES_LIMIT.as_secs()
        );
        return (Check::not_made("files", why), None);
    };
    facts.troubles = status
        .map(|status| status.node_troubles.clone())
        .unwrap_or_default();
    (files::files(&facts), Some(facts))
}

/// Whether pulls go round the agent, where there is a containerd and a file that names the agent.
async fn pull_of(subject: &Subject, facts: Option<&FilesFacts>) -> Check {
    let skip = |why: &str| Check::not_applicable("pull", why);
    let Some(facts) = facts else {
        return skip("the node's files are not known");
    };
    if facts
        .detected
        .findings
        .iter()
        .any(|finding| finding.degraded)
    {
        return skip("containerd does not read the directory, as the check of the files says");
    }
    let answering = subject
        .agent
        .listen
        .iter()
        .find(|listener| listener.answers);
    let Some(agent) = answering else {
        return skip("the agent does not answer");
    };
    let registries = facts.registries_of_agent();
    let (false, Some(certs_d)) = (registries.is_empty(), &facts.detected.certs_d) else {
        return skip("no host configuration names the agent first");
    };
    let detected = &facts.detected;
    let tool = Tool::find(
        subject.machine.root(),
        detected.runtime,
        detected.data_dir.as_deref(),
        &subject.environment,
    );
    let tool = match tool {
        Ok(tool) => tool,
        Err(why) => return skip(&why),
    };
    let numbers = 0..;
    let trials = registries
        .into_iter()
        .zip(numbers)
        .map(|(registry, number)| Trial {
            tool: tool.clone(),
            agent: agent.dialled(),
            key: subject.config.server.require_header.clone(),
            registry: registry.to_owned(),
            certs_d: certs_d.clone(),
            nonce: subject.nonce.wrapping_add(number),
        });
    let pulls = trials.map(|trial| async {
        let reference = trial.reference();
        pull::pull(&reference, &tool, &trial.run().await)
    });
    pull::together(join_all(pulls).await)
}
