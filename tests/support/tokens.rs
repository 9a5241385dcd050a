//! Who may pull: tokens, passwords and the challenges that ask for them.

use super::behaviour::{Behaviour, Flavour, Realm};
use super::message::{Recorded, Reply};
use base64::Engine as _;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Tokens that were minted. Shared between a registry and its token server.
#[derive(Clone, Debug, Default)]
pub struct TokenBook(Arc<Mutex<HashMap<String, Minted>>>);

#[derive(Clone, Debug)]
struct Minted {
    scopes: Vec<String>,
    authenticated: bool,
    ends: Instant,
}

impl TokenBook {
    /// Nothing that was minted so far is valid any more.
    pub fn revoke_all(&self) {
        self.0.lock().unwrap().clear();
    }

    fn mint(&self, scopes: Vec<String>, authenticated: bool, life: Duration) -> String {
        let mut book = self.0.lock().unwrap();
        let who = if authenticated { "user" } else { "anonymous" };
        let token = format!("fake.{who}.{}", book.len());
        let ends = Instant::now() + life;
        let minted = Minted {
            scopes,
            authenticated,
            ends,
        };
        book.insert(token.clone(), minted);
        token
    }

    fn find(&self, token: &str) -> Option<Minted> {
        let found = self.0.lock().unwrap().get(token).cloned();
        found.filter(|minted| Instant::now() < minted.ends)
    }
}

/// The token endpoint.
pub fn token(behaviour: &Behaviour, book: &TokenBook, request: &Recorded) -> Reply {
    if request.method != "GET" {
        return Reply::error(405, "UNSUPPORTED", "method not allowed");
    }
    if request.parameter("service").as_deref() != Some(&behaviour.service) {
        return Reply::error(400, "BAD_REQUEST", "unable to handle service");
    }
    let shown = request.header("authorization");
    let authenticated = shown.is_some_and(|shown| is_password(behaviour, shown));
    let refuses = match behaviour.flavour {
        // Wrong credentials with a scope: an anonymous token (harbor-facts 2).
        Flavour::Harbor => false,
        Flavour::Ghcr => behaviour.private && !authenticated,
        _ => shown.is_some() && !authenticated,
    };
    if refuses {
        return Reply::error(403, "DENIED", "requested access to the resource is denied");
    }
    let pairs = request.query.split('&');
    let decoded = |scope: &str| scope.replace("%3A", ":").replace("%2F", "/");
    let scopes = pairs.filter_map(|pair| pair.strip_prefix("scope=").map(decoded));
    let mut scopes: Vec<String> = scopes.collect();
    if behaviour.database_down {
        scopes.clear();
    }
    // Docker Hub and GHCR send no expires_in where it is the default, the token still has a life.
    let life = behaviour.token_life.unwrap_or(Duration::from_secs(60));
    let token = book.mint(scopes, authenticated, life);
    let mut answer = json!({"token": token});
    match behaviour.flavour {
        Flavour::Harbor => answer["access_token"] = json!(""),
        Flavour::Ghcr => {}
        _ => answer["access_token"] = json!(token),
    }
    if let Some(life) = behaviour.token_life {
        // A whole number, as all send it: containerd reads no other.
        answer["expires_in"] = match life.subsec_nanos() {
            0 => json!(life.as_secs()),
            _ => json!(life.as_secs_f64()),
        };
        answer["issued_at"] = json!("2026-01-01T00:00:00Z");
    }
    Reply::json(200, answer.to_string())
}

/// Whether a Harbor's token request shows a secret that is not the account's: it gets an anonymous token, late
/// (harbor-facts 13.5).
pub fn is_wrong_secret(behaviour: &Behaviour, request: &Recorded) -> bool {
    let shown = request.header("authorization");
    behaviour.flavour == Flavour::Harbor
        && shown.is_some_and(|shown| !is_password(behaviour, shown))
}

