//! One request for an image that names no registry: answered from where the image was found before, or from where all projects
//! together say that it is.

mod blobs;

use super::choice::Answer;
use super::known;
use super::look::{self, Look};
use super::lookups::{Before, Looked, Lookups};
use super::mappings::{Freshness, Subject, Wanted};
use super::verdict::{self, Then};
use super::words;
use crate::config::Router;
use crate::http1::{Response, ResponseHead};
use crate::oci::{Digest, ErrorCode, RawName, Reference, RegistryName, Repository, ResourceKind};
use crate::relay::{
    CONTENT_DIGEST, Context, Pull, PullBody, PullRequest, RequestRecord, Rules, STALE, Unserved,
    not_routed, refusal, serve,
};
use crate::route::{Refusal, Route};
use crate::telemetry::{RequestId, RequestOutcome};
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::sync::Arc;
use tokio::time::Instant;

/// What is known may be wrong, and what another agent says then as well; the search is not.
const OTHERS: u32 = 2;

/// A request for such an image.
pub(crate) struct RouterRequest<'a> {
    parts: &'a Arc<Context>,
    lookups: &'a Arc<Lookups>,
    rules: &'a Arc<Rules>,
    router: &'a Arc<Router>,
    /// Behind the project; or why there is none.
    repository: Result<Repository, String>,
    request: &'a PullRequest,
}

// === impl RouterRequest ===

