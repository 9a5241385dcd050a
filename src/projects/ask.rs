//! Asking one Harbor what it has: pages of its API, and one HEAD for each project that caches another Harbor.

use super::listing::{self, Listing, PAGE_SIZE, Page, Robot};
use super::mapping;
use crate::auth::basic_authorization;
use crate::cache::Trust;
use crate::exchange::{Exchanger, SourceRequest};
use crate::health::session;
use crate::http1::Fields;
use crate::topology::{EndpointId, Failure, Source};
use crate::upstream::{self, Client, Request, USER_AGENT};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderValue, LINK};
use http::{Method, StatusCode};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// For one answer. Harbor with a frozen database answers nothing.
const ANSWER: Duration = Duration::from_secs(10);
/// A page of 100 projects is about 60 KiB.
const PAGE_BYTES: u64 = 4 << 20;
/// 10,000 projects; who has more writes them down.
const PAGES: usize = 100;
/// Projects that are tried by HEAD.
const TRIED: usize = 64;

const PROJECTS: &str = "/api/v2.0/projects";
const REGISTRIES: &str = "/api/v2.0/registries";
const ROBOTS: &str = "/api/v2.0/robots";

/// Asks a Harbor what it has.
pub(super) trait AskHarbor: Send + Sync + 'static {
    /// What the first of the addresses that answers lists.
    fn ask(
        &self,
        source: &Arc<Source>,
        endpoints: &[EndpointId],
    ) -> impl Future<Output = Result<Listing, Error>> + Send;
}

/// Looks at a robot account.
pub(super) trait LookAtRobot: Send + Sync + 'static {
    /// The robot account that the source's credential names, as the first of the addresses that answers lists it; `None`: the
    /// account may not read robot accounts, or is none.
    fn robot(
        &self,
        source: &Arc<Source>,
        endpoints: &[EndpointId],
    ) -> impl Future<Output = Result<Option<Robot>, Error>> + Send;
}

/// Asks Harbors, over connections of its own.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    client: Client,
    exchanger: Exchanger,
}

/// Why a Harbor told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No connection, or one that broke.
    #[error(transparent)]
    Unreachable(#[from] upstream::Error),
    /// No answer in time.
    #[error("{0} was not answered within {ANSWER:?}")]
    Silent(&'static str),
    /// 401 in spite of the credential, or for want of one.
    #[error(
        "Harbor refused the account for {0} (401): see that username and password_file are those of a robot account that is enabled and has not expired"
    )]
    Unauthorized(&'static str),
    /// The account lacks a permission.
    #[error(
        "the account may not read {what} (403): give the robot account the system permission \"{permission}\""
    )]
    Forbidden {
        what: &'static str,
        permission: &'static str,
    },
    /// Harbor's status is none that the discovery expects.
    #[error("{what} was answered with status {status}")]
    Status {
        what: &'static str,
        status: StatusCode,
    },
    /// The body is no such list.
    #[error("{what} was answered with something that is no list")]
    Unreadable {
        what: &'static str,
        source: serde_json::Error,
    },
    /// More pages than anybody has.
    #[error("{0} has more than {PAGES} pages; write the projects below [tier.projects]")]
    TooMany(&'static str),
    /// The tier has no address.
    #[error("the tier has no address that could be asked")]
    NoAddress,
}

/// A Harbor that is being asked.
struct Session<'a> {
    client: &'a Client,
    source: &'a Arc<Source>,
    endpoint: &'a EndpointId,
    /// `sid=…`: each request without it is a session in Harbor's Redis.
    cookie: Option<String>,
}

struct Said {
    status: StatusCode,
    fields: Fields,
    body: Bytes,
}

// === impl Error ===

impl Error {
    /// Whether nobody answered for Harbor: no connection, no answer in time, or 5xx. All else is its word, or somebody's in its place.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Silent(_) | Self::NoAddress => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::Unreachable(error) => matches!(
                error.failure,
                Failure::Refused
                    | Failure::ConnectTimeout
                    | Failure::Timeout
                    | Failure::Reset
                    | Failure::Slow
                    | Failure::NoAddress
            ),
            Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::Unreadable { .. }
            | Self::TooMany(_) => false,
        }
    }
}

