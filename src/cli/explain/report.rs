//! The report as a value: what `--json` prints, and what the text for people is made of. Pure.

mod router;

pub(super) use router::{RouterCandidate, RouterReport};

use super::image::Image;
use super::view::View;
use crate::admin::Status;
use crate::node::detect::Detected;
use crate::node::shown::RegistryFile;
use crate::oci::RegistryName;
use crate::relay::FinalAnswer;
use crate::route::{Refusal, Route, Target};
use crate::topology::select::Candidate;
use crate::topology::{Source, SourceId, SourceKind};
use serde::Serialize;
use std::sync::Arc;

/// What was found here, and in the file of the image's registry.
pub(super) type Found = (Detected, Option<RegistryFile>);

/// Everything that is shown. Fields may be added, never changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// The reference in full: `docker.io/library/nginx:1.27`.
    pub(super) image: String,
    /// The request that containerd sends to the agent.
    pub(super) request: String,
    /// The registry that is meant; `null` for a project that only a tier has, and if refused.
    pub(super) registry: Option<String>,
    pub(super) repository: Option<String>,
    /// The tag or digest of the image.
    pub(super) reference: String,
    /// There is a candidate; with `--probe`: one that has the manifest, or the agent's copy. As the exit status.
    pub(super) has_path: bool,
    /// The age of the copy with which the running agent answers, where no candidate has the manifest.
    pub(super) stale_seconds: Option<u64>,
    /// `--probe`: the candidates were asked for the manifest.
    pub(super) probed: bool,
    /// What was found on the node, as `status` has it; `null`: it took too long to look.
    pub(super) node: Option<Detected>,
    /// The file that containerd reads for this image's registry; `null`: it reads none, or see `node`.
    pub(super) hosts_file: Option<RegistryFile>,
    /// Where an image without a registry is looked for; `null`: it has one.
    pub(super) router: Option<RouterReport>,
    /// Why nothing may be asked.
    pub(super) refusal: Option<RefusalReport>,
    /// Why these sources, a sentence each.
    pub(super) reasons: Vec<String>,
    /// The running agent; `null` if refused.
    pub(super) agent: Option<AgentReport>,
    /// In order of preference.
    pub(super) sources: Vec<SourceReport>,
    /// In the order of asking.
    pub(super) candidates: Vec<CandidateReport>,
}

/// Why nothing may be asked, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RefusalReport {
    /// `not_configured`, `invalid_name`, `private`, `no_source`, `not_relayed` or `outside_the_project`.
    pub(super) kind: &'static str,
    /// What is the matter.
    pub(super) what: String,
    /// What to write or do.
    pub(super) instead: String,
}

/// Whom the health was asked of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct AgentReport {
    /// Its admin endpoint; `null`: it is off.
    pub(super) address: Option<String>,
    pub(super) reachable: bool,
    /// What must be known of it: why it did not answer, or that it uses an older configuration.
    pub(super) note: Option<String>,
}

/// A source of the route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SourceReport {
    /// The tier's name, or `upstream`.
    pub(super) name: String,
    /// `harbor`, `path`, `mirror` or `upstream`.
    pub(super) kind: &'static str,
    /// What it is asked for, exactly.
    pub(super) url: String,
    /// Its "not found" and "denied" are final.
    pub(super) authoritative: bool,
    /// A configured credential is used.
    pub(super) credential: bool,
    /// Through this proxy; addresses are then the proxy's.
    pub(super) proxy: Option<String>,
    /// Its certificate is not checked.
    pub(super) insecure_skip_verify: bool,
    /// The agent says that at least one address may be used normally; `null`: it says nothing.
    pub(super) ready: Option<bool>,
    /// The addresses are from before the last failed lookup.
    pub(super) dns_stale: bool,
    /// Why DNS gave nothing.
    pub(super) dns_error: Option<String>,
}

