//! What the pull path's memories are kept under: a reference in a repository of a registry, so that what one repository
//! teaches is found for that one alone (design S8).

use crate::cache::Trust;
use crate::oci::{Digest, ManifestKinds, Reference, RegistryName, Repository};
use foldhash::fast::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

/// A reference in a repository of a registry. Cheap to clone, and hashed once.
#[derive(Clone, Debug)]
pub(crate) struct Image(Arc<Hashed>);

#[derive(Debug)]
struct Hashed {
    hash: u64,
    named: Named,
}

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
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);
        let kinds = match reference {
            Reference::Tag(_) => kinds,
            Reference::Digest(_) => ManifestKinds::ALL,
        };
        let named = Named {
            registry,
            repository,
            reference,
            kinds,
        };
        let hash = HASHER.hash_one(&named);
        Self(Arc::new(Hashed { hash, named }))
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

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.named == other.0.named)
    }
}

impl Eq for Image {}

impl Hash for Image {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
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
        } = &**self;
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
        &self.0.named
    }
}
