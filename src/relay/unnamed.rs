//! Images that name no registry (`[router]`): where one was found before, or where all projects together say that it is; from
//! there on it is pulled as `REGISTRY/REPOSITORY`, like any other.

mod look;
mod verdict;
mod words;

use super::blob;
use super::context::{Context, Rules};
use super::list;
use super::lookups::Looked;
use super::manifest::{self, STALE};
use super::memory::{CONTENT_DIGEST, Image};
use super::record::RequestRecord;
use super::refusal::{not_routed, refusal};
use super::request::PullRequest;
use super::response::Answered;
use crate::config::Router;
use crate::http1::Response;
use crate::lifecycle;
use crate::oci::{Digest, ErrorCode, RawName, Reference, RegistryName, Repository, ResourceKind};
use crate::relay::PullBody;
use crate::route::{Refusal, Route};
use crate::router::{self, Answer, Freshness, Subject, Wanted};
use crate::telemetry::RequestOutcome;
use http::StatusCode;
use http::header::RETRY_AFTER;
use look::Look;
use std::sync::Arc;
use tokio::time::Instant;

/// A request for such an image.
pub(crate) struct Unnamed<'a> {
    parts: &'a Arc<Context>,
    rules: &'a Arc<Rules>,
    router: &'a Arc<Router>,
    /// Behind the project; or why there is none.
    repository: Result<Repository, String>,
    request: &'a PullRequest,
}

// === impl Unnamed ===

impl<'a> Unnamed<'a> {
    /// `None`: the request names a registry, or a tier.
    pub(crate) fn of(
        parts: &'a Arc<Context>,
        rules: &'a Arc<Rules>,
        request: &'a PullRequest,
    ) -> Option<Self> {
        let router = rules.config.router.as_ref()?;
        let repository = router::repository(router, request.ns.as_deref(), &request.name)?;
        if let Err(outside) = &repository {
            let mut tiers = rules.config.tiers.iter();
            // The name stands for the tier too, and the image is in another of its projects.
            if tiers.any(|tier| tier.names.contains(&outside.name)) {
                return None;
            }
        }
        Some(Self {
            parts,
            rules,
            router,
            repository: repository.map_err(|error| error.to_string()),
            request,
        })
    }

    /// Answers it.
    pub(crate) async fn answer(self, record: RequestRecord) -> Response<PullBody> {
        if self.asks_too_often() {
            let why = "this client asks for more than [router] requests_per_second";
            let too_many = StatusCode::TOO_MANY_REQUESTS;
            let what = (too_many, ErrorCode::TooManyRequests, why);
            let mut answered = self.refuse(what, RequestOutcome::Refused, record);
            answered.head.set(RETRY_AFTER, 1_u64);
            return answered;
        }
        let repository = match &self.repository {
            Ok(repository) => repository.clone(),
            Err(why) => {
                let what = (StatusCode::NOT_FOUND, ErrorCode::NameUnknown, why.as_str());
                return self.refuse(what, RequestOutcome::Refused, record);
            }
        };
        match &self.request.kind {
            ResourceKind::Manifest(reference) => {
                let subject = Subject::Manifest(reference.clone());
                let wanted = Wanted {
                    repository,
                    subject,
                };
                self.manifest(wanted, reference, record).await
            }
            ResourceKind::Blob(digest) => match self.of_content(&repository, digest) {
                Some(registry) => match self.route(&registry, &repository) {
                    Ok(route) => {
                        let record = self.asks(&route, record);
                        let of = (self.parts, &**self.rules, route, digest.clone());
                        blob::answer(of, self.request, record).await
                    }
                    Err(refused) => self.not_routed(&refused, record),
                },
                None => self.unknown_repository(ErrorCode::BlobUnknown, record),
            },
            ResourceKind::Tags => self.tags(repository, record).await,
            ResourceKind::Referrers(_) => {
                let known = self.candidates_of(&repository).into_iter().next();
                match known {
                    Some(registry) => self.list(&registry, &repository, record).await,
                    None => self.unknown_repository(ErrorCode::Unsupported, record),
                }
            }
        }
    }

    /// On this machine nobody does: containerd asks a host again at once that says 429 (design P4).
    fn asks_too_often(&self) -> bool {
        let most = self.router.requests_per_second;
        let rates = &self.parts.lookups.rates;
        let may_ask = |client| rates.may_ask(client, most, Instant::now());
        most > 0 && !self.request.client.is_none_or(may_ask)
    }