impl<'a> RouterRequest<'a> {
    /// `None`: the request names a registry, or a tier.
    pub(crate) fn new(
        (parts, lookups): (&'a Arc<Context>, &'a Arc<Lookups>),
        rules: &'a Arc<Rules>,
        request: &'a PullRequest,
    ) -> Option<Self> {
        let router = rules.config.router.as_ref()?;
        let (repositories, ns) = (&lookups.repositories, request.ns.as_deref());
        let repository = repositories.named(router, ns, &request.name)?;
        if let Err(outside) = &repository {
            let mut tiers = rules.config.tiers.iter();
            // The name stands for the tier too, and the image is in another of its projects.
            if tiers.any(|tier| tier.names.contains(&outside.name)) {
                return None;
            }
        }
        Some(Self {
            parts,
            lookups,
            rules,
            router,
            repository: repository.map_err(|error| error.to_string()),
            request,
        })
    }

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
            Ok(repository) => repository,
            Err(why) => {
                let what = (StatusCode::NOT_FOUND, ErrorCode::NameUnknown, why.as_str());
                return self.refuse(what, RequestOutcome::Refused, record);
            }
        };
        match self.wanted(repository) {
            Ok(wanted) => self.mapped(wanted, record).await,
            Err(digest) => self.blob(repository, digest, record).await,
        }
    }

    /// The route by which the relay pulls it, where its registry is known.
    pub(crate) fn known_route(&self) -> Option<(Arc<Route>, Freshness)> {
        if self.asks_too_often() {
            return None;
        }
        let wanted = self.wanted(self.repository.as_ref().ok()?).ok()?;
        let (registry, freshness) = self.known(&wanted)?;
        let route = self.route(&registry, &wanted.repository).ok()?;
        Some((route, freshness))
    }

    /// What is looked for; `Err`: the blob that is not.
    fn wanted(&self, repository: &Repository) -> Result<Wanted, &'a Digest> {
        let subject = match &self.request.kind {
            ResourceKind::Blob(digest) => return Err(digest),
            ResourceKind::Manifest(reference) => Subject::Manifest(reference.clone()),
            ResourceKind::Tags => Subject::Tags,
            // Where that content is.
            ResourceKind::Referrers(digest) => Subject::Manifest(Reference::Digest(digest.clone())),
        };
        Ok(Wanted {
            repository: repository.clone(),
            subject,
            trust: self.request.trust,
        })
    }

    /// On this machine nobody does: containerd asks a host again at once that says 429 (design P4).
    fn asks_too_often(&self) -> bool {
        let most = self.router.requests_per_second;
        let rates = &self.lookups.rates;
        let may_ask = |client| rates.may_ask(client, most, Instant::now());
        most > 0 && !self.request.client.is_none_or(may_ask)
    }

    /// All but blobs: from where it is known to be, else from where it is found.
    async fn mapped(&self, wanted: Wanted, mut record: RequestRecord) -> Response<PullBody> {
        let number = record.request_id();
        // Made where it is needed: a known image is not looked for.
        let look = || self.look(&wanted, number.clone());
        let mut at = match self.known(&wanted) {
            Some((registry, freshness)) => {
                if freshness == Freshness::Stale {
                    let again = look().again(registry.clone());
                    self.lookups.places(wanted.trust).behind(again);
                }
                (registry, Some(freshness))
            }
            None => match look().run(Before::Nothing).await {
                Looked::Found(registry) => (registry, None),
                Looked::Told(registry) => (registry, Some(Freshness::Told)),
                looked => return self.unfound(looked, &wanted, record),
            },
        };
        let mut others_left = OTHERS;
        loop {
            let (registry, freshness) = at;
            let failed = match self.serve(&wanted.repository, &registry, record).await {
                Ok(answered) => {
                    if freshness != Some(Freshness::Fresh) {
                        self.learn(&wanted, &registry, &answered.head);
                    }
                    return answered;
                }
                Err(failed) => failed,
            };
            let before = match freshness {
                _ if matches!(self.request.kind, ResourceKind::Referrers(_)) => None,
                Some(_) if wanted.is_proved() => Some(Before::Unserved(registry)),
                Some(Freshness::Old | Freshness::Told) if self.is_gone(&failed) => {
                    Some(Before::GoneFrom(registry))
                }
                _ => None,
            };
            let Some(before) = before.filter(|_| others_left > 0) else {
                return self.failed(failed);
            };
            others_left = others_left.saturating_sub(1);
            at = match look().run(before).await {
                Looked::Found(other) => (other, None),
                Looked::Told(other) => (other, Some(Freshness::Told)),
                _ if wanted.is_proved() => return self.failed(failed),
                looked => return self.unfound(looked, &wanted, failed.into_record()),
            };
            record = failed.into_record();
        }
    }

    /// By the normal path.
    async fn serve(
        &self,
        repository: &Repository,
        registry: &RegistryName,
        mut record: RequestRecord,
    ) -> Result<Response<PullBody>, Failed> {
        let route = match self.route(registry, repository) {
            Ok(route) => route,
            Err(refused) => return Err(Failed::Route(refused, Box::new(record))),
        };
        let kind = &self.request.kind;
        let label = Some(route.registry_label.clone());
        record.asks(
            label,
            route.repository.shared(),
            kind.word(),
            kind.reference(),
        );
        let (number, trust) = (record.request_id(), self.request.trust);
        let pull = Pull::new(self.parts, self.rules, route, number, trust);
        let served = serve(pull, self.request, record).await;
        served.map_err(Failed::Sources)
    }

    /// Whether the registry says definitely that it has it no more.
    fn is_gone(&self, failed: &Failed) -> bool {
        let Failed::Sources(unserved) = failed else {
            return false;
        };
        let (result, of) = (Err(&unserved.nothing), (&unserved.log, &*unserved.route));
        let answer = verdict::from_search(result, of, (self.parts, self.rules), Then::Moved);
        answer == Answer::HasNot
    }

    fn failed(&self, failed: Failed) -> Response<PullBody> {
        match failed {
            Failed::Route(refused @ Refusal::NotRelayed(_), record) => {
                let record = self.unasked(*record);
                not_routed(&refused, self.request.head, record).map(PullBody::Full)
            }
            Failed::Route(refused, record) => {
                let why = words::held(self.request.name.as_str(), &refused);
                let unavailable = StatusCode::SERVICE_UNAVAILABLE;
                let what = (unavailable, ErrorCode::Unavailable, why.as_str());
                self.refuse(what, RequestOutcome::Failed, *record)
            }
            Failed::Sources(unserved) => {
                let answered = unserved.answer(self.parts, self.request);
                answered.map(PullBody::Full)
            }
        }
    }

    fn look(&self, wanted: &Wanted, request_id: RequestId) -> Look {
        Look {
            parts: self.parts.clone(),
            lookups: self.lookups.clone(),
            rules: self.rules.clone(),
            router: self.router.clone(),
            wanted: wanted.clone(),
            request_id,
            client: self.request.client,
        }
    }

    /// Where it was found; for content with a digest also who has had anything of the repository.
    fn known(&self, wanted: &Wanted) -> Option<(RegistryName, Freshness)> {
        let mappings = &self.lookups.mappings;
        let place = mappings.place(wanted, self.router, Instant::now());
        let kind = wanted.subject.kind();
        let place = place.filter(|(registry, freshness)| {
            let at = (registry, *freshness == Freshness::Told);
            self.can_ask(at, &wanted.repository, &kind)
        });
        let known = place.or_else(|| {
            let Subject::Manifest(reference) = &wanted.subject else {
                return None;
            };
            let mut holders = self
                .holders(&wanted.repository, reference.digest()?)
                .into_iter();
            Some((holders.next()?, Freshness::Old))
        })?;
        self.parts.sinks.metrics.router_lookup(match known.1 {
            Freshness::Fresh => "known",
            Freshness::Stale => "stale",
            Freshness::Old | Freshness::Told => "old",
        });
        Some(known)
    }

    fn can_ask(
        &self,
        at: (&RegistryName, bool),
        repository: &Repository,
        kind: &ResourceKind,
    ) -> bool {
        known::can_ask((self.rules, self.router), at, repository, kind)
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
    fn learn(&self, wanted: &Wanted, registry: &RegistryName, head: &ResponseHead) {
        let is_of_it = !matches!(self.request.kind, ResourceKind::Referrers(_));
        if !is_of_it || !head.status.is_success() || head.get(&STALE).is_some() {
            return;
        }
        self.lookups.found(wanted, registry, false, self.router);
        let digest = head.get(&CONTENT_DIGEST);
        let digest = digest.and_then(|digest| digest.to_str().ok()?.parse().ok());
        if let Some(digest) = digest {
            let content = Wanted {
                subject: Subject::Manifest(Reference::Digest(digest)),
                ..wanted.clone()
            };
            self.lookups.found(&content, registry, false, self.router);
        }
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

    /// The answer where no registry was found.
    fn unfound(
        &self,
        looked: Looked,
        wanted: &Wanted,
        mut record: RequestRecord,
    ) -> Response<PullBody> {
        let name = self.request.name.as_str();
        let (code, message) = match looked {
            Looked::Nowhere(asked) => {
                let code = match self.request.kind {
                    ResourceKind::Tags => ErrorCode::NameUnknown,
                    _ => ErrorCode::ManifestUnknown,
                };
                (code, words::nowhere(name, &asked))
            }
            Looked::Blocked(by, failed) => {
                record.searched(&look::log_of(&failed));
                let is_strict = look::is_strict(self.router, wanted);
                let message = words::blocked(name, by.as_ref(), is_strict, &failed);
                (ErrorCode::Unavailable, message)
            }
            // Whom it was found at is asked instead.
            Looked::Found(_) | Looked::Told(_) | Looked::Busy => {
                let message = format!("{name}: too many other images are looked for");
                (ErrorCode::Unavailable, message)
            }
        };
        let (status, outcome) = match code {
            ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, RequestOutcome::Failed),
            _ => (StatusCode::NOT_FOUND, RequestOutcome::NotFound),
        };
        self.refuse((status, code, &message), outcome, record)
    }
}

/// Why a registry's image was not served.
enum Failed {
    /// It may not be asked for it.
    Route(Refusal, Box<RequestRecord>),
    /// No source served it.
    Sources(Box<Unserved>),
}

// === impl Failed ===

impl Failed {
    /// The request's record, for another try elsewhere.
    fn into_record(self) -> RequestRecord {
        match self {
            Self::Route(_, record) => *record,
            Self::Sources(unserved) => unserved.record,
        }
    }
}

#[cfg(test)]
mod tests;