/// An address of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CandidateReport {
    /// The place in the order of asking, from 1.
    pub(super) position: usize,
    /// The source's name, as in `sources`.
    pub(super) source: String,
    /// `203.0.113.7:443`
    pub(super) address: String,
    /// The source's URL, as in `sources`.
    pub(super) url: String,
    /// `healthy`, `ejected` or `probation`, as the agent says; `unknown`: it says nothing.
    pub(super) state: &'static str,
    /// Why it stands here: `healthy`, `probation`, `loaded`, `suspect` or `fail_open`.
    pub(super) why: &'static str,
    /// For how long the state has held.
    pub(super) since_seconds: Option<u64>,
    /// Until probation; only of an ejected one.
    pub(super) ejected_for_seconds: Option<u64>,
    pub(super) reason: Option<String>,
    /// The load signal says that other addresses are preferred.
    pub(super) lowered: bool,
    /// Moving average of the first byte's time.
    pub(super) latency_ms: Option<u64>,
    /// Requests now at it.
    pub(super) in_flight: Option<u32>,
    /// What the agent knows against it beside its health.
    pub(super) held_back: Vec<String>,
    /// What it answered; `null` without `--probe`.
    pub(super) probe: Option<ProbeReport>,
}

/// What a candidate answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProbeReport {
    /// It answered 200 with the manifest that was asked for.
    pub(super) has_manifest: bool,
    /// Of the final answer, after tokens and redirects; `null`: there was none.
    pub(super) status: Option<u16>,
    /// Of the bytes that came.
    pub(super) digest: Option<String>,
    /// Connect, token and answer together.
    pub(super) ms: u64,
    /// Why there is no manifest.
    pub(super) error: Option<String>,
    /// What the agent would take it for, if it says no.
    #[serde(skip)]
    pub(super) no: Option<FinalAnswer>,
}

// === impl Report ===

impl Report {
    /// Of a route. `sources` are those of its targets, in their order; `order` is that of the candidates.
    pub(super) fn new(
        image: &Image,
        route: &Route,
        sources: &[Arc<Source>],
        view: &View,
        order: &[Candidate],
        agent: AgentReport,
    ) -> Self {
        let pairs = route.targets.iter().filter_map(|target| {
            let source = sources.iter().find(|source| source.id == target.source)?;
            Some((target, source))
        });
        let url = |target: &Target, source: &Source| {
            let query = target.query.iter().map(|query| format!("?{query}"));
            let (path, suffix) = (&target.path, image.kind().suffix());
            format!(
                "{}/v2/{path}{suffix}{}",
                source.url,
                query.collect::<String>()
            )
        };
        let url_of = |id: &SourceId| {
            let mut pairs = pairs.clone();
            let pair = pairs.find(|(target, _)| target.source == *id);
            pair.map_or_else(String::new, |(target, source)| url(target, source))
        };
        let candidates = order.iter().enumerate().map(|(index, candidate)| {
            let url = url_of(&candidate.endpoint.source);
            CandidateReport {
                held_back: view.held_back(route, &image.reference, &candidate.endpoint),
                ..CandidateReport::new(index.saturating_add(1), candidate, url, view)
            }
        });
        let candidates: Vec<_> = candidates.collect();
        Self {
            registry: route.registry.as_ref().map(ToString::to_string),
            repository: Some(route.repository.to_string()),
            has_path: !candidates.is_empty(),
            reasons: route.reasons.clone(),
            agent: Some(agent),
            sources: pairs
                .clone()
                .map(|(target, source)| {
                    SourceReport::new(target, source, url(target, source), view)
                })
                .collect(),
            candidates,
            ..Self::empty(image)
        }
    }

    /// Of an image that may not be asked for.
    pub(super) fn refused(image: &Image, refusal: &Refusal) -> Self {
        Self {
            refusal: Some(RefusalReport::new(refusal, &image.registry)),
            ..Self::empty(image)
        }
    }

    pub(super) fn empty(image: &Image) -> Self {
        Self {
            image: image.to_string(),
            request: image.request(),
            reference: image.reference.to_string(),
            ..Self::default()
        }
    }

    /// Takes over what was found here. What the runtime read at its start may be known to the agent alone.
    pub(super) fn on(&mut self, found: Found, said: Option<&Status>) {
        let (mut node, file) = found;
        let pending = said.and_then(|status| status.restart_pending.clone());
        node.restart_pending = node.restart_pending.or(pending);
        (self.node, self.hosts_file) = (Some(node), file);
    }