    async fn manifest(
        &self,
        wanted: Wanted,
        reference: &Reference,
        record: RequestRecord,
    ) -> Response<PullBody> {
        let known = self.place(&wanted).or_else(|| {
            let registry = self.of_content(&wanted.repository, reference.digest()?)?;
            Some((registry, Freshness::Old))
        });
        let (registry, freshness) = match known {
            Some((registry, freshness)) => {
                self.parts.sinks.metrics.router_lookup(match freshness {
                    Freshness::Fresh => "known",
                    Freshness::Stale => "stale",
                    Freshness::Old => "old",
                });
                if freshness == Freshness::Stale {
                    let look = self.look(&wanted, &record);
                    let again = look.again(registry.clone());
                    lifecycle::spawn_detached("router", again);
                }
                (registry, Some(freshness))
            }
            None => match self.look(&wanted, &record).run(None).await {
                Looked::Found(registry) => (registry, None),
                looked => return self.unfound(&wanted, looked, record),
            },
        };
        let unserved = match self.serve(&wanted, &registry, reference, record).await {
            Ok(answered) => {
                if freshness != Some(Freshness::Fresh) {
                    self.learn(&wanted, &registry, &answered);
                }
                return answered.map(PullBody::Full);
            }
            Err(Unserved::Route(refused, record)) => return self.not_routed(&refused, *record),
            Err(Unserved::Sources(unserved)) => unserved,
        };
        let is_gone = || {
            let (nothing, log, route) = unserved.why();
            let answer = verdict::of(Err(nothing), (log, route), (self.parts, self.rules));
            answer == Answer::HasNot
        };
        if freshness != Some(Freshness::Old) || !is_gone() {
            return unserved
                .answer(self.parts, self.request)
                .map(PullBody::Full);
        }
        let record = unserved.into_record();
        match self.look(&wanted, &record).run(Some(registry)).await {
            Looked::Found(other) => match self.serve(&wanted, &other, reference, record).await {
                Ok(answered) => {
                    self.learn(&wanted, &other, &answered);
                    answered.map(PullBody::Full)
                }
                Err(Unserved::Route(refused, record)) => self.not_routed(&refused, *record),
                Err(Unserved::Sources(unserved)) => {
                    let answered = unserved.answer(self.parts, self.request);
                    answered.map(PullBody::Full)
                }
            },
            looked => self.unfound(&wanted, looked, record),
        }
    }

    async fn serve(
        &self,
        wanted: &Wanted,
        registry: &RegistryName,
        reference: &Reference,
        record: RequestRecord,
    ) -> Result<Answered, Unserved> {
        let route = match self.route(registry, &wanted.repository) {
            Ok(route) => route,
            Err(refused) => return Err(Unserved::Route(refused, Box::new(record))),
        };
        let record = self.asks(&route, record);
        let of = (self.parts, self.rules, route, reference.clone());
        let served = manifest::serve(of, self.request, record).await;
        served.map_err(Unserved::Sources)
    }

    async fn tags(&self, repository: Repository, record: RequestRecord) -> Response<PullBody> {
        let wanted = Wanted {
            repository,
            subject: Subject::Tags,
        };
        let known = self.place(&wanted).map(|(registry, _)| registry);
        let known = known.or_else(|| {
            let mut known = self.candidates_of(&wanted.repository).into_iter();
            known.next()
        });
        let registry = match known {
            Some(registry) => {
                self.parts.sinks.metrics.router_lookup("known");
                registry
            }
            None => match self.look(&wanted, &record).run(None).await {
                Looked::Found(registry) => registry,
                looked => return self.unfound(&wanted, looked, record),
            },
        };
        self.list(&registry, &wanted.repository, record).await
    }

    async fn list(
        &self,
        registry: &RegistryName,
        repository: &Repository,
        record: RequestRecord,
    ) -> Response<PullBody> {
        match self.route(registry, repository) {
            Ok(route) => {
                let record = self.asks(&route, record);
                let of = (self.parts, &**self.rules, route);
                let answered = list::answer(of, self.request, record).await;
                answered.map(PullBody::Full)
            }
            Err(refused) => self.not_routed(&refused, record),
        }
    }

    fn look(&self, wanted: &Wanted, record: &RequestRecord) -> Look {
        Look {
            parts: self.parts.clone(),
            rules: self.rules.clone(),
            router: self.router.clone(),
            wanted: wanted.clone(),
            trust: self.request.trust,
            request_id: record.request_id(),
        }
    }

    /// Where it was found, if that registry still has a project.
    fn place(&self, wanted: &Wanted) -> Option<(RegistryName, Freshness)> {
        let mappings = &self.parts.lookups.mappings;
        let place = mappings.place(wanted, self.router, Instant::now())?;
        self.is_candidate(&place.0).then_some(place)
    }

    fn is_candidate(&self, registry: &RegistryName) -> bool {
        let config = &self.rules.config;
        let mut tiers = config.tiers.iter();
        config.registry(registry).is_some() && tiers.any(|tier| tier.has_project(registry))
    }

