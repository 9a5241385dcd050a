//! For which requests something counts, and what a request asks for.

use crate::cache::Trust;
use crate::oci::{Digest, Reference, RegistryName, Repository};
use crate::relay::memory::{Image, Pulled};
use crate::route::Route;

/// For which requests something counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// All requests, whatever they ask for.
    Everything,
    /// Those of a registry.
    Registry(RegistryName),
    /// Those of a repository of it.
    Repository(RegistryName, Repository),
    /// A blob or a tag of a repository.
    Image(Image),
    /// Content, whichever repository it is asked for in.
    Content(Digest),
}

/// What a request asks for, as far as something may be known of it, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(super) registry: RegistryName,
    pub(super) repository: Repository,
    /// `None`: a list.
    pub(super) image: Option<Image>,
    pub(crate) trust: Trust,
}

// === impl Scope ===

impl Scope {
    /// The registry, repository and reference that it is of.
    pub(crate) fn names(&self) -> (Option<RegistryName>, Option<Repository>, Option<Reference>) {
        match self {
            Self::Everything => (None, None, None),
            Self::Registry(registry) => (Some(registry.clone()), None, None),
            Self::Repository(registry, repository) => {
                (Some(registry.clone()), Some(repository.clone()), None)
            }
            Self::Image(image) => (
                Some(image.registry.clone()),
                Some(image.repository.clone()),
                Some(image.reference.clone()),
            ),
            Self::Content(digest) => (None, None, Some(Reference::Digest(digest.clone()))),
        }
    }
}

// === impl Subject ===

impl Subject {
    /// What a request of this route asks for.
    pub(crate) fn new(route: &Route, image: Option<Image>, trust: Trust) -> Self {
        Self {
            registry: route.registry_label.clone(),
            repository: route.repository.clone(),
            image,
            trust,
        }
    }

    /// What it asks for, by its digest.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        self.image.as_ref()?.reference.digest()
    }

    /// All of the same repository.
    pub(super) fn of_repository(&self) -> Scope {
        Scope::Repository(self.registry.clone(), self.repository.clone())
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> {
        let registry = Scope::Registry(self.registry.clone());
        let always = [Scope::Everything, registry, self.of_repository()];
        let of_image = self.image.clone().map(Scope::Image);
        let content = self.digest().cloned().map(Scope::Content);
        always.into_iter().chain(of_image).chain(content)
    }
}

impl From<&Pulled> for Subject {
    fn from(pulled: &Pulled) -> Self {
        Self {
            registry: pulled.image.registry.clone(),
            repository: pulled.image.repository.clone(),
            image: Some(pulled.image.clone()),
            trust: pulled.trust,
        }
    }
}