// === impl Asker ===

impl Asker {
    pub(super) fn new(client: Client, exchanger: Exchanger) -> Self {
        Self { client, exchanger }
    }

    async fn ask_at(&self, source: &Arc<Source>, endpoint: &EndpointId) -> Result<Listing, Error> {
        let mut session = Session::new(&self.client, source, endpoint);
        let projects = session.pages(PROJECTS, "its projects", "Project: list", listing::projects);
        let projects = projects.await?;
        let mut listing = Listing {
            projects,
            endpoints: Some(Vec::new()),
            doubled: Vec::new(),
        };
        if listing.projects.is_empty() {
            return Ok(listing);
        }
        let endpoints = session.pages(REGISTRIES, "its registries", "Registry: list", listing::all);
        listing.endpoints = match endpoints.await {
            Ok(endpoints) => Some(endpoints),
            Err(Error::Unauthorized(_) | Error::Forbidden { .. }) => None,
            Err(error) => return Err(error),
        };
        let of_another: Vec<String> = mapping::of_another_harbor(&listing)
            .map(|project| project.name.clone())
            .take(TRIED)
            .collect();
        for project in of_another {
            if let Some(doubled) = self.is_doubled(&mut session, &project).await? {
                listing.doubled.push((project, doubled));
            }
        }
        Ok(listing)
    }

    /// Whether a project's name stands twice in the paths of what it holds. Found by one HEAD for something that it holds; an empty
    /// project does not tell.
    async fn is_doubled(
        &self,
        session: &mut Session<'_>,
        project: &str,
    ) -> Result<Option<bool>, Error> {
        let repositories = format!("{PROJECTS}/{project}/repositories?page=1&page_size=1");
        let said = session.get(&repositories, "its repositories").await?;
        let Some(repository) = said.entry(|body| listing::first_repository(body, project)) else {
            return Ok(None);
        };
        // Harbor decodes the name twice.
        let encoded = repository.replace('/', "%252F");
        let artifacts =
            format!("{PROJECTS}/{project}/repositories/{encoded}/artifacts?page=1&page_size=1");
        let said = session.get(&artifacts, "its artifacts").await?;
        let Some(digest) = said.entry(listing::first_artifact) else {
            return Ok(None);
        };
        // As Harbor keeps it: behind a proxy that doubles the name it would be there three times, and is not.
        let path = format!("{project}/{repository}");
        let request = SourceRequest {
            method: Method::HEAD,
            target: format!("/v2/{path}/manifests/{digest}"),
            scope_repository: path.into(),
            token_scope: project.into(),
            with_credential: true,
            accept: HeaderValue::from_static("*/*"),
            range: None,
            request_id: "discovery".into(),
            span: None,
            trust: Trust::Trusted,
        };
        let (source, endpoint) = (session.source, session.endpoint);
        let asked = timeout(ANSWER, self.exchanger.ask(source, endpoint, &request)).await;
        let status = asked.ok().and_then(Result::ok).map(|answer| answer.status);
        let begins_twice = repository.starts_with(&format!("{project}/"));
        Ok(match status {
            Some(StatusCode::OK) => Some(begins_twice),
            Some(StatusCode::NOT_FOUND) => Some(false),
            _ => None,
        })
    }
}