    /// Takes the answers over, which stand in the candidates' order.
    pub(super) fn probed(&mut self, answers: Vec<ProbeReport>) {
        self.probed = true;
        self.has_path = answers.iter().any(|answer| answer.has_manifest);
        for (candidate, answer) in self.candidates.iter_mut().zip(answers) {
            candidate.probe = Some(answer);
        }
    }

    /// What the agent answers where no candidate has the manifest.
    pub(super) fn is_kept(&mut self, stale_seconds: Option<u64>) {
        self.has_path |= stale_seconds.is_some();
        self.stale_seconds = stale_seconds;
    }
}

// === impl RefusalReport ===

impl RefusalReport {
    fn new(refusal: &Refusal, registry: &RegistryName) -> Self {
        let (kind, what, instead) = match refusal {
            Refusal::NotConfigured(name) => (
                "not_configured",
                format!("{name} is not a configured registry"),
                format!(
                    "add a [[registry]] with name = \"{name}\" to the configuration, or let containerd pull it \
                     without the agent"
                ),
            ),
            Refusal::Private(repository) => (
                "private",
                format!("{repository} is listed as private: containerd pulls it itself"),
                format!(
                    "nothing, if that is meant: containerd asks {registry} with the pod's own pull secret; else take \
                     it out of private under [[registry]] {registry}"
                ),
            ),
            Refusal::NoSource(name) => (
                "no_source",
                format!("no tier serves {name}, and it may not be pulled directly"),
                format!(
                    "give a tier a project for it ([tier.projects] \"{name}\" = \"…\"), or allow the direct way \
                     (direct = true under [[registry]] {name}, and no [direct] enabled = false)"
                ),
            ),
            Refusal::InvalidName => (
                "invalid_name",
                refusal.to_string(),
                "correct the reference".to_owned(),
            ),
            Refusal::NotRelayed(_) => (
                "not_relayed",
                refusal.to_string(),
                format!("allow the direct way: direct = true under [[registry]] {registry}"),
            ),
        };
        Self {
            kind,
            what,
            instead,
        }
    }
}

// === impl SourceReport ===

impl SourceReport {
    fn new(target: &Target, source: &Source, url: String, view: &View) -> Self {
        let state = view.source(&source.id);
        Self {
            name: source.id.label().to_owned(),
            kind: match source.kind {
                SourceKind::Harbor => "harbor",
                SourceKind::Path => "path",
                SourceKind::Mirror => "mirror",
                SourceKind::Upstream => "upstream",
            },
            url,
            authoritative: target.authoritative,
            credential: target.with_credential && source.credential.is_some(),
            proxy: source.proxy.as_ref().map(|proxy| proxy.url.to_string()),
            insecure_skip_verify: source.tls.insecure_skip_verify,
            ready: state
                .filter(|_| view.is_of_agent(&source.id))
                .map(|state| state.ready),
            dns_stale: state.is_some_and(|state| state.dns_stale),
            dns_error: state
                .and_then(|state| state.dns_error.as_ref())
                .map(ToString::to_string),
        }
    }
}

// === impl CandidateReport ===

impl CandidateReport {
    fn new(position: usize, candidate: &Candidate, url: String, view: &View) -> Self {
        let endpoint = &candidate.endpoint;
        let said = view.said_of(endpoint);
        Self {
            position,
            source: endpoint.source.label().to_owned(),
            address: endpoint.address.to_string(),
            url,
            state: said.map_or("unknown", |said| said.state.word()),
            why: candidate.why.word(),
            since_seconds: said.map(|said| said.since_seconds),
            ejected_for_seconds: said.and_then(|said| said.ejected_for_seconds),
            reason: said.and_then(|said| said.reason.clone()),
            lowered: said.is_some_and(|said| said.lowered),
            latency_ms: said.and_then(|said| said.latency_ms),
            in_flight: said.map(|said| said.in_flight),
            held_back: Vec::new(),
            probe: None,
        }
    }
}
