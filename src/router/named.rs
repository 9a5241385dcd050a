//! Which requests are for images that name no registry: those under one of the configured names, behind the configured project.

use crate::config::Router;
use crate::oci::{InvalidName, RawName, RegistryName, Repository};
use foldhash::HashSet;
use parking_lot::Mutex;

/// Repositories that are kept. When there are more all are forgotten.
const CAPACITY: usize = 1024;

/// A name that leads here, and not to an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("images of {name} are looked for as {name}/{project}/REPOSITORY alone")]
pub(crate) struct NoProject {
    /// As it is configured.
    pub(crate) name: RegistryName,
    project: String,
}

/// Repositories that were asked for before: a node asks for the same ones again and again, and for those nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Repositories(Mutex<HashSet<Repository>>);

// === impl Repositories ===

impl Repositories {
    /// The repository that is looked for; `None`: the request is under no such name.
    pub(crate) fn named(
        &self,
        router: &Router,
        ns: Option<&str>,
        name: &RawName,
    ) -> Option<Result<Repository, NoProject>> {
        let first = name.first_component();
        let (asked, path) = match ns {
            // A client that knows mirrors by a path of their own says the name there once more.
            Some(ns) if !first.eq_ignore_ascii_case(ns) => (ns, Some(name.as_str())),
            _ => (first, behind(name.as_str(), first)),
        };
        let name = router.named(asked)?;
        let repository = path.and_then(|path| self.parse(behind(path, &router.project)?).ok());
        Some(repository.ok_or_else(|| NoProject {
            name: name.clone(),
            project: router.project.clone(),
        }))
    }

    fn parse(&self, text: &str) -> Result<Repository, InvalidName> {
        let mut known = self.0.lock();
        if let Some(repository) = known.get(text) {
            return Ok(repository.clone());
        }
        let repository: Repository = text.parse()?;
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(repository.clone());
        Ok(repository)
    }
}

/// The repository that is looked for, read once; `None`: the request is under no such name.
pub(crate) fn repository(
    router: &Router,
    ns: Option<&str>,
    name: &RawName,
) -> Option<Result<Repository, NoProject>> {
    Repositories::default().named(router, ns, name)
}

fn behind<'n>(name: &'n str, first: &str) -> Option<&'n str> {
    name.strip_prefix(first)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::ResourcePath;
    use crate::router::testing::router;

    fn asked(ns: Option<&str>, name: &str) -> Option<Result<String, String>> {
        let path = format!("/v2/{name}/tags/list");
        let Ok(ResourcePath::Resource { name, .. }) = ResourcePath::parse(&path) else {
            panic!("{path} is no resource");
        };
        let found = repository(&router(), ns, &name)?;
        Some(
            found
                .map(|repository| repository.to_string())
                .map_err(|error| error.to_string()),
        )
    }

    #[test]
    fn names_lead_to_repositories_behind_the_project() {
        let ours = Some("registry.example.com");
        let found = |name: &str| Some(Ok(name.to_owned()));
        let refused = || {
            let text = "images of registry.example.com are looked for as \
                        registry.example.com/proxy/REPOSITORY alone";
            Some(Err(text.to_owned()))
        };
        let table = [
            (ours, "proxy/nginx", found("nginx")),
            (ours, "proxy/org/team/app", found("org/team/app")),
            (Some("REGISTRY.example.com"), "proxy/nginx", found("nginx")),
            (ours, "registry.example.com/proxy/nginx", found("nginx")),
            (None, "registry.example.com/proxy/nginx", found("nginx")),
            (ours, "proxy", refused()),
            (ours, "proxyx/nginx", refused()),
            (ours, "other/nginx", refused()),
            (None, "registry.example.com/nginx", refused()),
            (None, "proxy/nginx", None),
            (Some("docker.io"), "proxy/nginx", None),
            (Some("docker.io"), "registry.example.com/proxy/nginx", None),
        ];
        for (ns, name, due) in table {
            assert_eq!(asked(ns, name), due, "{ns:?} {name}");
        }
    }
}
