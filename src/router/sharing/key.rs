//! What is where in Redis. Pure.
//!
//! `PREFIX:1:place:trusted:org/app:1.27` holds the registry in which the tag was found, as text; a digest stands in the tag's place,
//! and nothing behind the repository where it is the list of tags. `PREFIX:1:holder:trusted:org/app:ghcr.io` is there, and empty,
//! where that registry has had anything of the repository: whoever reads asks for the registries that it knows, so that no text of
//! others comes back. `1` is the number of this format: another one has another number, and both live side by side.

#[cfg(test)]
mod tests;

use crate::cache::Trust;
use crate::oci::{Reference, RegistryName, Repository};
use crate::router::mappings::{Subject, Wanted};

const FORMAT: &str = "1";

/// No name of a registry is longer, with its port.
pub(super) const LONGEST_VALUE: usize = 260;

/// Makes keys, and reads them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

// === impl Keys ===

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// Where the image's registry stands.
    pub(super) fn place(&self, wanted: &Wanted) -> String {
        let Wanted {
            repository,
            subject,
            trust,
        } = wanted;
        let places = self.places(*trust);
        match subject {
            Subject::Manifest(reference) => format!("{places}{repository}:{reference}"),
            Subject::Tags => format!("{places}{repository}"),
        }
    }

    /// The image whose registry stands there; `None`: it is no such key of ours.
    pub(super) fn wanted(&self, key: &str) -> Option<Wanted> {
        let of = |trust| Some((key.strip_prefix(&self.places(trust))?, trust));
        let (image, trust) = of(Trust::Trusted).or_else(|| of(Trust::Untrusted))?;
        let (repository, subject) = match image.split_once(':') {
            Some((repository, reference)) => {
                let reference: Reference = reference.parse().ok()?;
                (repository, Subject::Manifest(reference))
            }
            None => (image, Subject::Tags),
        };
        Some(Wanted {
            repository: repository.parse().ok()?,
            subject,
            trust,
        })
    }

    /// What all places match, for SCAN. A prefix holds none of its special characters.
    pub(super) fn all_places(&self) -> String {
        format!("{}:{FORMAT}:place:*", self.prefix)
    }

    /// There, if the registry has had anything of the repository.
    pub(super) fn holder(
        &self,
        repository: &Repository,
        trust: Trust,
        registry: &RegistryName,
    ) -> String {
        let (prefix, trust) = (&self.prefix, trust.word());
        format!("{prefix}:{FORMAT}:holder:{trust}:{repository}:{registry}")
    }

    /// What an account was listed by its Harbor.
    pub(super) fn listing(&self, account: &str) -> String {
        format!("{}:{FORMAT}:projects:{account}", self.prefix)
    }

    fn places(&self, trust: Trust) -> String {
        format!("{}:{FORMAT}:place:{}:", self.prefix, trust.word())
    }
}

/// The registry that somebody wrote down; `None`: the bytes name none.
pub(super) fn registry(value: &[u8]) -> Option<RegistryName> {
    let text = std::str::from_utf8(value).ok()?;
    let name: RegistryName = text.parse().ok()?;
    // As it is written here: other spellings are nobody's who shares this format.
    (name.as_str() == text).then_some(name)
}