impl LookAtRobot for Asker {
    async fn robot(
        &self,
        source: &Arc<Source>,
        endpoints: &[EndpointId],
    ) -> Result<Option<Robot>, Error> {
        let Some(credential) = &source.credential else {
            return Ok(None);
        };
        let mut failed = Error::NoAddress;
        for endpoint in endpoints {
            let mut session = Session::new(&self.client, source, endpoint);
            let listed = session.pages(
                ROBOTS,
                "its robot accounts",
                "Robot: list",
                listing::all::<Robot>,
            );
            match listed.await {
                Ok(robots) => {
                    let is_ours = |robot: &Robot| robot.name == credential.username;
                    return Ok(robots.into_iter().find(is_ours));
                }
                Err(Error::Unauthorized(_) | Error::Forbidden { .. }) => return Ok(None),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl AskHarbor for Asker {
    async fn ask(&self, source: &Arc<Source>, endpoints: &[EndpointId]) -> Result<Listing, Error> {
        let mut failed = Error::NoAddress;
        for endpoint in endpoints {
            match self.ask_at(source, endpoint).await {
                // Another address is another way to the same Harbor; what Harbor itself says holds for all of them.
                Err(error @ (Error::Unreachable(_) | Error::Silent(_) | Error::Status { .. })) => {
                    // An answer is no silence, whatever comes of the other addresses.
                    if failed.is_silence() {
                        failed = error;
                    }
                }
                result => return result,
            }
        }
        Err(failed)
    }
}

// === impl Session ===

impl<'a> Session<'a> {
    fn new(client: &'a Client, source: &'a Arc<Source>, endpoint: &'a EndpointId) -> Self {
        Self {
            client,
            source,
            endpoint,
            cookie: None,
        }
    }

    /// All pages of a list.
    async fn pages<T>(
        &mut self,
        path: &str,
        what: &'static str,
        permission: &'static str,
        read: impl Fn(&[u8]) -> Result<Page<T>, serde_json::Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for number in 1..=PAGES {
            let target = format!("{path}?page={number}&page_size={PAGE_SIZE}&with_detail=true");
            let said = self.get(&target, what).await?;
            match said.status {
                StatusCode::OK => {}
                StatusCode::UNAUTHORIZED => return Err(Error::Unauthorized(what)),
                StatusCode::FORBIDDEN => return Err(Error::Forbidden { what, permission }),
                status => return Err(Error::Status { what, status }),
            }
            let page = read(&said.body).map_err(|source| Error::Unreadable { what, source })?;
            let is_last = !page.has_next(names_next(&said.fields));
            all.extend(page.entries);
            if is_last {
                return Ok(all);
            }
        }
        Err(Error::TooMany(what))
    }

    async fn get(&mut self, path: &str, what: &'static str) -> Result<Said, Error> {
        let cookie = self.cookie.clone();
        let said = async {
            let request = || request(self.source, path, cookie.as_deref());
            let response = self
                .client
                .request(self.source, self.endpoint, request)
                .await?;
            Ok::<_, upstream::Error>(Said {
                status: response.status,
                fields: response.fields,
                body: response.body.read_to(PAGE_BYTES).await?,
            })
        };
        let said = timeout(ANSWER, said)
            .await
            .map_err(|_| Error::Silent(what))??;
        if let Some(cookie) = session(&said.fields) {
            self.cookie = Some(cookie);
        }
        Ok(said)
    }
}

// === impl Said ===

impl Said {
    /// What is read out of it, where it succeeded.
    fn entry<T>(&self, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let succeeded = self.status == StatusCode::OK;
        succeeded.then(|| read(&self.body)).flatten()
    }
}

fn request(source: &Source, path: &str, cookie: Option<&str>) -> Result<Request, upstream::Error> {
    let target = [source.url.prefix.as_str(), path].concat();
    let mut request = Request::new(&Method::GET, &target, &source.url.authority())?
        .with(&http::header::USER_AGENT, USER_AGENT)?
        .with(&ACCEPT, "application/json")?;
    if let Some(credential) = &source.credential {
        request.add(&AUTHORIZATION, basic_authorization(credential).as_bytes())?;
    }
    if let Some(cookie) = cookie {
        request.add(&COOKIE, cookie.as_bytes())?;
    }
    Ok(request)
}

/// Whether `Link` names a next page; `None`: there is no such field.
fn names_next(fields: &Fields) -> Option<bool> {
    let link = fields.text(&LINK)?;
    Some(link.split(',').any(|one| one.contains("rel=\"next\"")))
}
