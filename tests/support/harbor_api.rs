//! Harbor's API as far as the agent asks it: projects, registry endpoints, repositories and artifacts (harbor-facts 4).

use super::behaviour::Behaviour;
use super::content::Content;
use super::message::{Recorded, Reply};
use super::tokens::is_password;
use serde_json::{Value, json};

/// What Harbor's API lists, and what the account may read.
#[derive(Clone, Debug)]
pub struct Api {
    pub projects: Vec<ApiProject>,
    pub endpoints: Vec<ApiEndpoint>,
    /// The account has the system permission to list projects: else it sees the public ones.
    pub lists_projects: bool,
    /// The account has the system permission to list registries.
    pub reads_registries: bool,
    /// The account has the system permission to list robot accounts; when it expires, in seconds since 1970.
    pub expires_at: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct ApiProject {
    pub name: &'static str,
    /// `0`: no proxy cache.
    pub endpoint: i64,
    pub is_public: bool,
}

#[derive(Clone, Debug)]
pub struct ApiEndpoint {
    pub id: i64,
    pub provider: &'static str,
    pub url: String,
}

/// Harbor serves no longer pages.
const LONGEST_PAGE: usize = 100;

impl Api {
    /// These proxy-cache projects, all public, each with an endpoint of its own.
    pub fn of(projects: &[(&'static str, &'static str, &str)]) -> Self {
        let numbered = || projects.iter().zip(1..);
        Self {
            projects: numbered()
                .map(|((name, ..), endpoint)| ApiProject {
                    name,
                    endpoint,
                    is_public: true,
                })
                .collect(),
            endpoints: numbered()
                .map(|((_, provider, url), id)| ApiEndpoint {
                    id,
                    provider,
                    url: (*url).to_owned(),
                })
                .collect(),
            lists_projects: true,
            reads_registries: true,
            expires_at: None,
        }
    }

    pub fn has(&self, project: &str) -> bool {
        self.projects.iter().any(|one| one.name == project)
    }
}

/// The answer to a request below `/api/v2.0/`.
pub fn answer(
    behaviour: &Behaviour,
    api: &Api,
    content: &Content,
    request: &Recorded,
    rest: &str,
) -> Reply {
    let shown = request.header("authorization");
    let is_account = shown.is_some_and(|shown| is_password(behaviour, shown));
    if shown.is_some() && !is_account {
        return Reply::error(401, "UNAUTHORIZED", "unauthorized");
    }
    if behaviour.database_down {
        return Reply::error(500, "UNKNOWN", "internal server error");
    }
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["projects"] => {
            let sees = |one: &&ApiProject| one.is_public || is_account && api.lists_projects;
            let seen = api.projects.iter().filter(sees).enumerate();
            let listed = seen.map(|(number, one)| {
                let registry = match one.endpoint {
                    0 => Value::Null,
                    id => json!(id),
                };
                json!({
                    "project_id": number + 1,
                    "name": one.name,
                    "registry_id": registry,
                    "metadata": {"public": one.is_public.to_string()},
                })
            });
            page(request, listed.collect())
        }
        ["registries"] if !is_account => Reply::error(401, "UNAUTHORIZED", "unauthorized"),
        ["registries"] if !api.reads_registries => Reply::error(403, "FORBIDDEN", "forbidden"),
        ["registries"] => {
            let listed = api.endpoints.iter().map(|one| {
                json!({
                    "id": one.id,
                    "name": format!("endpoint-{}", one.id),
                    "type": one.provider,
                    "url": one.url,
                    "insecure": false,
                    "status": "healthy",
                    "credential": {},
                })
            });
            page(request, listed.collect())
        }
        ["robots"] => match (api.expires_at, &behaviour.credential) {
            (Some(expires_at), Some((name, _))) if is_account => {
                let other =
                    json!({"id": 1, "name": "robot$other", "expires_at": 1, "disable": true});
                let ours =
                    json!({"id": 2, "name": name, "expires_at": expires_at, "disable": false});
                page(request, vec![other, ours])
            }
            _ => Reply::error(403, "FORBIDDEN", "forbidden"),
        },
        ["projects", project, "repositories"] => {
            let listed = content.repositories(project).into_iter();
            page(request, listed.map(|name| json!({"name": name})).collect())
        }
        ["projects", project, "repositories", encoded, "artifacts"] => {
            let repository = format!("{project}/{}", encoded.replace("%252F", "/"));
            let listed = content.digests(&repository).into_iter();
            page(
                request,
                listed.map(|digest| json!({"digest": digest})).collect(),
            )
        }
        _ => Reply::error(404, "NOT_FOUND", "not found"),
    }
}

fn page(request: &Recorded, all: Vec<Value>) -> Reply {
    let number = |name: &str, default: usize| {
        let given = request.parameter(name).and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (page, size) = (number("page", 1), number("page_size", 10).min(LONGEST_PAGE));
    let total = all.len();
    let before = (page - 1) * size;
    let entries: Vec<Value> = all.into_iter().skip(before).take(size).collect();
    let is_last = before + entries.len() >= total;
    let reply = Reply::json(200, Value::from(entries).to_string())
        .header("X-Total-Count", total.to_string());
    if is_last {
        return reply;
    }
    let next = page + 1;
    let link = format!(
        "<{}?page={next}&page_size={size}>; rel=\"next\"",
        request.path
    );
    reply.header("Link", link)
}