    /// Who has had anything of the repository, the last one first.
    fn candidates_of(&self, repository: &Repository) -> Vec<RegistryName> {
        let mappings = &self.parts.lookups.mappings;
        let mut known = mappings.registries(repository, Instant::now());
        known.retain(|registry| self.is_candidate(registry));
        known
    }

    /// Whose manifests name this content; else who had something of the repository last. The digest proves it either way.
    fn of_content(&self, repository: &Repository, digest: &Digest) -> Option<RegistryName> {
        let known = self.candidates_of(repository);
        let names_it = |registry: &&RegistryName| {
            let Ok(route) = self.route(registry, repository) else {
                return false;
            };
            let (label, repository) = (route.registry_label.clone(), route.repository.clone());
            let content = Image::content(label, repository, digest.clone());
            self.parts.sizes.get(&content).is_some()
        };
        let naming = match known.len() {
            0 | 1 => None,
            _ => known.iter().find(names_it),
        };
        naming.or(known.first()).cloned()
    }

    fn route(
        &self,
        registry: &RegistryName,
        repository: &Repository,
    ) -> Result<Arc<Route>, Refusal> {
        let (routes, name) = (&self.rules.routes, RawName::from(repository));
        routes.route(Some(registry.as_str()), &name, &self.request.kind)
    }

    /// What was served teaches where the image is, and its content.
    fn learn(&self, wanted: &Wanted, registry: &RegistryName, answered: &Answered) {
        let head = &answered.head;
        if !head.status.is_success() || head.get(&STALE).is_some() {
            return;
        }
        let (trust, now) = (self.request.trust, Instant::now());
        let mappings = &self.parts.lookups.mappings;
        mappings.found(wanted, registry, trust, now);
        let digest = head.get(&CONTENT_DIGEST);
        let digest = digest.and_then(|digest| digest.to_str().ok()?.parse().ok());
        if let Some(digest) = digest {
            let content = Wanted {
                repository: wanted.repository.clone(),
                subject: Subject::Manifest(Reference::Digest(digest)),
            };
            mappings.found(&content, registry, trust, now);
        }
    }

    fn asks(&self, route: &Route, mut record: RequestRecord) -> RequestRecord {
        let kind = &self.request.kind;
        let registry = Some(route.registry_label.clone());
        let repository = route.repository.shared();
        record.asks(registry, repository, kind.word(), kind.reference());
        record
    }

    fn not_routed(&self, refused: &Refusal, record: RequestRecord) -> Response<PullBody> {
        let record = self.unasked(record);
        not_routed(refused, self.request.head, record).map(PullBody::Full)
    }

    fn unasked(&self, mut record: RequestRecord) -> RequestRecord {
        let (name, kind) = (self.request.name.as_str(), &self.request.kind);
        record.asks(None, name.into(), kind.word(), kind.reference());
        record
    }

    fn refuse(
        &self,
        what: (StatusCode, ErrorCode, &str),
        outcome: RequestOutcome,
        record: RequestRecord,
    ) -> Response<PullBody> {
        let record = self.unasked(record);
        refusal(what, outcome, self.request.head, record).map(PullBody::Full)
    }

    fn unknown_repository(&self, code: ErrorCode, record: RequestRecord) -> Response<PullBody> {
        let message = "no manifest of this repository has been pulled here, and only manifests and lists of tags are looked for";
        let what = (StatusCode::NOT_FOUND, code, message);
        self.refuse(what, RequestOutcome::NotFound, record)
    }

    /// The answer where no registry was found.
    fn unfound(
        &self,
        wanted: &Wanted,
        looked: Looked,
        mut record: RequestRecord,
    ) -> Response<PullBody> {
        let name = self.request.name.as_str();
        let (code, message) = match looked {
            Looked::Nowhere(asked) => {
                let code = match wanted.subject {
                    Subject::Manifest(_) => ErrorCode::ManifestUnknown,
                    Subject::Tags => ErrorCode::NameUnknown,
                };
                (code, words::nowhere(name, &asked))
            }
            Looked::Blocked(by, tried) => {
                record.searched(&look::log_of(&tried));
                let message = words::blocked(name, by.as_ref(), self.router.is_strict(), &tried);
                (ErrorCode::Unavailable, message)
            }
            Looked::Found(_) => return self.unknown_repository(ErrorCode::NameUnknown, record),
        };
        let (status, outcome) = match code {
            ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, RequestOutcome::Failed),
            _ => (StatusCode::NOT_FOUND, RequestOutcome::NotFound),
        };
        self.refuse((status, code, &message), outcome, record)
    }
}

/// Why a registry's image was not served.
enum Unserved {
    /// It may not be asked for it.
    Route(Refusal, Box<RequestRecord>),
    /// No source served it.
    Sources(Box<manifest::Unserved>),
}