/// Whether the request may read `repository`; else the 401.
pub fn check(
    behaviour: &Behaviour,
    book: &TokenBook,
    request: &Recorded,
    scheme: &str,
    repository: &str,
) -> Result<(), Reply> {
    let shown = request.header("authorization");
    let token = shown.and_then(|shown| shown.strip_prefix("Bearer "));
    let minted = token.and_then(|token| book.find(token));
    let password = shown.is_some_and(|shown| is_password(behaviour, shown));
    let bearer = |extra: &str| {
        let realm = match &behaviour.realm {
            Realm::Own => format!("{scheme}://{}{}", host(request), behaviour.token_path),
            Realm::OwnWithoutPort => {
                let host = host(request).split(':').next().unwrap_or_default();
                format!("{scheme}://{host}{}", behaviour.token_path)
            }
            Realm::Url(url) => url.clone(),
            Realm::Absent => String::new(),
        };
        let service = &behaviour.service;
        let value = format!(
            "Bearer realm=\"{realm}\",service=\"{service}\",scope=\"repository:{repository}:pull\"{extra}"
        );
        let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
        reply.header("Www-Authenticate", value)
    };
    let basic = || {
        let what = format!("unauthorized to access repository: {repository}, action: pull");
        let reply = Reply::error(401, "UNAUTHORIZED", &what);
        reply.header("Www-Authenticate", "Basic realm=\"harbor\"")
    };
    let without_challenge = |message: &str| {
        let reply = Reply::error(401, "UNAUTHORIZED", message);
        reply.header("Www-Authenticate", "")
    };
    match behaviour.flavour {
        Flavour::Plain | Flavour::Cdn => Ok(()),
        Flavour::Basic if password => Ok(()),
        Flavour::Basic => Err(basic()),
        Flavour::Harbor => {
            let project = |scope: &String| {
                let name = scope.strip_prefix("repository:").unwrap_or_default();
                name.split('/').next() == repository.split('/').next()
            };
            let opens = |minted: &Minted| {
                (minted.authenticated || !behaviour.private) && minted.scopes.iter().any(project)
            };
            // Three kinds of 401 (harbor-facts 13.4).
            match shown {
                None => Err(bearer("")),
                Some(_) if behaviour.database_down => Err(without_challenge(
                    "failed to run SQL \"SELECT project_id FROM project\": connection refused",
                )),
                Some(_) if behaviour.project_missing || lacks_project(behaviour, repository) => {
                    let name = repository.split('/').next().unwrap_or_default();
                    Err(without_challenge(&format!(
                        "project {name} not found: project {name} not found"
                    )))
                }
                Some(_) if password => Ok(()),
                // What is no token of its own is anonymous, which opens what is public.
                Some(_) if minted.is_none() && !behaviour.private => Ok(()),
                Some(_) if minted.as_ref().is_some_and(opens) => Ok(()),
                Some(_) => Err(basic()),
            }
        }
        Flavour::DockerHub | Flavour::Ghcr => {
            let scope = format!("repository:{repository}:pull");
            match minted {
                None if token.is_some() => Err(bearer(",error=\"invalid_token\"")),
                None => Err(bearer("")),
                Some(minted)
                    if minted.scopes.contains(&scope)
                        && (minted.authenticated || !behaviour.private) =>
                {
                    Ok(())
                }
                Some(_) => Err(bearer(",error=\"insufficient_scope\"")),
            }
        }
    }
}

/// Its API lists projects, and this one is not among them.
fn lacks_project(behaviour: &Behaviour, repository: &str) -> bool {
    let project = repository.split('/').next().unwrap_or_default();
    let api = behaviour.api.as_ref();
    !project.is_empty() && api.is_some_and(|api| !api.has(project))
}

pub(super) fn is_password(behaviour: &Behaviour, shown: &str) -> bool {
    let Some((user, password)) = &behaviour.credential else {
        return false;
    };
    let pair = format!("{user}:{password}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    shown == format!("Basic {encoded}")
}

fn host(request: &Recorded) -> &str {
    request.header("host").unwrap_or_default()
}
