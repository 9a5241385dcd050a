//! What the pull path's memories are kept under: a reference in a repository of a registry, so that what one repository
//! teaches is found for that one alone (design S8).

use crate::cache::Trust;
use crate::oci::{Digest, ManifestKinds, Reference, RegistryName, Repository};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A reference in a repository of a registry. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Image(Arc<Named>);

/// An image as clients of one class pull it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pulled {
    pub(crate) image: Image,
    pub(crate) trust: Trust,
}

/// What an image is called.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    pub(crate) registry: RegistryName,
    pub(crate) repository: Repository,
    pub(crate) reference: Reference,
    /// For a tag, the kinds that whoever asks takes: which of its manifests is meant. A digest means the same to everybody.
    pub(crate) kinds: ManifestKinds,
}

// === impl Image ===

impl Image {
    /// What a client that takes these kinds means by a reference.
    pub(crate) fn new(
        registry: RegistryName,
        repository: Repository,
        reference: Reference,
        kinds: ManifestKinds,
    ) -> Self {
        let kinds = match reference {
            Reference::Tag(_) => kinds,
            Reference::Digest(_) => ManifestKinds::ALL,
        };
        Self(Arc::new(Named {
            registry,
            repository,
            reference,
            kinds,
        }))
    }

    pub(crate) fn content(registry: RegistryName, repository: Repository, digest: Digest) -> Self {
        let reference = Reference::Digest(digest);
        Self::new(registry, repository, reference, ManifestKinds::ALL)
    }
}

// === impl Pulled ===

impl Pulled {
    /// Content of the same repository, for the same clients.
    pub(crate) fn beside(&self, digest: &Digest) -> Self {
        let (registry, repository) = (&self.image.registry, &self.image.repository);
        Self {
            image: Image::content(registry.clone(), repository.clone(), digest.clone()),
            trust: self.trust,
        }
    }
}

impl fmt::Display for Image {
    /// `docker.io/library/nginx:1.27`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named {
            registry,
            repository,
            reference,
            ..
        } = &*self.0;
        let mark = match reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{registry}/{repository}{mark}{reference}")
    }
}

impl Deref for Image {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.0
    }
}
