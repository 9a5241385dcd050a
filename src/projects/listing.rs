//! What Harbor's API lists, as far as it matters for the mapping: projects and registry endpoints (harbor-facts 4). Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// More than any Harbor lists on one page: it caps `page_size` at 100.
pub(super) const PAGE_SIZE: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Project {
    pub(super) name: String,
    /// Of the registry endpoint that it caches.
    pub(super) registry_id: i64,
    /// Anybody may pull from it.
    pub(super) is_public: bool,
}

/// A registry endpoint: what a proxy-cache project caches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Endpoint {
    pub(super) id: i64,
    /// The provider: `docker-hub`, `docker-registry`, `harbor` and so on.
    #[serde(rename = "type", default)]
    pub(super) provider: String,
    #[serde(default)]
    pub(super) url: String,
}

/// A robot account, as Harbor lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Robot {
    /// With Harbor's prefix: `robot$node`.
    pub(super) name: String,
    /// In seconds since 1970; negative: never.
    #[serde(default = "never")]
    pub(super) expires_at: i64,
    #[serde(default)]
    pub(super) disable: bool,
}

fn never() -> i64 {
    -1
}

/// All that one Harbor lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) projects: Vec<Project>,
    /// `None`: the account may not read them.
    pub(super) endpoints: Option<Vec<Endpoint>>,
    /// Projects whose Harbor wants their name twice in a path, or does not; the others were not found out.
    pub(super) doubled: Vec<(String, bool)>,
}

/// One page of an API list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    /// How many entries stood on it, with those that do not matter.
    pub(super) listed: usize,
}

#[derive(Deserialize)]
struct RawProject {
    name: String,
    #[serde(default)]
    registry_id: Option<i64>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    public: Option<Flag>,
}

/// Harbor writes its metadata as text; a boolean is understood as well.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Text(String),
    Bool(bool),
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Artifact {
    digest: String,
}

/// A page of `GET /api/v2.0/projects`: the proxy-cache projects on it.
///
/// # Errors
/// [`serde_json::Error`]: the body is no list of projects.
pub(super) fn projects(body: &[u8]) -> Result<Page<Project>, serde_json::Error> {
    let listed: Vec<RawProject> = serde_json::from_slice(body)?;
    let count = listed.len();
    let proxies = listed.into_iter().filter_map(|project| {
        let registry_id = project.registry_id.filter(|id| *id > 0)?;
        let public = project.metadata.and_then(|metadata| metadata.public);
        Some(Project {
            name: project.name,
            registry_id,
            is_public: match public {
                Some(Flag::Text(text)) => text == "true",
                Some(Flag::Bool(flag)) => flag,
                None => false,
            },
        })
    });
    Ok(Page {
        entries: proxies.collect(),
        listed: count,
    })
}

/// A page of which every entry matters: of `GET /api/v2.0/registries` and `GET /api/v2.0/robots`.
///
/// # Errors
/// [`serde_json::Error`]: the body is no such list.
pub(super) fn all<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, serde_json::Error> {
    let entries: Vec<T> = serde_json::from_slice(body)?;
    let listed = entries.len();
    Ok(Page { entries, listed })
}

/// The first repository of a list, without the project's name in front.
pub(super) fn first_repository(body: &[u8], project: &str) -> Option<String> {
    let listed = all::<Named>(body).ok()?;
    let name = listed.entries.into_iter().next()?.name;
    let rest = name.strip_prefix(project)?.strip_prefix('/')?;
    Some(rest.to_owned())
}

/// The digest of a list's first artifact.
pub(super) fn first_artifact(body: &[u8]) -> Option<String> {
    let listed = all::<Artifact>(body).ok()?;
    Some(listed.entries.into_iter().next()?.digest)
}

// === impl Page ===

impl<T> Page<T> {
    /// Whether another page may follow. `says_next`: whether the answer's `Link` names one, where there is a `Link`.
    pub(super) fn has_next(&self, says_next: Option<bool>) -> bool {
        says_next.unwrap_or(self.listed >= PAGE_SIZE)
    }
}
